"""Objects as COCO describes them: pixels as run lengths or polygons, area and box."""

from __future__ import annotations

from typing import Any

import numpy as np

from emlib.data.mask_polygons import mask_polygons
from emlib.run_lengths import RunTable, counts_of_runs, encode_counts


def describe_objects(table: RunTable, shape: tuple[int, int], *, polygons: bool = False) -> list[dict[str, Any]]:
    """Segmentation, area and box of each object of a picture, as the annotations of a COCO file have them.

    Args:
        table: the runs of the objects.
        shape: of the picture (y, x).
        polygons: outlines along the edges of pixels instead of run lengths; an object with holes keeps run lengths,
            because polygons would fill them.

    Returns:
        For each object "area" in pixels, "bbox" [x, y, width, height], the box around its pixels, as floats, and
        "segmentation": {"size": [height, width], "counts": text}, or a list of polygons [x0, y0, x1, y1, ...].

    Example:
        >>> table = RunTable(np.array([2]), np.array([5]), np.array([0, 1]))
        >>> describe_objects(table, (2, 3))
        [{'area': 3, 'bbox': [1.0, 0.0, 2.0, 2.0], 'segmentation': {'size': [2, 3], 'counts': '231'}}]
        >>> describe_objects(table, (2, 3), polygons=True)[0]["segmentation"]
        [[3, 0, 3, 1, 2, 1, 2, 2, 1, 2, 1, 0]]
    """
    height, width = shape
    described = []
    for place, (area, box) in enumerate(zip(table.areas().tolist(), table.boxes(height).tolist(), strict=True)):
        left, top, right, bottom = box
        runs = table.of(place)
        segmentation = _outlines(runs, box, height) if polygons else None
        if segmentation is None:
            counts = counts_of_runs(*runs, height * width)
            segmentation = {"size": [int(height), int(width)], "counts": encode_counts(counts)}
        sides = [float(length) for length in (left, top, right - left, bottom - top)]
        described.append({"area": area, "bbox": sides, "segmentation": segmentation})
    return described


def count_overlap(table: RunTable, shape: tuple[int, int]) -> int:
    """Number of pixels that belong to more than one object of a picture (y, x).

    Example:
        >>> count_overlap(RunTable(np.array([0, 2]), np.array([3, 6]), np.array([0, 1, 2])), (2, 3))
        1
    """
    pixels = shape[0] * shape[1] + 1
    steps = np.bincount(table.starts, minlength=pixels) - np.bincount(table.stops, minlength=pixels)
    return int(np.count_nonzero(np.cumsum(steps) > 1))


def _outlines(runs: tuple[np.ndarray, np.ndarray], box: list[int], height: int) -> list[list[int]] | None:
    """The polygons of an object without holes, traced within its columns."""
    left, _, right, _ = box
    flat = np.zeros((right - left) * height, bool)
    for start, stop in zip(*((part - left * height).tolist() for part in runs), strict=True):
        flat[start:stop] = True
    outline = mask_polygons(flat.reshape(right - left, height).T)
    if outline.holes or not outline.polygons:
        return None
    return [np.add(np.reshape(polygon, (-1, 2)), (left, 0)).ravel().tolist() for polygon in outline.polygons]
