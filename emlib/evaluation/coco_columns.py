"""Columns of a list of COCO entries, each checked; a message names the entry that is wrong."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import numpy as np

from emlib.run_lengths import BadSegmentation, RunTable, runs_of_segmentations


def load_json(source: Any, name: str) -> Any:
    """The content of a JSON file, or `source` itself if it is no path.

    Raises:
        ValueError: a file that is not JSON.
        FileNotFoundError: there is no such file.
    """
    if not isinstance(source, str | os.PathLike):
        return source
    path = Path(source)
    if not path.is_file():
        raise FileNotFoundError(f"{name} is the path {path}, but there is no such file.")
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except RecursionError:
        raise ValueError(f"{path} ({name}) is not valid JSON (it is nested too deeply).") from None
    except ValueError as error:
        hint = "; it is an archive, unpack it first" if path.suffix.lower() == ".zip" else ""
        raise ValueError(f"{path} ({name}) is not valid JSON ({str(error).rstrip('.')}){hint}.") from error


def check_entries(entries: Any, name: str) -> list[dict[str, Any]]:
    """A list of dicts, as it is.

    Raises:
        TypeError: no list, or an entry of it that is no dict.
    """
    if not isinstance(entries, list | tuple):
        raise TypeError(f"{name} must be a list of dicts, got {type(entries).__name__}.")
    for place, entry in enumerate(entries):
        if not isinstance(entry, dict):
            raise TypeError(f"{name}[{place}] must be a dict, got {type(entry).__name__}.")
    return list(entries)


def column(entries: Sequence[dict[str, Any]], key: str, name: str) -> list[Any]:
    """The value of `key` of each entry.

    Raises:
        ValueError: an entry without it.
    """
    try:
        return [entry[key] for entry in entries]
    except KeyError:
        place = next(place for place, entry in enumerate(entries) if key not in entry)
        raise ValueError(f"{name}[{place}] has no {key!r}.") from None


def id_column(entries: Sequence[dict[str, Any]], key: str, name: str) -> list[Any]:
    """Ids: whole numbers or texts, all of one kind.

    Raises:
        ValueError: an entry without one, or of another type.
    """
    values = column(entries, key, name)
    if set(map(type, values)) <= {int} or set(map(type, values)) <= {str}:
        return values
    for place, value in enumerate(values):
        if isinstance(value, bool) or not isinstance(value, Integral | str):
            raise ValueError(f"{name}[{place}] has {key} {value!r}, but a whole number or a text was expected.")
        if isinstance(value, str) != isinstance(values[0], str):
            raise ValueError(
                f"{name}[{place}] has {key} {value!r}, and {name}[0] has {values[0]!r}: one kind is needed."
            )
    return [value if isinstance(value, str) else int(value) for value in values]


def places_of_ids(ids: Sequence[Any], known: dict[Any, int], name: str, key: str) -> np.ndarray:
    """Place (int64) of each id among the known ones.

    Raises:
        ValueError: an id that is not known.
    """
    places = np.fromiter((known.get(one, -1) for one in ids), np.int64, len(ids))
    wrong = np.flatnonzero(places < 0)
    if wrong.size:
        what = {"image_id": "image", "category_id": "category"}[key]
        raise ValueError(f"{name}[{wrong[0]}] is of {what} {ids[wrong[0]]!r}, which the truth does not list.")
    return places


def check_numbers(values: Sequence[Any], key: str, name: str, places: Sequence[int] | None = None) -> np.ndarray:
    """Finite numbers as float64; `places` are those of the entries if not all are given.

    Raises:
        ValueError: a value that is no finite number.
    """
    array = _as_numbers(values)
    if array is not None and array.shape == (len(values),) and np.isfinite(array).all():
        return array
    for place, value in enumerate(values):
        if not _is_finite(value):
            place = place if places is None else places[place]
            raise ValueError(f"{name}[{place}] has {key} {value!r}, but a finite number was expected.")
    return np.array([float(value) for value in values])


def check_boxes(values: Sequence[Any], name: str, places: Sequence[int] | None = None) -> np.ndarray:
    """Boxes x, y, width, height as float64 (n, 4).

    Raises:
        ValueError: a box that is not four finite numbers, or of negative width or height.
    """
    array = _as_numbers(values) if len(values) else np.zeros((0, 4))
    if array is None or array.shape != (len(values), 4) or not np.isfinite(array).all():
        for place, value in enumerate(values):
            if not isinstance(value, list | tuple | np.ndarray) or len(value) != 4 or not all(map(_is_finite, value)):
                place = place if places is None else places[place]
                raise ValueError(f"{name}[{place}] has bbox {value!r}, but x, y, width, height (finite) were expected.")
        array = np.array([[float(side) for side in value] for value in values])
    wrong = np.flatnonzero((array[:, 2:] < 0).any(axis=1))
    if wrong.size:
        place = wrong[0] if places is None else places[wrong[0]]
        raise ValueError(f"{name}[{place}] has bbox {values[wrong[0]]!r}, whose width and height must be 0 or more.")
    return array


def read_runs(
    entries: Sequence[dict[str, Any]],
    name: str,
    heights: np.ndarray,
    widths: np.ndarray,
    places: Sequence[int] | None = None,
) -> RunTable:
    """Runs of the segmentations of entries, in pictures of the sizes given for each.

    Raises:
        ValueError: an entry without segmentation, or with one that cannot be read or is of another picture's size.
    """
    named = range(len(entries)) if places is None else places
    for place, entry in zip(named, entries, strict=True):
        if "segmentation" not in entry:
            raise ValueError(f"{name}[{place}] has no 'segmentation'.")
    try:
        return runs_of_segmentations([entry["segmentation"] for entry in entries], heights, widths)
    except BadSegmentation as error:
        raise ValueError(f"{name}[{named[error.place]}] has a segmentation that is wrong: {error.reason}") from error


def _as_numbers(values: Sequence[Any]) -> np.ndarray | None:
    """The values as float64 if numpy sees numbers in all of them."""
    try:
        array = np.asarray(values)
    except ValueError:
        return None
    if array.size == 0:
        return np.zeros(array.shape)
    return array.astype(np.float64) if array.dtype.kind in "iuf" else None


def _is_finite(value: Any) -> bool:
    if isinstance(value, bool | np.bool_) or not isinstance(value, Real):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False
