"""The overlap of best anchors against a comparison with every anchor of the network."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from emlib.models import anchor_quality, build_model, detection_target
from emlib.models.mask_rcnn_anchors import box_overlaps
from emlib.models.mask_rcnn_images import prepare_images

NETWORKS = {
    "plain": {},
    "torchvision": {"rules": "torchvision"},
    "several a level": {"anchor_sizes": ((8, 12), (16, 24), (32, 48), (64, 96), (128, 192))},
    "resized": {"short_side": (64, 72), "test_short_side": 90, "long_side": 150, "aspect_ratios": (0.4, 1.3)},
}
BUILT = {name: build_model("mask_rcnn_tiny", **options).eval() for name, options in NETWORKS.items()}


def scattered_labels(rng, shape, count):
    labels = np.zeros(shape, np.uint16)
    for number in range(1, count + 1):
        height, width = rng.integers(1, 30, 2)
        y, x = (int(rng.integers(-5, side)) for side in shape)
        labels[max(y, 0) : y + height, max(x, 0) : x + width] = 40 * number
    return labels


def compared_with_all(network, labels):
    """Sizes and best overlaps from the anchors that the network lays over its own feature maps."""
    batch = prepare_images(
        [torch.zeros(3, *labels.shape)],
        mean=network.image_mean,
        std=network.image_std,
        short_sides=network.test_short_sides,
        long_side=network.long_side,
    )
    with torch.no_grad():
        features = network.backbone(batch.tensors)
    grids = [tuple(level.shape[2:]) for level in features]
    anchors = network.rpn.anchor_generator(tuple(batch.tensors.shape[2:]), grids, torch.device("cpu"))
    boxes = batch.to_network(0, detection_target(labels)["boxes"]).double()
    sides = boxes[:, 2:] - boxes[:, :2]
    return sides.prod(1).sqrt().numpy(), box_overlaps(boxes, anchors.double()).max(1).values.numpy()


@settings(max_examples=12)
@given(st.integers(0, 9999), st.integers(33, 150), st.integers(33, 150), st.sampled_from(list(NETWORKS)))
def test_the_nearest_anchor_is_the_best_of_all(seed, height, width, name):
    labels = scattered_labels(np.random.default_rng(seed), (height, width), 12)
    if not labels.any():
        return
    found = anchor_quality(BUILT[name], labels)
    sizes, best = compared_with_all(BUILT[name], labels)
    np.testing.assert_allclose(found.sizes, sizes, rtol=1e-6)
    np.testing.assert_allclose(found.best_iou, best, rtol=1e-5, atol=1e-7)


def test_the_grids_are_those_of_the_large_networks_too():
    network = build_model("mask_rcnn_r50_fpn", short_side=150, long_side=200).eval()
    labels = scattered_labels(np.random.default_rng(0), (70, 83), 10)
    np.testing.assert_allclose(
        anchor_quality(network, labels).best_iou, compared_with_all(network, labels)[1], rtol=1e-5
    )


def test_images_follow_each_other_and_may_be_empty():
    rng, network = np.random.default_rng(1), BUILT["plain"]
    images = [scattered_labels(rng, (60, 60), 5), np.zeros((40, 50), int), scattered_labels(rng, (90, 70), 7)]
    before = images[0].copy()
    parts, found = [anchor_quality(network, one) for one in images], anchor_quality(network, images)
    for name in ("sizes", "best_iou"):
        np.testing.assert_array_equal(getattr(found, name), np.concatenate([getattr(one, name) for one in parts]))
    assert [len(one.sizes) for one in parts] == [len(np.unique(one)) - 1 for one in images]
    assert len(parts[1].sizes) == 0
    np.testing.assert_array_equal(images[0], before)
    assert found.anchor_sizes == (8, 16, 32, 64, 128)
    assert anchor_quality(BUILT["several a level"], images).anchor_sizes == (8, 12, 16, 24, 32, 48, 64, 96, 128, 192)


def test_objects_that_are_anchors_overlap_fully():
    labels = np.zeros((64, 64), int)
    labels[4:12, 24:32], labels[24:40, 40:56] = 1, 2
    np.testing.assert_allclose(anchor_quality(BUILT["plain"], labels).best_iou, [1, 1])
    # Resized by 90 / 64 they are not what the anchors are made for any more.
    assert anchor_quality(BUILT["resized"], labels).best_iou.max() < 0.95


@pytest.mark.parametrize(
    ("network", "labels", "error", "says"),
    [
        (nn.Linear(1, 1), np.ones((4, 4), int), TypeError, "The network is a Linear, but a Mask R-CNN"),
        (None, [], ValueError, "labels holds no image"),
        (None, 7, ValueError, "labels holds no image"),
        (None, [np.ones((4, 4))], TypeError, "float64, but whole numbers"),
        (None, [np.ones(4, int)], ValueError, r"shape \(4,\), but \(y, x\)"),
        (None, [np.ones((0, 4), int)], ValueError, "at least one pixel"),
    ],
)
def test_bad_input_stops_with_one_sentence(network, labels, error, says):
    with pytest.raises(error, match=says):
        anchor_quality(network or BUILT["plain"], labels)
