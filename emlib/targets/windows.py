"""Extremes over a square window in every section, for any integer type and without building the window."""

from __future__ import annotations

from collections.abc import Callable

import torch

Extreme = Callable[..., torch.Tensor]


def window_maximum(volume: torch.Tensor, half: int) -> torch.Tensor:
    """Largest value in the (2 half + 1)^2 window around each voxel of its section; (z, y, x), any dtype.

    The window is cut off at the border. Reflecting the volume there would give the same result, because every
    reflected voxel lies inside the window already.
    """
    return _extreme(volume, half, torch.maximum)


def window_minimum(volume: torch.Tensor, half: int) -> torch.Tensor:
    """Smallest value in the (2 half + 1)^2 window around each voxel of its section; see `window_maximum`."""
    return _extreme(volume, half, torch.minimum)


def spread(volume: torch.Tensor, axis: int, before: int, after: int, extreme: Extreme = torch.maximum) -> torch.Tensor:
    """Extreme over the voxels from `before` places before to `after` places behind each voxel along one axis."""
    result = volume.clone()
    length = volume.shape[axis]
    for distance in range(1, min(after, length - 1) + 1):
        part = result.narrow(axis, 0, length - distance)
        extreme(part, volume.narrow(axis, distance, length - distance), out=part)
    for distance in range(1, min(before, length - 1) + 1):
        part = result.narrow(axis, distance, length - distance)
        extreme(part, volume.narrow(axis, 0, length - distance), out=part)
    return result


def holds_two_ids(labels: torch.Tensor, half: int) -> torch.Tensor:
    """True where the window holds more than one distinct id other than 0; (z, y, x) bool.

    Background is replaced by the type's smallest (for the maximum) and largest value (for the minimum). "Maximum >
    minimum" is then right even if those values occur as ids, and False in a window of background only.
    """
    limits = torch.iinfo(labels.dtype)
    background = labels == 0
    largest = window_maximum(labels.masked_fill(background, limits.min), half)
    smallest = window_minimum(labels.masked_fill(background, limits.max), half)
    return largest > smallest


def _extreme(volume: torch.Tensor, half: int, extreme: Extreme) -> torch.Tensor:
    return spread(spread(volume, 1, half, half, extreme), 2, half, half, extreme)
