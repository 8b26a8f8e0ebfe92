"""What became of detected boxes: objects found, found once more, or nothing there; and objects that were missed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from emlib.evaluation.matching import check_threshold

FOUND, DUPLICATE, SPURIOUS = "found", "duplicate", "spurious"


@dataclass(frozen=True, eq=False)
class BoxMatches:
    """Boxes and objects, put together.

    Attributes:
        kinds: (n,) for each box "found" (the first on its object), "duplicate" (on an object that a better box has
            found) or "spurious" (on none).
        objects: (n,) int64, place of the object that the box has found, or -1.
        missed: (k,) int64, places of the objects that no box has found.
    """

    kinds: np.ndarray
    objects: np.ndarray
    missed: np.ndarray

    @property
    def found(self) -> int:
        """Objects that a box has found."""
        return int((self.kinds == FOUND).sum())

    @property
    def duplicates(self) -> int:
        """Boxes on objects that were found already."""
        return int((self.kinds == DUPLICATE).sum())

    @property
    def spurious(self) -> int:
        """Boxes on no object."""
        return int((self.kinds == SPURIOUS).sum())


def match_detected_boxes(boxes: Any, scores: Any, truth: Any, *, threshold: float = 0.5) -> BoxMatches:
    """Give every object to a box, the best box first: it takes the object, still free, that it overlaps most.

    Args:
        boxes: (n, 4), x0, y0, x1, y1.
        scores: (n,).
        truth: (m, 4), boxes of the objects.
        threshold: least IoU, in (0, 1].

    Raises:
        ValueError: shapes that do not fit, NaN or infinity, a box of negative width, a threshold out of range.

    Example:
        >>> boxes = [[0, 0, 10, 10], [0, 0, 10, 9], [40, 0, 50, 10]]
        >>> found = match_detected_boxes(boxes, [0.9, 0.8, 0.7], [[0, 0, 10, 10], [20, 0, 30, 10]])
        >>> found.kinds.tolist(), found.missed.tolist()
        (['found', 'duplicate', 'spurious'], [1])
    """
    check_threshold(threshold)
    boxes, truth, scores = _checked(boxes, "boxes"), _checked(truth, "truth"), np.asarray(scores, float)
    if scores.shape != boxes.shape[:1] or not np.isfinite(scores).all():
        raise ValueError(f"scores has shape {scores.shape}, but {len(boxes)} finite numbers were expected.")
    kinds, objects = np.full(len(boxes), SPURIOUS, dtype="<U9"), np.full(len(boxes), -1)
    free = np.ones(len(truth), bool)
    for place in np.argsort(-scores, kind="stable"):
        overlap = _overlaps(boxes[place], truth)
        good = overlap >= threshold
        if (good & free).any():
            one = int(np.argmax(np.where(free, overlap, -1)))
            kinds[place], objects[place], free[one] = FOUND, one, False
        elif good.any():
            kinds[place] = DUPLICATE
    return BoxMatches(kinds, objects, np.flatnonzero(free))


def _overlaps(box: np.ndarray, others: np.ndarray) -> np.ndarray:
    sides = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
    both = np.clip(sides, 0, None).prod(1)
    union = (box[2:] - box[:2]).prod() + (others[:, 2:] - others[:, :2]).prod(1) - both
    return np.divide(both, union, out=np.zeros(len(others)), where=union > 0)


def _checked(boxes: Any, name: str) -> np.ndarray:
    array = np.asarray(boxes, float)
    array = array.reshape(0, 4) if array.size == 0 else array
    if array.ndim != 2 or array.shape[1] != 4 or not np.isfinite(array).all():
        raise ValueError(f"{name} has shape {array.shape}, but finite numbers (n, 4) were expected.")
    if (array[:, 2:] < array[:, :2]).any():
        place = int(np.argmax((array[:, 2:] < array[:, :2]).any(1)))
        raise ValueError(f"{name} {place} is {array[place].tolist()}, but x0 <= x1 and y0 <= y1 were expected.")
    return array
