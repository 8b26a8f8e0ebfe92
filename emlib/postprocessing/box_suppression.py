"""Non-maximum suppression of boxes, written to be read."""

from __future__ import annotations

from typing import Any

import numpy as np


def suppress_boxes(boxes: Any, scores: Any, threshold: float = 0.5, *, groups: Any = None) -> np.ndarray:
    """Which boxes stay if each one, the best first, drops all worse ones that overlap it too much.

    Detectors find an object several times; suppression leaves one box of each heap, and with it loses what really was a
    second object under the first. A box that was dropped drops no other. What the networks of `emlib.models` do inside.

    Args:
        boxes: (n, 4), x0, y0, x1, y1 in pixels.
        scores: (n,), of any range.
        threshold: boxes whose intersection over union with one that stays is greater are dropped, 0 to 1.
        groups: (n,) whole numbers, such as classes; boxes of different groups drop each other not. None: one group.

    Returns:
        (k,) int64: places of the boxes that stay, the best score first, equal scores in the order given.

    Raises:
        TypeError: values that are no numbers.
        ValueError: shapes that do not fit, NaN or infinity, a box of negative width, a threshold outside 0 to 1.

    Source: greedy suppression as in Girshick et al., R-CNN, CVPR 2014.

    Example:
        >>> boxes, scores = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [20, 0, 30, 10]]), np.array([0.6, 0.9, 0.3])
        >>> kept = suppress_boxes(boxes, scores, 0.5)
        >>> kept.tolist(), scores[kept].tolist()
        ([1, 2], [0.9, 0.3])
    """
    boxes, scores = _numbers(boxes, "boxes"), _numbers(scores, "scores")
    if boxes.ndim != 2 or boxes.shape[1] != 4 or scores.shape != boxes.shape[:1]:
        raise ValueError(
            f"boxes and scores have shapes {boxes.shape} and {scores.shape}, but (n, 4) and (n,) were expected."
        )
    if (boxes[:, 2:] < boxes[:, :2]).any():
        place = int(np.argmax((boxes[:, 2:] < boxes[:, :2]).any(1)))
        raise ValueError(f"Box {place} is {boxes[place].tolist()}, but x0 <= x1 and y0 <= y1 were expected.")
    number = isinstance(threshold, int | float | np.integer | np.floating) and not isinstance(threshold, bool)
    if not number or not 0 <= threshold <= 1:
        raise ValueError(f"threshold is {threshold!r}, but a number from 0 to 1 was expected.")
    groups = np.zeros(len(boxes), np.int64) if groups is None else np.asarray(groups)
    if groups.shape != scores.shape or (groups.size and groups.dtype.kind not in "biu"):
        raise ValueError(f"groups is {groups.dtype} {groups.shape}, but {len(boxes)} whole numbers were expected.")

    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    left = np.argsort(-scores, kind="stable")
    kept = []
    while left.size:
        best, left = left[0], left[1:]
        kept.append(best)
        sides = np.minimum(boxes[best, 2:], boxes[left, 2:]) - np.maximum(boxes[best, :2], boxes[left, :2])
        both = np.where((sides > 0).all(1), sides[:, 0] * sides[:, 1], 0)
        union = areas[best] + areas[left] - both
        overlap = np.divide(both, union, out=np.zeros_like(both), where=both > 0)
        left = left[(overlap <= threshold) | (groups[left] != groups[best])]
    return np.array(kept, np.int64)


def _numbers(values: Any, name: str) -> np.ndarray:
    array = np.asarray(values)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{name} is {array.dtype}, but numbers were expected.")
    # Single precision stays, so that ties at the threshold fall as in the networks.
    array = array if array.dtype == np.float32 else array.astype(np.float64)
    if not np.isfinite(array).all():
        raise ValueError(f"{name} holds numbers that are NaN or infinite.")
    return array
