"""What preparation and microscope add section by section: stain, focus, illumination, dirt, noise."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from emlib.data.phantom.scene_grid import SceneGrid


def apply_section_effects(grey: np.ndarray, grid: SceneGrid, rng: np.random.Generator) -> np.ndarray:
    """Change contrast, brightness, focus and illumination of each section and add specks of stain.

    Args:
        grey: float32 (Z, Y, X).
        grid: the voxels.
        rng: source of the changes.

    Returns:
        A new float32 array.
    """
    result = grey.copy()
    # In an isotropic block-face stack neighbours look alike; thin sections are stained one by one.
    strength = 1.0 if grid.voxel_size[0] > 15.0 else 0.25
    rows = np.linspace(-1, 1, grid.shape[1], dtype=np.float32)[:, None]
    columns = np.linspace(-1, 1, grid.shape[2], dtype=np.float32)[None]
    for z, section in enumerate(result):
        jump = 2.2 if rng.random() < 0.08 else 1.0
        gain = 1.0 + strength * jump * rng.normal(0.0, 0.055)
        offset = strength * jump * rng.normal(0.0, 6.0)
        slope = strength * rng.normal(0.0, 4.0, 2)
        focus = rng.random() < 0.07 * strength
        if focus:
            section[:] = ndimage.gaussian_filter(section, 7.0 / np.asarray(grid.voxel_size[1:]))
        middle = float(section.mean())
        section[:] = (section - middle) * gain + middle + offset + slope[0] * rows + slope[1] * columns
        if rng.random() < 0.35 * strength:
            _add_specks(section, grid, rng)
        result[z] = section
    return result


def _add_specks(section: np.ndarray, grid: SceneGrid, rng: np.random.Generator) -> None:
    """Grains of lead stain: small, nearly black, sharp."""
    rows, columns = grid.y[0] - grid.y[0, 0], grid.x[0] - grid.x[0, 0]
    for _ in range(rng.integers(1, 4)):
        cy, cx = rng.uniform(0, rows[-1]), rng.uniform(0, columns[-1])
        radius = rng.uniform(10.0, 34.0)
        distance = np.hypot(rows[:, None] - cy, (columns[None] - cx) * rng.uniform(0.7, 1.4))
        section += (18.0 - section) / (1 + np.exp(np.clip((distance - radius) / 4.0, -30, 30)))


def add_noise(grey: np.ndarray, noise: float, rng: np.random.Generator) -> np.ndarray:
    """Shot noise (grows with the signal) and detector noise of `noise` grey levels in all at mid grey; gives uint8."""
    result = grey
    if noise > 0:
        signal = np.sqrt(np.clip(grey, 0.0, None) / 128.0)
        result = grey + noise * np.sqrt(0.6) * signal * rng.standard_normal(grey.shape, dtype=np.float32)
        result = result + noise * np.sqrt(0.4) * rng.standard_normal(grey.shape, dtype=np.float32)
    return np.clip(np.rint(result), 0, 255).astype(np.uint8)
