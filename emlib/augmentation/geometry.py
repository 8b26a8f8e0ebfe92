"""What moves voxels, drawn for one sample: which source section and which source position each voxel comes from."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from emlib.augmentation.draws import Draws
from emlib.recipe_schema import AugmentationRecipe, Elastic, Misalign, MissingSection, Rescale, Rotate

# Half the diagonal of a square over half its side, rounded up; together with the margins below it gives the published
# sample sizes: 320 -> 619 (VIDAR), 257 -> 372 (PyTorch Connectomics, right angles only).
DIAGONAL = 1.42
Size = tuple[int, int, int]


@dataclass(frozen=True)
class Misplacement:
    """How a section lies in the block: turned about the block's centre (radians), then moved by whole voxels."""

    y: int = 0
    x: int = 0
    angle: float = 0.0


@dataclass(frozen=True)
class Orientation:
    """Changes that only permute voxels: quarter turns, then the transpose of y and x, then flips."""

    turns: int = 0
    transpose: bool = False
    flip_z: bool = False
    flip_y: bool = False
    flip_x: bool = False

    def in_plane(self, array: torch.Tensor) -> torch.Tensor:
        """Apply everything but the z flip to the last two axes; a view where torch can give one."""
        array = torch.rot90(array, self.turns, (-2, -1)) if self.turns else array
        array = array.transpose(-2, -1) if self.transpose else array
        axes = [axis for axis, flip in ((-2, self.flip_y), (-1, self.flip_x)) if flip]
        return array.flip(axes) if axes else array


@dataclass(frozen=True)
class Geometry:
    """One draw of all geometric changes.

    Attributes:
        sections: source section of each section of the window, before a z flip.
        misplacements: one per section of the window.
        angle: rotation in the section, radians.
        scale: (y, x), above 1 magnifies.
        centre_shift: (y, x) shift of the window's centre in the sample, in voxels of the sample.
        displacement: elastic displacement (2, y, x) in voxels of the window, float32 on the CPU, or None.
        orientation: what is done to the window at the end.
    """

    sections: tuple[int, ...]
    misplacements: tuple[Misplacement, ...]
    angle: float
    scale: tuple[float, float]
    centre_shift: tuple[float, float]
    displacement: torch.Tensor | None
    orientation: Orientation

    @property
    def moves_by_whole_voxels(self) -> bool:
        """No interpolation is needed, apart from sections that are misplaced by a rotation."""
        straight = self.angle == 0 and self.scale == (1.0, 1.0) and self.centre_shift == (0.0, 0.0)
        return straight and self.displacement is None


def sample_size(settings: AugmentationRecipe, window: Size) -> Size:
    """Size of the sample from which a window of this size can be cut, whatever is drawn.

    Example:
        >>> from emlib.recipe_schema import AugmentationRecipe
        >>> sample_size(AugmentationRecipe(rescale={"probability": 0.5}), (8, 64, 64))
        (8, 80, 80)
    """
    depth, height, width = window
    rotate, rescale, elastic = settings.rotate, settings.rescale, settings.elastic
    if rotate.probability > 0 and not rotate.right_angles:
        # For a square window this is the published ceil(1.42 n).
        height = width = math.ceil(math.sqrt((height**2 + width**2) / 2) * DIAGONAL)
    if rescale.probability > 0 and rescale.low < 1:
        height, width = math.ceil(height / rescale.low), math.ceil(width / rescale.low)
    margin = 2 * math.ceil(elastic.amplitude) + 2 if elastic.probability > 0 and elastic.amplitude > 0 else 0
    margin += settings.misalign.displacement if settings.misalign.probability > 0 else 0
    depth += settings.missing_section.sections if settings.missing_section.probability > 0 else 0
    return depth, height + margin, width + margin


def draw_geometry(settings: AugmentationRecipe, window: Size, sample: Size, draws: Draws) -> Geometry:
    """Draw every geometric change that the settings allow; each is gated by its own probability."""
    sections = _draw_sections(settings.missing_section, window[0], sample[0], draws)
    misplacements = _draw_misplacements(settings.misalign, window[0], sample, draws)
    displacement = _draw_displacement(settings.elastic, window, draws)
    scale, shift = _draw_scale(settings.rescale, sample, draws)
    angle, turns = _draw_rotation(settings.rotate, window, draws)
    flips = [draws.chance(0.5) for _ in range(4)]
    gate = draws.chance(settings.flip.probability)
    orientation = Orientation(
        turns=turns,
        transpose=gate and flips[0] and settings.flip.transpose and window[1] == window[2],
        flip_z=gate and flips[1] and settings.flip.z,
        flip_y=gate and flips[2],
        flip_x=gate and flips[3],
    )
    return Geometry(sections, misplacements, angle, scale, shift, displacement, orientation)


def _draw_sections(settings: MissingSection, depth: int, available: int, draws: Draws) -> tuple[int, ...]:
    spare = available - depth
    if not draws.chance(settings.probability):
        return tuple(range(spare // 2, spare // 2 + depth))
    inner = range(1, available - 1) if available - 2 >= spare else range(available)
    lost = {inner[index] for index in draws.some_of(len(inner), spare)}
    return tuple(section for section in range(available) if section not in lost)


def _draw_misplacements(settings: Misalign, depth: int, sample: Size, draws: Draws) -> tuple[Misplacement, ...]:
    if not draws.chance(settings.probability) or depth < 2:
        return (Misplacement(),) * depth
    rotates, slips = draws.chance(settings.rotation), draws.chance(0.5)
    section = draws.integer(1, depth)
    moved = range(section, section + 1 if slips else depth)
    rest, other = Misplacement(), Misplacement()
    if rotates:
        reach = settings.displacement / 2 / (0.71 * max(min(sample[1:]) - settings.displacement, 1))
        limit = 2 * math.asin(min(reach, 1.0))
        other = Misplacement(angle=draws.uniform(-limit, limit))
    else:
        half = settings.displacement // 2
        offsets = [draws.integer(0, settings.displacement) - half for _ in range(4)]
        rest, other = Misplacement(*offsets[:2]), Misplacement(*offsets[2:])
    return tuple(other if index in moved else rest for index in range(depth))


def _draw_displacement(settings: Elastic, window: Size, draws: Draws) -> torch.Tensor | None:
    if not draws.chance(settings.probability) or settings.amplitude == 0:
        return None
    radius = math.ceil(4 * settings.sigma)
    # Smoothing "valid" parts of a larger field keeps its strength the same up to the border.
    noise = draws.field((2, window[1] + 2 * radius, window[2] + 2 * radius), settings.amplitude)
    rows, columns = (_gaussian_band(length, radius, settings.sigma) for length in window[1:])
    return rows @ noise @ columns.T


def _gaussian_band(length: int, radius: int, sigma: float) -> torch.Tensor:
    """Matrix (length, length + 2 radius) that smooths a vector with a normalised Gaussian."""
    distance = torch.arange(length + 2 * radius)[None] - torch.arange(length)[:, None] - radius
    weights = torch.exp(-(distance.double() ** 2) / (2 * sigma**2)).masked_fill_(distance.abs() > radius, 0)
    return (weights / weights.sum(1, keepdim=True)).float()


def _draw_scale(settings: Rescale, sample: Size, draws: Draws) -> tuple[tuple[float, float], tuple[float, float]]:
    if not draws.chance(settings.probability):
        return (1.0, 1.0), (0.0, 0.0)
    scale = tuple(draws.uniform(settings.low, settings.high) for _ in range(2))
    # Magnifying shows a part of the sample, taken anywhere in it; making smaller shows more around the centre.
    room = [max(size - size / factor, 0.0) for size, factor in zip(sample[1:], scale, strict=True)]
    return scale, tuple(draws.uniform(-length / 2, length / 2) for length in room)


def _draw_rotation(settings: Rotate, window: Size, draws: Draws) -> tuple[float, int]:
    rotates = draws.chance(settings.probability)
    angle = draws.uniform(0, 2 * math.pi)
    if not rotates:
        return 0.0, 0
    if not settings.right_angles:
        return angle, 0
    quarter = int(angle / (math.pi / 2)) % 4
    # A quarter turn of an oblong window has another shape; half turns remain.
    return 0.0, quarter if window[1] == window[2] else quarter // 2 * 2
