"""Probability maps at the door: thresholds are 0 to 1, values are uint8 0-255 or float 0-1, work is done on uint8."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any

import numpy as np


def grey_level(threshold: float, name: str) -> int:
    """The uint8 level of a threshold in [0, 1]: the integer part of 255 * threshold, as in the published systems.

    Raises:
        TypeError: `threshold` is not a real number.
        ValueError: it lies outside [0, 1] or is not a number.

    Example:
        >>> grey_level(0.85, "foreground")
        216
    """
    if isinstance(threshold, bool) or not isinstance(threshold, Real):
        raise TypeError(f"{name} must be a number between 0 and 1, not {type(threshold).__name__}.")
    if math.isnan(threshold) or not 0 <= threshold <= 1:
        raise ValueError(f"{name} must lie between 0 and 1 (a probability), got {threshold}.")
    return int(255 * float(threshold))


def voxel_count(value: int, name: str) -> int:
    """`value` as a non-negative int, or one sentence saying why it cannot be a number of voxels."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, Real) or value != value or value != int(value):
        raise TypeError(f"{name} must be a whole number of voxels, got {value!r}.")
    if value < 0:
        raise ValueError(f"{name} must be a number of voxels of at least 0, got {value}.")
    return int(value)


def as_grey_levels(probability: Any, name: str) -> np.ndarray:
    """A probability map as a C-contiguous uint8 array (0-255) with axes (z, y, x) or (y, x).

    A contiguous uint8 array is returned as it is, without a copy. Floats are quantised to floor(255 * p), slice by
    slice, so that no second float volume is made.

    Args:
        probability: (Z, Y, X) or (Y, X), uint8 0-255 or float 0-1; an array or anything that numpy can read.
        name: what to call it in an error.

    Raises:
        TypeError: neither uint8 nor float.
        ValueError: empty, not 2-D or 3-D, or with values that are not probabilities (NaN included).

    Example:
        >>> as_grey_levels(np.array([[0.0, 0.5, 1.0]]), "mask")
        array([[  0, 127, 255]], dtype=uint8)
    """
    values = np.asarray(probability)
    if values.ndim not in (2, 3):
        raise ValueError(f"{name} must have the axes (z, y, x) or (y, x), got an array of shape {values.shape}.")
    if values.size == 0:
        raise ValueError(f"{name} is empty: its shape is {values.shape}.")
    if values.dtype == np.uint8:
        return np.ascontiguousarray(values)
    if values.dtype.kind != "f":
        raise TypeError(f"{name} must be uint8 (0-255) or float (0-1), got {values.dtype}.")
    levels = np.empty(values.shape, dtype=np.uint8)
    for index, plane in enumerate(values):
        plane = plane.astype(np.float32) if plane.dtype == np.float16 else plane
        # The comparison is False for NaN as well, so one test finds all that is not a probability.
        if not (plane.min() >= 0 and plane.max() <= 1):
            raise ValueError(
                f"{name} must hold probabilities between 0 and 1, but plane {index} ranges from {plane.min()} to "
                f"{plane.max()}; pass uint8 for 0-255."
            )
        levels[index] = plane * plane.dtype.type(255)
    return levels


def same_shape(first: np.ndarray, second: np.ndarray, names: tuple[str, str]) -> None:
    """Raise a ValueError if two maps of the same volume differ in shape."""
    if first.shape != second.shape:
        raise ValueError(f"{names[0]} and {names[1]} must have the same shape, got {first.shape} and {second.shape}.")
