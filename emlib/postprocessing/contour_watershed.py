"""Instances from a mask and a contour map: seeds inside the contours, grown over the mask."""

from __future__ import annotations

from typing import Any

import numpy as np

from emlib.compilation import compiled
from emlib.postprocessing.components import label_components
from emlib.postprocessing.flooding import flood_from_seeds
from emlib.postprocessing.probabilities import as_grey_levels, grey_level, same_shape, voxel_count
from emlib.postprocessing.small_objects import keep_large_and_renumber

ABOVE_ALL = 256


def contour_watershed(
    mask: Any,
    contour: Any,
    *,
    seed_mask: float = 0.9,
    seed_contour: float = 0.8,
    foreground: float = 0.85,
    min_size: int = 128,
    min_seed_size: int = 0,
) -> np.ndarray:
    """Separate touching objects with their predicted contours (the `bc_watershed` of MitoEM).

    1. Seeds: 26-connected components (8-connected in 2-D) of `mask > seed_mask` and `contour < seed_contour`.
    2. The seeds are grown over their 6-connected (4-connected) surroundings with `mask > foreground`, from high to
       low mask values (watershed on -mask). Seed voxels that are not foreground are dropped first.
    3. Objects with fewer than `min_size` voxels become background, the rest is numbered 1, 2, 3, ... in the raster
       order of their seeds.

    Foreground that no seed reaches stays background. All comparisons are made on uint8 with the integer part of
    255 * threshold; float maps are quantised to floor(255 * p). Voxels that two seeds reach at the same height and
    the same step (ties) may fall to another object than with another implementation, about 0.1 % of the foreground.

    Args:
        mask: (Z, Y, X) or (Y, X), uint8 0-255 or float 0-1; probability of being inside an object.
        contour: the same shape; probability of being on an object's contour.
        seed_mask, seed_contour, foreground: thresholds in [0, 1].
        min_size: in voxels; an object of exactly this size stays.
        min_seed_size: seeds with fewer voxels are ignored (0 keeps all; PyTorch Connectomics uses 32).

    Returns:
        Labels of the input's shape, 0 = background; uint32, or uint64 where the volume could hold 2**32 objects.

    Raises:
        TypeError: maps that are neither uint8 nor float, thresholds that are not numbers.
        ValueError: shapes that differ, empty maps, values or thresholds that are not probabilities.

    Memory: about 5 bytes per voxel above contiguous uint8 input; other input is copied to uint8 (1 byte more a map).

    Source: MitoEM challenge baseline (Wei et al., MICCAI 2020) and its winner of 2021, whose defaults these are.

    Example:
        >>> mask = np.array([[255, 255, 240, 225, 240, 255, 255, 0]], dtype=np.uint8)
        >>> contour = np.array([[0, 0, 210, 255, 210, 0, 0, 0]], dtype=np.uint8)
        >>> contour_watershed(mask, contour, min_size=1)
        array([[1, 1, 1, 1, 2, 2, 2, 0]], dtype=uint32)
    """
    seed_level = grey_level(seed_mask, "seed_mask")
    contour_level = grey_level(seed_contour, "seed_contour")
    lowest = grey_level(foreground, "foreground")
    min_size = voxel_count(min_size, "min_size")
    min_seed_size = voxel_count(min_seed_size, "min_seed_size")
    mask = as_grey_levels(mask, "mask")
    contour = as_grey_levels(contour, "contour")
    same_shape(mask, contour, ("mask", "contour"))
    return _grow(mask, _seeds(mask, contour, seed_level, contour_level), lowest, seed_level, min_size, min_seed_size)


def mask_watershed(
    mask: Any, *, seed_mask: float = 0.98, foreground: float = 0.85, min_size: int = 128, min_seed_size: int = 0
) -> np.ndarray:
    """The same watershed without a contour map: seeds are the components of `mask > seed_mask` (`binary_watershed`).

    Arguments, result and errors as for `contour_watershed`.

    Example:
        >>> mask = np.array([[255, 255, 240, 220, 240, 255, 255, 0]], dtype=np.uint8)
        >>> mask_watershed(mask, min_size=1)
        array([[1, 1, 1, 1, 2, 2, 2, 0]], dtype=uint32)
    """
    seed_level = grey_level(seed_mask, "seed_mask")
    lowest = grey_level(foreground, "foreground")
    min_size = voxel_count(min_size, "min_size")
    min_seed_size = voxel_count(min_seed_size, "min_seed_size")
    mask = as_grey_levels(mask, "mask")
    return _grow(mask, _seeds(mask, mask, seed_level, ABOVE_ALL), lowest, seed_level, min_size, min_seed_size)


def contour_components(
    mask: Any,
    contour: Any,
    *,
    seed_mask: float = 0.8,
    seed_contour: float = 0.5,
    min_size: int = 128,
    dilation: tuple[int, int, int] = (1, 5, 5),
    connectivity: int = 26,
) -> np.ndarray:
    """Label what is mask and not contour, then widen each label by what the contour took (`bc_connected`).

    1. Connected components of `mask > seed_mask` and `contour < seed_contour`, numbered in raster order.
    2. Grey dilation with a box: a voxel takes the largest id in the box around it. As published, objects thus grow
       over the background and also over neighbours with smaller ids; `dilation=(1, 1, 1)` leaves this step out.
    3. Objects with fewer than `min_size` voxels (measured after the dilation) become background, and the rest is
       numbered 1, 2, 3, ...

    With `connectivity=6, seed_mask=0.9, seed_contour=0.8, dilation=(1, 7, 7)` this is the partition that VIDAR's
    `malis_watershed` produces, without its affinity graph.

    Args:
        mask, contour: (Z, Y, X) or (Y, X), uint8 0-255 or float 0-1, of the same shape.
        seed_mask, seed_contour: thresholds in [0, 1].
        min_size: in voxels; an object of exactly this size stays.
        dilation: size of the box (z, y, x), odd numbers; in 2-D only (y, x) are used.
        connectivity: 6, 18 or 26 neighbours (in 2-D 6 means 4 and the others 8).

    Returns:
        Labels as from `contour_watershed`.

    Raises:
        TypeError, ValueError: as for `contour_watershed`; also for a box that is not three odd numbers or an
            unknown connectivity.

    Example:
        >>> mask = np.full((1, 1, 9), 255, dtype=np.uint8)
        >>> contour = np.array([[[0, 0, 0, 255, 255, 255, 0, 0, 0]]], dtype=np.uint8)
        >>> contour_components(mask, contour, min_size=1, dilation=(1, 3, 3))
        array([[[1, 1, 1, 1, 0, 2, 2, 2, 2]]], dtype=uint32)
    """
    seed_level = grey_level(seed_mask, "seed_mask")
    contour_level = grey_level(seed_contour, "seed_contour")
    min_size = voxel_count(min_size, "min_size")
    box = _check_box(dilation)
    mask = as_grey_levels(mask, "mask")
    contour = as_grey_levels(contour, "contour")
    same_shape(mask, contour, ("mask", "contour"))
    labels, objects = label_components(_seeds(mask, contour, seed_level, contour_level), connectivity)
    for axis, width in enumerate(box):
        if width > 1:
            _widen(np.moveaxis(labels, axis, -1), width // 2)
    keep_large_and_renumber(labels, objects, min_size)
    return labels.reshape(mask.shape)


def mask_components(mask: Any, *, threshold: float = 0.9, min_size: int = 128, connectivity: int = 26) -> np.ndarray:
    """Connected components of `mask > threshold`, small ones dropped (`binary_connected`).

    Arguments, result and errors as for `contour_components`; PyTorch Connectomics v1 has the threshold 0.8.

    Example:
        >>> mask_components(np.array([[255, 0, 255, 255]], dtype=np.uint8), min_size=1)
        array([[1, 0, 2, 2]], dtype=uint32)
    """
    level = grey_level(threshold, "threshold")
    min_size = voxel_count(min_size, "min_size")
    mask = as_grey_levels(mask, "mask")
    labels, objects = label_components(_seeds(mask, mask, level, ABOVE_ALL), connectivity)
    keep_large_and_renumber(labels, objects, min_size)
    return labels.reshape(mask.shape)


def _seeds(mask: np.ndarray, contour: np.ndarray, above: int, below: int) -> np.ndarray:
    """(Z, Y, X) bool: mask > above and contour < below."""
    seeds = np.empty(mask.shape, dtype=np.bool_)
    _threshold(mask.reshape(-1), contour.reshape(-1), above, below, seeds.reshape(-1))
    return seeds.reshape((-1, *mask.shape[-2:]))


@compiled
def _threshold(mask, contour, above, below, seeds):
    for position in range(mask.size):
        seeds[position] = (mask[position] > above) & (contour[position] < below)


def _grow(
    mask: np.ndarray, seeds: np.ndarray, lowest: int, seed_level: int, min_size: int, min_seed_size: int
) -> np.ndarray:
    labels, objects = label_components(seeds, connectivity=26)
    del seeds
    levels = mask.reshape(labels.shape)
    if lowest > seed_level:
        _clear_below(levels.reshape(-1), labels.reshape(-1), lowest)
    if min_seed_size > 1:
        objects = keep_large_and_renumber(labels, objects, min_seed_size)
    if objects:
        flood_from_seeds(levels, labels, lowest)
        keep_large_and_renumber(labels, objects, min_size)
    return labels.reshape(mask.shape)


@compiled
def _clear_below(levels, labels, lowest):
    for position in range(labels.size):
        if levels[position] <= lowest:
            labels[position] = 0


def _check_box(box: tuple[int, int, int]) -> tuple[int, int, int]:
    sizes = tuple(box) if isinstance(box, tuple | list | np.ndarray) else ()
    if len(sizes) != 3 or any(size != int(size) or size < 1 or size % 2 == 0 for size in sizes):
        raise ValueError(f"dilation must be three odd numbers of voxels (z, y, x), got {box!r}.")
    return tuple(int(size) for size in sizes)


@compiled
def _widen(labels, reach):
    """Maximum filter along the last axis, in place; beyond the border there is nothing."""
    length = labels.shape[2]
    line = np.empty(length, dtype=labels.dtype)
    for i in range(labels.shape[0]):
        for j in range(labels.shape[1]):
            occupied = False
            for k in range(length):
                line[k] = labels[i, j, k]
                occupied |= line[k] != 0
            if not occupied:
                continue
            for k in range(length):
                largest = line[k]
                for near in range(max(k - reach, 0), min(k + reach + 1, length)):
                    largest = max(largest, line[near])
                labels[i, j, k] = largest
