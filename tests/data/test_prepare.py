"""Prepared data: any source in one form, splits that do not mix, and bad input refused before anything is written."""

import numpy as np
import pytest
from scipy import ndimage

from emlib.data import load_prepared, prepare_data
from emlib.recipe import load_recipe
from emlib.volume import open_volume, save_volume

TRACK = "1_mitochondria_contours"
SPLIT = {"train": [0, 6], "validation": [6, 8], "test": [8, 12]}


def scene(dtype=np.uint8, shape=(12, 40, 48)):
    random = np.random.default_rng(0)
    image = random.integers(0, 255, shape).astype(dtype)
    labels = ndimage.label(random.random(shape) > 0.8)[0].astype(np.uint32)
    return image, labels


def recipe_for(tmp_path, image, labels, **changes):
    save_volume(tmp_path / "image.h5", image, voxel_size=(30, 8, 8)[-image.ndim :])
    save_volume(tmp_path / "labels.h5", labels)
    files = {"data.source": "files", "data.image": str(tmp_path / "image.h5")}
    files |= {"data.labels": str(tmp_path / "labels.h5"), "data.split": SPLIT, "data.voxel_size": None}
    return load_recipe(TRACK, overrides={**files, **{f"data.{key}": value for key, value in changes.items()}})


def test_files_become_chunked_zarr_with_their_split(tmp_path):
    image, labels = scene()
    data = prepare_data(recipe_for(tmp_path, image, labels), tmp_path / "out")
    assert data == load_prepared(tmp_path / "out")
    np.testing.assert_array_equal(open_volume(data.image)[:], image)
    np.testing.assert_array_equal(open_volume(data.labels)[:], labels)
    assert data.voxel_size == (30, 8, 8)
    test_image, test_labels = data.open("test")
    np.testing.assert_array_equal(test_image[:], image[8:12])
    np.testing.assert_array_equal(test_labels[:], labels[8:12])
    figures = data.statistics["train"]
    assert figures["mean"] == pytest.approx(image[:6].mean())
    assert figures["std"] == pytest.approx(image[:6].std())
    assert figures["foreground"] == pytest.approx((labels[:6] > 0).mean())
    assert figures["objects"] == len(np.unique(labels[:6])) - 1
    with pytest.raises(ValueError, match="no split 'tests'; this data set has train"):
        data.open("tests")


def test_sixteen_bit_images_are_scaled_from_their_percentiles(tmp_path):
    image, labels = scene()
    wide = image.astype(np.uint16) * 200 + 1000
    data = prepare_data(recipe_for(tmp_path, wide, labels), tmp_path / "out")
    stored = open_volume(data.image)[:]
    assert stored.dtype == np.uint8
    assert (stored.min(), stored.max()) == (0, 255)
    assert np.abs(stored.astype(int) - image).max() <= 3
    assert data.statistics["test"]["intensity_low"] == pytest.approx(np.percentile(wide, 0.1), rel=0.05)


def test_masks_become_components_of_each_split(tmp_path):
    image, _ = scene()
    mask = np.zeros(image.shape, np.uint8)
    mask[2:11, 5:15, 5:15] = 1  # one object through all three splits
    mask[0:2, 30:32, 30:32] = 1  # a small one
    recipe = recipe_for(tmp_path, image, mask, instances="components", min_object_size=20)
    data = prepare_data(recipe, tmp_path / "out")
    truth = open_volume(data.labels)[:]
    assert len(np.unique(truth[2:6, 5:15, 5:15])) == 1
    ids = {int(truth[z, 10, 10]) for z in (3, 7, 9)}
    assert len(ids) == 3
    assert truth[0, 30, 30] == 0
    np.testing.assert_array_equal(truth[2:, 5:15, 5:15] > 0, mask[2:, 5:15, 5:15] > 0)


def test_small_objects_are_dropped_over_the_whole_volume(tmp_path):
    image, labels = scene()
    data = prepare_data(recipe_for(tmp_path, image, labels, min_object_size=5), tmp_path / "out")
    truth = open_volume(data.labels)[:]
    sizes = np.bincount(labels.ravel())
    kept = np.where(sizes[labels] >= 5, labels, 0)
    np.testing.assert_array_equal(truth, kept)


def test_ids_are_not_narrowed(tmp_path):
    image, labels = scene()
    huge = np.where(labels > 0, labels.astype(np.uint64) + 2**40, 0)
    data = prepare_data(recipe_for(tmp_path, image, huge), tmp_path / "out")
    np.testing.assert_array_equal(open_volume(data.labels)[:], huge)


def test_shuffled_labels_leave_the_test_split_alone(tmp_path):
    image, labels = scene()
    data = prepare_data(recipe_for(tmp_path, image, labels, shuffle_labels=True), tmp_path / "out")
    assert load_prepared(tmp_path / "out").shuffled
    np.testing.assert_array_equal(data.open("test")[1][:], labels[8:12])
    for split, (start, stop) in (("train", (0, 6)), ("validation", (6, 8))):
        moved = data.open(split)[1][:]
        assert (moved != labels[start:stop]).mean() > 0.1
        assert sorted(np.unique(moved)) == sorted(np.unique(labels[start:stop]))


def test_downsampling_by_block_means_and_middle_labels(tmp_path):
    image, labels = scene()
    data = prepare_data(recipe_for(tmp_path, image, labels, downsample=[1, 2, 4]), tmp_path / "out")
    assert data.voxel_size == (30, 16, 32)
    means = image.reshape(12, 20, 2, 12, 4).mean((2, 4))
    np.testing.assert_array_equal(open_volume(data.image)[:], np.rint(means))
    np.testing.assert_array_equal(open_volume(data.labels)[:], labels[:, 1::2, 2::4])


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda i, l: (i, l[:, :-1]), "The image has shape (12, 40, 48), but its labels have (12, 39, 48)"),
        (lambda i, l: (i, l.astype(np.float32)), "The labels are float32, but whole numbers"),
        (lambda i, l: (i, l.astype(np.int32) - 1), "The labels hold the negative id -1"),
        (lambda i, l: (i[:10], l[:10]), "data.split.test is (8, 12), but the volume has 10 sections"),
        (lambda i, l: (i[0], l[0]), "a volume (z, y, x) was expected"),
        (lambda i, l: (np.full(i.shape, 7, np.uint16), l), "The image is constant (7)"),
        (lambda i, l: (np.where(i > 253, np.nan, i).astype(np.float32), l), "The image is not finite at (z, y, x) ="),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_no_result(tmp_path, change, words):
    recipe = recipe_for(tmp_path, *change(*scene()))
    with pytest.raises(ValueError) as caught:
        prepare_data(recipe, tmp_path / "out")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    with pytest.raises(FileNotFoundError, match="run 1_data_prep first"):
        load_prepared(tmp_path / "out")
    assert not list(tmp_path.glob("out/.partial-*"))


def test_missing_file_and_missing_voxel_size(tmp_path):
    image, labels = scene()
    recipe = recipe_for(tmp_path, image, labels)
    (tmp_path / "labels.h5").unlink()
    with pytest.raises(FileNotFoundError, match=r"labels\.h5"):
        prepare_data(recipe, tmp_path / "out")
    save_volume(tmp_path / "labels.h5", labels)
    save_volume(tmp_path / "image.h5", image)
    with pytest.raises(ValueError, match=r"does not say its voxel size; set data\.voxel_size"):
        prepare_data(recipe, tmp_path / "out")


def test_the_phantom_follows_the_seed(tmp_path):
    small = {"data.shape": [12, 48, 48], "data.split": SPLIT}
    images = [
        open_volume(prepare_data(load_recipe(TRACK, overrides={**small, "seed": s}), tmp_path / str(n)).image)[:]
        for n, s in enumerate((0, 0, 1))
    ]
    np.testing.assert_array_equal(images[0], images[1])
    assert (images[0] != images[2]).any()
