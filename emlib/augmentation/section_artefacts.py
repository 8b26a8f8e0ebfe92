"""Faults of single sections: stripes that were not imaged, and motion. Images are changed in place."""

from __future__ import annotations

import torch
import torch.nn.functional as functional

from emlib.augmentation.draws import Draws
from emlib.recipe_schema import MissingParts, MotionBlur

# The published stripe reaches 64 voxels to each side of its line, at 320 voxels a side. Smaller windows get the same
# share, otherwise the stripe would be the whole section.
STRIPE_HALF_WIDTH, STRIPE_SHARE = 64, 5


def hide_parts(image: torch.Tensor, settings: MissingParts, draws: Draws) -> None:
    """Fill a stripe with the section's mean, in random sections of which no two are neighbours.

    The stripe follows a straight line between two opposite edges and reaches 64 voxels, but at most a fifth of the
    shorter side, to both sides of it (in city-block distance, as repeated dilation gives).
    """
    hidden_before = False
    for section in image:
        hide = draws.chance(settings.section_probability) and not hidden_before
        if hide:
            section.copy_(torch.where(_stripe(section, draws), section.mean(), section))
        hidden_before = hide


def blur_by_motion(image: torch.Tensor, settings: MotionBlur, draws: Draws) -> None:
    """Running mean of `size` pixels along y or x (one of the two) in a few random sections."""
    sections = draws.some_of(len(image), min(settings.sections, len(image)))
    axis = -1 if draws.chance(0.5) else -2
    before = (settings.size - 1) // 2
    for index in sections:
        section = image[index]
        line = (section if axis == -1 else section.T)[None]
        padded = functional.pad(line, (before, settings.size - 1 - before), mode="replicate")
        blurred = functional.avg_pool1d(padded, settings.size, stride=1)[0]
        section.copy_(blurred if axis == -1 else blurred.T)


def _stripe(section: torch.Tensor, draws: Draws) -> torch.Tensor:
    """True within the stripe; (y, x) bool."""
    across = draws.chance(0.5)
    height, width = section.shape if across else section.shape[::-1]
    start, end = (draws.uniform(0, height - 1) for _ in range(2))
    half = min(STRIPE_HALF_WIDTH, min(section.shape) // STRIPE_SHARE)
    slope = (end - start) / max(width - 1, 1)
    columns = torch.arange(width, device=section.device)
    rows = torch.arange(height, device=section.device)[:, None]
    # City-block distance to a line: move along the axis in which the line is nearer.
    inside = (rows - (start + slope * columns)).abs() <= half * max(1.0, abs(slope))
    return inside if across else inside.T
