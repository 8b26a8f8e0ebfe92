"""Where the objects of a label volume are: size, bounding box and centroid of each, in one pass over blocks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from emlib.compilation import compiled
from emlib.evaluation.label_blocks import check_labels, chunks_of, iterate_boxes, read_block


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
    sums = np.empty((0, 10), dtype=np.int64)
    for box in iterate_boxes(tuple(labels.shape), chunks_of(labels)):
        block = read_block(labels, box, "labels")
        corner = np.array([0] * (3 - axes) + [part.start for part in box], dtype=np.int64)
        block_ids = np.unique(block)
        block_sums = _measure(block.reshape((-1, *block.shape[-2:])), block_ids, corner)
        ids, sums = _merge(ids, sums, block_ids, block_sums)
    kept = ids != 0
    ids, sums = ids[kept], sums[kept]
    sizes = sums[:, 0]
    boxes = np.stack([sums[:, 4:7], sums[:, 7:10]], axis=1)[:, :, 3 - axes :]
    return ObjectGeometry(ids, sizes, boxes, (sums[:, 1:4] / sizes[:, np.newaxis])[:, 3 - axes :])


@compiled
def _measure(block, ids, corner):
    """Rows of size, sums of z, y, x, first z, y, x and one past the last z, y, x, in the order of `ids`."""
    rows = np.zeros((ids.size, 10), dtype=np.int64)
    rows[:, 4:7] = np.iinfo(np.int64).max
    place = 0
    for k in range(block.shape[0]):
        z = k + corner[0]
        for j in range(block.shape[1]):
            y = j + corner[1]
            start = 0
            while start < block.shape[2]:
                label = block[k, j, start]
                end = start + 1
                while end < block.shape[2] and block[k, j, end] == label:
                    end += 1
                if ids[place] != label:
                    place = np.searchsorted(ids, label)
                run = end - start
                first = start + corner[2]
                row = rows[place]
                row[0] += run
                row[1] += z * run
                row[2] += y * run
                row[3] += run * first + run * (run - 1) // 2
                row[4], row[7] = min(row[4], z), max(row[7], z + 1)
                row[5], row[8] = min(row[5], y), max(row[8], y + 1)
                row[6], row[9] = min(row[6], first), max(row[9], first + run)
                start = end
    return rows


def _merge(
    ids: np.ndarray, rows: np.ndarray, more_ids: np.ndarray, more_rows: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the union of two sorted sets of ids."""
    union = np.union1d(ids, more_ids)
    merged = np.zeros((union.size, 10), dtype=np.int64)
    merged[:, 4:7] = np.iinfo(np.int64).max
    for these, those in ((ids, rows), (more_ids, more_rows)):
        places = np.searchsorted(union, these)
        merged[places, :4] += those[:, :4]
        merged[places, 4:7] = np.minimum(merged[places, 4:7], those[:, 4:7])
        merged[places, 7:] = np.maximum(merged[places, 7:], those[:, 7:])
    return union, merged
