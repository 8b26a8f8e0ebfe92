"""Masks drawn object by object equal masks drawn over the whole image, by torchvision and by Detectron2's rule."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from emlib.models import paste_masks
from emlib.models.mask_rcnn_detection import Detections

SHAPE = (40, 50)
CLOSE = 1e-5  # values this near the threshold may fall to either side


def scene(seed, count=6):
    rng = np.random.default_rng(seed)
    masks = rng.uniform(0, 1, (count, 28, 28)).astype(np.float32)
    masks[::2] = np.round(masks[::2])
    corners = rng.uniform(-8, 40, (count, 2))
    sizes = rng.choice([0.3, 2.0, 9.0, 30.0, 70.0], (count, 2)) * rng.uniform(0.8, 1.2, (count, 2))
    return masks, np.concatenate([corners, corners + sizes], 1).astype(np.float32)


def whole(objects):
    """(n, y, x) bool of object masks."""
    images = np.zeros((len(objects), *SHAPE), bool)
    for image, one in zip(images, objects, strict=True):
        image[one.slices] = one.mask
    return images


def assert_equal_but_for_ties(found, values, threshold):
    sure = np.abs(values - threshold) > CLOSE
    assert sure.mean() > 0.9
    assert np.array_equal(found[sure], values[sure] >= threshold)


@given(st.integers(0, 9999), st.sampled_from([0.5, 0.3, 0.9]))
def test_torchvisions_rule_equals_torchvision(seed, threshold):
    from torchvision.models.detection.roi_heads import paste_masks_in_image

    masks, boxes = scene(seed)
    # As detections are: torchvision fails on boxes that lie outside the image.
    boxes = np.clip(boxes, 0, [SHAPE[1], SHAPE[0]] * 2).astype(np.float32)
    inside = (boxes[:, 2:] > boxes[:, :2]).all(1)
    masks, boxes = masks[inside], boxes[inside]
    expected = paste_masks_in_image(torch.tensor(masks)[:, None], torch.tensor(boxes), SHAPE)[:, 0].numpy()
    found = whole(paste_masks(masks, boxes, SHAPE, threshold=threshold, rule="torchvision"))
    assert_equal_but_for_ties(found, expected, threshold)


@given(st.integers(0, 9999), st.sampled_from([0.5, 0.3, 0.9]))
def test_the_published_rule_equals_one_sampling_of_the_whole_image(seed, threshold):
    masks, boxes = scene(seed)
    x0, y0, x1, y1 = (torch.tensor(boxes).double()[:, column, None] for column in range(4))
    y = ((torch.arange(SHAPE[0]) + 0.5 - y0) / (y1 - y0) * 2 - 1)[:, :, None].expand(-1, *SHAPE)
    x = ((torch.arange(SHAPE[1]) + 0.5 - x0) / (x1 - x0) * 2 - 1)[:, None, :].expand(-1, *SHAPE)
    sampled = functional.grid_sample(
        torch.tensor(masks).double()[:, None], torch.stack([x, y], -1), align_corners=False
    )
    found = whole(paste_masks(masks, boxes, SHAPE, threshold=threshold))
    assert_equal_but_for_ties(found, sampled[:, 0].numpy(), threshold)


def test_crops_are_tight_and_in_the_order_of_the_boxes():
    masks, boxes = scene(3, count=40)
    objects = paste_masks(masks, boxes, SHAPE)
    assert len(objects) == 40
    for one in objects:
        assert one.mask.dtype == bool
        if one.mask.size:
            assert one.mask[0].any()
            assert one.mask[-1].any()
            assert one.mask[:, 0].any()
            assert one.mask[:, -1].any()
    assert any(not one.mask.size for one in objects)


def test_a_full_mask_fills_its_box():
    objects = paste_masks(np.ones((2, 28, 28)), np.array([[3.0, 4, 9, 5], [-5, 30, 10, 60]]), SHAPE)
    assert (objects[0].corner, objects[0].mask.shape) == ((4, 3), (1, 6))
    assert (objects[1].corner, objects[1].mask.shape) == ((30, 0), (10, 10))
    assert all(one.mask.all() for one in objects)


def test_detections_draw_their_objects():
    masks, boxes = scene(5)
    found = Detections(boxes, np.ones(6, np.float32), np.ones(6, np.int64), masks, SHAPE)
    assert len(found) == 6
    for one, other in zip(found.objects(), paste_masks(masks, boxes, SHAPE), strict=True):
        assert one.corner == other.corner
        assert np.array_equal(one.mask, other.mask)
    assert paste_masks(masks[:0], boxes[:0], SHAPE) == []


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"boxes": np.zeros((2, 5))}, r"boxes has shape \(2, 5\)"),
        ({"masks": np.zeros((3, 28, 28))}, r"masks is float64 \(3, 28, 28\), but floating point \(2, side, side\)"),
        ({"masks": np.zeros((2, 28, 28), np.uint8)}, "masks is uint8"),
        ({"shape": (3, 4, 5)}, r"shape is \(3, 4, 5\)"),
        ({"threshold": 0}, "threshold is 0"),
        ({"rule": "published "}, "rule is 'published '"),
        ({"boxes": np.array([[0, 0, 1, 1], [3, 3, 2, 4.0]])}, r"box 1 is \[3.0, 3.0, 2.0, 4.0\]"),
        ({"boxes": np.array([[0, 0, 1, np.nan], [3, 3, 4, 4.0]])}, "box 0 is"),
    ],
)
def test_bad_input_is_refused(change, says):
    given_ = {"masks": np.zeros((2, 28, 28)), "boxes": np.array([[0, 0, 1, 1.0]] * 2), "shape": SHAPE} | change
    with pytest.raises(ValueError, match=says):
        paste_masks(**given_)
