"""Run lengths of masks, and of all the objects of a label image, down the columns."""

from __future__ import annotations

from typing import Any

import numpy as np

from emlib.compilation import compiled
from emlib.run_lengths.run_table import RunTable
from emlib.run_lengths.text import whole_counts


def counts_of_mask(mask: Any) -> np.ndarray:
    """Lengths (int64) of the runs of 0, 1, 0, ... down the columns of a mask (y, x), starting with zeros.

    Args:
        mask: (y, x) of any type; what is not 0 belongs to the object.

    Raises:
        ValueError: a mask that is not (y, x).

    Example:
        >>> counts_of_mask(np.array([[0, 1, 1], [0, 1, 0]])).tolist()
        [2, 3, 1]
    """
    mask = np.asarray(mask)
    if mask.ndim != 2:
        raise ValueError(f"A mask must be (y, x), got the shape {mask.shape}.")
    mask = np.asarray(mask, dtype=bool).view(np.uint8)
    if mask.flags.f_contiguous:
        flat = mask.reshape(-1, order="F")
        starts, stops = _runs_of_columns(flat, flat[: flat.size // 8 * 8].view(np.uint64))
    else:
        starts, stops = _runs_of_rows(np.ascontiguousarray(mask))
    return counts_of_runs(starts, stops, mask.size)


def mask_of_counts(counts: Any, shape: tuple[int, int]) -> np.ndarray:
    """The mask (bool (y, x)) of run lengths.

    Raises:
        ValueError: run lengths that do not add up to the picture.

    Example:
        >>> mask_of_counts([2, 3, 1], (2, 3)).astype(int).tolist()
        [[0, 1, 1], [0, 1, 0]]
    """
    counts = whole_counts(counts)
    height, width = shape
    if counts.sum() != height * width:
        raise ValueError(f"The run lengths add up to {counts.sum()}, but the picture has {height * width} pixels.")
    mask = np.zeros((height, width), bool)
    if counts.sum():
        _draw(counts, mask)
    return mask


def counts_of_runs(starts: np.ndarray, stops: np.ndarray, pixels: int) -> np.ndarray:
    """Run lengths (int64) of the runs of ones [start, stop) of a picture of so many pixels.

    Example:
        >>> counts_of_runs(np.array([2]), np.array([5]), 6).tolist()
        [2, 3, 1]
    """
    edges = np.empty(2 * starts.size + 2, np.int64)
    edges[0], edges[1:-1:2], edges[2:-1:2], edges[-1] = 0, starts, stops, pixels
    counts = np.diff(edges)
    return counts[:-1] if counts.size > 1 and counts[-1] == 0 else counts


def runs_of_labels(labels: Any) -> tuple[np.ndarray, RunTable]:
    """The ids of a label image, increasing and without 0, and the runs of each.

    Args:
        labels: (y, x), any integer type, 0 = background.

    Raises:
        TypeError: labels that are not integers.
        ValueError: labels that are not (y, x), or negative ids.

    Example:
        >>> ids, table = runs_of_labels(np.array([[7, 0], [7, 2]]))
        >>> ids.tolist(), table.areas().tolist()
        ([2, 7], [1, 2])
    """
    labels = np.asarray(labels)
    if labels.dtype.kind not in "iub":
        raise TypeError(f"Labels must be integers, got {labels.dtype}.")
    if labels.ndim != 2:
        raise ValueError(f"Labels must be (y, x), got the shape {labels.shape}.")
    # Few forms, so that few are compiled: a negative id and its twos complement are the same bits.
    native = labels.dtype.newbyteorder("=")
    bits = np.ascontiguousarray(labels, dtype=native).view(f"u{native.itemsize}")
    starts, stops, values = _runs_by_value(bits)
    values = values.view(native)
    if values.size and values.min() < 0:
        raise ValueError(f"Labels contain {values.min()}, but ids cannot be negative.")
    ids, of_run = np.unique(values, return_inverse=True)
    order = np.argsort(of_run, kind="stable")
    offsets = np.concatenate([[0], np.cumsum(np.bincount(of_run, minlength=ids.size))]).astype(np.int64)
    return ids, RunTable(starts[order], stops[order], offsets)


@compiled
def _runs_of_columns(flat: np.ndarray, words: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Runs of a flat mask; `words` are its first bytes by eight, so that the background is skipped quickly."""
    room = 256
    starts, stops = np.empty(room, np.int64), np.empty(room, np.int64)
    filled = 0
    position = 0
    while position < flat.size:
        if flat[position] == 0:
            position += 1
            if position % 8 == 0:
                word = position // 8
                while word < words.size and words[word] == 0:
                    word += 1
                position = 8 * word
            continue
        if filled == room:
            room *= 2
            starts = np.concatenate((starts, np.empty_like(starts)))
            stops = np.concatenate((stops, np.empty_like(stops)))
        starts[filled] = position
        while position < flat.size and flat[position] != 0:
            position += 1
        stops[filled] = position
        filled += 1
    return starts[:filled].copy(), stops[:filled].copy()


@compiled
def _runs_of_rows(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Runs down the columns of a mask stored row by row: only the object's bounding box is walked column by column."""
    height, width = mask.shape
    column = np.zeros(width, np.uint8)
    top, bottom = height, -1
    for y in range(height):
        row = np.uint8(0)
        for x in range(width):
            row |= mask[y, x]
            column[x] |= mask[y, x]
        if row:
            top = min(top, y)
            bottom = y
    columns = 0
    for x in range(width):
        columns += column[x] != 0
    room = columns * ((bottom - top + 2) // 2) if columns else 0
    starts, stops = np.empty(room, np.int64), np.empty(room, np.int64)
    filled = 0
    for x in range(width):
        if column[x] == 0:
            continue
        y = top
        while y <= bottom:
            if mask[y, x] == 0:
                y += 1
                continue
            start = x * height + y
            while y <= bottom and mask[y, x] != 0:
                y += 1
            if filled and stops[filled - 1] == start:
                filled -= 1
            else:
                starts[filled] = start
            stops[filled] = x * height + y
            filled += 1
    return starts[:filled].copy(), stops[:filled].copy()


@compiled
def _runs_by_value(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    height, width = labels.shape
    room = 1024
    starts, stops, values = np.empty(room, np.int64), np.empty(room, np.int64), np.empty(room, labels.dtype)
    filled = 0
    before = labels.dtype.type(0)
    for x in range(width):
        for y in range(height):
            value = labels[y, x]
            if value == before:
                continue
            if before != 0:
                stops[filled - 1] = x * height + y
            if value != 0:
                if filled == room:
                    room *= 2
                    starts = np.concatenate((starts, np.empty_like(starts)))
                    stops = np.concatenate((stops, np.empty_like(stops)))
                    values = np.concatenate((values, np.empty_like(values)))
                starts[filled] = x * height + y
                values[filled] = value
                filled += 1
            before = value
    if before != 0:
        stops[filled - 1] = height * width
    return starts[:filled].copy(), stops[:filled].copy(), values[:filled].copy()


@compiled
def _draw(counts: np.ndarray, mask: np.ndarray) -> None:
    height = mask.shape[0]
    position = 0
    for place in range(counts.size):
        if place % 2:
            y, x = position % height, position // height
            for _ in range(counts[place]):
                mask[y, x] = True
                y += 1
                if y == height:
                    y = 0
                    x += 1
        position += counts[place]
