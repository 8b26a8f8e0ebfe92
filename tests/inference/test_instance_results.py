"""What is made of the objects of an image: labels, COCO's results, files; whole splits."""

import errno
import io
import json
import os
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from inference.perfect_detector import PerfectDetector, as_image, as_set, objects_of

from emlib.data import describe_detections, read_answer, write_answer
from emlib.inference import (
    InstancePrediction,
    instances_as_coco,
    labels_from_instances,
    load_instances,
    load_split_instances,
    predict_instances,
    predict_instances_split,
    save_instances,
)
from emlib.models import LimitsReached, ObjectMask


def random_prediction(seed, shape=(24, 30), most=12):
    """Objects that overlap, with holes, at the borders, of one pixel."""
    rng = np.random.default_rng(seed)
    masks = []
    for _ in range(rng.integers(0, most + 1)):
        sides = [int(rng.integers(1, min(length, 16) + 1)) for length in shape]
        if rng.random() < 0.2:
            sides[0] = shape[0]
        corner = tuple(int(rng.integers(0, length - side + 1)) for length, side in zip(shape, sides, strict=True))
        mask = rng.random(sides) < rng.choice([0.5, 0.9, 1.1])
        mask[rng.integers(0, sides[0]), rng.integers(0, sides[1])] = True
        masks.append(ObjectMask(corner, mask))
    corners = rng.uniform(0, 12, (len(masks), 2))
    boxes = np.concatenate([corners, corners + rng.uniform(1, 9, (len(masks), 2))], axis=1).astype(np.float32)
    scores = np.sort(rng.random(len(masks)).astype(np.float32))[::-1].copy()
    labels = rng.integers(1, 3, len(masks))
    return InstancePrediction(boxes, scores, labels, tuple(masks), shape, LimitsReached(7, 3, 2, 1), cut=5, empty=4)


def full(mask, shape):
    whole = np.zeros(shape, bool)
    whole[mask.slices] = mask.mask
    return whole


def assert_same(found, expected):
    for name in ("boxes", "scores", "labels"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
    for one, other in zip(found.masks, expected.masks, strict=True):
        assert one.corner == other.corner
        np.testing.assert_array_equal(one.mask, other.mask)
    for name in ("shape", "limits_reached", "cut", "empty"):
        assert getattr(found, name) == getattr(expected, name)


@given(st.integers(0, 9999), st.sampled_from([0.0, 0.3, 1.0]), st.integers(0, 30), st.sampled_from([0.0, 0.5, 1.0]))
def test_labels_are_painted_best_first(seed, score_threshold, min_size, least_share):
    found = random_prediction(seed)
    labels = labels_from_instances(found, score_threshold=score_threshold, min_size=min_size, least_share=least_share)
    assert labels.dtype == np.uint32
    owner, number = {}, 0
    for mask, score in zip(found.masks, found.scores, strict=True):
        mine = list(zip(*np.nonzero(full(mask, found.shape)), strict=True))
        left = [place for place in mine if place not in owner]
        if score > score_threshold and left and len(left) >= min_size and len(left) >= least_share * len(mine):
            number += 1
            owner |= dict.fromkeys(left, number)
    expected = np.zeros(found.shape, int)
    for place, value in owner.items():
        expected[place] = value
    np.testing.assert_array_equal(labels, expected)


def test_wrong_painting_is_refused():
    found = random_prediction(1)
    for options, words in (
        ({"score_threshold": 2}, "score_threshold is 2"),
        ({"least_share": -0.1}, "least_share is -0.1"),
        ({"min_size": -1}, "min_size is -1"),
        ({"min_size": 2.5}, "min_size is 2.5"),
    ):
        with pytest.raises(ValueError, match=words):
            labels_from_instances(found, **options)


@given(st.integers(0, 9999), st.sampled_from([(24, 30), (1, 9), (9, 1), (5, 5)]))
def test_results_are_those_of_whole_masks(seed, shape):
    from pycocotools import mask as oracle

    found = random_prediction(seed, shape)
    result = instances_as_coco(found, 17)
    masks = [full(one, shape) for one in found.masks]
    assert result == describe_detections(17, masks, found.scores.tolist(), boxes=found.boxes.astype(float))
    for one, mask in zip(result, masks, strict=True):
        np.testing.assert_array_equal(oracle.decode(one["segmentation"]), mask)


def test_an_answer_is_written_and_read(tmp_path):
    labels = np.zeros((40, 50), np.int64)
    labels[3:20, 5:18], labels[18:40, 30:50] = 1, 2
    found = predict_instances(PerfectDetector(), as_image(labels), window=30, normalize=None, progress=False)
    images = [{"id": 8, "file_name": "a.png", "height": 40, "width": 50}]
    path = write_answer(tmp_path / "answer.zip", instances_as_coco(found, 8), images=images)
    answer = read_answer(path, images=images)
    assert [one["bbox"] for one in sorted(answer, key=lambda one: one["bbox"])] == [[5, 3, 13, 17], [30, 18, 20, 22]]
    assert json.loads(json.dumps(answer)) == instances_as_coco(found, 8)
    with pytest.raises(ValueError, match="image_id"):
        instances_as_coco(found, "eight")


@given(st.integers(0, 9999))
def test_files_hold_everything(tmp_path_factory, seed):
    found = random_prediction(seed)
    path = save_instances(tmp_path_factory.mktemp("files") / "one.npz", found)
    assert_same(load_instances(path), found)


def test_damaged_and_foreign_files_are_refused(tmp_path):
    path = save_instances(tmp_path / "one.npz", random_prediction(3))
    content = path.read_bytes()
    for length in range(0, len(content), max(1, len(content) // 40)):
        path.write_bytes(content[:length])
        with pytest.raises(OSError, match=r"one.npz holds no objects of an image, or is damaged\."):
            load_instances(path)
    with np.load(save_instances(path, random_prediction(3))) as stored:
        arrays = dict(stored)
    wrong = {
        "pixels": arrays["pixels"][:-1],
        "sizes": -arrays["sizes"],
        "scores": arrays["scores"][:-1],
        "corners": arrays["corners"] + 1000,
        "counts": arrays["counts"][:1],
        "shape": arrays["shape"][:1],
        "boxes": arrays["boxes"].astype(np.float64),
    }
    for name, array in wrong.items():
        np.savez_compressed(path, **arrays | {name: array})
        with pytest.raises(OSError, match="or is damaged"):
            load_instances(path)
    np.savez_compressed(path, **{name: array for name, array in arrays.items() if name != "labels"})
    with pytest.raises(OSError, match="or is damaged"):
        load_instances(path)
    with pytest.raises(FileNotFoundError, match=r"no file .*two\.npz"):
        load_instances(tmp_path / "two.npz")
    with pytest.raises(ValueError, match=r"should end in \.npz"):
        save_instances(tmp_path / "two.json", random_prediction(3))


STEPS = [(io, "open"), (os, "fsync"), (os, "replace"), (os, "rename"), (os, "mkdir")]


def fail_at(patch, count):
    """Let step number `count` of those that write fail, as on a full disk; returns how many there were."""
    steps = []

    def watched(name, real):
        def call(first, *arguments, **options):
            writes = "w" in str(options.get("mode", arguments[:1])) if name == "open" else True
            writes &= name != "mkdir" or not os.path.isdir(first)
            steps.extend([name] * writes)
            if writes and len(steps) == count:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(first))
            return real(first, *arguments, **options)

        return call

    for owner, name in STEPS:
        patch.setattr(owner, name, watched(name, getattr(owner, name)))
    return steps


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def assert_all_or_nothing(folder, action):
    """Let every step fail: what was in the folder stays, and the last step is only the flush of the folder's entry."""
    action()
    with pytest.MonkeyPatch.context() as patch:
        steps = fail_at(patch, 0)
        action()
    after, total = contents(folder), len(steps)
    assert total > 2
    for count in range(1, total + 1):
        for path in folder.rglob("*.npz"):
            path.write_bytes(b"before")
        before = contents(folder)
        with pytest.MonkeyPatch.context() as patch:
            fail_at(patch, count)
            with pytest.raises(OSError, match="the disk is full"):
                action()
        assert contents(folder) == (before if count < total else after)


def test_a_full_disk_leaves_what_was_there(tmp_path):
    assert_all_or_nothing(tmp_path, lambda: save_instances(tmp_path / "one.npz", random_prediction(4)))


class Pictures(list):
    """Pictures of a split: (image, labels) each, and what is known about them."""

    @property
    def rows(self):
        return tuple(
            SimpleNamespace(name=f"set/{number}", file=f"{number:03d}.tif", height=len(image), width=len(image[0]))
            for number, (image, _) in enumerate(self)
        )


@pytest.fixture
def pictures():
    made = Pictures()
    for number, shape in enumerate([(40, 50), (33, 20), (64, 64)]):
        labels = np.zeros(shape, np.int64)
        labels[3:17, 2:11], labels[20:31, number : number + 14] = 5, 6
        made.append((as_image(labels), labels))
    return made


SETTINGS = {"window": 30, "overlap": 20, "score_threshold": 0.1, "merge_threshold": 0.4, "progress": False}


def test_splits_hold_what_single_calls_give(pictures, tmp_path):
    made = predict_instances_split(PerfectDetector(), pictures, tmp_path / "found", **SETTINGS)
    again = load_split_instances(tmp_path / "found", pictures)
    assert len(made) == len(again) == len(made.seconds) == 3
    assert min(made.seconds) > 0
    assert again.seconds == ()
    for (image, labels), one, other in zip(pictures, made, again, strict=True):
        expected = predict_instances(PerfectDetector(), image, normalize=None, **SETTINGS)
        assert_same(one, expected)
        assert_same(other, expected)
        assert as_set(one.masks) == as_set(objects_of(labels).values())


def test_a_failing_split_leaves_what_was_there(pictures, tmp_path):
    folder = tmp_path / "found"
    predict_instances_split(PerfectDetector(), pictures, folder, **SETTINGS)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert sorted(before) == ["000.npz", "001.npz", "002.npz"]

    class Failing(PerfectDetector):
        def forward(self, images):
            if len(self.seen) > 4:
                raise RuntimeError("broken")
            return super().forward(images)

    with pytest.raises(RuntimeError, match="broken"):
        predict_instances_split(Failing(), pictures, folder, **SETTINGS)
    with pytest.raises(TypeError, match="windows"):
        predict_instances_split(PerfectDetector(), pictures, folder, windows=3, progress=False)
    with pytest.raises(ValueError, match="the split is empty"):
        predict_instances_split(PerfectDetector(), Pictures(), folder, progress=False)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["found"]


def test_missing_damaged_and_foreign_files_of_a_split_are_named(pictures, tmp_path):
    folder = tmp_path / "found"
    made = predict_instances_split(PerfectDetector(), pictures, folder, **SETTINGS)
    (folder / "001.npz").write_bytes((folder / "001.npz").read_bytes()[:100])
    with pytest.raises(OSError, match=r"001\.npz is missing or damaged; run 3_inference again"):
        made[1]
    (folder / "001.npz").write_bytes((folder / "000.npz").read_bytes())
    with pytest.raises(OSError, match=r"is of \(40, 50\) pixels, but its picture of \(33, 20\)"):
        made[1]
    (folder / "001.npz").unlink()
    with pytest.raises(FileNotFoundError, match="no objects of set/1; run 3_inference again"):
        load_split_instances(folder, pictures)


def test_a_full_disk_leaves_no_half_a_split(pictures, tmp_path):
    network, folder, few = PerfectDetector(), tmp_path / "found", Pictures(pictures[:2])
    assert_all_or_nothing(tmp_path, lambda: predict_instances_split(network, few, folder, **SETTINGS))
