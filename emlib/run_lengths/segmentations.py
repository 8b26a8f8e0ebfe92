"""Any form in which COCO files store an object, as runs."""

from __future__ import annotations

import reprlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from emlib.compilation import compiled
from emlib.run_lengths.polygons import FARTHEST, runs_of_polygons
from emlib.run_lengths.run_table import RunTable, join_tables
from emlib.run_lengths.text import decode_texts, whole_counts


class BadSegmentation(ValueError):
    """A segmentation that cannot be read.

    Attributes:
        place: which one, counted from 0.
        reason: what is wrong with it, a sentence that starts in lower case.
    """

    def __init__(self, place: int, reason: str):
        super().__init__(f"Segmentation {place}: {reason}")
        self.place, self.reason = place, reason


def runs_of_segmentations(segmentations: Sequence[Any], heights: Any, widths: Any) -> RunTable:
    """Runs of the objects of one or more pictures.

    Args:
        segmentations: for each object a list of polygons [x0, y0, x1, y1, ...] in pixels, or run lengths
            {"size": [height, width], "counts": numbers or text}.
        heights, widths: of the pictures, one for all or one an object.

    Raises:
        BadSegmentation: (a ValueError) another kind, or run lengths of a picture of another size; it names the place.

    Example:
        >>> segmentations = [[[0, 0, 2, 0, 2, 2, 0, 2]], {"size": [2, 3], "counts": "42"}]
        >>> runs_of_segmentations(segmentations, 2, 3).areas().tolist()
        [4, 2]
    """
    number = len(segmentations)
    heights, widths = (np.broadcast_to(np.int64(sides), (number,)) for sides in (heights, widths))
    forms: dict[str, list[int]] = {"text": [], "numbers": [], "polygons": []}
    parts: dict[str, list[Any]] = {form: [] for form in forms}
    shapes = zip(heights.tolist(), widths.tolist(), strict=True)
    for place, (segmentation, shape) in enumerate(zip(segmentations, shapes, strict=True)):
        try:
            if isinstance(segmentation, dict):
                form, part = _checked_counts(segmentation, shape)
            else:
                form, part = "polygons", _checked_polygons(segmentation)
        except (ValueError, TypeError, OverflowError) as error:
            raise BadSegmentation(place, _lower(str(error))) from error
        forms[form].append(place)
        parts[form].append(part)
    tables = []
    for form, read in (("text", _read_texts), ("numbers", _read_numbers), ("polygons", _read_polygons)):
        places = np.array(forms[form], np.int64)
        if places.size:
            tables.append(read(parts[form], places, heights, widths))
    if len(tables) == 1:
        return tables[0]
    if not tables:
        return RunTable(np.empty(0, np.int64), np.empty(0, np.int64), np.zeros(1, np.int64))
    return join_tables(tables).take(np.argsort(np.concatenate([forms[form] for form in forms]), kind="stable"))


def object_runs(segmentation: Any, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Starts and (excluded) ends, int64, of the runs of an object, counted down the columns.

    Raises:
        ValueError: neither polygons nor run lengths, or run lengths of a picture of another size.

    Example:
        >>> [part.tolist() for part in object_runs({"size": [2, 3], "counts": "231"}, (2, 3))]
        [[2], [5]]
    """
    try:
        return runs_of_segmentations([segmentation], *shape).of(0)
    except BadSegmentation as error:
        raise ValueError(f"The object cannot be drawn: {error.reason}") from error


def _checked_counts(segmentation: dict[str, Any], shape: tuple[int, int]) -> tuple[str, Any]:
    for key in ("size", "counts"):
        if key not in segmentation:
            raise ValueError(f"its run lengths have no {key!r}.")
    size, counts = segmentation["size"], segmentation["counts"]
    if not isinstance(size, list | tuple | np.ndarray):
        raise ValueError(f"its size is {reprlib.repr(size)}, but [height, width] was expected.")
    if tuple(size) != shape:
        raise ValueError(f"its size is {tuple(size)}, but the picture has {shape} (y, x).")
    if isinstance(counts, str | bytes):
        return "text", counts
    return "numbers", whole_counts(counts)


def _checked_polygons(segmentation: Any) -> list[np.ndarray]:
    if not isinstance(segmentation, list | tuple) or not segmentation:
        raise ValueError("polygons or run lengths were expected.")
    if not isinstance(segmentation[0], list | tuple | np.ndarray):
        segmentation = [segmentation]
    try:
        polygons = [np.asarray(polygon, dtype=np.float64) for polygon in segmentation]
    except (ValueError, TypeError, OverflowError):
        raise ValueError("a polygon needs at least three points x, y as one list of finite numbers.") from None
    for polygon in polygons:
        if polygon.ndim != 1 or polygon.size < 6 or polygon.size % 2:
            raise ValueError("a polygon needs at least three points x, y as one list of finite numbers.")
    return polygons


def _read_texts(parts: list[Any], places: np.ndarray, heights: np.ndarray, widths: np.ndarray) -> RunTable:
    counts, offsets, wrong, reason = decode_texts(parts)
    if reason:
        raise BadSegmentation(int(places[wrong]), _lower(reason))
    return _table_of_counts(counts, offsets, places, heights, widths)


def _read_numbers(parts: list[Any], places: np.ndarray, heights: np.ndarray, widths: np.ndarray) -> RunTable:
    offsets = np.concatenate([[0], np.cumsum([part.size for part in parts])]).astype(np.int64)
    return _table_of_counts(np.concatenate(parts), offsets, places, heights, widths)


def _table_of_counts(
    counts: np.ndarray, offsets: np.ndarray, places: np.ndarray, heights: np.ndarray, widths: np.ndarray
) -> RunTable:
    pixels = heights[places] * widths[places]
    starts, stops, run_offsets, wrong, total = _runs_of_counts(counts, offsets, pixels)
    if wrong >= 0:
        raise BadSegmentation(
            int(places[wrong]), f"its run lengths add up to {total}, but the picture has {pixels[wrong]} pixels."
        )
    return RunTable(starts, stops, run_offsets)


def _read_polygons(parts: list[Any], places: np.ndarray, heights: np.ndarray, widths: np.ndarray) -> RunTable:
    flat = [polygon for polygons in parts for polygon in polygons]
    coordinates = np.concatenate(flat)
    polygon_offsets = np.concatenate([[0], np.cumsum([polygon.size for polygon in flat])]).astype(np.int64)
    object_offsets = np.concatenate([[0], np.cumsum([len(polygons) for polygons in parts])]).astype(np.int64)
    # Not a number compares false, too.
    wrong = np.flatnonzero(~(np.abs(coordinates) <= FARTHEST))
    if wrong.size:
        polygon = np.searchsorted(polygon_offsets, wrong[0], side="right") - 1
        place = places[np.searchsorted(object_offsets, polygon, side="right") - 1]
        raise BadSegmentation(
            int(place), f"a polygon has the coordinate {coordinates[wrong[0]]}, but finite pixels were expected."
        )
    return RunTable(*runs_of_polygons(coordinates, polygon_offsets, object_offsets, heights[places], widths[places]))


def _lower(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:]


@compiled
def _runs_of_counts(counts, offsets, pixels):
    """Runs and their offsets; and the place and sum of the first object whose counts do not add up, or -1."""
    # An object of n counts has at most n // 2 runs.
    starts, stops = np.empty(counts.size // 2, np.int64), np.empty(counts.size // 2, np.int64)
    run_offsets = np.zeros(offsets.size, np.int64)
    filled = 0
    for place in range(offsets.size - 1):
        first, position = filled, np.int64(0)
        for index in range(offsets[place], offsets[place + 1]):
            count = counts[index]
            if (index - offsets[place]) % 2 and count:
                if filled > first and stops[filled - 1] == position:
                    stops[filled - 1] += count
                else:
                    starts[filled], stops[filled] = position, position + count
                    filled += 1
            position += count
            if position > pixels[place]:
                break
        if position != pixels[place]:
            total = np.int64(0)
            for index in range(offsets[place], offsets[place + 1]):
                total += counts[index]
            return starts, stops, run_offsets, place, total
        run_offsets[place + 1] = filled
    return starts[:filled].copy(), stops[:filled].copy(), run_offsets, -1, 0
