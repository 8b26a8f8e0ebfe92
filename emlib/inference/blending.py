"""How much each voxel of a window counts where windows overlap."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

import numpy as np

BLENDINGS = ("gaussian", "bump", "constant")
_FLOOR = 1e-4


def blending_window(name: str, window: Sequence[int]) -> np.ndarray:
    """Weights of the voxels of one window, float32 of shape `window` (z, y, x), largest in its middle.

    - "gaussian": `1e-4 + exp(-r**2 / (2 * 0.2**2))`, r the distance from the middle, each axis running from -1 to 1.
    - "bump": `1e-4 + exp(d - max d)`, `d = -sum over the axes of (a * (1 - a))**-1.5`, a running from 0 to 1 with
      both ends left out.
    - "constant": 1.

    The first two are the windows of VIDAR and PyTorch Connectomics. An axis of one voxel counts as its middle.

    Raises:
        ValueError: unknown name.

    Example:
        >>> weights = blending_window("gaussian", (8, 16, 16))
        >>> weights.shape, round(float(weights.sum(dtype="float64")), 4), round(float(weights.max()), 4)
        ((8, 16, 16), 25.0073, 0.6935)
    """
    if name not in BLENDINGS:
        close = difflib.get_close_matches(str(name), BLENDINGS, 1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise ValueError(f"Unknown blending {name!r}: choose one of {', '.join(BLENDINGS)}.{hint}")
    if name == "constant":
        return np.ones(tuple(window), np.float32)
    # in float32 throughout, as published: the exponents' rounding is part of the published weights
    if name == "gaussian":
        exponent = _sum_of_axes(_squared_distances(size) for size in window) / np.float32(-2 * 0.2**2)
    else:
        exponent = _sum_of_axes(_bump_exponents(size) for size in window)
    weights = np.exp(exponent)
    if name == "bump":
        weights /= weights.max()
    return weights + np.float32(_FLOOR)


def _squared_distances(size: int) -> np.ndarray:
    coordinate = np.linspace(-1, 1, size, dtype=np.float32) if size > 1 else np.zeros(1, np.float32)
    return coordinate**2


def _bump_exponents(size: int) -> np.ndarray:
    a = np.linspace(0, 1, size + 2, dtype=np.float32)[1:-1]
    return -((a * (1 - a)) ** np.float32(-1.5))


def _sum_of_axes(profiles: Iterable[np.ndarray]) -> np.ndarray:
    z, y, x = profiles
    return z[:, None, None] + y[:, None] + x
