"""Images brought into one form: what is written, how it is divided, what is refused."""

import csv
import errno
import io

import imageio.v3 as imageio
import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st

from emlib.data import (
    load_prepared,
    load_prepared_images,
    make_cell_set,
    normalize_percentiles,
    prepare_image_data,
    save_cell_set,
    split_by_group,
)
from emlib.recipe import load_recipe

TRACK = "5_cells_flows"
SPLIT = {"train": 0.5, "validation": 0.25, "test": 0.25}
SMALL = {"data.images": 12, "data.shapes": [[64, 64], [70, 80]], "data.split": SPLIT}


def recipe_of(folder, **changes):
    sets = [{"name": str(folder)} | changes.pop("set", {})]
    return load_recipe(TRACK, overrides={"data.source": "files", "data.sets": sets, "data.split": SPLIT} | changes)


@pytest.fixture
def pairs(tmp_path):
    """Six asymmetric pictures of 16 bits, with ids that have gaps and pieces."""
    for name in ("images", "labels"):
        (tmp_path / "set" / name).mkdir(parents=True)
    for number in range(6):
        image = np.arange(20 * 30, dtype=np.uint16).reshape(20, 30) * 50 + number
        labels = np.zeros((20, 30), np.uint16)
        labels[2:6, 3:9], labels[10:12, 20:22], labels[15:16, 1:2], labels[15:19, 5:12] = 700, 700, 3, 9
        tifffile.imwrite(tmp_path / "set" / "images" / f"cell_{number}.tif", image)
        tifffile.imwrite(tmp_path / "set" / "labels" / f"cell_{number}_label.tiff", labels)
    return tmp_path / "set"


def test_what_is_written_is_what_was_read(pairs, tmp_path):
    data = prepare_image_data(recipe_of(pairs), tmp_path / "out")
    assert load_prepared_images(tmp_path / "out") == data
    assert {name: len(data.open(name)) for name in ("train", "validation", "test")} == {
        name: int(figures["images"]) for name, figures in data.statistics.items()
    }
    number = int(data.open("train").names[0][-1])
    image, labels = data.open("train")[0]
    source = tifffile.imread(pairs / "images" / f"cell_{number}.tif")
    np.testing.assert_array_equal(image, np.repeat(normalize_percentiles(source)[..., None], 3, axis=2))
    truth = tifffile.imread(pairs / "labels" / f"cell_{number}_label.tiff")
    assert (labels.dtype, labels.shape, labels.max()) == (np.uint32, (20, 30), 3)
    for one in (3, 9, 700):
        assert len(np.unique(labels[truth == one])) == 1
    np.testing.assert_array_equal(labels > 0, truth > 0)
    rows = list(csv.DictReader(io.StringIO((tmp_path / "out" / "images.csv").read_text())))
    assert [row["modality"] for row in rows] == ["set, bright grey"] * 6
    assert [row["cells"] for row in rows] == ["3"] * 6


def test_pieces_and_small_cells(pairs, tmp_path):
    one = prepare_image_data(recipe_of(pairs, **{"data.pieces": "all"}), tmp_path / "all").open("train")[0][1]
    assert one.max() == 4
    largest = recipe_of(pairs, **{"data.pieces": "largest", "data.min_cell_size": 5})
    labels = prepare_image_data(largest, tmp_path / "largest").open("train")[0][1]
    assert np.bincount(labels.ravel())[1:].tolist() == [24, 28]


def test_the_phantom_follows_the_seed_and_every_modality_trains(tmp_path):
    made = [
        prepare_image_data(load_recipe(TRACK, overrides=SMALL | {"seed": seed}), tmp_path / str(n))
        for n, seed in enumerate((0, 0, 1))
    ]
    images = [data.open("train")[0][0] for data in made]
    np.testing.assert_array_equal(images[0], images[1])
    assert images[0].shape != images[2].shape or (images[0] != images[2]).any()
    assert all(count["train"] >= 1 and count["test"] >= 1 for count in made[0].modalities.values())


def test_modalities_of_a_saved_set(tmp_path):
    root = save_cell_set(make_cell_set(4, shapes=((64, 64), (64, 64))), tmp_path / "saved")
    prepared = prepare_image_data(
        recipe_of(root, **{"data.split": {"train": 0.5, "validation": 0.0, "test": 0.5}}), tmp_path / "out"
    )
    with (root / "modalities.csv").open() as stream:
        expected = [row["modality"] for row in csv.DictReader(stream)]
    assert [row.modality for row in prepared.images] == expected
    assert len(prepared.open("validation")) == 0


def test_a_control_run_moves_the_truth_but_not_that_of_the_test(tmp_path):
    plain, moved = (
        prepare_image_data(load_recipe(TRACK, overrides=SMALL | {"data.shuffle_labels": shuffled}), tmp_path / name)
        for name, shuffled in (("plain", False), ("moved", True))
    )
    assert (plain.open("train")[0][1] != moved.open("train")[0][1]).any()
    np.testing.assert_array_equal(plain.open("test")[0][1], moved.open("test")[0][1])
    assert plain.open("train")[0][1].max() == moved.open("train")[0][1].max()


def test_a_subset_is_drawn_by_the_seed(pairs, tmp_path):
    chosen = [
        [
            row.name
            for row in prepare_image_data(recipe_of(pairs, set={"images": 4}, seed=seed), tmp_path / "out").images
        ]
        for seed in (0, 0, 1, 2)
    ]
    assert chosen[0] == chosen[1]
    assert len({tuple(names) for names in chosen}) > 1
    with pytest.raises(ValueError, match=r"asks for 9 images of .* but it has 6"):
        prepare_image_data(recipe_of(pairs, set={"images": 9}), tmp_path / "out")


def _spoil(pairs, what):
    label, image = pairs / "labels" / "cell_2_label.tiff", pairs / "images" / "cell_2.tif"
    if what == "shape":
        tifffile.imwrite(label, np.zeros((30, 20), np.uint16))
    elif what == "nan":
        tifffile.imwrite(image, np.full((20, 30), np.nan, np.float32))
    elif what == "truncated":
        image.write_bytes(image.read_bytes()[:200])
    elif what == "mask":
        label.unlink()
        imageio.imwrite(label.with_suffix(".png"), np.zeros((20, 30), bool))
    else:
        label.unlink()


@pytest.mark.parametrize(
    "what, words",
    [
        ("shape", "the label seems to be transposed"),
        ("nan", "cell_2: The image has 1800 values that are NaN"),
        ("truncated", "cell_2.tif"),
        ("mask", "1-bit mask"),
        ("missing", "1 of 6 images have no label"),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_no_result(pairs, tmp_path, what, words):
    prepare_image_data(recipe_of(pairs), tmp_path / "out")
    _spoil(pairs, what)
    with pytest.raises((ValueError, TypeError, OSError)) as caught:
        prepare_image_data(recipe_of(pairs), tmp_path / "out")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not list((tmp_path / "out").glob(".partial-*"))
    if what != "missing":
        with pytest.raises(FileNotFoundError, match="run 1_data_prep first"):
            load_prepared_images(tmp_path / "out")


def test_a_full_disk_leaves_no_result(tmp_path, monkeypatch):
    from pathlib import Path

    def write(path, content):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", write)
    with pytest.raises(OSError, match="the disk is full"):
        prepare_image_data(load_recipe(TRACK, overrides=SMALL), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_damaged_results_are_refused(tmp_path):
    data = prepare_image_data(load_recipe(TRACK, overrides=SMALL), tmp_path)
    file = tmp_path / "images" / data.open("train").rows[0].file
    file.write_bytes(file.read_bytes()[:-50])
    with pytest.raises(OSError, match="damaged or truncated; run 1_data_prep again"):
        data.open("train")[0]
    with pytest.raises(ValueError, match="damaged or truncated"):
        load_prepared(tmp_path)
    (tmp_path / "prepared.json").write_text("{")
    with pytest.raises(ValueError, match="damaged or truncated"):
        load_prepared_images(tmp_path)
    with pytest.raises(TypeError, match="is one of volumes"):
        prepare_image_data(load_recipe("1_mitochondria_contours"), tmp_path)


@given(
    groups=st.lists(st.sampled_from("abc"), min_size=10, max_size=60),
    test=st.sampled_from([0.0, 0.1, 0.25]),
    seed=st.integers(0, 5),
)
def test_every_group_is_divided_by_the_shares(groups, test, seed):
    shares = {"train": 0.9 - test, "validation": 0.1, "test": test}
    split = split_by_group(groups, shares, seed=seed)
    assert split == split_by_group(groups, shares, seed=seed)
    for group in set(groups):
        own = [name for name, kind in zip(split, groups, strict=True) if kind == group]
        assert "train" in own
        for name, share in shares.items():
            assert abs(own.count(name) - share * len(own)) <= 2
    assert ("test" in split) == (test > 0)


def test_too_few_images_are_refused_and_settled_ones_stay():
    shares = {"train": 0.8, "validation": 0.1, "test": 0.1}
    with pytest.raises(ValueError, match="3 images are too few: none is left for validation and test"):
        split_by_group(["a", "b", "c"], shares, seed=0)
    fixed = ["test", None, None, None, "validation"]
    assert split_by_group(["a"] * 5, shares, seed=0, fixed=fixed)[::4] == ["test", "validation"]
