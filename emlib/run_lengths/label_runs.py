"""Figures of all objects of a label volume from its runs of equal labels along x, block by block."""

from __future__ import annotations

import numpy as np

from emlib.compilation import compiled

# Columns of a measurement.
SIZE, SUMS, FIRST, END = 0, slice(1, 4), slice(4, 7), slice(7, 10)
COLUMNS = 10


def measure_labels(block: np.ndarray, corner: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Size, coordinate sums and bounding box of every label of a block, 0 included.

    Args:
        block: (z, y, x) labels, any integer type that is not negative.
        corner: position (z, y, x) of the block in the volume.

    Returns:
        The labels in increasing order, of the block's type, and int64 rows of size, sums of z, y, x, first z, y, x
        and one past the last z, y, x.

    Example:
        >>> labels, rows = measure_labels(np.array([[[7, 7]]], np.uint8), (1, 2, 3))
        >>> labels.tolist(), rows.tolist()
        ([7], [[2, 2, 4, 7, 1, 2, 3, 2, 3, 5]])
    """
    import fastremap

    block = np.ascontiguousarray(block)
    # One voxel of each run: sorting them all would take longer than everything else.
    row = block.reshape(-1)
    begins = np.ones(row.size, bool)
    np.not_equal(row[1:], row[:-1], out=begins[1:])
    labels = fastremap.unique(row[begins])
    return labels, _measure(block, labels, np.array(corner, dtype=np.int64))


def merge_measurements(
    labels: np.ndarray, rows: np.ndarray, more_labels: np.ndarray, more_rows: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The measurements of two parts of a volume as those of both, labels in increasing order.

    Example:
        >>> one, other = (measure_labels(np.array([[[7]]], np.uint8), (0, 0, x)) for x in (0, 4))
        >>> merge_measurements(*one, *other)[1].tolist()
        [[2, 0, 0, 4, 0, 0, 0, 1, 1, 5]]
    """
    union = np.union1d(labels, more_labels)
    merged = np.zeros((union.size, COLUMNS), dtype=np.int64)
    merged[:, FIRST] = np.iinfo(np.int64).max
    for these, those in ((labels, rows), (more_labels, more_rows)):
        places = np.searchsorted(union, these)
        merged[places, : FIRST.start] += those[:, : FIRST.start]
        merged[places, FIRST] = np.minimum(merged[places, FIRST], those[:, FIRST])
        merged[places, END] = np.maximum(merged[places, END], those[:, END])
    return union, merged


def approach(
    block: np.ndarray,
    corner: tuple[int, int, int],
    labels: np.ndarray,
    targets: np.ndarray,
    nearest: np.ndarray,
    distances: np.ndarray,
) -> None:
    """Move `nearest` to the voxels of a block that lie nearer to their label's target; ties keep the first in z, y, x.

    Blocks may come in any order.

    Args:
        block: (z, y, x) labels; those that `labels` lacks are passed over.
        corner: position (z, y, x) of the block in the volume.
        labels: (N,), increasing.
        targets: float64 (N, 3), (z, y, x).
        nearest: int64 (N, 3), changed in place.
        distances: float64 (N,), squared voxels of `nearest` from the target, inf at first; changed in place.
    """
    block = np.ascontiguousarray(block)
    labels = labels.astype(block.dtype) if labels.size else labels
    _approach(block, np.array(corner, dtype=np.int64), labels, targets, nearest, distances)


@compiled
def _measure(block, labels, corner):
    rows = np.zeros((labels.size, 10), dtype=np.int64)
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
                if labels[place] != label:
                    place = np.searchsorted(labels, label)
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


@compiled
def _approach(block, corner, labels, targets, nearest, distances):
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
                if place == labels.size or labels[place] != label:
                    place = np.searchsorted(labels, label)
                if place < labels.size and labels[place] == label:
                    target = targets[place]
                    # The nearest voxel of the run; of two the left one.
                    x = min(max(np.int64(np.ceil(target[2] - 0.5)), start + corner[2]), end - 1 + corner[2])
                    distance = (z - target[0]) ** 2 + (y - target[1]) ** 2 + (x - target[2]) ** 2
                    old = nearest[place]
                    earlier = z < old[0] or (z == old[0] and (y < old[1] or (y == old[1] and x < old[2])))
                    if distance < distances[place] or (distance == distances[place] and earlier):
                        distances[place] = distance
                        old[0], old[1], old[2] = z, y, x
                start = end
