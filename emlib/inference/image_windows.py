"""Where the windows of a sliding-window prediction of an image lie, and how much each of their pixels counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from emlib.inference.windows import window_positions

LEAST_WEIGHT = 1e-3


@dataclass(frozen=True)
class ImagePlan:
    """The windows over one image; all fields are (y, x), in pixels.

    Where the image is smaller than the window it lies in the middle of zeros: `before` of them above and to the left.
    Positions count from the first of these.
    """

    shape: tuple[int, int]
    window: tuple[int, int]
    before: tuple[int, int]
    padded: tuple[int, int]
    positions: tuple[tuple[int, ...], tuple[int, ...]]

    def __len__(self) -> int:
        return len(self.positions[0]) * len(self.positions[1])


def plan_image_windows(shape: Sequence[int], window: int | Sequence[int], overlap: float) -> ImagePlan:
    """Lay windows over an image, the last of each axis moved back to its end, as MONAI does it.

    Args:
        shape: (y, x) of the image.
        window: pixels, one number or (y, x).
        overlap: share of a window that the next one covers again, 0 <= overlap < 1; the step is rounded down.

    Raises:
        TypeError, ValueError: a setting out of its range; the sentence names it.

    Example:
        >>> plan_image_windows((700, 1000), 512, 0.6).positions
        ((0, 188), (0, 204, 408, 488))
    """
    sides = two_numbers("window", window)
    if isinstance(overlap, bool) or not isinstance(overlap, (int, float)) or not 0 <= overlap < 1:
        raise ValueError(f"overlap must be at least 0 and less than 1, not {overlap!r}.")
    padded = tuple(max(length, side) for length, side in zip(shape, sides, strict=True))
    before = tuple((whole - length) // 2 for whole, length in zip(padded, shape, strict=True))
    steps = [
        side if side == whole else max(1, int(side * (1 - overlap))) for side, whole in zip(sides, padded, strict=True)
    ]
    positions = tuple(
        tuple(window_positions(whole, side, step)) for whole, side, step in zip(padded, sides, steps, strict=True)
    )
    return ImagePlan(tuple(int(length) for length in shape), sides, before, padded, positions)


def image_window_weights(blending: str, window: Sequence[int]) -> np.ndarray:
    """Weights of the pixels of one window, float32 of its shape.

    "gaussian" is MONAI's: exp(-(y^2 + x^2) / (2 s^2)) from the middle, s an eighth of the side along each axis, and at
    least 0.001. "constant" is 1.

    Raises:
        ValueError: unknown name.

    Example:
        >>> weights = image_window_weights("gaussian", (512, 512))
        >>> round(float(weights.sum(dtype="float64")), 1), int((weights <= 1e-3).sum())
        (25794.6, 84320)
    """
    if blending == "constant":
        return np.ones(tuple(window), np.float32)
    if blending != "gaussian":
        raise ValueError(f"blending is {blending!r}, but 'gaussian' or 'constant' was expected.")
    profiles = []
    for side in window:
        offsets = np.arange(side) - (side - 1) / 2
        profiles.append(np.exp(-0.5 * np.square(offsets / (0.125 * side))))
    return np.maximum(np.outer(*profiles), LEAST_WEIGHT).astype(np.float32)


def two_numbers(name: str, value: Any) -> tuple[int, int]:
    """One whole number of at least 1, or one for each of y and x, as a tuple of two.

    Raises:
        TypeError, ValueError: they are not.
    """
    values = tuple(value) if hasattr(value, "__iter__") and not isinstance(value, str) else (value, value)
    whole = all(hasattr(side, "__index__") and not isinstance(side, bool) for side in values)
    if not whole or len(values) != 2:
        raise TypeError(f"{name} must be one whole number or two, (y, x), not {value!r}.")
    if min(values) < 1:
        raise ValueError(f"{name} must be at least 1 along both axes, not {value!r}.")
    return int(values[0]), int(values[1])
