"""Instances from a heatmap that is highest in the middle of objects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from emlib.compilation import compiled
from emlib.postprocessing.components import label_components
from emlib.postprocessing.flooding import flood_from_seeds
from emlib.postprocessing.probabilities import as_grey_levels, grey_level, voxel_count
from emlib.postprocessing.section_smoothing import smooth_sections, smoothing_reach
from emlib.postprocessing.small_objects import keep_large_and_renumber

UNSEEDED = ("drop", "keep")


@dataclass(frozen=True)
class WatershedRules:
    """The parameters of `distance_watershed`, checked, with thresholds as grey levels."""

    lowest: int
    seed_level: int
    min_size: int
    min_seed_size: int
    sigma: float
    unseeded: str


def watershed_rules(
    *,
    foreground: float = 16 / 255,
    seed: float = 150 / 255,
    min_size: int = 1000,
    min_seed_size: int = 100,
    sigma: float = 1.0,
    unseeded: str = "drop",
) -> WatershedRules:
    """Check the parameters of `distance_watershed`.

    Raises:
        TypeError, ValueError: as `distance_watershed`, whose defaults these are.

    Example:
        >>> watershed_rules(sigma=0)
        WatershedRules(lowest=16, seed_level=150, min_size=1000, min_seed_size=100, sigma=0.0, unseeded='drop')
    """
    lowest, seed_level = grey_level(foreground, "foreground"), grey_level(seed, "seed")
    if seed_level < lowest:
        raise ValueError(f"seed must not lie below foreground, got seed {seed} and foreground {foreground}.")
    min_size = voxel_count(min_size, "min_size")
    min_seed_size = voxel_count(min_seed_size, "min_seed_size")
    if unseeded not in UNSEEDED:
        raise ValueError(f"unseeded must be one of {', '.join(map(repr, UNSEEDED))}, got {unseeded!r}.")
    smoothing_reach(sigma)
    return WatershedRules(lowest, seed_level, min_size, min_seed_size, float(sigma), unseeded)


def distance_watershed(
    heatmap: Any,
    *,
    foreground: float = 16 / 255,
    seed: float = 150 / 255,
    min_size: int = 1000,
    min_seed_size: int = 100,
    sigma: float = 1.0,
    unseeded: str = "drop",
) -> np.ndarray:
    """Separate touching objects by the hills of a heatmap, for example a distance from the border or to the skeleton.

    1. Every section is smoothed with a Gaussian; all that follows looks at the smoothed map.
    2. Foreground: 26-connected components (8-connected in 2-D) of `heatmap > foreground` with at least `min_size`
       voxels.
    3. Seeds: 6-connected (4-connected) components of `heatmap > seed` with at least `min_seed_size` voxels.
    4. The seeds are grown over the foreground, from high to low values (watershed on -heatmap, 6-connected), and
       numbered 1, 2, 3, ... in raster order.

    All comparisons are made on uint8 with the integer part of 255 * threshold; float maps are quantised to
    floor(255 * p). Voxels that two seeds reach at the same height and the same step (ties) may fall to another object
    than with another implementation. The whole volume is treated at once: there are no chunks, hence no seams, and
    ids do not overflow.

    Args:
        heatmap: (Z, Y, X) or (Y, X), uint8 0-255 or float 0-1; negative values, as tanh gives them, are to be set to
            0 before.
        foreground, seed: thresholds in [0, 1]; seed not below foreground.
        min_size: voxels; a foreground component of exactly this size stays.
        min_seed_size: voxels; a seed of exactly this size stays.
        sigma: of the Gaussian, in voxels; 0 leaves the map as it is.
        unseeded: what happens to foreground that no seed reaches. "drop", as published: it becomes background. "keep":
            its 26-connected components of at least `min_size` voxels become objects, numbered after the seeded ones.

    Returns:
        Labels of the input's shape, 0 = background; uint32, or uint64 where the volume could hold 2**32 objects.

    Raises:
        TypeError: a map that is neither uint8 nor float, thresholds that are not numbers.
        ValueError: an empty map, values or thresholds that are not probabilities, a seed threshold below that of the
            foreground, an unknown `unseeded`.

    Memory: about 6 bytes per voxel above contiguous uint8 input (with "keep" 10); other input is copied to uint8.

    Source: EM Mitochondria Pipeline (Lin et al.), `get_seg`, whose defaults these are; it works in chunks of 100
    sections with ids of 16 bits.

    Example:
        >>> hills = np.array([[40, 160, 250, 160, 60, 160, 240, 160, 40, 0]], dtype=np.uint8)
        >>> distance_watershed(hills, min_size=1, min_seed_size=1, sigma=0)
        array([[1, 1, 1, 1, 1, 2, 2, 2, 2, 0]], dtype=uint32)
    """
    rules = watershed_rules(
        foreground=foreground, seed=seed, min_size=min_size, min_seed_size=min_seed_size, sigma=sigma,
        unseeded=unseeded,
    )  # fmt: skip
    smoothed = smooth_sections(as_grey_levels(heatmap, "heatmap"), sigma)
    levels = smoothed.reshape((-1, *smoothed.shape[-2:]))

    if rules.min_size > 1:
        components, objects = label_components(levels > rules.lowest, 26)
        keep_large_and_renumber(components, objects, rules.min_size)
        _erase_outside(levels.reshape(-1), components.reshape(-1))
        del components
    # No seed lies partly outside the foreground, so seeds of small components have gone with these.
    labels, seeds = label_seeds(levels, rules)
    if seeds:
        flood_from_seeds(levels, labels, rules.lowest)
    label_unseeded(levels, labels, seeds, rules)
    return labels.reshape(smoothed.shape)


def label_seeds(levels: np.ndarray, rules: WatershedRules) -> tuple[np.ndarray, int]:
    """The seeds of smoothed levels (Z, Y, X), numbered in raster order, and how many there are."""
    labels, seeds = label_components(levels > rules.seed_level, 6)
    return labels, keep_large_and_renumber(labels, seeds, rules.min_seed_size)


def label_unseeded(levels: np.ndarray, labels: np.ndarray, seeds: int, rules: WatershedRules) -> int:
    """Number what no seed reached, in place, if it is to be kept; returns how many objects that are."""
    if rules.unseeded == "drop":
        return 0
    rest, objects = label_components((levels > rules.lowest) & (labels == 0), 26)
    objects = keep_large_and_renumber(rest, objects, rules.min_size)
    if objects:
        _append(labels.reshape(-1), rest.reshape(-1), labels.dtype.type(seeds))
    return objects


@compiled
def _erase_outside(levels, components):
    for position in range(levels.size):
        if components[position] == 0:
            levels[position] = 0


@compiled
def _append(labels, more, count):
    for position in range(labels.size):
        if more[position] != 0:
            labels[position] = more[position] + count
