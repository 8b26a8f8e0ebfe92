"""Bring any microscope's grey values to 0 ... 255 by percentiles of the pixels that are not empty."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from emlib.data.order_statistics import ranked_values

LOW, HIGH = 0.0, 99.5
ROWS_AT_A_TIME = 256
COUNTED_AT_ONCE = 1 << 20
# Up to so many values are sorted in memory, more are counted piece by piece.
SORTED_AT_ONCE = 1 << 24


def normalize_percentiles(image: Any, *, low: float = LOW, high: float = HIGH, per_channel: bool = False) -> np.ndarray:
    """Map the percentiles of the non-zero values linearly to 0 and 255, clip, and round down.

    This is the first step of MEDIAR's training and prediction: all channels together, percentiles 0 and 99.5. Zeros
    are left out of the percentiles, because the empty corners and padding of many pictures are 0; they are mapped
    like all other values, and so become 0. Unlike there, pictures without contrast are handled: where all non-zero
    values are equal, the range starts at the picture's lowest value, and a constant picture becomes 0.

    Args:
        image: (y, x) or (y, x, c), whole numbers, floats or bool, of any range.
        low, high: percentiles, 0 <= low < high <= 100.
        per_channel: take the percentiles of each channel by itself.

    Returns:
        uint8 of the same shape.

    Raises:
        TypeError: values that are no real numbers.
        ValueError: no pixels, NaN or infinite values, axes other than these, or percentiles out of range.

    Example:
        >>> normalize_percentiles(np.array([[0, 1000, 1500, 2000]], dtype=np.uint16), high=100).tolist()
        [[0, 0, 127, 255]]
        >>> normalize_percentiles(np.full((2, 2), 7)).tolist()
        [[0, 0], [0, 0]]
    """
    image = np.asarray(image)
    return scale_to_bytes(image, percentile_limits(image, low=low, high=high, per_channel=per_channel))


def percentile_limits(
    image: Any, *, low: float = LOW, high: float = HIGH, per_channel: bool = False
) -> tuple[tuple[float, float], ...]:
    """The values that `normalize_percentiles` maps to 0 and 255: one pair for all channels, or one for each.

    Args:
        image: as there, or anything with a shape and a dtype whose rows are sliced like those of an array; of it, and
            of a large array, some rows at a time are looked at.
        low, high, per_channel: as there.

    Raises:
        TypeError, ValueError: as there.

    Example:
        >>> percentile_limits(np.array([[0, 10, 20, 30]], dtype=np.uint8), high=100)
        ((10.0, 30.0),)
    """
    if not isinstance(getattr(image, "dtype", None), np.dtype):
        image = np.asarray(image)
    shape, kind = tuple(image.shape), image.dtype.kind
    if kind not in "buif":
        raise TypeError(f"The image is {image.dtype}, but whole numbers or floats were expected.")
    if len(shape) not in (2, 3) or 0 in shape:
        raise ValueError(f"The image has shape {shape}, but pixels (y, x) or (y, x, c) were expected.")
    if not 0 <= low < high <= 100:
        raise ValueError(f"The percentiles are {low} and {high}, but 0 <= low < high <= 100 was expected.")
    if kind == "f" and (count := sum(int(np.count_nonzero(~np.isfinite(rows))) for rows in _rows(image))):
        raise ValueError(f"The image has {count} values that are NaN or infinite, but finite numbers were expected.")
    channels = range(shape[2]) if per_channel and len(shape) == 3 else [None]
    return tuple(_limits(image, channel, low, high) for channel in channels)


def scale_to_bytes(values: np.ndarray, limits: tuple[tuple[float, float], ...]) -> np.ndarray:
    """Map limits linearly to 0 and 255, clip, and round down; a part of an image as in the whole.

    Args:
        values: (y, x) or (y, x, c), the image or a part of it.
        limits: of the whole image, from `percentile_limits`; one pair, or one a channel.

    Example:
        >>> scale_to_bytes(np.array([[0, 15, 99]]), ((10.0, 20.0),)).tolist()
        [[0, 127, 255]]
    """
    if len(limits) > 1:
        return np.stack([scale_to_bytes(values[..., c], (pair,)) for c, pair in enumerate(limits)], axis=-1)
    ((bottom, top),) = limits
    if values.dtype not in (np.uint8, np.uint16, bool) or not values.size:
        return _scaled(values, bottom, top)
    # Few values, many pixels: a table of all values is quicker, and exactly the same. Some rows at a time, because
    # numpy makes eight bytes of every index.
    table = _scaled(np.arange(int(values.max()) + 1), bottom, top)
    result = np.empty(values.shape, np.uint8)
    for start in range(0, len(values), ROWS_AT_A_TIME):
        result[start : start + ROWS_AT_A_TIME] = table[values[start : start + ROWS_AT_A_TIME].astype(np.intp)]
    return result


def _rows(image: Any, channel: int | None = None) -> Iterator[np.ndarray]:
    """The image, or one of its channels, some rows at a time."""
    for start in range(0, image.shape[0], ROWS_AT_A_TIME):
        rows = np.asarray(image[start : start + ROWS_AT_A_TIME])
        yield rows if channel is None else rows[..., channel]


def _limits(image: Any, channel: int | None, low: float, high: float) -> tuple[float, float]:
    if image.dtype in (np.uint8, np.uint16, bool):
        counts = np.zeros(2 if image.dtype == bool else np.iinfo(image.dtype).max + 1, np.int64)
        for rows in _rows(image, channel):
            flat = rows.ravel()
            # A part at a time, because numpy makes eight bytes of every value.
            for start in range(0, flat.size, COUNTED_AT_ONCE):
                counts += np.bincount(flat[start : start + COUNTED_AT_ONCE], minlength=len(counts))
        lowest = int(np.flatnonzero(counts)[0])
        counts[0] = 0
        if not counts.any():
            return 0.0, 0.0
        bottom, top = (_percentile(counts, share) for share in (low, high))
    else:
        lowest, filled = np.inf, 0
        for rows in _rows(image, channel):
            lowest, filled = min(lowest, float(rows.min())), filled + int(np.count_nonzero(rows))
        if not filled:
            return 0.0, 0.0
        bottom, top = _percentiles_of_filled(image, channel, filled, (low, high))
    return (bottom, top) if top > bottom else (float(lowest), top)


def _percentiles_of_filled(image: Any, channel: int | None, count: int, shares: tuple[float, float]) -> list[float]:
    """`np.percentile` of the `count` values that are not 0."""

    # Halved, because the difference of the largest floats would overflow.
    def halves() -> Iterator[np.ndarray]:
        for rows in _rows(image, channel):
            yield rows[rows != 0].astype(np.float64) / 2

    if count <= SORTED_AT_ONCE:
        return [2 * float(value) for value in np.percentile(np.concatenate(list(halves())), shares)]
    places = [(count - 1) * (share / 100) for share in shares]
    below = [int(place) for place in places]
    found = ranked_values(halves, [*below, *(min(rank + 1, count - 1) for rank in below)])
    values = []
    for place, rank, first, second in zip(places, below, found[:2], found[2:], strict=True):
        # Counted from the nearer of the two, as numpy does, so that the last bit is the same.
        share, step = place - rank, second - first
        values.append(2 * (first + step * share if share < 0.5 else second - step * (1 - share)))
    return values


def _percentile(counts: np.ndarray, share: float) -> float:
    """What `np.percentile` gives for values 0, 1, ... that occur `counts` times."""
    upto = np.cumsum(counts)
    place = (int(upto[-1]) - 1) * (share / 100)
    below = int(place)
    first, second = np.searchsorted(upto, [below, min(below + 1, int(upto[-1]) - 1)], side="right")
    return float(first + (second - first) * (place - below))


def _scaled(values: np.ndarray, bottom: float, top: float) -> np.ndarray:
    if not top > bottom:
        return np.zeros(values.shape, np.uint8)
    # Halved, as above.
    share = (values.astype(np.float64).clip(bottom, top) / 2 - bottom / 2) / (top / 2 - bottom / 2)
    return (share * 255).astype(np.uint8)
