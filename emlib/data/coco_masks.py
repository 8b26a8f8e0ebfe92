"""Label images from the outlines of objects as COCO stores them: polygons, and run lengths down the columns."""

from __future__ import annotations

from typing import Any

import numpy as np

from emlib.compilation import compiled
from emlib.run_lengths import (
    BadSegmentation,
    counts_of_mask,
    decode_counts,
    encode_counts,
    mask_of_counts,
    object_runs,
    runs_of_segmentations,
)

__all__ = ["counts_of_mask", "decode_counts", "encode_counts", "mask_of_counts", "object_runs", "paint_objects"]


def paint_objects(segmentations: list[Any], shape: tuple[int, int]) -> np.ndarray:
    """Labels of the objects of one picture; the k-th segmentation gets id k + 1.

    Where objects overlap, the smaller one is seen, so that none disappears below a larger one.

    Args:
        segmentations: for each object a list of polygons [x0, y0, x1, y1, ...] in pixels, or run lengths
            {"size": [height, width], "counts": numbers or text}.
        shape: (y, x).

    Returns:
        uint32 (y, x).

    Raises:
        ValueError: a segmentation of another kind, or of a picture of another size; the sentence names its place.

    Example:
        >>> paint_objects([[[0, 0, 2, 0, 2, 2, 0, 2]], {"size": [2, 3], "counts": "42"}], (2, 3)).tolist()
        [[1, 1, 2], [1, 1, 2]]
    """
    try:
        table = runs_of_segmentations(segmentations, *shape)
    except BadSegmentation as error:
        raise ValueError(f"Object {error.place} cannot be drawn: {error.reason}") from error
    labels = np.zeros(shape, np.uint32)
    _paint(table.starts, table.stops, table.offsets, np.argsort(-table.areas(), kind="stable"), labels)
    return labels


@compiled
def _paint(starts, stops, offsets, order, labels):
    height = labels.shape[0]
    for place in order:
        for run in range(offsets[place], offsets[place + 1]):
            x, y = divmod(starts[run], height)
            for _ in range(stops[run] - starts[run]):
                labels[y, x] = place + 1
                y += 1
                if y == height:
                    y, x = 0, x + 1
