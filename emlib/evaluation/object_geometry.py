"""Where the objects of a label volume are: size, bounding box and centroid of each, in one pass over blocks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from emlib.evaluation.label_blocks import check_labels, chunks_of, iterate_boxes, read_block
from emlib.run_lengths.label_runs import COLUMNS, END, FIRST, SIZE, SUMS, measure_labels, merge_measurements


@dataclass(frozen=True)
class ObjectGeometry:
    """One row an object, by increasing id; background is left out.

    Attributes:
        ids: uint64 (N,).
        sizes: int64 (N,), voxels.
        boxes: int64 (N, 2, D), first voxel and one past the last, in voxels, (z, y, x) or (y, x).
        centroids: float64 (N, D), mean voxel position.
    """

    ids: np.ndarray
    sizes: np.ndarray
    boxes: np.ndarray
    centroids: np.ndarray


def object_geometry(labels: Any) -> ObjectGeometry:
    """Size, bounding box and centroid of every object.

    Args:
        labels: (Z, Y, X) or (Y, X), any integer type; an array or a lazy volume, which is read in blocks.

    Raises:
        TypeError: not integers.
        ValueError: empty, negative ids, or neither 2-D nor 3-D.

    Example:
        >>> geometry = object_geometry(np.array([[0, 7, 7], [0, 0, 7]]))
        >>> geometry.ids.tolist(), geometry.sizes.tolist(), geometry.boxes.tolist()
        ([7], [3], [[[0, 1], [2, 3]]])
    """
    labels = check_labels(labels, "labels")
    axes = len(labels.shape)
    if axes not in (2, 3):
        raise ValueError(f"labels must have the axes (z, y, x) or (y, x), got the shape {tuple(labels.shape)}.")
    ids = np.empty(0, dtype=np.uint64)
    rows = np.empty((0, COLUMNS), dtype=np.int64)
    for box in iterate_boxes(tuple(labels.shape), chunks_of(labels)):
        block = read_block(labels, box, "labels")
        corner = (*(0 for _ in range(3 - axes)), *(part.start for part in box))
        ids, rows = merge_measurements(ids, rows, *measure_labels(block.reshape((-1, *block.shape[-2:])), corner))
    kept = ids != 0
    ids, rows = ids[kept], rows[kept]
    boxes = np.stack([rows[:, FIRST], rows[:, END]], axis=1)[:, :, 3 - axes :]
    centroids = rows[:, SUMS] / rows[:, SIZE, np.newaxis]
    return ObjectGeometry(ids, rows[:, SIZE], boxes, centroids[:, 3 - axes :])
