"""Pixels inside polygons, by the rule of the COCO programs."""

from __future__ import annotations

import numpy as np

from emlib.compilation import compiled

# Polygons are drawn on a grid of this many points a pixel, as the COCO programs do it.
FINENESS = 5
# Farther out than any picture reaches; an edge to 1e300 would be walked step by step.
FARTHEST = 1e7


def runs_of_polygons(
    coordinates: np.ndarray, polygons: np.ndarray, objects: np.ndarray, heights: np.ndarray, widths: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Starts, stops and offsets (of objects) of the runs inside polygons; several polygons of one object join.

    A pixel belongs to a polygon if its centre lies inside, to the precision of the fine grid, by the even-odd rule.
    The outline is drawn on the fine grid; wherever it crosses the middle of a column of pixels, the column changes
    between outside and inside. This is the rule, rounding included, of the COCO programs (Lin et al., ECCV 2014), so
    that pixel counts agree with theirs.

    Args:
        coordinates: float64, x0, y0, x1, y1, ... of all polygons, in pixels, finite and at most `FARTHEST`.
        polygons: int64 offsets into `coordinates`, one more than there are polygons.
        objects: int64 offsets into the polygons, one more than there are objects.
        heights, widths: int64, of the picture of each object.

    Example:
        >>> whole = np.array([0.0, 0, 2, 0, 2, 2, 0, 2])
        >>> one = np.array([0, 1])
        >>> [part.tolist() for part in runs_of_polygons(whole, one * 8, one, np.array([2]), np.array([3]))]
        [[0], [4], [0, 1]]
    """
    return _draw_objects(coordinates, polygons, objects, heights, widths)


@compiled
def _draw_objects(coordinates, polygons, objects, heights, widths):
    starts, stops = np.empty(1024, np.int64), np.empty(1024, np.int64)
    offsets = np.zeros(objects.size, np.int64)
    filled = 0
    toggles = np.empty(256, np.int64)
    for place in range(objects.size - 1):
        first = filled
        for polygon in range(objects[place], objects[place + 1]):
            corners = coordinates[polygons[polygon] : polygons[polygon + 1]]
            toggles, found = _crossings(corners, heights[place], widths[place], toggles)
            ordered = np.sort(toggles[:found])
            for pair in range((found + 1) // 2):
                start = ordered[2 * pair]
                stop = ordered[2 * pair + 1] if 2 * pair + 1 < found else heights[place] * widths[place]
                if start == stop:
                    continue
                if filled > first and stops[filled - 1] == start:
                    stops[filled - 1] = stop
                    continue
                if filled == starts.size:
                    starts = np.concatenate((starts, np.empty_like(starts)))
                    stops = np.concatenate((stops, np.empty_like(stops)))
                starts[filled], stops[filled] = start, stop
                filled += 1
        if objects[place + 1] - objects[place] > 1:
            filled = first + join_runs(starts[first:filled], stops[first:filled])
        offsets[place + 1] = filled
    return starts[:filled].copy(), stops[:filled].copy(), offsets


@compiled
def join_runs(starts: np.ndarray, stops: np.ndarray) -> int:
    """Sort runs in place and join those that overlap or touch; the number of runs that are left, at the front."""
    order = np.argsort(starts, kind="mergesort")
    sorted_starts, sorted_stops = starts[order], stops[order]
    filled = 0
    for run in range(order.size):
        start, stop = sorted_starts[run], sorted_stops[run]
        if filled and start <= stops[filled - 1]:
            stops[filled - 1] = max(stops[filled - 1], stop)
        else:
            starts[filled], stops[filled] = start, stop
            filled += 1
    return filled


@compiled
def _crossings(corners, height, width, toggles):
    """Places, down the columns, at which the inside begins or ends; and how many there are."""
    found = 0
    half = FINENESS // 2
    for corner in range(corners.size // 2):
        after = (corner + 1) % (corners.size // 2)
        # Conversion to an integer cuts towards zero, also below zero, as in the COCO programs.
        x0, y0 = np.int64(FINENESS * corners[2 * corner] + 0.5), np.int64(FINENESS * corners[2 * corner + 1] + 0.5)
        x1, y1 = np.int64(FINENESS * corners[2 * after] + 0.5), np.int64(FINENESS * corners[2 * after + 1] + 0.5)
        # The edge crosses the middle of a column between the points of x and x + 1, x = FINENESS * column + half.
        first = max(-((half - min(x0, x1)) // FINENESS), 0)
        last = min((max(x0, x1) - half - 1) // FINENESS, width - 1)
        if first > last:
            continue
        while toggles.size < found + last - first + 1:
            toggles = np.concatenate((toggles, np.empty_like(toggles)))
        # Both directions of an edge give the same points: it is always walked from its lower end of the main axis.
        if abs(x1 - x0) >= abs(y1 - y0):
            x_low, y_low, x_high, y_high = (x0, y0, x1, y1) if x0 <= x1 else (x1, y1, x0, y0)
            slope = (y_high - y_low) / (x_high - x_low)
            for column in range(first, last + 1):
                step = FINENESS * column + half - x_low
                y = np.int64(y_low + slope * step + 0.5)
                y = min(y, np.int64(y_low + slope * (step + 1) + 0.5))
                toggles[found] = column * height + _row_below(y, height)
                found += 1
        else:
            x_low, y_low, x_high, y_high = (x0, y0, x1, y1) if y0 <= y1 else (x1, y1, x0, y0)
            slope = (x_high - x_low) / (y_high - y_low)
            before = x_low
            for step in range(1, y_high - y_low + 1):
                x = np.int64(x_low + slope * step + 0.5)
                if x == before:
                    continue
                left = min(x, before)
                before = x
                column = (left - half) // FINENESS
                if FINENESS * column + half == left and 0 <= column < width:
                    toggles[found] = column * height + _row_below(y_low + step - 1, height)
                    found += 1
    return toggles, found


@compiled
def _row_below(y, height):
    """The first row of pixels whose centre lies below a point of the fine grid."""
    return np.int64(np.ceil(min(max((y + 0.5) / FINENESS - 0.5, 0.0), float(height))))
