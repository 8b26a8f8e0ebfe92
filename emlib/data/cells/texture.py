"""Random textures, and what every camera adds: blur, shot noise, read noise."""

from __future__ import annotations

import edt
import numpy as np
from scipy import ndimage


def grain(shape: tuple[int, int], size: float, rng: np.random.Generator) -> np.ndarray:
    """Fine random texture, mean 0 and standard deviation 1, float32 (y, x); `size` is its grain in pixels."""
    noise = rng.standard_normal(shape, dtype=np.float32)
    if size > 0.3:
        noise = ndimage.gaussian_filter(noise, size, mode="wrap", truncate=3.0)
    return (noise - noise.mean()) / noise.std()


def clouds(shape: tuple[int, int], size: float, rng: np.random.Generator) -> np.ndarray:
    """Slow random variation between about -2 and 2, float32 (y, x); `size` is its length in pixels."""
    coarse = rng.standard_normal([int(np.ceil(length / size)) + 3 for length in shape]).astype(np.float32)
    steps = [np.arange(length, dtype=np.float32) / size + rng.random(dtype=np.float32) + 1 for length in shape]
    for axis, step in enumerate(steps):
        low = np.minimum(step.astype(int), coarse.shape[axis] - 2)
        part = (step - low).astype(np.float32)
        part = part * part * (3 - 2 * part)
        part = part[:, None] if axis == 0 else part[None]
        coarse = coarse.take(low, axis) * (1 - part) + coarse.take(low + 1, axis) * part
    return coarse


def inner_distance(labels: np.ndarray) -> np.ndarray:
    """Pixels from the edge of the cell that a pixel belongs to, float32 (y, x); 0 outside."""
    return np.where(labels > 0, edt.edt(labels, black_border=False, parallel=1), np.float32(0))


def outer_distance(labels: np.ndarray) -> np.ndarray:
    """Pixels from the nearest cell, float32 (y, x); 0 inside; everywhere a large number if there is no cell."""
    distance = edt.edt(labels == 0, black_border=False, parallel=1)
    return np.minimum(distance, np.float32(1e4))


def relative_depth(labels: np.ndarray, distance: np.ndarray) -> np.ndarray:
    """0 at the edge of a cell to 1 at its deepest point, float32 (y, x)."""
    deepest = np.ones(int(labels.max()) + 1, np.float32)
    np.maximum.at(deepest, labels.ravel(), distance.ravel())
    return distance / deepest[labels]


def each(labels: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The value of every pixel's cell, float32 (y, x); the first entry of `values` is the background's."""
    return np.asarray(values, np.float32)[labels]


def expose(light: np.ndarray, rng: np.random.Generator, *, photons: float, read_noise: float) -> np.ndarray:
    """What a camera makes of `light` (0 to 255): uint8 of the same shape.

    `photons` is the number that one grey level stands for; shot noise has the square root of their number.
    """
    noise = rng.standard_normal(light.shape, dtype=np.float32)
    spread = np.sqrt(np.maximum(light, 0) / photons + read_noise**2)
    return np.clip(np.rint(light + spread * noise), 0, 255).astype(np.uint8)
