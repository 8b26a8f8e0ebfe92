"""Contrast, brightness and noise. Every function changes the image that it is given, in place."""

from __future__ import annotations

import torch

from emlib.augmentation.draws import Draws
from emlib.recipe_schema import CutBlur, CutNoise, Grayscale


def change_grayscale(image: torch.Tensor, settings: Grayscale, draws: Draws) -> None:
    """Random contrast, brightness and gamma, for the whole sample or (a share of samples) for each section.

    clip(image (1 + (u1 - 1/2) contrast) + (u2 - 1/2) brightness, 0, 1) ** (2 ** (2 u3 - 1)), u uniform in [0, 1).
    """
    each = draws.chance(settings.per_section)
    change = [draws.uniform() for _ in range(3)]
    # Section by section also where the change is common: a section fits into the cache, a sample does not.
    for section in image:
        if each:
            change = [draws.uniform() for _ in range(3)]
        contrast = 1 + (change[0] - 0.5) * settings.contrast
        brightness = (change[1] - 0.5) * settings.brightness
        section.mul_(contrast).add_(brightness).clamp_(0, 1).pow_(2 ** (2 * change[2] - 1))


def cut_noise(image: torch.Tensor, settings: CutNoise, draws: Draws) -> None:
    """Uniform noise within a random cuboid, clipped to [0, 1]."""
    part = image[random_cuboid(image.shape, settings.extent, draws)]
    noise = draws.field(tuple(part.shape), settings.amplitude)
    part.add_(noise.to(part.device)).clamp_(0, 1)


def cut_blur(image: torch.Tensor, settings: CutBlur, draws: Draws) -> None:
    """Coarser pixels within a random cuboid: y and x are down-sampled by a random factor and back, nearest pixel."""
    part = image[random_cuboid(image.shape, settings.extent, draws)]
    low, high = sorted(settings.factors)
    factor = draws.integer(low, high + 1)
    rows, columns = (_block_centres(length, factor).to(part.device) for length in part.shape[1:])
    part.copy_(part.index_select(1, rows).index_select(2, columns))


def random_cuboid(shape: tuple[int, ...], extent: float, draws: Draws) -> tuple[slice, ...]:
    """A box whose sides are this share of the sample's (at least one voxel), anywhere in it."""
    sides = [max(1, int(extent * length)) for length in shape]
    starts = [draws.integer(0, length - side + 1) for length, side in zip(shape, sides, strict=True)]
    return tuple(slice(start, start + side) for start, side in zip(starts, sides, strict=True))


def _block_centres(length: int, factor: int) -> torch.Tensor:
    return (torch.arange(length) // factor * factor + factor // 2).clamp(max=length - 1)
