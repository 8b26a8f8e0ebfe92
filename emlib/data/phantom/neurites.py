"""Neurites: curved fibres of different calibre that share all of space between them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from emlib.data.phantom.scene_grid import SceneGrid, smooth_field

KNOT_SPACING = 60.0
REACH = 200.0  # nm beyond a fibre's radius up to which its distance is worked out
GLIA_DISTANCE = 70.0  # nm beyond every fibre's radius; what lies farther is glia
MARGIN = 300.0  # nm around the volume in which fibres run too, so that the border looks like the middle
CALIBRES = ((235.0, 0.20, 0.06), (125.0, 0.24, 0.40), (58.0, 0.28, 1.0))  # radius nm, log spread, cumulated share


def sample_fibres(grid: SceneGrid, rng: np.random.Generator) -> list[Fibre]:
    """Draw fibres, thick ones first, by random sequential packing of circles in the middle section.

    Most run along z, with slopes; about two in a micrometre of depth run within the sections.
    """
    depth, height, width = grid.extent
    area = (height + 2 * MARGIN) * (width + 2 * MARGIN)
    shares = rng.random(int(area / 10_000))
    radii = np.zeros(shares.size)
    lower = 0.0
    for radius, spread, upper in CALIBRES:
        chosen = (shares >= lower) & (shares < upper)
        radii[chosen] = radius * np.exp(spread * rng.standard_normal(chosen.sum()))
        lower = upper
    centres = _pack(np.sort(np.clip(radii, 40.0, 380.0))[::-1], (height, width), rng)
    common = rng.normal(0.0, 0.18, 2)
    fibres = [_fibre(0, depth, centre, radius, common, rng) for *centre, radius in centres]
    for axis, length, other in ((2, width, height), (1, height, width)):
        for _ in range(rng.poisson(depth / 900.0)):
            centre = (rng.uniform(0.1, 0.9) * depth, rng.uniform(0.1, 0.9) * other)
            fibres.append(_fibre(axis, length, centre, rng.uniform(120.0, 240.0), rng.normal(0.0, 0.1, 2), rng))
    return fibres


def _pack(radii: np.ndarray, size: tuple[float, float], rng: np.random.Generator) -> np.ndarray:
    """Circles (y, x, radius) that overlap little; a circle that finds no place in 60 trials is left out."""
    placed = np.zeros((radii.size, 3))
    count = 0
    for radius in radii:
        trials = rng.uniform(-MARGIN, np.add(size, MARGIN), (60, 2))
        apart = np.hypot(trials[:, :1] - placed[:count, 0], trials[:, 1:] - placed[:count, 1])
        free = (apart > 0.92 * (radius + placed[:count, 2])).all(axis=1)
        if free.any():
            placed[count] = (*trials[free.argmax()], radius)
            count += 1
    return placed[:count]


def _fibre(
    axis: int,
    length: float,
    centre: tuple[float, float],
    radius: float,
    slope: np.ndarray,
    rng: np.random.Generator,
) -> Fibre:
    knots = np.arange(-MARGIN, length + MARGIN + KNOT_SPACING, KNOT_SPACING)
    noise = ndimage.gaussian_filter1d(rng.standard_normal((knots.size + 60, 3)), 5.0, axis=0)[30:-30] * 4.2
    slopes = slope + rng.normal(0.0, 0.06, 2)
    path = np.asarray(centre) + (knots[:, None] - length / 2) * slopes + noise[:, :2] * min(0.35 * radius, 70.0)
    # Varicosities: a fibre swells and thins along its way.
    return Fibre(axis, knots, path, radius * np.exp(0.2 * noise[:, 2]))


def partition(grid: SceneGrid, fibres: list[Fibre], warp: tuple[np.ndarray, np.ndarray]) -> Partition:
    """Give every voxel to the fibre with the smallest (distance to its axis - its radius).

    Args:
        grid: the voxels.
        fibres: from `sample_fibres`.
        warp: displacement in y and x, float32 (Z, Y, X) each, nm, that bends the whole scene.
    """
    best = np.full(grid.shape, GLIA_DISTANCE, np.float32)
    second = np.full(grid.shape, 2 * REACH, np.float32)
    owner = np.zeros(grid.shape, np.uint16)
    warped_y = grid.y[:, :, None] + warp[0]
    warped_x = grid.x[:, None, :] + warp[1]
    pad = max(float(np.abs(field).max()) for field in warp)
    for number, fibre in enumerate(fibres, 1):
        claim = _claim_sections if fibre.axis == 0 else _claim_band
        for window, score in claim(grid, fibre, warped_y, warped_x, pad):
            closer = score < best[window]
            second[window] = np.where(closer, best[window], np.minimum(second[window], score))
            np.minimum(best[window], score, out=best[window])
            owner[window][closer] = number
    return Partition(owner, *_membrane_distance(second - best, grid))


def _claim_sections(grid, fibre, warped_y, warped_x, pad):
    centres, directions, radii = fibre.at(grid.z)
    for z in range(grid.shape[0]):
        cy, cx = centres[z]
        reach = (radii[z] + REACH) / directions[z, 0] + pad
        rows = slice(*np.searchsorted(grid.y[z], (cy - reach, cy + reach)))
        columns = slice(*np.searchsorted(grid.x[z], (cx - reach, cx + reach)))
        if rows.start == rows.stop or columns.start == columns.stop:
            continue
        dy = warped_y[z, rows, columns] - cy
        dx = warped_x[z, rows, columns] - cx
        along = dy * directions[z, 1] + dx * directions[z, 2]
        # Distance to a slanted axis: its cross-section within a section is an ellipse.
        yield (z, rows, columns), np.sqrt(np.maximum(dy * dy + dx * dx - along * along, 0.0)) - radii[z]


def _claim_band(grid, fibre, warped_y, warped_x, pad):
    running, across = (warped_x, warped_y) if fibre.axis == 2 else (warped_y, warped_x)
    reach = fibre.radii.max() + REACH
    z_low, lateral_low = fibre.path.min(axis=0) - reach
    z_high, lateral_high = fibre.path.max(axis=0) + reach
    sections = slice(*np.searchsorted(grid.z, (z_low, z_high)))
    lateral = grid.y.mean(axis=0) if fibre.axis == 2 else grid.x.mean(axis=0)
    band = slice(*np.searchsorted(lateral, (lateral_low - pad, lateral_high + pad)))
    if sections.start == sections.stop or band.start == band.stop:
        return
    window = (sections, band, slice(None)) if fibre.axis == 2 else (sections, slice(None), band)
    position = running[window]
    cz, lateral_centre, radius = (
        np.interp(position, fibre.knots, values).astype(np.float32)
        for values in (fibre.path[:, 0], fibre.path[:, 1], fibre.radii)
    )
    dz = grid.z[sections, None, None] - cz
    yield window, np.hypot(dz, across[window] - lateral_centre) - radius


def _membrane_distance(gap: np.ndarray, grid: SceneGrid) -> tuple[np.ndarray, np.ndarray]:
    """Distance to the nearest membrane and how steeply it is cut, from the difference of the two best scores.

    The difference has a crease on the membrane, so its slope is taken on the steeper side of each voxel.
    """
    squares = []
    for axis, size in enumerate(grid.voxel_size):
        step = np.abs(np.diff(gap, axis=axis)) / np.float32(size)
        slope = np.zeros_like(gap)
        low = tuple(slice(None, -1) if i == axis else slice(None) for i in range(3))
        high = tuple(slice(1, None) if i == axis else slice(None) for i in range(3))
        slope[low] = step
        np.maximum(slope[high], step, out=slope[high])
        squares.append(np.minimum(slope, 2.0) ** 2)
    total = np.maximum(squares[0] + squares[1] + squares[2], 0.5)
    return gap / np.sqrt(total), np.sqrt(squares[0] / total)


def make_warp(grid: SceneGrid, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Displacements in y and x (nm): a slow bend of the whole tissue and small irregularities of the outlines."""
    return tuple(
        80.0 * smooth_field(grid, (320.0, 260.0), rng)
        + 24.0 * smooth_field(grid, 95.0, rng)
        + 6.0 * smooth_field(grid, (60.0, 38.0), rng)
        for _ in range(2)
    )


@dataclass(frozen=True)
class Fibre:
    """The axis of a neurite, in the unbent scene.

    Attributes:
        axis: 0, 1 or 2: it mainly runs along z, y or x.
        knots: (K,) positions along that axis, nm.
        path: (K, 2) the other two coordinates in their order (z before y before x), nm.
        radii: (K,) nm.
    """

    axis: int
    knots: np.ndarray
    path: np.ndarray
    radii: np.ndarray

    def at(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Centres (n, 2), unit directions (n, 3; running axis first) and radii (n,) at positions along the axis."""
        centres = np.stack([np.interp(positions, self.knots, self.path[:, i]) for i in range(2)], axis=1)
        rise = np.gradient(self.path, KNOT_SPACING, axis=0)
        slope = np.stack([np.interp(positions, self.knots, rise[:, i]) for i in range(2)], axis=1)
        direction = np.column_stack([np.ones(len(slope)), slope])
        direction /= np.linalg.norm(direction, axis=1, keepdims=True)
        radii = np.interp(positions, self.knots, self.radii)
        return centres.astype(np.float32), direction.astype(np.float32), radii.astype(np.float32)


@dataclass(frozen=True)
class Partition:
    """Who owns which voxel.

    Attributes:
        owner: uint16 (Z, Y, X), number of the fibre, 0 for glia.
        depth: float32 (Z, Y, X), distance to the middle of the nearest membrane, nm.
        slant: float32 (Z, Y, X), 0 for a membrane that stands upright in the section, 1 for one that lies flat in it.
    """

    owner: np.ndarray
    depth: np.ndarray
    slant: np.ndarray
