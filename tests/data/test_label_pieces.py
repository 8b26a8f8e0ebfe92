"""Ids in several pieces against scipy's components."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from emlib.data.label_pieces import separate_pieces


@given(
    st.integers(0, 10**6), st.sampled_from([np.uint8, np.int16, np.uint32, np.int64, np.uint64]),
    st.sampled_from([4, 8]), st.sampled_from("CF"),
)  # fmt: skip
def test_equals_the_components_of_each_id(seed, dtype, connectivity, order):
    random = np.random.default_rng(seed)
    labels = random.integers(0, 4, (9, 11)) * random.integers(1, 40)
    labels = np.asarray(labels, dtype=dtype, order=order)
    kept = labels.copy()
    structure = ndimage.generate_binary_structure(2, 1 if connectivity == 4 else 2)
    largest = separate_pieces(labels, connectivity=connectivity)
    every = separate_pieces(labels, keep="all", connectivity=connectivity)
    assert largest.dtype == labels.dtype
    total = 0
    for cell in np.unique(labels[labels > 0]):
        pieces, count = ndimage.label(labels == cell, structure)
        sizes = np.bincount(pieces.ravel())[1:]
        own = largest == cell
        assert own.sum() == sizes.max()
        assert ndimage.label(own, structure)[1] == 1
        assert (labels[own] == cell).all()
        for piece in range(1, count + 1):
            assert np.unique(every[pieces == piece]).size == 1
        total += count
    assert every.max() == total == np.unique(every[every > 0]).size
    assert np.array_equal(every > 0, labels > 0)
    assert np.array_equal(labels, kept)


@pytest.mark.parametrize(
    "labels, options, error, match",
    [
        (np.ones((2, 2)), {}, TypeError, "float64"),
        (np.ones(2, int), {}, ValueError, "shape"),
        (np.ones((2, 2), int), {"keep": "some"}, ValueError, "keep"),
        (np.ones((2, 2), int), {"connectivity": 6}, ValueError, "connectivity"),
    ],
)
def test_bad_arguments(labels, options, error, match):
    with pytest.raises(error, match=match):
        separate_pieces(labels, **options)


def test_empty():
    assert separate_pieces(np.zeros((0, 4), np.uint16)).dtype == np.uint16
    assert not separate_pieces(np.zeros((3, 4), int), keep="all").any()
