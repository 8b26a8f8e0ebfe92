"""Bring any microscope's grey values to 0 ... 255 by percentiles of the pixels that are not empty."""

from __future__ import annotations

from typing import Any

import numpy as np

LOW, HIGH = 0.0, 99.5
ROWS_AT_A_TIME = 256


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
        image, low, high, per_channel: as there.

    Raises:
        TypeError, ValueError: as there.

    Example:
        >>> percentile_limits(np.array([[0, 10, 20, 30]], dtype=np.uint8), high=100)
        ((10.0, 30.0),)
    """
    image = np.asarray(image)
    if image.dtype.kind not in "buif":
        raise TypeError(f"The image is {image.dtype}, but whole numbers or floats were expected.")
    if image.ndim not in (2, 3) or image.size == 0:
        raise ValueError(f"The image has shape {image.shape}, but pixels (y, x) or (y, x, c) were expected.")
    if not 0 <= low < high <= 100:
        raise ValueError(f"The percentiles are {low} and {high}, but 0 <= low < high <= 100 was expected.")
    if image.dtype.kind == "f" and not np.isfinite(image).all():
        count = int(image.size - np.isfinite(image).sum())
        raise ValueError(f"The image has {count} values that are NaN or infinite, but finite numbers were expected.")
    channels = [image[..., place] for place in range(image.shape[2])] if per_channel and image.ndim == 3 else [image]
    return tuple(_limits(channel, low, high) for channel in channels)


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


def _limits(image: np.ndarray, low: float, high: float) -> tuple[float, float]:
    if image.dtype in (np.uint8, np.uint16, bool):
        counts = np.zeros(2 if image.dtype == bool else np.iinfo(image.dtype).max + 1, np.int64)
        for start in range(0, len(image), ROWS_AT_A_TIME):
            counts += np.bincount(image[start : start + ROWS_AT_A_TIME].ravel(), minlength=len(counts))
        lowest = int(np.flatnonzero(counts)[0])
        counts[0] = 0
        if not counts.any():
            return 0.0, 0.0
        bottom, top = (_percentile(counts, share) for share in (low, high))
    else:
        filled = image[image != 0].astype(np.float64)
        lowest = float(image.min())
        if not filled.size:
            return 0.0, 0.0
        # Halved, because the difference of the largest floats would overflow.
        bottom, top = (2 * float(value) for value in np.percentile(filled / 2, (low, high)))
    return (bottom, top) if top > bottom else (float(lowest), top)


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
