"""Coarser and finer voxels against loops over blocks, and read box by box against the whole."""

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from emlib.data import downsample_volume, upsample_volume
from emlib.formats import resampled
from emlib.formats.coarsening import coarse_shape, downsample_image, downsample_labels, upsample_labels
from emlib.volume import Volume, open_volume, save_volume

SHAPES = st.tuples(*[st.integers(1, 7)] * 3)
FACTORS = st.tuples(*[st.integers(1, 4)] * 3)
IDS = st.sampled_from([0, 1, 2, 200])


def by_blocks(array, factors, incomplete, choose):
    result = np.zeros(coarse_shape(array.shape, factors, incomplete), array.dtype)
    for place in np.ndindex(result.shape):
        box = tuple(slice(i * f, i * f + f) for i, f in zip(place, factors, strict=True))
        result[place] = choose(array[box])
    return result


def most_frequent(block):
    counts = Counter(block.ravel().tolist())
    return min(counts, key=lambda one: (-counts[one], one))


def middle(block):
    return block[tuple(length // 2 for length in block.shape)]


@given(st.data(), SHAPES, FACTORS, st.sampled_from(["keep", "drop"]), st.sampled_from(["C", "F"]))
@settings(max_examples=60)
def test_labels_by_brute_force(data, shape, factors, incomplete, order):
    dtype = data.draw(st.sampled_from([np.uint8, np.int16, np.uint32, np.uint64]))
    small = data.draw(arrays.arrays(np.uint8, shape, elements=IDS))
    labels = np.asarray(small.astype(dtype), order=order)
    if dtype == np.uint64:
        labels[labels == 200] = 2**64 - 1
    before = labels.copy()
    for rule, choose in (("majority", most_frequent), ("middle", middle), ("first", lambda block: block.flat[0])):
        coarse = downsample_labels(labels, factors, rule=rule, incomplete=incomplete)
        assert coarse.dtype == labels.dtype
        np.testing.assert_array_equal(coarse, by_blocks(labels, factors, incomplete, choose))
    np.testing.assert_array_equal(labels, before)


def test_the_first_voxel_is_the_seeds_stride():
    labels = np.random.default_rng(0).integers(0, 2**40, (5, 19, 17)).astype(np.uint64)
    np.testing.assert_array_equal(downsample_labels(labels, (2, 8, 8), rule="first"), labels[::2, ::8, ::8])


def test_more_than_255_votes():
    labels = np.zeros((4, 16, 16), np.uint8)
    labels[:3, :, :10] = 3
    assert downsample_labels(labels, (4, 16, 16)).item() == 0
    labels[3, 8:, :10] = 3
    assert downsample_labels(labels, (4, 16, 16)).item() == 3


@given(st.data(), SHAPES, FACTORS, st.sampled_from(["keep", "drop"]))
@settings(max_examples=40)
def test_images_by_brute_force(data, shape, factors, incomplete):
    image = data.draw(arrays.arrays(np.uint8, shape))
    expected = by_blocks(image.astype(np.float64), factors, incomplete, np.mean)
    np.testing.assert_array_equal(downsample_image(image, factors, incomplete=incomplete), np.rint(expected))
    fine = downsample_image(image.astype(np.float32) / 7, factors, incomplete=incomplete)
    assert fine.dtype == np.float32
    np.testing.assert_allclose(fine, expected / 7, rtol=1e-6)


@given(st.data(), SHAPES, FACTORS, st.sampled_from(["majority", "first", "middle"]))
@settings(max_examples=40)
def test_repeated_labels_come_back(data, shape, factors, rule):
    coarse = data.draw(arrays.arrays(np.uint32, coarse_shape(shape, factors), elements=IDS))
    fine = upsample_labels(coarse, factors, shape=shape)
    assert fine.shape == shape
    np.testing.assert_array_equal(downsample_labels(fine, factors, rule=rule), coarse)
    whole = upsample_labels(coarse, factors)
    np.testing.assert_array_equal(whole, np.kron(coarse, np.ones(factors, np.uint32)))
    np.testing.assert_array_equal(fine, whole[tuple(map(slice, shape))])


@given(st.data(), FACTORS, st.sampled_from([None, "majority", "first", "middle"]), st.sampled_from(["keep", "drop"]))
@settings(max_examples=40)
def test_any_box_of_a_lazy_volume(data, factors, rule, incomplete):
    array = np.random.default_rng(0).integers(0, 3, (8, 11, 13)).astype(np.uint8)
    options = {} if rule is None else {"rule": rule}
    reduce = downsample_image if rule is None else downsample_labels
    whole = reduce(array, factors, incomplete=incomplete, **options)
    coarse = downsample_volume(array, factors, labels=rule is not None, incomplete=incomplete, **options)
    fine = upsample_volume(array, factors)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(resampled, "FINE_BYTES", data.draw(st.sampled_from([1, 40, 300, 10**6])))
        for volume, expected in ((coarse, whole), (fine, upsample_labels(array, factors))):
            assert volume.shape == expected.shape
            box = []
            for length in volume.shape:
                start = data.draw(st.integers(0, length - 1))
                box.append(slice(start, data.draw(st.integers(start + 1, length)), data.draw(st.integers(1, 3))))
            np.testing.assert_array_equal(volume[tuple(box)], expected[tuple(box)])


def test_lazy_volumes_are_saved_with_their_voxel_size(tmp_path, monkeypatch):
    monkeypatch.setattr(resampled, "FINE_BYTES", 2000)
    labels = np.random.default_rng(0).integers(0, 9, (9, 40, 50)).astype(np.uint32)
    stored = open_volume(save_volume(tmp_path / "fine.zarr", labels, voxel_size=(30, 8, 8), chunks=(4, 16, 16)))
    coarse = downsample_volume(stored, (2, 8, 8), labels=True)
    assert coarse.voxel_size == (60, 64, 64)
    saved = open_volume(save_volume(tmp_path / "coarse.zarr", coarse))
    np.testing.assert_array_equal(saved[:], downsample_labels(labels, (2, 8, 8)))
    fine = upsample_volume(saved, (2, 8, 8), shape=labels.shape)
    assert (fine.shape, fine.voxel_size) == (labels.shape, (30, 8, 8))
    np.testing.assert_array_equal(fine[:], upsample_labels(saved[:], (2, 8, 8), shape=labels.shape))
    parts = np.concatenate([coarse[0:2], coarse[2:5]])
    np.testing.assert_array_equal(parts, saved[:])


def test_a_piece_holds_no_more_than_its_share(monkeypatch):
    monkeypatch.setattr(resampled, "FINE_BYTES", 4096)
    asked = []

    class Counted:
        shape, dtype = (16, 64, 64), np.dtype(np.uint8)

        def __getitem__(self, box):
            size = tuple(part.stop - part.start for part in box)
            asked.append(math.prod(size))
            return np.ones(size, np.uint8)

    coarse = Volume(resampled.CoarseSource(Counted(), (2, 4, 4), rule="majority"))
    assert coarse[:].all()
    assert max(asked) <= 4096
    assert sum(asked) == 16 * 64 * 64


@pytest.mark.parametrize(
    "call, kind, text",
    [
        (lambda a: downsample_labels(a / 2, (1, 1, 1)), TypeError, "labels are float64"),
        (lambda a: downsample_labels(a, (1, 2)), ValueError, "3 whole numbers of at least 1"),
        (lambda a: downsample_labels(a, (1, 0, 1)), ValueError, "3 whole numbers of at least 1"),
        (lambda a: downsample_labels(a, (1, 1.5, 1)), ValueError, "3 whole numbers of at least 1"),
        (lambda a: downsample_labels(a, (1, 1, 1), rule="mode"), ValueError, "rule is 'mode'"),
        (lambda a: downsample_image(a, (1, 1, 1), incomplete="pad"), ValueError, "'keep' or 'drop'"),
        (lambda a: upsample_labels(a, (2, 2, 2), shape=(4, 8, 6)), ValueError, r"the shape \(4, 8, 6\) was asked for"),
        (
            lambda a: downsample_volume(a, (1, 9, 1), labels=True, incomplete="drop"),
            ValueError,
            "cannot be downsampled",
        ),
        (lambda a: downsample_volume(a, (1, 2, 1), labels=True, rule="mode"), ValueError, "rule is 'mode'"),
        (lambda a: downsample_volume(a / 2, (1, 2, 1), labels=True), TypeError, "labels are float64"),
        (lambda a: upsample_volume(a, (2, 2, 2), shape=(4, 8, 9)), ValueError, r"the shape \(4, 8, 9\) was asked for"),
    ],
)
def test_refusals(call, kind, text):
    with pytest.raises(kind, match=text):
        call(np.ones((2, 4, 4), np.int64))
