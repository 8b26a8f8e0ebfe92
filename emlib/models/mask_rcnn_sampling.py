"""Which anchors and regions of an image Mask R-CNN learns from in one step of training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from emlib.models.mask_rcnn_anchors import UNDECIDED, match_boxes
from emlib.models.mask_rcnn_images import check_images, prepare_images
from emlib.models.mask_rcnn_targets import check_targets, detection_target
from emlib.randomness import random_state, restore_random_state


@dataclass(frozen=True, eq=False)
class SampledRegions:
    """What the losses of one image are calculated for. All boxes are (n, 4) float32 x0, y0, x1, y1, in its pixels.

    Attributes:
        objects: boxes of the objects.
        anchors: the anchors that the proposal network learns from; they may reach beyond the image.
        anchor_labels: (n,) int64, 1 = has to say object, 0 = has to say nothing.
        proposals: the regions that the heads learn from, among them boxes of objects, which training adds.
        proposal_labels: (n,) int64, the class that the region has to get, 0 = background.
        anchor_pool: of how many anchors these were drawn: (foreground, background, neither).
        proposal_pool: of how many regions these were drawn: (foreground, background).
    """

    objects: np.ndarray
    anchors: np.ndarray
    anchor_labels: np.ndarray
    proposals: np.ndarray
    proposal_labels: np.ndarray
    anchor_pool: tuple[int, int, int]
    proposal_pool: tuple[int, int]


def sampled_regions(network: nn.Module, image: Any, target: Any, *, seed: int = 0) -> SampledRegions:
    """Ask the network which anchors and regions it would draw for an image in training. It stays as it is.

    These are the draws of its own samplers: of a training step that begins after `torch.manual_seed(seed)` with this
    image alone. As published: an anchor is foreground from an IoU with an object of 0.7, or as the best of an object,
    background below 0.3, and 256 of an image are drawn, at most half of them foreground; a region is foreground from
    0.5, and 128 (`roi_batch`) are drawn, at most a quarter foreground. Only batch normalisation differs from training:
    it keeps its stored statistics.

    Args:
        network: a Mask R-CNN on any device.
        image: as the network takes it, (channels, y, x) from 0 to 1; or an array (y, x), (y, x, 1) or (y, x, 3), uint8
            or floats from 0 to 1.
        target: as the network takes it; or labels (y, x), 0 = background.
        seed: other seeds, other draws.

    Raises:
        TypeError, ValueError: no Mask R-CNN; an image or a target that it would refuse.

    Example:
        >>> from emlib.models import build_model
        >>> labels = np.zeros((64, 64), np.int64)
        >>> labels[12:28, 24:40] = 1
        >>> found = sampled_regions(build_model("mask_rcnn_tiny"), np.zeros((64, 64, 3), np.uint8), labels)
        >>> found.anchors.shape, int(found.anchor_labels.sum()), found.anchor_pool
        ((256, 4), 2, (2, 1017, 4))
    """
    if not hasattr(network, "rpn") or not hasattr(network, "roi_heads"):
        raise TypeError(f"The network is a {type(network).__name__}, but a Mask R-CNN was expected.")
    device = next(network.parameters()).device
    images = check_images(network.name, [_as_tensor(image, network.in_channels).to(device)], network.in_channels)
    target = target if isinstance(target, Mapping) else detection_target(target)
    target = {key: value.to(device) if isinstance(value, torch.Tensor) else value for key, value in target.items()}
    check_targets(network.name, [target], [tuple(images[0].shape[1:])], network.out_channels)
    with torch.no_grad(), _in_evaluation(network), _kept_randomness():
        torch.manual_seed(seed)
        batch = prepare_images(
            images,
            mean=network.image_mean,
            std=network.image_std,
            short_sides=network.short_sides,
            long_side=network.long_side,
            smooth_shrinking=network.rules.smooth_shrinking,
        )
        features = network.backbone(batch.tensors)
        truth = [batch.to_network(0, target["boxes"].float())]
        # The proposal network draws once more, the same ones, for its losses.
        with _kept_randomness():
            anchors, anchor_labels, anchor_pool = _anchors(network.rpn, batch.tensors, features, truth)
        proposals, _, _ = network.rpn(batch, features, truth)
        boxes, classes, proposal_pool = _regions(network.roi_heads, proposals, truth, target["labels"])
    return SampledRegions(
        target["boxes"].float().cpu().numpy(),
        batch.to_image(0, anchors).cpu().numpy(),
        anchor_labels.cpu().numpy(),
        batch.to_image(0, boxes).cpu().numpy(),
        classes.cpu().numpy(),
        anchor_pool,
        proposal_pool,
    )


def _anchors(
    rpn: nn.Module, tensors: torch.Tensor, features: list[torch.Tensor], truth: list[torch.Tensor]
) -> tuple[torch.Tensor, torch.Tensor, tuple[int, int, int]]:
    from emlib.models.mask_rcnn_proposals import BACKGROUND, FOREGROUND

    grids = [tuple(level.shape[2:]) for level in features]
    anchors = rpn.anchor_generator(tuple(tensors.shape[2:]), grids, tensors.device)
    matched = match_boxes(truth[0], anchors, low=BACKGROUND, high=FOREGROUND)
    # What the sampler reads: 1 foreground, 0 background, -1 neither.
    classes = torch.where(matched == UNDECIDED, -1.0, (matched >= 0).float())
    on_objects, beside = (torch.nonzero(one[0])[:, 0] for one in rpn.fg_bg_sampler([classes]))
    labels = torch.cat([torch.ones_like(on_objects), torch.zeros_like(beside)])
    pool = tuple(int((classes == value).sum()) for value in (1, 0, -1))
    return anchors[torch.cat([on_objects, beside])], labels, pool


def _regions(
    heads: nn.Module, proposals: list[torch.Tensor], truth: list[torch.Tensor], classes: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, tuple[int, int]]:
    boxes = heads.add_gt_proposals(proposals, truth)
    _, labels = heads.assign_targets_to_proposals(boxes, truth, [classes])
    chosen = heads.subsample(labels)[0]
    pool = int((labels[0] > 0).sum()), int((labels[0] == 0).sum())
    return boxes[0][chosen], labels[0][chosen], pool


def _as_tensor(image: Any, channels: int) -> torch.Tensor:
    if isinstance(image, torch.Tensor):
        return image
    pixels = np.asarray(image)
    if pixels.dtype == np.uint8:
        pixels = pixels.astype(np.float32) / 255
    if pixels.ndim == 2:
        pixels = pixels[..., np.newaxis]
    if pixels.ndim == 3:
        pixels = np.repeat(pixels, channels, 2) if pixels.shape[2] == 1 else pixels
        pixels = pixels.transpose(2, 0, 1)
    return torch.from_numpy(np.array(pixels, order="C"))


@contextmanager
def _in_evaluation(network: nn.Module) -> Iterator[None]:
    """Each part gets back its own mode, since some may be frozen."""
    modes = [(part, part.training) for part in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training


@contextmanager
def _kept_randomness() -> Iterator[None]:
    state = random_state()
    try:
        yield
    finally:
        restore_random_state(state)
