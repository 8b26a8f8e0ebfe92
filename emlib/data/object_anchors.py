"""A point inside every object, with size and bounding box: what a table of segments needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from emlib.formats.boxes import blocks
from emlib.progress import progress
from emlib.run_lengths.label_runs import COLUMNS, END, FIRST, SIZE, SUMS, approach, measure_labels, merge_measurements
from emlib.volume import open_volume

BLOCK_BYTES = 2**26


@dataclass(frozen=True)
class ObjectAnchors:
    """One row an object, by increasing id; background is left out.

    Attributes:
        ids: uint64 (N,).
        sizes: int64 (N,), voxels.
        boxes: int64 (N, 2, 3), first voxel and one past the last, (z, y, x).
        anchors: int64 (N, 3), a voxel of the object, (z, y, x).
    """

    ids: np.ndarray
    sizes: np.ndarray
    boxes: np.ndarray
    anchors: np.ndarray


def anchors_of(labels: Any, *, show_progress: bool = False) -> ObjectAnchors:
    """Size, bounding box and anchor of every object.

    The anchor is the object's voxel that lies nearest to its centroid (in voxels; of several the first in z, y, x), so
    it is inside rings and crescents too. Sizes, boxes and centroids come from one pass over the volume, anchors from a
    second one; both read block by block, and the blocks have no influence on the result.

    Args:
        labels: (z, y, x), any integer type; array or Volume.
        show_progress: show a bar, or a line now and then in a log.

    Raises:
        TypeError: labels that are not whole numbers.
        ValueError: not (z, y, x), no voxels, or negative ids.

    Example:
        >>> ring = np.array([[[5, 5, 5], [5, 0, 5], [5, 5, 5]]])
        >>> found = anchors_of(ring)
        >>> found.ids.tolist(), found.sizes.tolist(), found.boxes.tolist(), found.anchors.tolist()
        ([5], [8], [[[0, 0, 0], [1, 3, 3]]], [[0, 0, 1]])
    """
    volume = open_volume(labels)
    if volume.dtype.kind not in "ui":
        raise TypeError(f"The labels are {volume.dtype}, but whole numbers (one an object) were expected.")
    if volume.axes != "zyx":
        raise ValueError(f"The labels have axes {volume.axes!r} and shape {volume.shape}, but (z, y, x) was expected.")
    unit = volume.chunks or (1, *volume.shape[1:])
    boxes = list(blocks(volume.shape, unit, volume.dtype.itemsize, BLOCK_BYTES))
    ids, rows = np.empty(0, np.uint64), np.empty((0, COLUMNS), np.int64)
    for box in progress(boxes, label="measuring objects", unit="block", show=show_progress):
        block = volume[box]
        if block.dtype.kind == "i" and block.min() < 0:
            raise ValueError(f"The labels hold the negative id {block.min()}, but ids start at 0 (background).")
        found, measured = measure_labels(block, tuple(part.start for part in box))
        ids, rows = merge_measurements(ids, rows, found.astype(np.uint64), measured)
    ids, rows = ids[ids != 0], rows[ids != 0]
    centroids = rows[:, SUMS] / rows[:, SIZE, np.newaxis]
    anchors, distances = np.zeros((ids.size, 3), np.int64), np.full(ids.size, np.inf)
    for box in progress(boxes, label="finding anchors", unit="block", show=show_progress) if ids.size else ():
        approach(volume[box], tuple(part.start for part in box), ids, centroids, anchors, distances)
    return ObjectAnchors(ids, rows[:, SIZE], np.stack([rows[:, FIRST], rows[:, END]], axis=1), anchors)
