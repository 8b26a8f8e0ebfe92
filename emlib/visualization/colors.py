"""One colour per object id, the same in every figure and in Neuroglancer."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

# Okabe and Ito, "Color universal design" (2008): told apart by colour-blind readers, in print and on a screen.
ORANGE, SKY, GREEN, YELLOW = "#E69F00", "#56B4E9", "#009E73", "#F0E442"
BLUE, VERMILLION, PURPLE, BLACK = "#0072B2", "#D55E00", "#CC79A7", "#000000"
LINE_COLORS = (BLUE, ORANGE, GREEN, PURPLE, VERMILLION, SKY, BLACK)

_LOW_BITS = np.uint64(0xFFFFFFFF)


def label_colors(ids: ArrayLike, *, seed: int = 0) -> np.ndarray:
    """The colour of each object id; id 0, the background, is black.

    A colour depends on the id and the seed only, so an object keeps its colour from figure to figure. It is the
    colour that Neuroglancer gives the same id when the layer's colour seed is `seed`: hue and saturation come from
    the MurmurHash3 mix of the two 32-bit halves of the id, at full brightness.

    Args:
        ids: object ids, any shape, any integer type without negative values.
        seed: another seed gives other colours.

    Returns:
        uint8, shape of `ids` + (3,): red, green, blue.

    Raises:
        TypeError: ids are not integers.
        ValueError: an id is negative.

    Example:
        >>> label_colors([0, 7, 2**40]).tolist()
        [[0, 0, 0], [12, 255, 149], [125, 47, 255]]
    """
    ids = _unsigned(ids)
    mixed = _mix(np.full(ids.shape, seed & 0xFFFFFFFF, np.uint64), ids & _LOW_BITS)
    mixed = _mix(mixed, ids >> np.uint64(32))
    hue = (mixed & np.uint64(0xFF)).astype(np.float64) / 255
    saturation = 0.5 + 0.5 * ((mixed >> np.uint64(8)) & np.uint64(0xFF)).astype(np.float64) / 255
    colors = np.rint(_hue_to_rgb(hue, saturation) * 255).astype(np.uint8)
    colors[ids == 0] = 0
    return colors


def colorize(labels: ArrayLike, *, seed: int = 0) -> np.ndarray:
    """Paint a label array: each object in its `label_colors`, background black.

    Args:
        labels: integer labels of any shape, 0 = background.
        seed: seed of the colours.

    Returns:
        uint8, shape of `labels` + (3,).

    Example:
        >>> colorize([[0, 3], [3, 3]]).shape
        (2, 2, 3)
    """
    labels = _unsigned(labels)
    ids, index = np.unique(labels, return_inverse=True)
    return label_colors(ids, seed=seed)[index.reshape(labels.shape)]


def _unsigned(ids: ArrayLike) -> np.ndarray:
    ids = np.asarray(ids)
    if ids.size == 0:
        ids = ids.astype(np.uint64)
    if ids.dtype == bool or np.issubdtype(ids.dtype, np.unsignedinteger):
        return ids.astype(np.uint64)
    if not np.issubdtype(ids.dtype, np.integer):
        raise TypeError(f"Object ids must be integers; these are {ids.dtype}.")
    if ids.min() < 0:
        raise ValueError(f"Object ids must not be negative; the smallest here is {ids.min()}.")
    return ids.astype(np.uint64)


def _mix(state: np.ndarray, value: np.ndarray) -> np.ndarray:
    """One MurmurHash3 (x86, 32 bit) step, on 32-bit numbers held in 64 bits so that products do not overflow."""
    value = (value * np.uint64(0xCC9E2D51)) & _LOW_BITS
    value = (_rotate(value, 15) * np.uint64(0x1B873593)) & _LOW_BITS
    return (_rotate(state ^ value, 13) * np.uint64(5) + np.uint64(0xE6546B64)) & _LOW_BITS


def _rotate(value: np.ndarray, bits: int) -> np.ndarray:
    return ((value << np.uint64(bits)) | (value >> np.uint64(32 - bits))) & _LOW_BITS


def _hue_to_rgb(hue: np.ndarray, saturation: np.ndarray) -> np.ndarray:
    """HSV to RGB at full value: each channel falls by the saturation where the hue is far from that channel."""
    distance = np.stack([(6 * hue + offset) % 6 for offset in (5, 3, 1)], axis=-1)
    fall = np.clip(np.minimum(distance, 4 - distance), 0, 1)
    return 1 - saturation[..., None] * fall
