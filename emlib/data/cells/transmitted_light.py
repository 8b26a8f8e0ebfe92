"""Cells before a bright ground: coloured nuclei, a blood smear, and phase contrast of cells and of bacteria."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from emlib.data.cells.outlines import draw_blob
from emlib.data.cells.packing import pack_cells
from emlib.data.cells.texture import (
    clouds,
    each,
    expose,
    grain,
    inner_distance,
    outer_distance,
    relative_depth,
)

# How strongly a stain absorbs red, green and blue light.
HAEMATOXYLIN = np.array([0.75, 1.35, 0.42], np.float32)
EOSIN = np.array([0.10, 0.55, 0.28], np.float32)
RED_BLOOD = np.array([0.22, 0.62, 0.55], np.float32)
PALE_BLUE = np.array([0.42, 0.30, 0.12], np.float32)


def show_stained(labels: np.ndarray, scale: float, rng: np.random.Generator) -> np.ndarray:
    """Purple nuclei on pink ground, with pale smudges that are no nuclei.

    Args:
        labels: (y, x) nuclei.
        scale: pixels per pixel of the standard size.
        rng: the generator.

    Returns:
        uint8 (y, x, 3).
    """
    shape, count = labels.shape, int(labels.max()) + 1
    distance = inner_distance(labels) / scale
    dose = np.clip(rng.normal(1.0, 0.35, count), 0.45, 1.8)
    clumps = 1 + each(labels, rng.uniform(0.08, 0.3, count)) * grain(shape, 1.4 * scale, rng)
    body = each(labels, dose) * (0.6 + 0.4 * np.minimum(distance / 3, 1)) * clumps * (labels > 0)
    blue_purple = ndimage.gaussian_filter(body, 0.8 * scale)
    smudges = ndimage.gaussian_filter(np.maximum(grain(shape, 3 * scale, rng) - 1.3, 0), 0.7 * scale)
    fibres = np.maximum(grain(shape, 2 * scale, rng) * 0.5 + clouds(shape, 40 * scale, rng), 0)
    pink = 0.08 + rng.uniform(0.1, 0.45) * fibres + rng.uniform(0.5, 1.0) * smudges
    hue = HAEMATOXYLIN * rng.uniform(0.85, 1.15, 3).astype(np.float32)
    absorbed = np.maximum(blue_purple, 0)[..., None] * hue + np.maximum(pink, 0)[..., None] * EOSIN
    absorbed += (0.25 * np.maximum(smudges, 0))[..., None] * hue
    return expose(_lamp(shape, scale, rng)[..., None] * np.exp(-absorbed), rng, photons=6, read_noise=1.5)


def show_brightfield(labels: np.ndarray, scale: float, rng: np.random.Generator) -> np.ndarray:
    """A blood smear: the cells are white blood cells with violet nuclei; red cells and platelets have no label.

    Arguments and result are those of `show_stained`.
    """
    shape, count = labels.shape, int(labels.max()) + 1
    number = max(1, round(rng.uniform(0.2, 0.5) * labels.size / (np.pi * (11 * scale) ** 2)))
    red_cells = pack_cells(
        shape,
        lambda source: draw_blob(source, radius=(9 * scale, 12 * scale), elongation=(1, 1.2), lobes=0.03),
        number,
        touching=0.6,
        least_area=1,
        rng=rng,
    )
    ring = relative_depth(red_cells, inner_distance(red_cells))
    red = (red_cells > 0) * (0.95 - 0.5 * np.square(np.clip((ring - 0.35) / 0.65, 0, 1))) * (labels == 0)
    distance = inner_distance(labels) / scale
    lobed = relative_depth(labels, distance) + 0.2 * grain(shape, 2.6 * scale, rng)
    nucleus = (lobed > each(labels, rng.uniform(0.25, 0.6, count))) * (labels > 0)
    violet = nucleus * each(labels, rng.uniform(0.95, 1.6, count)) * (1 + 0.12 * grain(shape, 1.2 * scale, rng))
    granules = 1 + each(labels, rng.uniform(0.1, 0.5, count)) * grain(shape, 0.8 * scale, rng)
    cytoplasm = (labels > 0) * (1 - nucleus) * each(labels, rng.uniform(0.35, 0.85, count)) * granules
    platelets = np.maximum(grain(shape, 1.5 * scale, rng) - 3.0, 0) * (labels == 0)
    parts = ((violet + 2 * platelets, HAEMATOXYLIN), (cytoplasm, PALE_BLUE), (red, RED_BLOOD))
    soft = [ndimage.gaussian_filter(np.maximum(part, 0), 0.9 * scale)[..., None] * stain for part, stain in parts]
    return expose(_lamp(shape, scale, rng)[..., None] * np.exp(-sum(soft)), rng, photons=8, read_noise=1.5)


def show_phase(labels: np.ndarray, scale: float, rng: np.random.Generator) -> np.ndarray:
    """Spread cells in phase contrast: as grey as the ground, told by granules, a dark edge and a bright halo.

    Arguments and result are those of `show_stained`; the three channels are equal.
    """
    shape, count = labels.shape, int(labels.max()) + 1
    inner, outer = inner_distance(labels) / scale, outer_distance(labels) / scale
    depth = relative_depth(labels, inner)
    strength = 1 + 0.4 * clouds(shape, 20 * scale, rng)
    edge = -42 * np.exp(-np.square((inner - 1.0) / 1.0)) * (labels > 0)
    halo = 34 * np.exp(-np.square((outer - 1.5) / 1.6)) * (labels == 0)
    coarse, fine = grain(shape, 1.4 * scale, rng), grain(shape, 0.8 * scale, rng)
    granules = each(labels, np.concatenate([[0.0], rng.uniform(10, 26, count - 1)])) * (0.35 + 0.65 * depth)
    body = each(labels, np.concatenate([[0.0], rng.normal(-4, 8, count - 1)]))
    ring = np.exp(-np.square((depth - each(labels, rng.uniform(0.5, 0.75, count))) / 0.07)) * (labels > 0)
    debris = np.maximum(grain(shape, 1.2 * scale, rng) - 2.6, 0) * (labels == 0)
    light = rng.uniform(105, 150) + 7 * clouds(shape, 80 * scale, rng) + strength * (edge + halo)
    light += (
        body + granules * (0.7 * coarse + 0.5 * fine) - 14 * ring - 45 * debris + 3 * grain(shape, 1.2 * scale, rng)
    )
    grey = expose(ndimage.gaussian_filter(light, 0.6 * scale), rng, photons=8, read_noise=2)
    return np.repeat(grey[..., None], 3, axis=2)


def show_bacteria(labels: np.ndarray, scale: float, rng: np.random.Generator) -> np.ndarray:
    """Rods in phase contrast: dark with a bright halo, some pale, on a grey ground with unlabelled specks.

    Arguments and result are those of `show_stained`; the three channels are equal.
    """
    shape, count = labels.shape, int(labels.max()) + 1
    inner, outer = inner_distance(labels) / scale, outer_distance(labels) / scale
    darkness = np.where(rng.random(count) < 0.15, rng.uniform(25, 50, count), rng.uniform(75, 120, count))
    body = each(labels, darkness) * np.minimum((inner + 0.3) / 2.2, 1) * (labels > 0)
    halo = 38 * np.exp(-np.square((outer - 2.2) / 1.8)) * (labels == 0)
    specks = np.maximum(grain(shape, 1.3 * scale, rng) - 2.9, 0) * (labels == 0)
    light = rng.uniform(150, 185) + 9 * clouds(shape, 70 * scale, rng) + 4 * grain(shape, 2.5 * scale, rng)
    light += halo - body * (1 + 0.08 * grain(shape, scale, rng)) - 70 * specks
    grey = expose(ndimage.gaussian_filter(light, 0.7 * scale), rng, photons=6, read_noise=2)
    return np.repeat(grey[..., None], 3, axis=2)


def _lamp(shape: tuple[int, int], scale: float, rng: np.random.Generator) -> np.ndarray:
    """The empty field: bright and nearly even."""
    return rng.uniform(228, 248) + 5 * clouds(shape, 150 * scale, rng)
