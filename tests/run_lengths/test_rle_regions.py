"""Encoded objects against pycocotools, and against the masks that they stand for."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as coco

from emlib.run_lengths import (
    RunTable,
    counts_of_mask,
    decode_counts,
    encode_counts,
    mask_of_counts,
    object_runs,
    rle_area,
    rle_decode,
    rle_encode,
    rle_iou,
    rle_merge,
    rle_to_bbox,
    runs_of_labels,
    runs_of_segmentations,
)
from emlib.run_lengths.run_table import join_tables


def random_mask(random, shape):
    """Blobs, noise, nothing, or everything."""
    kind = random.integers(5)
    mask = random.random(shape) < (0, 1, 0.02, 0.5, 0.0)[kind]
    if kind == 4:
        y, x = (random.integers(0, side + 1, 2) for side in shape)
        mask[y.min() : y.max(), x.min() : x.max()] = True
    return mask


def by_coco(mask):
    return coco.encode(np.asfortranarray(mask, dtype=np.uint8))


@given(st.integers(0, 10**9), st.integers(1, 60), st.integers(1, 60))
def test_encode_and_decode(seed, height, width):
    random = np.random.default_rng(seed)
    mask = random_mask(random, (height, width))
    expected = by_coco(mask)
    for form in (mask, np.asfortranarray(mask), mask.astype(np.uint8) * 255, mask.repeat(2, 1)[:, ::2]):
        kept = form.copy()
        rle = rle_encode(form)
        assert rle == {"size": [height, width], "counts": expected["counts"].decode()}
        assert np.array_equal(form, kept)
    for counts in (rle["counts"], rle["counts"].encode(), decode_counts(rle["counts"]).tolist()):
        decoded = rle_decode({"size": [height, width], "counts": counts})
        assert decoded.dtype == bool
        assert decoded.flags.c_contiguous
        assert np.array_equal(decoded, mask)
    assert rle_area(rle) == coco.area(expected)
    assert rle_to_bbox(rle) == coco.toBbox(expected).tolist()


@pytest.mark.parametrize("offset", range(1, 8))
def test_masks_at_any_address(offset):
    mask = np.zeros(offset + 7 * 33, bool)[offset:].reshape(33, 7).T
    mask[2:5, 3:30] = True
    assert mask.flags.f_contiguous
    assert rle_encode(mask)["counts"] == by_coco(mask)["counts"].decode()


@given(st.integers(0, 10**9), st.integers(1, 30), st.integers(1, 30), st.integers(1, 4))
def test_merge(seed, height, width, number):
    random = np.random.default_rng(seed)
    masks = [random_mask(random, (height, width)) for _ in range(number)]
    rles = [rle_encode(mask) for mask in masks]
    encoded = [by_coco(mask) for mask in masks]
    for intersect in (False, True):
        expected = coco.merge(encoded, intersect)
        assert rle_merge(rles, intersect=intersect)["counts"] == expected["counts"].decode()


@given(st.integers(0, 10**9), st.integers(1, 30), st.integers(1, 30), st.integers(1, 5), st.integers(1, 5))
def test_overlap_of_pairs(seed, height, width, rows, columns):
    random = np.random.default_rng(seed)
    masks = [random_mask(random, (height, width)) for _ in range(rows + columns)]
    crowd = random.random(columns) < 0.3
    rles, encoded = [rle_encode(mask) for mask in masks], [by_coco(mask) for mask in masks]
    expected = coco.iou(encoded[:rows], encoded[rows:], crowd.astype(np.uint8))
    assert np.array_equal(rle_iou(rles[:rows], rles[rows:], crowd), expected)
    assert np.array_equal(rle_iou(rles[:rows], rles[rows:]), coco.iou(encoded[:rows], encoded[rows:], [0] * columns))


def test_overlap_of_nothing():
    one = rle_encode(np.ones((2, 2)))
    assert rle_iou([], [one]).shape == (0, 1)
    assert rle_iou([one], []).shape == (1, 0)


@given(st.integers(0, 10**9), st.integers(1, 20), st.integers(1, 20))
def test_run_lengths_of_zero_are_allowed(seed, height, width):
    """They occur in files; the same pixels as one run."""
    random = np.random.default_rng(seed)
    mask = random_mask(random, (height, width))
    counts = []
    for count in counts_of_mask(mask).tolist():
        cut = random.integers(0, count + 1)
        counts += [cut, 0, count - cut] if random.random() < 0.5 else [count]
    rle = {"size": [height, width], "counts": counts}
    assert np.array_equal(rle_decode(rle), mask)
    assert rle_merge([rle]) == rle_encode(mask)
    table = runs_of_segmentations([rle], height, width)
    assert (table.starts[1:] > table.stops[:-1]).all()
    assert rle_iou([rle], [rle_encode(mask)])[0, 0] == bool(mask.any())


@given(
    st.integers(0, 10**9), st.integers(1, 30), st.integers(1, 30),
    st.sampled_from([bool, np.uint8, np.uint32, np.uint64, np.int64, ">i4"]), st.sampled_from("CF"),
)  # fmt: skip
def test_runs_of_labels_are_those_of_each_object(seed, height, width, dtype, order):
    random = np.random.default_rng(seed)
    labels = random.integers(0, 2 if dtype is bool else 6, (height, width)).repeat(2, 0)
    labels = np.asarray(labels, dtype=dtype, order=order)
    if dtype is np.uint64:
        labels = np.where(labels > 3, labels + np.uint64(2**63), labels)
    ids, table = runs_of_labels(labels)
    assert ids.tolist() == [one for one in np.unique(labels).tolist() if one]
    boxes = table.boxes(labels.shape[0])
    for place, one in enumerate(ids):
        expected = by_coco(labels == one)
        starts, stops = object_runs({"size": list(labels.shape), "counts": expected["counts"]}, labels.shape)
        assert np.array_equal(table.of(place)[0], starts)
        assert np.array_equal(table.of(place)[1], stops)
        assert table.areas()[place] == coco.area(expected)
        left, top, right, bottom = boxes[place]
        assert [left, top, right - left, bottom - top] == coco.toBbox(expected).tolist()


def test_forms_are_mixed_and_keep_their_places():
    polygon = [[0, 0, 2, 0, 2, 2, 0, 2]]
    forms = [polygon, {"size": [2, 3], "counts": "42"}, {"size": [2, 3], "counts": [2, 3, 1]}, polygon * 2]
    table = runs_of_segmentations(forms * 3, 2, 3)
    assert table.areas().tolist() == [4, 2, 3, 4] * 3
    assert table.take(np.array([2, 0])).areas().tolist() == [3, 4]
    assert np.array_equal(join_tables([table, table.take(np.array([1]))]).areas(), [4, 2, 3, 4] * 3 + [2])
    empty = runs_of_segmentations([], 2, 3)
    assert isinstance(empty, RunTable)
    assert (len(empty), empty.areas().size, empty.boxes(2).shape) == (0, 0, (0, 4))


def test_pictures_of_several_sizes():
    forms = [{"size": [2, 3], "counts": [1, 5]}, {"size": [5, 1], "counts": "14"}]
    table = runs_of_segmentations(forms, [2, 5], [3, 1])
    assert table.boxes([2, 5]).tolist() == [[0, 0, 3, 2], [0, 1, 1, 5]]


def test_many_polygons_as_one_by_one():
    """The rasterizer's growing arrays: more crossings and runs than it first has room for."""
    random = np.random.default_rng(3)
    polygons = [[random.uniform(-3, 403, 60).tolist() for _ in range(3)] for _ in range(30)]
    table = runs_of_segmentations(polygons, 300, 400)
    assert table.starts.size > 4096
    for place, polygon in enumerate(polygons):
        expected = coco.merge(coco.frPyObjects(polygon, 300, 400))
        counts = decode_counts(expected["counts"])
        starts, stops = object_runs({"size": [300, 400], "counts": counts}, (300, 400))
        assert np.array_equal(table.of(place)[0], starts)
        assert np.array_equal(table.of(place)[1], stops)


@pytest.mark.parametrize(
    "call, match",
    [
        (lambda: encode_counts([1.5]), "whole numbers"),
        (lambda: encode_counts([3, -1]), "-1, but none can be negative"),
        (lambda: encode_counts([2**60]), "57 bits"),
        (lambda: encode_counts([[1], [2, 3]]), "list of lists"),
        (lambda: decode_counts("1\u20ac"), "character '\u20ac'"),
        (lambda: decode_counts("1 "), "character ' '"),
        (lambda: decode_counts("o" * 20), "57 bits"),
        (lambda: decode_counts("ooooooooooo7"), "57 bits"),
        (lambda: decode_counts("O"), "-1"),
        (lambda: counts_of_mask(np.zeros(3)), r"\(3,\)"),
        (lambda: mask_of_counts([3], (2, 3)), "add up to 3, but the picture has 6"),
        (lambda: rle_decode({"size": [2, 3], "counts": "3"}), "add up"),
        (lambda: rle_decode({"size": [2, 3]}), "Object 0 is no dict with 'size' and 'counts'"),
        (lambda: rle_decode({"size": [2], "counts": "2"}), r"\[height, width\]"),
        (lambda: rle_area({"size": [2, 3], "counts": "P"}), "Object 0 cannot be read: run lengths break off"),
        (lambda: rle_merge([]), "at least one"),
        (lambda: rle_merge([rle_encode(np.ones((2, 3))), rle_encode(np.ones((3, 2)))]), "sizes are"),
        (lambda: rle_iou([rle_encode(np.ones((2, 3)))], [rle_encode(np.ones((3, 2)))]), "sizes are"),
        (lambda: rle_iou([rle_encode(np.ones((2, 3)))], [rle_encode(np.ones((2, 3)))], [0, 1]), "one flag for each"),
        (lambda: runs_of_labels(np.array([[-1, 2]])), "-1"),
        (lambda: runs_of_labels(np.zeros((2, 2, 2), int)), r"\(2, 2, 2\)"),
        (lambda: runs_of_segmentations([[[0, 0, 1e300, 0, 1, 1]]], 2, 3), "Segmentation 0: a polygon has the coord"),
        (lambda: runs_of_segmentations([{"size": 3, "counts": "2"}], 2, 3), "Segmentation 0"),
        (lambda: runs_of_segmentations([{"size": [2, 3], "counts": {}}], 2, 3), "Segmentation 0"),
        (lambda: runs_of_segmentations([{"size": [2, 3], "counts": None}], 2, 3), "Segmentation 0"),
    ],
)
def test_bad_input(call, match):
    with pytest.raises(ValueError, match=match):
        call()


def test_labels_that_are_no_integers():
    with pytest.raises(TypeError, match="float64"):
        runs_of_labels(np.zeros((2, 2)))
