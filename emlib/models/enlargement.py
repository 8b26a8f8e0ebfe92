"""Bring a coarse feature map to the size of a finer one that it was halved from, voxel over voxel."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn import functional


def enlarge(coarse: torch.Tensor, size: Sequence[int], *, pooled: bool = False) -> torch.Tensor:
    """Linear interpolation to `size`, by a power of two along each axis.

    Where a coarse voxel lies on the finer grid depends on how it was made. Strided 3x3x3 convolutions, f-fold
    altogether, centre voxel i on voxel f i: for a size of f n + 1 that is interpolation with aligned corners, the
    published way. Other sizes would be stretched by it, so there the last voxel is repeated instead. A pooling window
    covers the voxels from f i to f i + f - 1 and is centred between them.

    Args:
        coarse: (N, C, z, y, x).
        size: (Z, Y, X) of the finer map; halving it, rounding up, some number of times (per axis) gives (z, y, x).
        pooled: it was made by pooling windows of two voxels, not by strided convolutions.

    Returns:
        (N, C, Z, Y, X), possibly a view of a larger tensor.

    Raises:
        ValueError: no number of halvings leads from `size` to the coarse map.

    Example:
        >>> enlarge(torch.tensor([0.0, 2.0, 6.0]).view(1, 1, 1, 1, 3), (1, 1, 5)).flatten()
        tensor([0., 1., 2., 4., 6.])
        >>> enlarge(torch.tensor([0.0, 2.0, 6.0]).view(1, 1, 1, 1, 3), (1, 1, 6)).flatten()
        tensor([0., 1., 2., 4., 6., 6.])
    """
    full = []
    for axis, (small, large) in enumerate(zip(coarse.shape[2:], size, strict=True), start=2):
        factor = _factor(small, large)
        if pooled or factor == 1:
            full.append(factor * small)
        elif large == factor * (small - 1) + 1:
            full.append(large)
        else:
            coarse = torch.cat([coarse, coarse.narrow(axis, small - 1, 1)], dim=axis)
            full.append(factor * small + 1)
    z, y, x = size
    return _interpolate(coarse, full, align_corners=not pooled)[:, :, :z, :y, :x]


def _interpolate(coarse: torch.Tensor, full: list[int], *, align_corners: bool) -> torch.Tensor:
    n, c, *small = coarse.shape
    if full == small:
        return coarse
    if full[0] != small[0]:
        return functional.interpolate(coarse, full, mode="trilinear", align_corners=align_corners)
    # Sections stay what they are: as a 2-D interpolation it takes half the time on a CPU.
    sections = coarse.transpose(1, 2).reshape(n * small[0], c, *small[1:])
    larger = functional.interpolate(sections, full[1:], mode="bilinear", align_corners=align_corners)
    return larger.view(n, small[0], c, *full[1:]).transpose(1, 2)


def _factor(small: int, large: int) -> int:
    factor = 1
    while (halved := -(-large // factor)) > small:
        factor *= 2
    if halved != small:
        raise ValueError(f"Halving an axis of {large} voxels never gives {small}, so it cannot be enlarged to that.")
    return factor
