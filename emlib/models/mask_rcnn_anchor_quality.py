"""How well the anchors of a Mask R-CNN fit the objects of a data set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import nn

from emlib.models.mask_rcnn_images import resized_size
from emlib.models.mask_rcnn_targets import detection_target

_PADDED_TO = 32


@dataclass(frozen=True, eq=False)
class AnchorQuality:
    """Objects as the network sees them, each with the overlap of its best anchor; in the order of images and ids.

    Attributes:
        sizes: (n,) float64, square root of the area of the object's box, in pixels of the resized image.
        best_iou: (n,) float64, the largest intersection over union of the object's box with an anchor, 0-1.
        anchor_sizes: increasing, square roots of the areas of the anchors, in the same pixels.
    """

    sizes: np.ndarray
    best_iou: np.ndarray
    anchor_sizes: tuple[float, ...]


def anchor_quality(network: nn.Module, labels: Any) -> AnchorQuality:
    """Compare the objects of images with all anchors that the network lays over these images.

    In training an anchor has to find an object from an IoU of 0.7 on, or if it is the object's best, however bad. The
    result is exact and needs no list of anchors: of the anchors of one shape, which stand in a regular grid, the one
    whose centre is nearest along x and along y overlaps most, since overlap along an axis falls with that distance.

    Args:
        network: a Mask R-CNN; its weights play no part. Images are resized as in evaluation (`test_short_side`).
        labels: label images (y, x), 0 = background, a sequence of them or one.

    Raises:
        TypeError: no Mask R-CNN, or labels that are no whole numbers.
        ValueError: labels that are not (y, x), without a pixel, or no image at all.

    Example:
        >>> from emlib.models import build_model
        >>> labels = np.zeros((64, 64), np.int64)
        >>> labels[16:30, 24:40], labels[40:44, 40:56] = 1, 2
        >>> found = anchor_quality(build_model("mask_rcnn_tiny"), labels)
        >>> found.sizes.round(3).tolist(), found.best_iou.round(3).tolist(), found.anchor_sizes
        ([14.967, 8.0], [0.875, 0.333], (8.0, 16.0, 32.0, 64.0, 128.0))
    """
    generator = getattr(getattr(network, "rpn", None), "anchor_generator", None)
    if not hasattr(generator, "cells"):
        raise TypeError(f"The network is a {type(network).__name__}, but a Mask R-CNN was expected.")
    images = [labels] if hasattr(labels, "ndim") and labels.ndim == 2 else labels
    if not isinstance(images, Sequence | np.ndarray) or not len(images):
        raise ValueError("labels holds no image, but label images (y, x) were expected.")
    sizes, best = [np.zeros(0)], [np.zeros(0)]
    for one in images:
        boxes, padded = _as_seen(network, np.asarray(one))
        sizes.append(np.sqrt((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])))
        best.append(_best_overlaps(generator, padded, boxes))
    areas = np.concatenate([_sides(cell.numpy().astype(float)).prod(1) for cell in generator.cells])
    return AnchorQuality(
        np.concatenate(sizes), np.concatenate(best), tuple(np.unique(np.sqrt(areas).round(2)).tolist())
    )


def _as_seen(network: nn.Module, labels: np.ndarray) -> tuple[np.ndarray, tuple[int, int]]:
    """Boxes (n, 4) of the resized image, and the size to which that is padded."""
    target = detection_target(labels)
    if not labels.size:
        raise ValueError(f"A label image has shape {labels.shape}, but at least one pixel was expected.")
    size = labels.shape
    if network.test_short_sides:
        size = resized_size(labels.shape, network.test_short_sides[-1], network.long_side)
    y, x = (new / old for new, old in zip(size, labels.shape, strict=True))
    padded = tuple(-(-side // _PADDED_TO) * _PADDED_TO for side in size)
    return target["boxes"].numpy().astype(float) * (x, y, x, y), padded


def _best_overlaps(generator: Any, padded: tuple[int, int], boxes: np.ndarray) -> np.ndarray:
    """(n,) the largest IoU of each box with an anchor."""
    best = np.zeros(len(boxes))
    middle, area = (boxes[:, :2] + boxes[:, 2:]) / 2, _sides(boxes).prod(1)
    for stride, cells in zip(generator.strides, generator.cells, strict=True):
        points = np.array([-(-side // stride) for side in padded[::-1]])
        step = stride if generator.fixed else np.array(padded[::-1]) // points
        for cell in cells.numpy().astype(float):
            nearest = np.clip(np.rint((middle - (cell[:2] + cell[2:]) / 2) / step), 0, points - 1) * step
            low, high = np.maximum(boxes[:, :2], nearest + cell[:2]), np.minimum(boxes[:, 2:], nearest + cell[2:])
            both = np.clip(high - low, 0, None).prod(1)
            best = np.maximum(best, both / (area + _sides(cell[np.newaxis]).prod() - both))
    return best


def _sides(boxes: np.ndarray) -> np.ndarray:
    return boxes[:, 2:] - boxes[:, :2]
