"""COCO files, answers and generated sets of nuclei on a disk that fails, in a process that is killed."""

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from faults.disk import failing_steps
from faults.sentences import listing, refused

from emlib.data import (
    coco_from_folders,
    coco_from_labels,
    describe_detections,
    find_nuclei_folders,
    make_cell_phantom,
    read_answer,
    read_coco,
    read_nuclei_labels,
    read_test_ids,
    save_nuclei_folders,
    write_answer,
    write_coco,
)

PHANTOM = make_cell_phantom((32, 40), modality="stained", cells=3, seed=2)
COCO = coco_from_labels([PHANTOM.labels], ["a.png"])
DETECTIONS = describe_detections(1, [np.equal(PHANTOM.labels, 1)], [0.5])


def coco_file():
    def check(folder):
        assert read_coco(folder / "train.json") == COCO

    return lambda folder, _: write_coco(folder / "train.json", COCO), check, "train.json"


def answer(name):
    def check(folder):
        assert read_answer(folder / name) == DETECTIONS

    return lambda folder, _: write_answer(folder / name, DETECTIONS), check, name


def nuclei_folders():
    def action(folder, _):
        save_nuclei_folders([PHANTOM], folder / "set", test=[PHANTOM], overwrite=True)

    def check(folder):
        found = find_nuclei_folders(folder / "set" / "train")[0]
        np.testing.assert_array_equal(read_nuclei_labels(found).labels, PHANTOM.labels)
        read_test_ids(folder / "set" / "test_img_ids.json", folder=folder / "set" / "test")

    return action, check, "set/"


CASES = {
    "write_coco": coco_file(),
    "write_answer json": answer("answer.json"),
    "write_answer zip": answer("answer.zip"),
    "save_nuclei_folders": nuclei_folders(),
}


@pytest.mark.parametrize("case", CASES)
def test_every_step_may_fail(tmp_path, case):
    action, check, final = CASES[case]
    for folder in failing_steps(action, lambda step: tmp_path / f"{step:04d}", None, 1):
        if left := listing(folder):
            # Only flushing the folder's entry comes after the output has its name; it is whole then.
            assert all(name.startswith(final) for name in left), left
            check(folder)
        action(folder, None)
        check(folder)
        assert not [name for name in listing(folder) if ".partial" in name or ".old-" in name]


@pytest.mark.parametrize("case", CASES)
def test_what_was_there_stays(tmp_path, case):
    action, check, _ = CASES[case]
    action(tmp_path / "old", None)
    before = listing(tmp_path / "old")
    for folder in failing_steps(action, lambda _: tmp_path / "old", None, 1):
        check(folder)
        assert listing(folder) == before


@pytest.mark.parametrize("case", CASES)
def test_output_below_a_file(tmp_path, case):
    (tmp_path / "file").write_text("not a folder")
    with refused(OSError, "Could not write", "a part of the path is a file", folder=tmp_path):
        CASES[case][0](tmp_path / "file", None)


KILLED = """
import os, signal, sys
from pathlib import Path
from emlib import atomic
from emlib.data import coco_from_labels, describe_detections, write_answer, write_coco

real = atomic.flush_to_disk
atomic.flush_to_disk = lambda *a, **k: os.kill(os.getpid(), signal.SIGKILL)
path = Path(sys.argv[1])
labels = [[0, 1, 1], [2, 2, 0]]
if path.name == "train.json":
    write_coco(path, coco_from_labels([labels], ["b.png"]))
else:
    write_answer(path, describe_detections(1, [labels], [0.25]))
"""


@pytest.mark.parametrize("case", ["write_coco", "write_answer zip"])
def test_a_kill_before_the_last_step_leaves_the_old_file(tmp_path, case):
    action, check, name = CASES[case]
    action(tmp_path, None)
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / name)], env=os.environ, check=False)
    assert done.returncode == -signal.SIGKILL
    check(tmp_path)
    assert len([path for path in tmp_path.iterdir() if not path.name.startswith(".partial-")]) == 1


def test_bad_input_writes_nothing(tmp_path):
    """Every fault that the track has to name, at the door where it comes in."""
    broken = json.loads(json.dumps(COCO))
    broken["annotations"][0]["segmentation"]["size"] = [40, 32]
    with refused(ValueError, "train.json: entry 0 of 'annotations'", "its size is (40, 32)", folder=tmp_path):
        write_coco(tmp_path / "train.json", broken)
    del broken["annotations"][0]["bbox"]
    with refused(ValueError, "entry 0 of 'annotations' has no bbox", folder=tmp_path):
        write_coco(tmp_path / "train.json", broken)
    images = [{"id": 9, "file_name": "a.png", "height": 32, "width": 40}]
    with refused(ValueError, "image ids 1", "test_img_ids.json", folder=tmp_path):
        write_answer(tmp_path / "answer.zip", DETECTIONS, images=images)
    with refused(ValueError, "hold no object", folder=tmp_path):
        write_coco(tmp_path / "train.json", coco_from_labels([PHANTOM.labels * 0], ["a.png"]))
    root = save_nuclei_folders([PHANTOM], tmp_path / "set") / "train"
    (mask,) = root.rglob("mask_0002.png")
    content = mask.read_bytes()
    mask.write_bytes(content[: len(content) // 2])
    with refused(OSError, "mask_0002.png", "damaged or truncated", folder=tmp_path):
        write_coco(tmp_path / "train.json", coco_from_folders(root))
    with refused(ValueError, "no nucleus", folder=tmp_path):
        save_nuclei_folders([type(PHANTOM)(PHANTOM.image, PHANTOM.labels * 0, "stained")], tmp_path / "none")
