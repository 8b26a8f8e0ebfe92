"""Boxes that reach outside an array: mirrored, repeated or filled."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from emlib.formats.source import Box

PADDINGS = ("reflect", "edge", "constant")


def check_padding(padding: str) -> str:
    """`padding` if it is one of reflect, edge, constant.

    Raises:
        ValueError: any other name, with the nearest one.
    """
    if padding not in PADDINGS:
        near = difflib.get_close_matches(str(padding), PADDINGS, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else "."
        raise ValueError(f"padding {padding!r} is not one of {', '.join(PADDINGS)}{hint}")
    return padding


def positions_inside(start: int, stop: int, length: int, padding: str) -> np.ndarray:
    """For each position start..stop-1, possibly outside 0..length-1, the position that is read for it.

    "reflect" mirrors without repeating the border, as often as needed (numpy.pad's "reflect"); "edge" repeats the
    border. Positions are int64.

    Example:
        >>> positions_inside(-3, 6, 3, "reflect").tolist()
        [1, 2, 1, 0, 1, 2, 1, 0, 1]
    """
    positions = np.arange(start, stop)
    if padding == "edge" or length == 1:
        return positions.clip(0, length - 1)
    period = 2 * (length - 1)
    positions %= period
    return np.minimum(positions, period - positions)


def read_padded(
    read: Callable[[Box], np.ndarray], shape: tuple[int, ...], wanted: Sequence[range], padding: str, fill: Any
) -> np.ndarray:
    """Read the positions `wanted` along each axis, of which some lie outside `shape`, through `read`.

    Only the smallest box inside that holds everything is read.

    Args:
        read: gives the voxels of a box inside.
        shape: of the array.
        wanted: one range (step 1) an axis.
        padding: "reflect", "edge" or "constant".
        fill: value for "constant".

    Raises:
        ValueError: an unknown padding, or an empty range.

    Example:
        >>> row = np.array([5, 6, 7])
        >>> read_padded(lambda box: row[box], row.shape, [range(-2, 4)], "edge", 0).tolist()
        [5, 5, 5, 6, 7, 7]
    """
    check_padding(padding)
    if not all(wanted):
        start, stop = tuple(part.start for part in wanted), tuple(part.stop for part in wanted)
        raise ValueError(f"The box from {start} to {stop} is empty.")
    outside = [axis for axis, part in enumerate(wanted) if part.start < 0 or part.stop > shape[axis]]
    box = [slice(part.start, part.stop) for part in wanted]
    if padding == "constant":
        return _read_filled(read, shape, wanted, outside, fill)
    taken = {axis: positions_inside(wanted[axis].start, wanted[axis].stop, shape[axis], padding) for axis in outside}
    for axis, positions in taken.items():
        box[axis] = slice(int(positions.min()), int(positions.max()) + 1)
    values = read(tuple(box))
    for axis, positions in taken.items():
        values = np.take(values, positions - box[axis].start, axis=axis)
    return values


def _read_filled(
    read: Callable[[Box], np.ndarray], shape: tuple[int, ...], wanted: Sequence[range], outside: list[int], fill: Any
) -> np.ndarray:
    box = tuple(slice(max(part.start, 0), min(part.stop, length)) for part, length in zip(wanted, shape, strict=True))
    if not outside:
        return read(box)
    values = np.full([len(part) for part in wanted], fill)
    if all(part.stop > part.start for part in box):
        inside = read(box)
        values = values.astype(inside.dtype, copy=False)
        place = tuple(
            slice(part.start - whole.start, part.stop - whole.start) for part, whole in zip(box, wanted, strict=True)
        )
        values[place] = inside
    return values
