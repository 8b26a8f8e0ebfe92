"""Outlines of objects as COCO stores them: polygons, and run lengths down the columns of the picture."""

from __future__ import annotations

from typing import Any

import numpy as np

# Polygons are drawn on a grid of this many points a pixel, as the COCO programs do it.
FINENESS = 5


def encode_counts(counts: Any) -> str:
    """Run lengths as COCO's compact text.

    From the third on, a count is stored as its difference to the one two places before; each number is a row of
    characters that carry five bits each, the lowest first.

    Example:
        >>> encode_counts([2, 3, 1])
        '231'
    """
    counts = [int(count) for count in counts]
    text = []
    for place, count in enumerate(counts):
        rest = count - counts[place - 2] if place > 2 else count
        more = True
        while more:
            bits, rest = rest & 31, rest >> 5
            more = rest != (-1 if bits & 16 else 0)
            text.append(chr(48 + bits + 32 * more))
    return "".join(text)


def decode_counts(text: str | bytes) -> np.ndarray:
    """Run lengths (int64) from COCO's compact text.

    Raises:
        ValueError: characters that do not occur in it, an unfinished number, or a negative count.

    Example:
        >>> decode_counts("231").tolist()
        [2, 3, 1]
    """
    letters = text.encode("latin-1") if isinstance(text, str) else bytes(text)
    counts: list[int] = []
    number = shift = 0
    for letter in letters:
        bits = letter - 48
        if not 0 <= bits < 64:
            raise ValueError(f"Run lengths contain the character {chr(letter)!r}, which COCO's text never has.")
        number |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            number -= 1 << shift
        counts.append(number + (counts[-2] if len(counts) > 2 else 0))
        number = shift = 0
    if shift:
        raise ValueError("Run lengths break off within a number.")
    if min(counts, default=0) < 0:
        raise ValueError(f"Run lengths contain {min(counts)}, but none can be negative.")
    return np.array(counts, dtype=np.int64)


def counts_of_mask(mask: np.ndarray) -> np.ndarray:
    """Lengths (int64) of the runs of 0, 1, 0, ... down the columns of a mask (y, x), starting with zeros.

    Example:
        >>> counts_of_mask(np.array([[0, 1, 1], [0, 1, 0]])).tolist()
        [2, 3, 1]
    """
    flat = np.asarray(mask, dtype=bool).ravel(order="F")
    edges = np.flatnonzero(np.diff(flat.view(np.int8), prepend=np.int8(0)))
    return np.diff(np.concatenate([[0], edges, [flat.size]]))


def mask_of_counts(counts: Any, shape: tuple[int, int]) -> np.ndarray:
    """The mask (bool (y, x)) of run lengths.

    Raises:
        ValueError: run lengths that do not add up to the picture.

    Example:
        >>> mask_of_counts([2, 3, 1], (2, 3)).astype(int).tolist()
        [[0, 1, 1], [0, 1, 0]]
    """
    return paint_objects([{"size": list(shape), "counts": list(counts)}], shape) > 0


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
    runs = []
    for number, segmentation in enumerate(segmentations):
        try:
            runs.append(object_runs(segmentation, shape))
        except (ValueError, TypeError, KeyError, IndexError) as error:
            raise ValueError(f"Object {number} cannot be drawn: {error}") from error
    columns = np.zeros(shape[0] * shape[1], np.uint32)
    for number in np.argsort([-int((stops - starts).sum()) for starts, stops in runs], kind="stable"):
        for start, stop in zip(*(part.tolist() for part in runs[number]), strict=True):
            columns[start:stop] = number + 1
    return np.ascontiguousarray(columns.reshape(shape[1], shape[0]).T)


def object_runs(segmentation: Any, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Starts and (excluded) ends, int64, of the runs of an object, counted down the columns.

    Runs of several polygons of one object may overlap.

    Raises:
        ValueError: neither polygons nor run lengths, or run lengths of a picture of another size.
    """
    if isinstance(segmentation, dict):
        size = tuple(int(side) for side in segmentation["size"])
        if size != tuple(shape):
            raise ValueError(f"its size is {size}, but the picture has {tuple(shape)} (y, x).")
        counts = segmentation["counts"]
        counts = decode_counts(counts) if isinstance(counts, str | bytes) else np.asarray(counts, dtype=np.int64)
        if counts.ndim != 1 or counts.min(initial=0) < 0 or counts.sum() != shape[0] * shape[1]:
            raise ValueError(f"its run lengths add up to {counts.sum()}, but the picture has {shape[0] * shape[1]}.")
        ends = np.cumsum(counts)
        return ends[0:-1:2], ends[1::2]
    if not isinstance(segmentation, list | tuple) or not segmentation:
        raise ValueError("polygons or run lengths were expected.")
    if not isinstance(segmentation[0], list | tuple | np.ndarray):
        segmentation = [segmentation]
    parts = [_polygon_runs(polygon, shape) for polygon in segmentation]
    return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])


def _polygon_runs(polygon: Any, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Runs of the pixels whose centre lies inside, to the precision of the fine grid, by the even-odd rule.

    The outline is drawn on the fine grid; wherever it crosses the middle of a column of pixels, the column changes
    between outside and inside. This is the rule, rounding included, of the COCO programs (Lin et al., ECCV 2014), so
    that pixel counts agree with theirs.
    """
    height, width = shape
    points = np.asarray(polygon, dtype=np.float64)
    if points.ndim != 1 or points.size < 6 or points.size % 2 or not np.isfinite(points).all():
        raise ValueError("a polygon needs at least three points x, y as one list of finite numbers.")
    corners = np.trunc(FINENESS * points.reshape(-1, 2) + 0.5).astype(np.int64)
    start, stop = corners, np.roll(corners, -1, axis=0)
    across = np.abs(stop - start)
    flat = across[:, 0] >= across[:, 1]
    steps = np.where(flat, across[:, 0], across[:, 1])
    # Both directions of an edge give the same points: it is always walked from its lower end of the main axis.
    main = np.where(flat, 0, 1)
    rows = np.arange(len(corners))
    low = np.where((start[rows, main] <= stop[rows, main])[:, None], start, stop)
    high = np.where((start[rows, main] <= stop[rows, main])[:, None], stop, start)
    slope = (high[rows, 1 - main] - low[rows, 1 - main]) / np.maximum(steps, 1)
    edge = np.repeat(rows, steps + 1)
    step = np.arange(edge.size) - np.repeat(np.cumsum(steps + 1) - steps - 1, steps + 1)
    step = np.where(start[edge, main[edge]] <= stop[edge, main[edge]], step, steps[edge] - step)
    along = low[edge, main[edge]] + step
    beside = np.trunc(low[edge, 1 - main[edge]] + slope[edge] * step + 0.5).astype(np.int64)
    x, y = np.where(flat[edge], along, beside), np.where(flat[edge], beside, along)

    moved = np.flatnonzero(x[1:] != x[:-1])
    left, top = np.minimum(x[moved], x[moved + 1]), np.minimum(y[moved], y[moved + 1])
    column, remainder = np.divmod(left - FINENESS // 2, FINENESS)
    crossing = (remainder == 0) & (column >= 0) & (column < width)
    row = np.ceil(np.clip((top[crossing] + 0.5) / FINENESS - 0.5, 0, height)).astype(np.int64)
    toggles = np.sort(column[crossing] * height + row)
    if toggles.size % 2:
        toggles = np.append(toggles, height * width)
    return toggles[0::2], toggles[1::2]
