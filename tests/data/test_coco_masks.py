"""Polygons and run lengths against the COCO programs, pixel for pixel and letter for letter."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as coco

from emlib.data.coco_masks import counts_of_mask, decode_counts, encode_counts, mask_of_counts, paint_objects


@given(st.integers(0, 10**6), st.integers(1, 9), st.integers(1, 40), st.floats(0, 1))
def test_run_lengths_are_those_of_the_coco_programs(seed, height, width, share):
    mask = np.random.default_rng(seed).random((height, width)) < share
    mask = mask.repeat(3, 0)
    expected = coco.encode(np.asfortranarray(mask, dtype=np.uint8))
    counts = counts_of_mask(mask)
    assert encode_counts(counts) == expected["counts"].decode()
    assert decode_counts(expected["counts"]).tolist() == counts.tolist()
    assert np.array_equal(mask_of_counts(counts, mask.shape), mask)
    text = {"size": list(mask.shape), "counts": expected["counts"].decode()}
    assert np.array_equal(paint_objects([text], mask.shape) > 0, mask)


@given(st.lists(st.integers(0, 10**9), max_size=12))
def test_text_of_any_counts(counts):
    assert decode_counts(encode_counts(counts)).tolist() == counts


def test_the_published_example():
    assert encode_counts(counts_of_mask([[0, 1, 1], [0, 1, 0]])) == "231"


@given(
    st.integers(0, 10**6), st.integers(3, 9), st.integers(1, 30), st.integers(1, 30), st.sampled_from([0, 1, 2]),
    st.booleans(),
)  # fmt: skip
def test_polygons_are_those_of_the_coco_programs(seed, corners, height, width, digits, outside):
    """Crossing edges, repeated points and corners outside of the picture included."""
    random = np.random.default_rng(seed)
    low, high = (-5, 5) if outside else (0, 0)
    points = np.stack([random.uniform(low, width + high, corners), random.uniform(low, height + high, corners)], 1)
    points = np.round(points, digits)
    if seed % 5 == 0:
        points[-1] = points[0]
    polygon = points.ravel().tolist()
    expected = coco.decode(coco.merge(coco.frPyObjects([polygon], height, width))).astype(bool)
    assert np.array_equal(paint_objects([[polygon]], (height, width)) > 0, expected)


def test_parts_of_one_object_join():
    parts = [[1, 1, 6, 1, 6, 6, 1, 6], [4, 4, 9, 4, 9, 9, 4, 9]]
    expected = coco.decode(coco.merge(coco.frPyObjects(parts, 12, 14))).astype(bool)
    assert np.array_equal(paint_objects([parts], (12, 14)) > 0, expected)
    assert np.array_equal(paint_objects([parts[0]], (12, 14)), paint_objects([[parts[0]]], (12, 14)))


def test_smaller_objects_are_seen_on_larger_ones():
    large, small = [[0, 0, 8, 0, 8, 8, 0, 8]], [[2, 2, 4, 2, 4, 4, 2, 4]]
    for segmentations, ids in (([large, small], (1, 2)), ([small, large], (2, 1))):
        labels = paint_objects(segmentations, (8, 8))
        assert labels.dtype == np.uint32
        assert (labels == ids[0]).sum() == 60
        assert (labels[2:4, 2:4] == ids[1]).all()


def test_nothing():
    assert paint_objects([], (3, 4)).tolist() == [[0] * 4] * 3
    assert decode_counts("").tolist() == []


@pytest.mark.parametrize(
    "segmentation, match",
    [
        (None, "Object 1.*polygons or run lengths"),
        ([], "Object 1"),
        ([[1, 2, 3, 4]], "Object 1.*three points"),
        ([[1, 2, 3, 4, 5]], "three points"),
        ([[0, 0, 1, 1, float("nan"), 2]], "finite"),
        ({"size": [4, 3], "counts": [12]}, r"size is \(4, 3\)"),
        ({"size": [3, 4], "counts": [11]}, "add up to 11"),
        ({"size": [3, 4], "counts": [13, -1]}, "run lengths"),
        ({"size": [3, 4], "counts": "2\u00e9"}, "character"),
        ({"size": [3, 4], "counts": "2"}, "add up"),
        ({"size": [3, 4], "counts": "P"}, "break off"),
        ({"counts": "2"}, "size"),
    ],
)
def test_bad_segmentations(segmentation, match):
    with pytest.raises(ValueError, match=match):
        paint_objects([[[0, 0, 1, 0, 1, 1]], segmentation], (3, 4))
