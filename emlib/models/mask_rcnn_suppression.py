"""Non-maximum suppression within groups of boxes: the levels of a pyramid, or the classes of detections."""

from __future__ import annotations

import numpy as np
import torch

from emlib.compilation import compiled


def suppress(boxes: torch.Tensor, scores: torch.Tensor, groups: torch.Tensor, threshold: float) -> torch.Tensor:
    """Places of the boxes that survive, best score first; equal scores in the order given.

    A box is dropped if its intersection over union with a better box of its group, that was kept, is greater than
    `threshold`. On the CPU the boxes are compared one by one in compiled code, several times faster than operators on
    the matrix of all pairs; elsewhere torchvision's operator does it.

    Args:
        boxes: (n, 4), x0, y0, x1, y1, finite.
        scores: (n,).
        groups: (n,) int64.
        threshold: 0-1.

    Returns:
        (k,) int64.

    Example:
        >>> boxes = torch.tensor([[0.0, 0, 10, 10], [1, 0, 11, 10], [0, 0, 10, 9]])
        >>> suppress(boxes, torch.tensor([0.5, 0.9, 0.1]), torch.tensor([0, 0, 1]), 0.5)
        tensor([1, 2])
    """
    order = torch.argsort(scores, descending=True, stable=True)
    if boxes.device.type != "cpu":
        from torchvision.ops import nms

        parts = [order[groups[order] == group] for group in torch.unique(groups)]
        kept = torch.cat([order[:0], *(part[nms(boxes[part], scores[part], threshold)] for part in parts)])
        return order[torch.isin(order, kept)]
    sorted_boxes = np.ascontiguousarray(boxes.detach()[order].numpy())
    keep = _keep(sorted_boxes, groups[order].numpy(), float(threshold))
    return order[torch.from_numpy(keep)]


@compiled
def _keep(boxes, groups, threshold):  # pragma: no cover - compiled
    """Which boxes stay, of boxes sorted by score."""
    count = len(boxes)
    keep = np.zeros(count, np.bool_)
    kept = np.empty(count, np.int64)
    stays = 0
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    for place in range(count):
        x0, y0, x1, y1 = boxes[place]
        good = True
        for number in range(stays):
            other = kept[number]
            width = min(x1, boxes[other, 2]) - max(x0, boxes[other, 0])
            if width <= 0 or groups[other] != groups[place]:
                continue
            height = min(y1, boxes[other, 3]) - max(y0, boxes[other, 1])
            if height <= 0:
                continue
            both = width * height
            if both / (areas[place] + areas[other] - both) > threshold:
                good = False
                break
        if good:
            keep[place] = True
            kept[stays] = place
            stays += 1
    return keep
