"""Encoded objects as sets of pixels: encode, decode, area, box, union, intersection, and overlap of pairs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from emlib.compilation import compiled
from emlib.run_lengths.masks import counts_of_mask, counts_of_runs, mask_of_counts
from emlib.run_lengths.polygons import join_runs
from emlib.run_lengths.run_table import RunTable
from emlib.run_lengths.segmentations import BadSegmentation, runs_of_segmentations
from emlib.run_lengths.text import decode_counts, encode_counts


def rle_encode(mask: Any) -> dict[str, Any]:
    """A mask (y, x) as COCO's {"size": [height, width], "counts": text}; what is not 0 belongs to the object.

    Raises:
        ValueError: a mask that is not (y, x).

    Example:
        >>> rle_encode(np.array([[0, 1, 1], [0, 1, 0]]))
        {'size': [2, 3], 'counts': '231'}
    """
    mask = np.asarray(mask)
    return {"size": list(mask.shape), "counts": encode_counts(counts_of_mask(mask))}


def rle_decode(rle: dict[str, Any]) -> np.ndarray:
    """The mask (bool (y, x)) of {"size": [height, width], "counts": text or numbers}.

    Raises:
        ValueError: run lengths that cannot be read or do not fit the size.

    Example:
        >>> rle_decode({"size": [2, 3], "counts": "231"}).astype(int).tolist()
        [[0, 1, 1], [0, 1, 0]]
    """
    height, width = _size_of([rle])
    counts = rle["counts"]
    return mask_of_counts(decode_counts(counts) if isinstance(counts, str | bytes) else counts, (height, width))


def rle_area(rle: dict[str, Any]) -> int:
    """Number of pixels of an object.

    Raises:
        ValueError: as `rle_decode`.

    Example:
        >>> rle_area({"size": [2, 3], "counts": "231"})
        3
    """
    return int(_table_of([rle])[0].areas()[0])


def rle_to_bbox(rle: dict[str, Any]) -> list[float]:
    """The smallest box [x, y, width, height] of an object, in pixels; zeros for an empty one.

    Raises:
        ValueError: as `rle_decode`.

    Example:
        >>> rle_to_bbox({"size": [2, 3], "counts": "231"})
        [1.0, 0.0, 2.0, 2.0]
    """
    table, height, _ = _table_of([rle])
    left, top, right, bottom = table.boxes(height)[0].tolist()
    return [float(left), float(top), float(right - left), float(bottom - top)]


def rle_merge(rles: Sequence[dict[str, Any]], *, intersect: bool = False) -> dict[str, Any]:
    """The union of objects of one picture, or the pixels that all of them share.

    Raises:
        ValueError: no object, objects of different sizes, or as `rle_decode`.

    Example:
        >>> first, second = {"size": [2, 3], "counts": "231"}, {"size": [2, 3], "counts": [3, 3]}
        >>> rle_merge([first, second])["counts"], rle_merge([first, second], intersect=True)["counts"]
        ('24', '321')
    """
    table, height, width = _table_of(rles)
    if intersect:
        starts, stops = table.of(0)
        for place in range(1, len(table)):
            starts, stops = _common_runs(starts, stops, *table.of(place))
    else:
        starts, stops = table.starts.copy(), table.stops.copy()
        left = join_runs(starts, stops)
        starts, stops = starts[:left], stops[:left]
    return {"size": [height, width], "counts": encode_counts(counts_of_runs(starts, stops, height * width))}


def rle_iou(detections: Sequence[dict[str, Any]], truths: Sequence[dict[str, Any]], crowd: Any = False) -> np.ndarray:
    """IoU (float64 (detection, truth)) of each pair of objects of one picture, without drawing a mask.

    A crowd is a region of many objects of which a detection may be any: the overlap is divided by the area of the
    detection alone. Empty objects have IoU 0.

    Args:
        crowd: bool, one for all truths or one each.

    Raises:
        ValueError: objects of different sizes, flags that do not fit, or as `rle_decode`.

    Example:
        >>> first, second = {"size": [2, 3], "counts": "231"}, {"size": [2, 3], "counts": [3, 3]}
        >>> rle_iou([first], [first, second]).tolist()
        [[1.0, 0.5]]
    """
    if not len(detections) or not len(truths):
        return np.zeros((len(detections), len(truths)))
    try:
        crowd = np.broadcast_to(np.asarray(crowd, dtype=bool), (len(truths),))
    except ValueError as error:
        raise ValueError(f"crowd must be one flag for each of the {len(truths)} truths, got {crowd!r}.") from error
    table, height, _ = _table_of([*detections, *truths])
    places = np.arange(len(table))
    ious = np.zeros((len(detections), len(truths)))
    _fill_ious(
        table.starts, table.stops, table.offsets, table.areas(), table.boxes(height), places[: len(detections)],
        places[len(detections) :], crowd, ious,
    )  # fmt: skip
    return ious


def _size_of(rles: Sequence[Any]) -> tuple[int, int]:
    if isinstance(rles, dict) or not len(rles):
        raise ValueError("A list of at least one object was expected.")
    for place, rle in enumerate(rles):
        if not isinstance(rle, dict) or not {"size", "counts"} <= set(rle):
            raise ValueError(f"Object {place} is no dict with 'size' and 'counts'.")
    sizes = {tuple(rle["size"]) for rle in rles}
    if len(sizes) > 1:
        raise ValueError(f"Objects of one picture were expected, but their sizes are {', '.join(map(str, sizes))}.")
    size = sizes.pop()
    if len(size) != 2 or not all(isinstance(side, int | np.integer) and side >= 0 for side in size):
        raise ValueError(f"A size is [height, width] in pixels, got {list(size)}.")
    return int(size[0]), int(size[1])


def _table_of(rles: Sequence[dict[str, Any]]) -> tuple[RunTable, int, int]:
    height, width = _size_of(rles)
    try:
        return runs_of_segmentations(rles, height, width), height, width
    except BadSegmentation as error:
        raise ValueError(f"Object {error.place} cannot be read: {error.reason}") from error


@compiled
def shared_pixels(starts, stops, other_starts, other_stops):
    """Pixels (int64) that two objects share, given the sorted runs of both; compiled code may call it."""
    shared = np.int64(0)
    first = second = 0
    while first < starts.size and second < other_starts.size:
        shared += max(np.int64(0), min(stops[first], other_stops[second]) - max(starts[first], other_starts[second]))
        if stops[first] < other_stops[second]:
            first += 1
        else:
            second += 1
    return shared


@compiled
def _fill_ious(starts, stops, offsets, areas, boxes, detections, truths, crowd, ious):
    for row in range(detections.size):
        for column in range(truths.size):
            one, other = detections[row], truths[column]
            if min(boxes[one, 2], boxes[other, 2]) <= max(boxes[one, 0], boxes[other, 0]):
                continue
            if min(boxes[one, 3], boxes[other, 3]) <= max(boxes[one, 1], boxes[other, 1]):
                continue
            runs, other_runs = slice(offsets[one], offsets[one + 1]), slice(offsets[other], offsets[other + 1])
            shared = shared_pixels(starts[runs], stops[runs], starts[other_runs], stops[other_runs])
            whole = areas[one] if crowd[column] else areas[one] + areas[other] - shared
            if shared:
                ious[row, column] = shared / whole


@compiled
def _common_runs(starts, stops, other_starts, other_stops):
    room = starts.size + other_starts.size
    common_starts, common_stops = np.empty(room, np.int64), np.empty(room, np.int64)
    filled = first = second = 0
    while first < starts.size and second < other_starts.size:
        start, stop = max(starts[first], other_starts[second]), min(stops[first], other_stops[second])
        if start < stop:
            common_starts[filled], common_stops[filled] = start, stop
            filled += 1
        if stops[first] < other_stops[second]:
            first += 1
        else:
            second += 1
    return common_starts[:filled].copy(), common_stops[:filled].copy()
