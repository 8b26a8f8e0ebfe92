"""From what is written in square brackets to boxes, from boxes outside an array to positions inside, and blocks."""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Iterator
from typing import Any

import numpy as np

from emlib.formats.source import Box

BLOCK_BYTES = 2**29


def parse_index(index: Any, shape: tuple[int, ...]) -> tuple[Box, tuple[int, ...], tuple[int, ...]]:
    """Turn an index (ints, slices, one Ellipsis) into a box, the axes to flip, and the axes to drop.

    Raises:
        TypeError: None, boolean masks, lists or arrays of positions.
        IndexError: too many indices, or an integer outside the array.

    Example:
        >>> parse_index((-1, slice(None, None, -2)), (4, 5))
        ((slice(3, 4, 1), slice(0, 5, 2)), (1,), (0,))
    """
    parts = list(index) if isinstance(index, tuple) else [index]
    dots = [position for position, part in enumerate(parts) if part is Ellipsis]
    if len(dots) > 1:
        raise IndexError("An index may hold only one Ellipsis (...).")
    if len(parts) - len(dots) > len(shape):
        raise IndexError(
            f"{len(parts) - len(dots)} indices were given for a volume of {len(shape)} dimensions {shape}."
        )
    missing = [slice(None)] * (len(shape) - len(parts) + len(dots))
    if dots:
        parts[dots[0] : dots[0] + 1] = missing
    else:
        parts += missing
    box, flipped, dropped = [], [], []
    for axis, (part, length) in enumerate(zip(parts, shape, strict=True)):
        if isinstance(part, slice):
            start, stop, step = part.indices(length)
            if step < 0:
                flipped.append(axis)
                positions = range(start, stop, step)[::-1]
                start, stop, step = (positions[0], positions[-1] + 1, -step) if positions else (0, 0, 1)
            box.append(slice(start, max(start, stop), step))
            continue
        box.append(_single(part, axis, length))
        dropped.append(axis)
    return tuple(box), tuple(flipped), tuple(dropped)


def _single(part: Any, axis: int, length: int) -> slice:
    if isinstance(part, bool | np.bool_) or not hasattr(part, "__index__") or np.ndim(part) > 0:
        raise TypeError(
            f"A volume is indexed with integers, slices and '...', not with {type(part).__name__} (axis {axis}); "
            "read a box and index the array for more."
        )
    position = operator.index(part)
    if not -length <= position < length:
        raise IndexError(f"Index {position} is out of range for axis {axis} of length {length}.")
    return slice(position % length, position % length + 1, 1)


def crop_range(part: Any, axis: str, length: int) -> tuple[int, int]:
    """Start and stop (not negative) of a crop given as a slice or a (start, stop) pair.

    Raises:
        TypeError: neither a slice nor a pair of integers.
        ValueError: a step, or nothing left.
        IndexError: outside 0..length.

    Example:
        >>> crop_range(slice(-3, None), "z", 10), crop_range((0, 4), "z", 10)
        ((7, 10), (0, 4))
    """
    if isinstance(part, slice):
        if part.step not in (None, 1):
            raise ValueError(f"A crop has no step, got {part} for {axis}; index the volume instead.")
        part = (0 if part.start is None else part.start, length if part.stop is None else part.stop)
    try:
        start, stop = (operator.index(one) for one in part)
    except (TypeError, ValueError) as error:
        raise TypeError(f"A crop is a slice or a (start, stop) pair, got {part!r} for {axis}.") from error
    start, stop = (one + length if one < 0 else one for one in (start, stop))
    if not 0 <= start <= length or not 0 <= stop <= length:
        raise IndexError(f"The crop {part} lies outside axis {axis} of length {length}.")
    if start >= stop:
        raise ValueError(f"The crop {part} of axis {axis} (length {length}) holds nothing.")
    return start, stop


def fits(values: np.ndarray, dtype: np.dtype) -> bool:
    """Whether every value is unchanged by storing it as `dtype` (between floating-point types: but for rounding).

    Example:
        >>> fits(np.array([1, 255]), np.dtype(np.uint8)), fits(np.array([256]), np.dtype(np.uint8))
        (True, False)
    """
    # numpy calls int64 to float64 safe, which it is not for large ids.
    if (np.can_cast(values.dtype, dtype) and dtype.kind != "f") or (values.dtype.kind == "f" and dtype.kind == "f"):
        return True
    with np.errstate(all="ignore"):
        cast = values.astype(dtype)
        # Both ways: int64 -1 comes back from uint64, and 2**53 + 1 equals its neighbour once both are float64.
        return bool((cast == values).all() and (cast.astype(values.dtype) == values).all())


def check_fill(fill: Any, dtype: np.dtype) -> Any:
    """`fill` as a value of `dtype`.

    Raises:
        ValueError: `dtype` cannot hold it.

    Example:
        >>> int(check_fill(128, np.dtype(np.uint8)))
        128
    """
    try:
        # Through an array of its own type, so that neither wrapping nor rounding happens unseen.
        value = np.asarray(fill)
        with np.errstate(all="ignore"):
            cast = value.astype(dtype)
        fits = value.ndim == 0 and (dtype.kind == "f" or bool(cast == value)) and (dtype.kind != "b" or fill in (0, 1))
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"fill={fill!r} is no number of dtype {dtype}.") from error
    if not fits:
        raise ValueError(f"fill={fill!r} is no number of dtype {dtype}.")
    return cast[()]


def blocks(shape: tuple[int, ...], unit: tuple[int, ...], itemsize: int, limit: int = BLOCK_BYTES) -> Iterator[Box]:
    """Boxes that cover `shape` once, each of whole `unit`s (chunks) and of at most about `limit` bytes.

    The last axes are filled first, so that formats stored plane by plane are read once.

    Example:
        >>> len(list(blocks((64, 512, 512), (32, 256, 256), 1)))
        1
        >>> len(list(blocks((64, 512, 512), (32, 256, 256), 1, limit=2**23)))
        2
    """
    size = [min(step, length) for step, length in zip(unit, shape, strict=True)]
    for axis in reversed(range(len(shape))):
        room = limit // (math.prod(size) * itemsize)
        whole = math.ceil(shape[axis] / size[axis])
        size[axis] *= min(max(room, 1), whole)
        if room < whole:
            break
    for corner in itertools.product(*(range(0, length, step) for length, step in zip(shape, size, strict=True))):
        yield tuple(
            slice(start, min(start + step, length), 1) for start, step, length in zip(corner, size, shape, strict=True)
        )


def default_chunks(shape: tuple[int, ...], axes: str) -> tuple[int, ...]:
    """Chunks of 32 x 256 x 256 voxels (z, y, x), one channel each, bounded by the shape.

    Example:
        >>> default_chunks((2, 100, 4096, 4096), "czyx"), default_chunks((512, 512, 3), "yxc")
        ((1, 32, 256, 256), (256, 256, 3))
    """
    wanted = {"z": 32, "y": 256, "x": 256, "c": 1 if axes.startswith("c") else max(shape)}
    return tuple(min(wanted[axis], length) for axis, length in zip(axes, shape, strict=True))


def check_chunks(chunks: Any, shape: tuple[int, ...], axes: str) -> tuple[int, ...]:
    """`chunks` bounded by the shape, or the default for None.

    Raises:
        TypeError: not a sequence of integers.
        ValueError: a wrong number of values, or one below 1.
    """
    if chunks is None:
        return default_chunks(shape, axes)
    try:
        sizes = [operator.index(size) for size in chunks]
    except TypeError as error:
        raise TypeError(f"chunks must be {len(shape)} integers, one an axis, got {chunks!r}.") from error
    if len(sizes) != len(shape) or min(sizes) < 1:
        raise ValueError(f"chunks must be {len(shape)} integers of at least 1, one an axis, got {tuple(sizes)}.")
    return tuple(min(size, length) for size, length in zip(sizes, shape, strict=True))
