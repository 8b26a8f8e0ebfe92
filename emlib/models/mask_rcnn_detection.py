"""Apply a Mask R-CNN to images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from emlib.models.mask_rcnn_pasting import ObjectMask, paste_masks


@dataclass(frozen=True, eq=False)
class Detections:
    """The objects that were found in one image, best first.

    Attributes:
        boxes: (n, 4) float32, x0, y0, x1, y1 in pixels of the image.
        scores: (n,) float32, 0-1.
        labels: (n,) int64, classes from 1.
        masks: (n, side, side) float32, the probability inside the box, usually at 28 x 28 points.
        shape: (y, x) of the image.
        cut_off: whether there were more objects than the network may report; what is missing has the lowest scores.
    """

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    masks: np.ndarray
    shape: tuple[int, int]
    cut_off: bool = False

    def __len__(self) -> int:
        return len(self.boxes)

    def objects(self, *, threshold: float = 0.5, rule: str = "published") -> list[ObjectMask]:
        """The pixels of each object, see `paste_masks`."""
        return paste_masks(self.masks, self.boxes, self.shape, threshold=threshold, rule=rule)


def detect(
    network: nn.Module, images: Sequence[torch.Tensor] | torch.Tensor, *, batch_size: int = 1
) -> list[Detections]:
    """Find the objects of images.

    Args:
        network: a Mask R-CNN; its mode (training or evaluation) is restored.
        images: (channels, y, x) floats from 0 to 1 each, or one batch (n, channels, y, x), on any device.
        batch_size: images that go through the network together.

    Returns:
        One `Detections` for each image, in its pixels.

    Raises:
        TypeError, ValueError: as the network's `forward`; a batch of less than 1.

    Example:
        >>> from emlib.models import build_model
        >>> found = detect(build_model("mask_rcnn_tiny"), [torch.zeros(3, 64, 48)])[0]
        >>> found.boxes.dtype.name, found.masks.shape == (len(found), 28, 28), found.shape
        ('float32', True, (64, 48))
    """
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}, but at least 1 was expected.")
    device = next(network.parameters()).device
    training, results, images = network.training, [], list(images)
    network.eval()
    try:
        with torch.no_grad():
            for start in range(0, len(images), batch_size):
                part = images[start : start + batch_size]
                part = [image.to(device) if isinstance(image, torch.Tensor) else image for image in part]
                for image, found in zip(part, network(part), strict=True):
                    arrays = {key: found[key].cpu().numpy() for key in ("boxes", "scores", "labels", "masks")}
                    results.append(Detections(**arrays, shape=tuple(image.shape[1:]), cut_off=found["cut_off"]))
    finally:
        network.train(training)
    return results
