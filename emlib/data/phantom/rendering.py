"""From geometry to grey values: what an electron microscope would show of the scene."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from emlib.data.phantom.mitochondria import Mitochondria
from emlib.data.phantom.neurites import Partition
from emlib.data.phantom.scene_grid import SceneGrid, smooth_field

MEMBRANE_GREY = 22.0
GLIA_GREY = 100.0


def render(
    grid: SceneGrid,
    calibres: np.ndarray,
    partition: Partition,
    mitochondria: Mitochondria,
    organelles: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:
    """Ideal grey values without noise: float32 (Z, Y, X), about 20 (stained membrane) to 220 (clear cytoplasm).

    `calibres` are the fibres' typical radii in nm, in the order of their numbers.
    """
    fine = _grain(grid, 9.5, rng)
    coarse = 0.6 * _grain(grid, 19.0, rng) + 0.5 * smooth_field(grid, (70.0, 55.0), rng)
    grey = _cytoplasm(grid, partition, calibres, fine, coarse, rng)
    grey -= np.where(organelles > 0, (grey - 45.0) * 0.85, 70.0) * organelles
    _paint_mitochondria(grey, grid, mitochondria, fine, rng)
    _paint_membranes(grey, grid, partition, smooth_field(grid, 90.0, rng))
    blur = 4.5 / np.asarray(grid.voxel_size)
    blur[0] = 0.0 if grid.voxel_size[0] > 15.0 else blur[0]
    return ndimage.gaussian_filter(grey, blur)


def line_profile(
    distance: np.ndarray, half_width: float | np.ndarray, spread: np.ndarray | float, grid: SceneGrid
) -> np.ndarray:
    """A dark line of given half width (nm), thinned out where voxel size or a slanted cut spread it.

    The integral across the line stays what it was, as it does under projection through a section.
    """
    width = np.sqrt(half_width**2 + (0.29 * grid.pixel) ** 2 + np.square(spread))
    return np.exp(-0.5 * np.square(distance / width)) * (half_width / width) ** 0.75


def _grain(grid: SceneGrid, length: float, rng: np.random.Generator) -> np.ndarray:
    """Fine random texture of standard deviation 1 with the given grain size (standard deviation, nm)."""
    noise = rng.standard_normal(grid.shape, dtype=np.float32)
    sigma = length / np.asarray(grid.voxel_size)
    sigma[sigma < 0.35] = 0.0
    noise = ndimage.gaussian_filter(noise, sigma, truncate=3.0)
    return noise / noise.std()


def _cytoplasm(grid, partition, calibres, fine, coarse, rng):
    """Cytosol: pale with dark granules in most neurites, darker in some of the thin ones, darkest in glia."""
    count = calibres.size + 1
    thin = np.concatenate([[False], calibres < 170.0])
    kind = rng.random(count)
    base = np.where(kind < 0.72, rng.normal(184, 9, count), rng.normal(160, 9, count))
    base = np.where((kind > 0.82) & thin, rng.normal(112, 14, count), base)
    texture = rng.uniform(6.0, 11.0, count)
    granules = rng.uniform(16.0, 55.0, count)
    base[0], texture[0], granules[0] = GLIA_GREY, 10.0, 20.0
    base, texture, granules = (values.astype(np.float32)[partition.owner] for values in (base, texture, granules))
    return base + texture * (0.6 * fine + 0.9 * coarse) - granules * np.maximum(0.8 * fine + 0.6 * coarse - 0.7, 0.0)


def _paint_mitochondria(grey, grid, mitochondria, fine, rng) -> None:
    """A dark matrix with lamellar cristae (pale fluid between two thin membranes), inside a double membrane."""
    near = mitochondria.surface < 40.0
    surface, which, phase = mitochondria.surface[near], mitochondria.labels[near], mitochondria.phase[near]
    count = int(mitochondria.labels.max()) + 1
    matrix = rng.normal(104.0, 10.0, count).astype(np.float32)
    lumen = rng.uniform(25.0, 72.0, count).astype(np.float32) * min(1.0, 12.0 / grid.pixel)
    body = 1 / (1 + np.exp(np.clip((surface + 6.0) / (0.3 * grid.pixel + 1.5), -30, 30)))
    away = np.abs(phase - np.rint(phase))
    pale = np.exp(-0.5 * (away / 0.13) ** 2)
    dark = np.exp(-0.5 * ((away - 0.3) / 0.1) ** 2)
    # Lamellae end within the matrix; where the field is low there are none.
    present = np.clip(smooth_field(grid, (60.0, 36.0), rng)[near] * 1.5 + 0.55, 0.0, 1.0)
    inside = np.clip((-surface - 18.0) / 8.0, 0.0, 1.0) * present
    interior = matrix[which] + 7.0 * fine[near] + inside * (lumen[which] * pale - 0.5 * lumen[which] * dark)
    value = grey[near] + (interior - grey[near]) * body
    slant = _slant(mitochondria.surface, grid)[near] * grid.voxel_size[0] * 0.29
    outer = line_profile(surface + 5.0, 5.0, slant, grid)
    inner = line_profile(surface + 19.0, 4.0, slant, grid)
    between = line_profile(surface + 12.0, 3.0, slant, grid)
    value += (150.0 - value) * 0.25 * between
    value += (32.0 - value) * np.clip(outer + 0.6 * inner, 0.0, 0.94)
    grey[near] = value


def _slant(surface: np.ndarray, grid: SceneGrid) -> np.ndarray:
    """How flat the surface lies in the section: 0 upright, 1 parallel to it."""
    rise = np.abs(np.gradient(np.clip(surface, -80.0, 80.0), axis=0)) / np.float32(grid.voxel_size[0])
    return np.minimum(rise, 1.0)


def _paint_membranes(grey, grid, partition, uneven) -> None:
    slant = partition.slant * grid.voxel_size[0] * 0.29
    line = line_profile(partition.depth - 8.0, 6.0 + 1.2 * np.clip(uneven, -2.0, 2.0), slant, grid)
    # Both leaflets fall into one dark line when the pixels are larger than the gap between them.
    gap = np.clip(1.0 - partition.depth / 8.0, 0.0, 1.0) * np.clip(grid.pixel / 8.0 - 0.25, 0.0, 1.0)
    line = np.clip(np.maximum(line, 0.9 * gap * (1 - 0.6 * partition.slant)), 0.0, 1.0)
    grey += (MEMBRANE_GREY - grey) * 0.95 * line
