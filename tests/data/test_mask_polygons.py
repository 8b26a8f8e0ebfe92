"""Outlines of masks: drawn again by the COCO programs they give the very same pixels, if there are no holes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as coco
from scipy import ndimage
from skimage import measure

from emlib.data.coco_masks import paint_objects
from emlib.data.mask_polygons import mask_polygons

EIGHT = np.ones((3, 3))


def drawn(polygons, shape):
    return coco.decode(coco.merge(coco.frPyObjects(polygons, *shape))).astype(bool)


def without_holes(mask):
    """Holes are what cannot be left by steps to any of the eight neighbours."""
    outside, _ = ndimage.label(np.pad(~mask, 1, constant_values=True), EIGHT)
    return (outside != outside[0, 0])[1:-1, 1:-1]


masks = st.builds(
    lambda seed, height, width, share, grain: (
        np.random.default_rng(seed).random((height, width)).repeat(grain, 0).repeat(grain, 1) < share
    ),
    st.integers(0, 10**6), st.integers(1, 14), st.integers(1, 14), st.floats(0, 1), st.integers(1, 2),
)  # fmt: skip


@given(masks)
def test_drawn_again_they_are_the_mask_with_its_holes_filled(mask):
    before = mask.copy()
    outline = mask_polygons(mask)
    filled = without_holes(mask)
    _, count = ndimage.label(mask)
    assert len(outline.polygons) == count
    assert bool(outline.holes) == bool((filled != mask).any())
    assert len(outline.holes) == ndimage.label(np.pad(~mask, 1, constant_values=True), EIGHT)[1] - 1
    if count:
        assert np.array_equal(drawn(outline.polygons, mask.shape), filled)
        assert np.array_equal(paint_objects([outline.polygons], mask.shape) > 0, filled)
        once = mask_polygons(filled)
        assert once.holes == []
        assert np.array_equal(drawn(once.polygons, mask.shape), filled)
    assert np.array_equal(mask, before)


@given(masks)
def test_every_outline_by_itself(mask):
    """One piece a polygon, in the order of first pixels; a hole's outline is the hole with the islands in it."""
    pieces, _ = ndimage.label(mask)
    for number, polygon in enumerate(mask_polygons(mask).polygons, start=1):
        assert np.array_equal(drawn([polygon], mask.shape), without_holes(pieces == number))
        assert len(polygon) % 4 == 0
        points = np.array(polygon).reshape(-1, 2)
        steps = np.roll(points, -1, 0) - points
        assert ((steps != 0).sum(1) == 1).all()
        assert (np.diff((steps != 0)[:, 0].astype(int)) != 0).all(), "a corner in the middle of a line"
    holes, _ = ndimage.label(np.pad(~mask, 1, constant_values=True), EIGHT)
    expected = {
        without_holes(holes == number)[1:-1, 1:-1].tobytes() for number in np.unique(holes[holes > holes[0, 0]])
    }
    assert {drawn([hole], mask.shape).tobytes() for hole in mask_polygons(mask).holes} == expected


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int64, np.uint64, np.float32])
def test_types_and_memory_orders(dtype, order):
    mask = np.zeros((5, 9), dtype, order)
    mask[1:3, 2:8] = 200
    expected = [[8, 1, 8, 3, 2, 3, 2, 1]]
    assert mask_polygons(mask).polygons == expected
    wide = np.zeros((10, 18), dtype, order)
    wide[::2, ::2] = mask
    assert mask_polygons(wide[::2, ::2]).polygons == expected


def traced_at_pixel_centres(mask, level):
    """The tracing of the published system: marching squares without a margin, points x, y as they come."""
    lines = measure.find_contours(mask, level)
    return drawn([np.flip(line, axis=1).ravel().tolist() for line in lines if len(line) > 2], mask.shape)


def square(top, left, side):
    mask = np.zeros((60, 60), np.uint8)
    mask[top : top + side, left : left + side] = 255
    return mask


def test_what_the_published_tracing_does_to_a_mask():
    """The figures that this module exists to avoid; the ring's is why run lengths are what is stored by default."""
    ring = square(10, 10, 40)
    ring[20:40, 20:40] = 0
    inside, corner = square(20, 20, 20), square(0, 0, 10)
    assert [traced_at_pixel_centres(mask, 0.5).sum() for mask in (inside, ring, corner)] == [439, 1679, 54]
    assert traced_at_pixel_centres(inside // 255, 0.5).sum() == 399
    for mask in (inside, corner):
        outline = mask_polygons(mask)
        assert outline.holes == []
        assert np.array_equal(drawn(outline.polygons, mask.shape), mask > 0)
    outline = mask_polygons(ring)
    assert drawn(outline.polygons, ring.shape).sum() == 1600
    assert drawn(outline.holes, ring.shape).sum() == 400


@pytest.mark.parametrize("shape", [(0, 0), (0, 5), (3, 4)])
def test_nothing_to_trace(shape):
    outline = mask_polygons(np.zeros(shape, bool))
    assert (outline.polygons, outline.holes) == ([], [])


@pytest.mark.parametrize(
    "mask, error, match",
    [
        (np.zeros(5), ValueError, r"shape \(5,\), but \(y, x\)"),
        (np.zeros((2, 3, 1)), ValueError, "shape"),
        (np.array([["a"]]), TypeError, "numbers"),
    ],
)
def test_bad_masks(mask, error, match):
    with pytest.raises(error, match=match):
        mask_polygons(mask)
