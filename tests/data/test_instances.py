"""Connected components against scipy."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from emlib.data.instances import instances_from_mask

RANK = {6: 1, 18: 2, 26: 3, 4: 1, 8: 2}


def same_partition(a, b):
    pairs = {(int(x), int(y)) for x, y in zip(a.ravel(), b.ravel(), strict=True)}
    return len(pairs) == len({x for x, _ in pairs}) == len({y for _, y in pairs})


@given(arrays(np.bool_, (4, 6, 7)), st.sampled_from([6, 18, 26]), st.integers(0, 5))
def test_agrees_with_scipy_in_3d(mask, connectivity, min_size):
    expected, _ = ndimage.label(mask, ndimage.generate_binary_structure(3, RANK[connectivity]))
    expected[(np.bincount(expected.ravel()) < min_size)[expected]] = 0
    found = instances_from_mask(mask, min_size=min_size, connectivity=connectivity)
    assert found.dtype == np.uint32
    assert same_partition(found, expected)
    assert sorted(np.unique(found[found > 0])) == list(range(1, found.max() + 1))


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int16, np.uint64])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("connectivity", [4, 8, None])
def test_images_of_every_type(dtype, order, connectivity):
    mask = np.asarray(np.random.default_rng(0).random((40, 50)) > 0.6, dtype=dtype, order=order) * dtype(1)
    before = mask.copy()
    expected, _ = ndimage.label(mask, ndimage.generate_binary_structure(2, RANK[connectivity or 8]))
    assert same_partition(instances_from_mask(mask, connectivity=connectivity), expected)
    assert np.array_equal(mask, before)


def test_touching_labels_of_a_mask_are_one_instance_and_huge_values_are_foreground():
    mask = np.zeros((3, 3, 3), np.uint64)
    mask[0, 0, 0], mask[1, 1, 1] = 2**40, 2**24 + 1
    assert instances_from_mask(mask).max() == 1
    assert instances_from_mask(mask, connectivity=6).max() == 2


def test_empty_and_bad_input():
    assert instances_from_mask(np.zeros((0, 4, 4), bool)).shape == (0, 4, 4)
    assert not instances_from_mask(np.zeros((2, 4, 4), bool)).any()
    with pytest.raises(TypeError, match="threshold it first"):
        instances_from_mask(np.zeros((4, 4)))
    with pytest.raises(ValueError, match="6 or 18 or 26"):
        instances_from_mask(np.zeros((4, 4, 4), bool), connectivity=8)
    with pytest.raises(ValueError, match="shape"):
        instances_from_mask(np.zeros(4, bool))
    with pytest.raises(ValueError, match="min_size"):
        instances_from_mask(np.zeros((4, 4), bool), min_size=-1)
