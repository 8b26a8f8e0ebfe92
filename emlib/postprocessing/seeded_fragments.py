"""Over-segmentation of affinities into fragments: a watershed from the points that are farthest from any boundary."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from numbers import Real
from typing import Any

import edt
import numpy as np

from emlib.postprocessing.affinity_maps import Maps, affinity_maps, check_probability
from emlib.postprocessing.flooding import flood_from_seeds
from emlib.postprocessing.regional_maxima import label_regional_maxima


def seeded_fragments(
    affinities: Any,
    *,
    dimensions: int = 2,
    threshold: float = 0.5,
    min_seed_distance: float = 0.0,
    offsets: Sequence[Sequence[int]] | None = None,
    voxel_size: Sequence[float] | None = None,
) -> np.ndarray:
    """Fragments for an agglomeration, seeded by the distance to the nearest boundary.

    With `dimensions=2`, for every section by itself:

    1. Height h = 1 - (a_y + a_x) / 2, the mean of the two affinities within the section.
    2. Distance of every voxel with h < threshold to the nearest one with h >= threshold (the border of the section is
       no boundary). Every regional maximum of the distance is a seed, a plateau counting as one.
    3. Watershed of h from the seeds over the whole section.

    With `dimensions=3` the height is the mean of all three affinities, and distance, seeds and watershed are those of
    the whole volume. Neighbours share a face.

    Every voxel gets a label, with one exception: a section (a volume, in 3-D) without any voxel below the threshold has
    no inside and becomes background, 0. One without any voxel above it is one fragment.

    At the border where an edge leaves the volume nothing is known about it; the neighbour's value stands in. The
    heights of the watershed are on 256 levels; voxels that two seeds reach at the same height and step
    (ties) may fall to another fragment than with another implementation.

    Args:
        affinities: (C, Z, Y, X), uint8 0-255 or float 0-1; 1 = same object. Only the three channels of the nearest
            neighbours are read, in 2-D only those of y and x.
        dimensions: 2 or 3.
        threshold: of the height, in [0, 1]; voxels below it are inside an object.
        min_seed_distance: seeds that are nearer to the boundary are ignored; in voxels, or nm with a voxel size. 0
            keeps all, as published.
        offsets: what the channels mean, see `affinity_maps`; None is (-1, 0, 0), (0, -1, 0), (0, 0, -1).
        voxel_size: nm (z, y, x), for the distance; None measures in voxels.

    Returns:
        Labels (Z, Y, X), numbered 1, 2, ... in the order of their seeds; uint32, or uint64 from 2**32 voxels on.

    Raises:
        TypeError: affinities that are neither uint8 nor float, a threshold that is not a number.
        ValueError: values or thresholds that are not probabilities, offsets that do not fit or lack a nearest
            neighbour, other dimensions, a voxel size or distance that is not positive.

    Memory: 4 bytes per voxel for the labels and some sections in 2-D, 11 bytes per voxel in 3-D.

    Source: the fragments that PyTorch Connectomics v1 gives to waterz (Funke et al., 2019), on which its agglomeration
    starts.

    Example:
        >>> affinities = np.full((3, 1, 3, 7), 0.9)
        >>> affinities[2, :, :, 3:5] = affinities[1, :, :, 3] = 0.1
        >>> seeded_fragments(affinities)[0, 1]
        array([1, 1, 1, 1, 2, 2, 2], dtype=uint32)
    """
    if dimensions not in (2, 3):
        raise ValueError(f"dimensions must be 2 (each section by itself) or 3, got {dimensions!r}.")
    threshold = check_probability(threshold, "threshold")
    spacing = _check_voxel_size(voxel_size)
    if isinstance(min_seed_distance, bool) or not isinstance(min_seed_distance, Real) or not min_seed_distance >= 0:
        raise ValueError(f"min_seed_distance must be a number of at least 0, got {min_seed_distance!r}.")
    maps = affinity_maps(affinities, offsets)
    voxels = math.prod(maps.shape)
    labels = np.zeros(maps.shape, dtype=np.uint32 if voxels < 2**32 - 1 else np.uint64)
    thickness = 1 if dimensions == 2 else len(labels)
    found = 0
    for start in range(0, len(labels), thickness):
        stop = start + thickness
        total, edges = _sum_of_edges(maps.read((start, 0, 0), (stop, *maps.shape[1:])), range(3 - dimensions, 3))
        # h < threshold in whole numbers is sum > 255 * edges * (1 - threshold); rounded, as 1 - 0.9 is not quite 0.1.
        inside = total > math.floor(round(255 * edges * (1 - threshold), 6))
        total //= edges
        heights = total.astype(np.uint8)
        del total
        found += _grow(heights, inside, labels[start:stop], found + 1, min_seed_distance, spacing)
    return labels


def _sum_of_edges(maps: Maps, axes: Iterable[int]) -> tuple[np.ndarray, int]:
    """The sum over the axes of the edge before each voxel, and how many terms it has.

    A voxel without a voxel before it takes the edge after it. Along an axis of one voxel there are no edges.
    """
    total, edges = np.zeros(maps[0].shape, dtype=np.uint16), 0
    for axis in axes:
        if total.shape[axis] == 1:
            continue
        first, second = ((*[slice(None)] * axis, plane) for plane in (0, 1))
        total += maps[axis]
        total[first] += maps[axis][second]
        total[first] -= maps[axis][first]
        edges += 1
    if edges == 0:
        # A single voxel: nothing says that it is a boundary.
        total[...], edges = 255, 1
    return total, edges


def _grow(
    heights: np.ndarray,
    inside: np.ndarray,
    labels: np.ndarray,
    first: int,
    min_distance: float,
    spacing: Sequence[float],
) -> int:
    """Fragments of one section or volume into `labels`, numbered from `first` on; returns how many.

    `heights` are levels of affinity, high within objects.
    """
    if len(inside) == 1:
        distance = edt.edtsq(inside[0], anisotropy=spacing[1:], parallel=1)[None]
    else:
        distance = edt.edtsq(inside, anisotropy=spacing, parallel=1)
    # Squared and compared with >, to keep seeds of exactly that distance.
    lowest = np.nextafter(np.float32(min_distance**2), np.float32(0))
    seeds = label_regional_maxima(distance, labels, lowest=lowest, first=first)
    del distance
    if seeds:
        flood_from_seeds(heights, labels, -1)
    return seeds


def _check_voxel_size(voxel_size: Sequence[float] | None) -> tuple[float, float, float]:
    if voxel_size is None:
        return (1.0, 1.0, 1.0)
    lengths = tuple(voxel_size) if isinstance(voxel_size, Sequence | np.ndarray) else ()
    if len(lengths) != 3 or not all(isinstance(length, Real) and 0 < length < math.inf for length in lengths):
        raise ValueError(f"voxel_size must be three positive numbers of nm (z, y, x), got {voxel_size!r}.")
    return tuple(float(length) for length in lengths)
