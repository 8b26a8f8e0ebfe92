"""The time that the NeurIPS 2022 cell segmentation challenge tolerated for an image, and what exceeds it."""

from __future__ import annotations

import math
from collections.abc import Sequence

SECONDS = 10.0
PIXELS = 1_000_000


def time_tolerance(shape: Sequence[int]) -> float:
    """Seconds: 10 up to a million pixels, 10 a million pixels beyond (Ma et al. 2024).

    Args:
        shape: (y, x, ...) of the image; axes after the second do not count.

    Raises:
        ValueError: fewer than two axes, or a length below 1.

    Example:
        >>> time_tolerance((512, 512)), time_tolerance((2000, 3000, 3))
        (10.0, 60.0)
    """
    if len(shape) < 2 or min(shape[:2]) < 1:
        raise ValueError(f"The shape is {tuple(shape)}, but an image (y, x) of at least one pixel was expected.")
    return SECONDS * max(1.0, int(shape[0]) * int(shape[1]) / PIXELS)


def time_over_tolerance(seconds: float, shape: Sequence[int]) -> float:
    """Seconds by which a running time exceeds the tolerance, 0 if it does not; the challenge ranked by this.

    Raises:
        ValueError: a time that is negative or not finite, or a shape that is none.

    Example:
        >>> time_over_tolerance(12.5, (1000, 1000)), time_over_tolerance(3, (1000, 1000))
        (2.5, 0.0)
    """
    if not (math.isfinite(seconds) and seconds >= 0):
        raise ValueError(f"The time is {seconds}, but seconds, 0 or more, were expected.")
    return max(0.0, float(seconds) - time_tolerance(shape))
