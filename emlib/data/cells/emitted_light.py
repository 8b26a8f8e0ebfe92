"""Cells that shine on a dark ground: stained nuclei, and tissue with stained membranes."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from emlib.data.cells.texture import clouds, each, expose, grain, inner_distance, relative_depth


def show_fluorescence(labels: np.ndarray, scale: float, rng: np.random.Generator) -> np.ndarray:
    """Nuclei of very different brightness, with chromatin, some with a bright envelope; others glow out of focus.

    Args:
        labels: (y, x) nuclei.
        scale: pixels per pixel of the standard size.
        rng: the generator.

    Returns:
        uint8 (y, x, 3), three equal channels.
    """
    shape, count = labels.shape, int(labels.max()) + 1
    distance = inner_distance(labels) / scale
    brightness = np.clip(rng.lognormal(np.log(95), 0.45, count), 38, 235)
    envelope = np.where(rng.random(count) < 0.35, rng.uniform(0.2, 0.5, count), 0)
    dome = 0.62 + 0.38 * np.sqrt(np.minimum(distance / 6, 1))
    chromatin = 1 + each(labels, rng.uniform(0.07, 0.2, count)) * grain(shape, 1.6 * scale, rng)
    spots = np.maximum(grain(shape, 1.3 * scale, rng) - 1.5, 0) * each(labels, rng.uniform(0, 0.5, count))
    rim = each(labels, envelope) * np.exp(-np.square((distance - 1.5) / 1.1))
    nuclei = each(labels, brightness) * (dome * chromatin + spots + rim) * (labels > 0)
    light = ndimage.gaussian_filter(nuclei, 0.9 * scale)
    # Light from other planes: it has no label, and a threshold takes it for dim nuclei.
    ghosts = ndimage.gaussian_filter(np.maximum(grain(shape, 5 * scale, rng) - 1.7, 0), 3 * scale)
    glow = ndimage.gaussian_filter(nuclei, 9 * scale)
    light = 9 + 5 * np.abs(clouds(shape, 90 * scale, rng)) + light + 0.16 * glow + rng.uniform(30, 90) * ghosts
    light *= rng.uniform(0.45, 1.0) * (1 + 0.12 * clouds(shape, 120 * scale, rng))
    grey = expose(light, rng, photons=rng.uniform(4, 12), read_noise=1.5)
    return np.repeat(grey[..., None], 3, axis=2)


def show_tissue(labels: np.ndarray, scale: float, rng: np.random.Generator) -> np.ndarray:
    """Cells wall to wall: green speckled membranes, blue nuclei (not every cell's is in focus), a red marker in a few.

    Arguments and result are those of `show_fluorescence`, with three different channels.
    """
    shape, count = labels.shape, int(labels.max()) + 1
    distance = inner_distance(labels) / scale
    depth = relative_depth(labels, distance) + 0.07 * grain(shape, 3 * scale, rng)
    inside = labels > 0
    nucleus = ndimage.gaussian_filter(
        (depth > each(labels, rng.uniform(0.42, 0.62, count))) * inside * 1.0, 0.8 * scale
    )
    seen = np.where(rng.random(count) < 0.85, rng.uniform(90, 230, count), 0)
    blue = each(labels, seen) * nucleus * (1 + 0.22 * grain(shape, 1.5 * scale, rng))
    speckle = np.clip(0.75 + 0.5 * grain(shape, 0.8 * scale, rng), 0.05, None)
    membrane = np.exp(-np.square(distance / 1.5)) * inside * speckle * (1 + 0.35 * clouds(shape, 50 * scale, rng))
    green = 165 * membrane + each(labels, np.concatenate([[0.0], rng.uniform(4, 26, count - 1)])) * speckle
    marked = np.where(rng.random(count) < 0.2, rng.uniform(50, 150, count), 4)
    marked[0] = 0
    red = each(labels, marked) * (1 - nucleus) * np.clip(1 + 0.4 * grain(shape, 1.2 * scale, rng), 0, None)
    light = np.stack([red, green, blue], axis=2)
    light = ndimage.gaussian_filter(light, (0.6 * scale, 0.6 * scale, 0)) + 5
    return expose(light * rng.uniform(0.7, 1.1), rng, photons=5, read_noise=2)
