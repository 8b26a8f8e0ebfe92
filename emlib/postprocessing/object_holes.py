"""Fill the holes of objects."""

from __future__ import annotations

from typing import Any

import fastremap
import numpy as np

from emlib.compilation import compiled
from emlib.postprocessing.small_objects import check_labels, relabel_sequential


def fill_object_holes(labels: Any) -> np.ndarray:
    """Give enclosed background to the object around it.

    A hole is background from which one cannot get out of the object over steps along the axes (4 neighbours, in 3-D
    6). An object that lies inside another one stays; background between them belongs to the outer one, holes of the
    inner one to the inner one. Cellpose instead fills over what lies inside, and fills a volume section by section.

    Args:
        labels: (y, x) or (z, y, x), whole numbers, 0 = background.

    Returns:
        A new array of the same shape and dtype.

    Raises:
        TypeError, ValueError: see `remove_small_objects`.

    Example:
        >>> fill_object_holes(np.array([[7, 7, 7], [7, 0, 7], [7, 7, 7]]))[1]
        array([7, 7, 7])
    """
    labels = check_labels(labels)
    native = labels.astype(labels.dtype.newbyteorder("="), copy=False)
    ids = fastremap.unique(native)
    ids = ids if ids[0] == 0 else np.concatenate([np.zeros(1, ids.dtype), ids])
    numbered = np.ascontiguousarray(relabel_sequential(native))
    fill_numbered_holes(numbered, len(ids) - 1)
    return ids[numbered].astype(labels.dtype, copy=False)


def fill_numbered_holes(labels: np.ndarray, count: int) -> None:
    """The same in place, for C-contiguous labels 0 ... `count`."""
    volume = labels.reshape((-1, *labels.shape[-2:]))
    boxes = _boxes(volume, count)
    sizes = (boxes[:, :, 1] - boxes[:, :, 0]).prod(axis=1)
    # What lies inside another object has a smaller box, so it takes its own holes first.
    _fill(volume, boxes, np.argsort(sizes, kind="stable"), labels.ndim == 2)


@compiled
def _boxes(labels, count):
    boxes = np.zeros((count + 1, 3, 2), dtype=np.int64)
    for z in range(labels.shape[0]):
        for y in range(labels.shape[1]):
            for x in range(labels.shape[2]):
                label = labels[z, y, x]
                if label == 0:
                    continue
                box = boxes[label]
                if box[0, 1] == 0:
                    box[0, 0], box[1, 0], box[2, 0] = z, y, x
                box[0, 0], box[0, 1] = min(box[0, 0], z), max(box[0, 1], z + 1)
                box[1, 0], box[1, 1] = min(box[1, 0], y), max(box[1, 1], y + 1)
                box[2, 0], box[2, 1] = min(box[2, 0], x), max(box[2, 1], x + 1)
    return boxes


@compiled
def _fill(labels, boxes, order, flat):
    room = 0
    for label in range(boxes.shape[0]):
        sides = boxes[label, :, 1] - boxes[label, :, 0]
        room = max(room, sides[0] * sides[1] * sides[2])
    outside = np.empty(room, dtype=np.bool_)
    queue = np.empty(room, dtype=np.int64)
    for label in order:
        box = boxes[label]
        part = labels[box[0, 0] : box[0, 1], box[1, 0] : box[1, 1], box[2, 0] : box[2, 1]]
        planes, rows, columns = part.shape
        if label == 0 or (planes < 3 and not flat) or rows < 3 or columns < 3:
            continue
        outside[: part.size] = False
        behind = 0
        for z in range(planes):
            for y in range(rows):
                edge = y == 0 or y == rows - 1 or (not flat and (z == 0 or z == planes - 1))
                for x in range(0, columns, 1 if edge else columns - 1):
                    if part[z, y, x] != label:
                        k = (z * rows + y) * columns + x
                        outside[k] = True
                        queue[behind] = k
                        behind += 1
        first = 0
        while first < behind:
            z, rest = divmod(queue[first], rows * columns)
            y, x = divmod(rest, columns)
            first += 1
            for direction in range(6):
                k = z + (direction == 0) - (direction == 1)
                j = y + (direction == 2) - (direction == 3)
                i = x + (direction == 4) - (direction == 5)
                if k < 0 or j < 0 or i < 0 or k >= planes or j >= rows or i >= columns:
                    continue
                near = (k * rows + j) * columns + i
                if not outside[near] and part[k, j, i] != label:
                    outside[near] = True
                    queue[behind] = near
                    behind += 1
        for z in range(planes):
            for y in range(rows):
                for x in range(columns):
                    if part[z, y, x] == 0 and not outside[(z * rows + y) * columns + x]:
                        part[z, y, x] = label
