"""Holes of objects against scipy's hole filling, object by object."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import binary_fill_holes

from emlib.postprocessing import fill_object_holes


def filled_one_by_one(labels):
    """scipy's form, from the smallest box to the largest; only background is filled."""
    out = labels.copy()
    ids = [number for number in np.unique(labels) if number]

    def box_size(number):
        return np.prod(np.ptp(np.argwhere(labels == number), axis=0) + 1)

    for number in sorted(ids, key=box_size):
        out[binary_fill_holes(out == number) & (out == 0)] = number
    return out


@settings(max_examples=80, deadline=None)
@given(
    st.integers(0, 10_000),
    st.sampled_from([(1, 1), (3, 3), (9, 8), (1, 5, 5), (3, 3, 3), (5, 6, 5)]),
    st.sampled_from(["u1", "i4", "u8", ">u4"]),
    st.sampled_from([0.2, 0.5]),
)
def test_equals_scipy_object_by_object(seed, shape, dtype, empty):
    random = np.random.default_rng(seed)
    labels = random.choice([0, 1, 2, 100], p=[empty, 0.8 - empty, 0.1, 0.1], size=shape).astype(dtype)
    before = labels.copy()
    found = fill_object_holes(labels)
    assert found.dtype == labels.dtype
    assert np.array_equal(found, filled_one_by_one(labels))
    assert np.array_equal(labels, before)


def test_what_lies_inside_stays():
    labels = np.zeros((11, 11), dtype=np.uint64)
    labels[1:10, 1:10] = 2**63
    labels[2:9, 2:9] = 0
    labels[4:7, 4:7] = 5
    labels[5, 5] = 0
    found = fill_object_holes(labels)
    assert (found[1:10, 1:10] > 0).all()
    assert (found == 5).sum() == 9
    assert found[3, 3] == 2**63


def test_a_tunnel_is_no_hole_in_3d_but_a_hole_in_its_section():
    labels = np.ones((3, 5, 5), dtype=np.uint8)
    labels[:, 2, 2] = 0
    assert np.array_equal(fill_object_holes(labels), labels)
    assert fill_object_holes(labels[0]).all()
    labels[0], labels[2] = 1, 1
    assert fill_object_holes(labels).all()


@pytest.mark.parametrize("labels,error", [(np.zeros((3, 3)), TypeError), (np.zeros(3, int), ValueError)])
def test_bad_input_is_refused(labels, error):
    with pytest.raises(error):
        fill_object_holes(labels)
