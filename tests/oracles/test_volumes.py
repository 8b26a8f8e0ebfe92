"""The fixtures are the volumes that the published figures belong to."""

import hashlib

import numpy as np
from oracles.volumes import box_volumes, cells_2d, shifted_segmentation, small_volume


def _sha1(array):
    return hashlib.sha1(np.ascontiguousarray(array).tobytes()).hexdigest()[:12]


def _sha256(array):
    return hashlib.sha256(array.astype("<i4").tobytes()).hexdigest()[:16]


def test_small_volume_is_the_published_one():
    arrays = small_volume()
    assert [array.dtype for array in arrays] == [np.uint32, np.uint8, np.uint8, np.uint8]
    assert [int(array.sum()) for array in arrays] == [58940, 2553637, 1835486, 835613]
    assert [_sha1(array) for array in arrays] == ["b64a55bbcf8e", "804752948170", "0849d31b0936", "e627a4195737"]
    assert len(np.unique(arrays[0])) == 13
    assert round(float((arrays[0] > 0).mean()), 6) == 0.553982


def test_shifted_segmentation_has_one_merge_and_one_split():
    segmentation = shifted_segmentation()
    assert segmentation.dtype == np.int64
    assert 2 not in segmentation
    assert (segmentation == 50).any()
    assert not (segmentation[:, :, 24:] == 3).any()
    unmerged = np.where(segmentation == 50, 3, segmentation)
    labels = np.roll(small_volume()[0], (2, 3), (1, 2))
    assert np.array_equal(unmerged, np.where(labels == 2, 1, labels))


def test_box_volumes_have_the_published_sizes():
    truth, prediction = box_volumes()
    assert np.bincount(truth.ravel())[1:].tolist() == [
        6072, 12642, 7803, 2184, 8550, 22644, 32256, 10560, 14960, 36244, 13440, 17661, 14616, 14700, 12255, 44030,
    ]  # fmt: skip
    sizes = np.bincount(prediction.ravel())[1:]
    assert len(sizes) == 18
    assert sizes[-2:].tolist() == [26730, 2401]


def test_cells_2d_are_the_published_ones():
    labels, prediction = cells_2d()
    assert np.bincount(labels.ravel()).tolist() == [8023, 331, 278, 503, 324, 567, 559, 351, 438, 113, 29, 4]
    assert np.bincount(prediction.ravel()).tolist() == [8510, 609, 503, 324, 559, 351, 438, 113, 29, 4, 80]
    assert _sha256(labels) == "526885e16f11a66e"
    assert _sha256(prediction) == "58c13fd3d2adb5e2"


def test_fixtures_are_fresh_arrays():
    first = small_volume()[0]
    first[:] = 0
    assert small_volume()[0].any()
