"""Mitochondria: bent tubes inside the neurites, some of them end to end with the next."""

from __future__ import annotations

from dataclasses import dataclass

import cc3d
import numpy as np
from scipy import ndimage

from emlib.data.phantom.neurites import Fibre, Partition
from emlib.data.phantom.scene_grid import SceneGrid, smooth_field

MIN_HOST_RADIUS = 85.0  # nm; thinner neurites hold none
MEMBRANE_CLEARANCE = 13.0  # nm between the middle of the plasma membrane and the mitochondrion
BEAD_SPACING = 24.0  # nm between the spheres whose union is the tube
FAR = np.float32(1e4)


def place_mitochondria(
    grid: SceneGrid,
    fibres: list[Fibre],
    partition: Partition,
    warp: tuple[np.ndarray, np.ndarray],
    fraction: float,
    rng: np.random.Generator,
) -> Mitochondria:
    """Lay tubes along the fibres until they fill `fraction` of the volume.

    A fibre carries a row of mitochondria. Neighbours in a row share its course, and the gap between them is zero for
    about half of them and a few tens of nm for others, so that telling them apart takes more than a threshold.
    """
    tubes = _draw_tubes(grid, fibres, partition, rng)
    # Outlines are never quite round: the distance is read at an uneven level.
    bumps = 15.0 * smooth_field(grid, 95.0, rng) + 4.0 * smooth_field(grid, (60.0, 40.0), rng)
    nearest = np.full(grid.shape, FAR, np.float32)
    second = np.full(grid.shape, FAR, np.float32)
    labels = np.zeros(grid.shape, np.uint32)
    wanted, filled = fraction * nearest.size, 0
    for number, tube in enumerate(tubes, 1):
        if filled >= wanted:
            break
        filled += _add_tube(grid, partition, warp, bumps, tube, number, nearest, second, labels)
    # Where two meet, each keeps its side of the plane half-way: the outer membranes lie against each other.
    surface = np.maximum(nearest, (nearest - second) / 2 + 1.0)
    surface = np.maximum(surface, MEMBRANE_CLEARANCE - partition.depth)
    labels[surface >= 0] = 0
    labels = _largest_pieces(labels, smallest=max(6, round(9e5 / np.prod(grid.voxel_size))))
    # A piece that was dropped must not be drawn either; the gap keeps the drawn surface out of its voxels.
    surface[(surface < 0) & (labels == 0)] = 30.0
    return Mitochondria(labels, surface, _cristae(grid, labels, rng))


def _draw_tubes(grid: SceneGrid, fibres: list[Fibre], partition: Partition, rng: np.random.Generator) -> list[Tube]:
    rows: list[list[Tube]] = []
    present = np.bincount(partition.owner.ravel(), minlength=len(fibres) + 1)
    for number, fibre in enumerate(fibres, 1):
        middle = float(np.median(fibre.radii))
        if middle < MIN_HOST_RADIUS or present[number] == 0:
            continue
        parallel = 1 + int(middle > 170) + int(middle > 230)
        start_angle = rng.uniform(0, 2 * np.pi)
        for row in range(parallel):
            angle = start_angle + 2 * np.pi * row / parallel
            rows.append(_draw_row(grid, number, fibre, angle, parallel, rng))
    order = rng.permutation(len(rows))
    # Neighbours of one row stay together; the rows take turns so that many neurites hold some.
    pairs = [rows[i][k : k + 2] for k in range(0, max(map(len, rows), default=0), 2) for i in order]
    return [tube for pair in pairs for tube in pair]


def _draw_row(
    grid: SceneGrid, number: int, fibre: Fibre, angle: float, parallel: int, rng: np.random.Generator
) -> list[Tube]:
    length = grid.extent[fibre.axis]
    tubes = []
    position = rng.uniform(-250.0, 0.35 * length)
    while position < length:
        middle = float(np.median(fibre.radii))
        radius = float(np.clip(rng.lognormal(np.log(132.0), 0.24), 75.0, 215.0))
        radius = min(radius, 0.95 * middle if parallel == 1 else 0.55 * middle)
        reach = float(np.clip(rng.lognormal(np.log(270.0), 0.75), 20.0, 1500.0))
        stop = position + reach
        if stop > 0.0:
            tubes.append(_tube(number, fibre, (position, stop), radius, angle, parallel, rng))
        kind = rng.random()
        gap = -0.35 * radius if kind < 0.4 else rng.uniform(8.0, 45.0) if kind < 0.65 else rng.uniform(120.0, 700.0)
        position = stop + 2 * radius * 0.85 + gap
    return tubes


def _tube(
    number: int,
    fibre: Fibre,
    interval: tuple[float, float],
    radius: float,
    angle: float,
    parallel: int,
    rng: np.random.Generator,
) -> Tube:
    positions = np.linspace(*interval, max(3, int((interval[1] - interval[0]) / BEAD_SPACING) + 1))
    centres, _, radii = fibre.at(positions)
    offset = np.maximum(radii - radius - 20.0, 0.0) * (0.8 if parallel > 1 else 0.5)
    # The phase depends on the place along the fibre, not on the tube: neighbours in a row continue each other.
    phase = angle + 1.3 * np.sin(positions / 380.0 + angle)
    aside = offset[:, None] * np.column_stack([np.cos(phase), np.sin(phase)])
    positions, aside = _lean(positions, aside, np.maximum(radii - 0.85 * radius, 0.0), rng)
    path = centres + aside
    noise = ndimage.gaussian_filter1d(rng.standard_normal(positions.size + 40), 4.0)[20:-20] * 3.5
    beads = radius * np.clip(1 + 0.12 * noise, 0.65, 1.35)
    points = np.column_stack([positions, path])
    order = {0: (0, 1, 2), 1: (1, 0, 2), 2: (1, 2, 0)}[fibre.axis]
    return Tube(number, points[:, order], beads)


def _lean(
    positions: np.ndarray, aside: np.ndarray, room: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Let a tube in a wide neurite lie across its course; the neurite's wall bends it back."""
    lean = rng.uniform(0.2, 1.35) * (rng.random() < 0.65) * min(1.0, float(room.mean()) / 90.0)
    direction = rng.uniform(0, 2 * np.pi)
    from_middle = positions - positions.mean()
    lateral = np.sin(lean) * from_middle[:, None] * np.array([np.cos(direction), np.sin(direction)])
    aside = aside + lateral
    far = np.linalg.norm(aside, axis=1)
    limited = room * np.tanh(far / np.maximum(room, 1.0))
    aside = aside * (limited / np.maximum(far, 1e-6))[:, None]
    return positions.mean() + np.cos(lean) * from_middle, aside


def _add_tube(grid, partition, warp, bumps, tube, number, nearest, second, labels) -> int:
    """Merge one tube into the fields; returns by how many voxels the filled part grew."""
    points = _unbend(grid, warp, tube.points)
    reach = float(tube.radii.max()) + 60.0
    low, high = points.min(axis=0) - reach, points.max(axis=0) + reach
    jitter = [0.0, *(float(np.ptp(c, axis=0).max()) for c in (grid.y, grid.x))]
    window = tuple(
        slice(max(0, int((a - j) // size)), max(0, min(n, int((b + j) // size) + 2)))
        for a, b, j, size, n in zip(low, high, jitter, grid.voxel_size, grid.shape, strict=True)
    )
    if any(part.start >= part.stop for part in window):
        return 0
    z, y, x = grid.z[window[0]], grid.y[window[:2]], grid.x[window[0], window[2]]
    distance = np.full([part.stop - part.start for part in window], FAR, np.float32)
    for (pz, py, px), radius in zip(points.astype(np.float32), tube.radii.astype(np.float32), strict=True):
        near = slice(*np.searchsorted(z, (pz - radius - 60, pz + radius + 60)))
        squared = ((z[near] - pz) ** 2)[:, None, None] + ((y[near] - py) ** 2)[:, :, None]
        squared = squared + ((x[near] - px) ** 2)[:, None, :]
        np.minimum(distance[near], np.sqrt(squared) - radius, out=distance[near])
    distance += bumps[window]
    distance[partition.owner[window] != tube.host] = FAR
    closer = distance < nearest[window]
    inside = (distance < 0) & (nearest[window] >= 0) & (partition.depth[window] > MEMBRANE_CLEARANCE)
    second[window] = np.where(closer, nearest[window], np.minimum(second[window], distance))
    np.minimum(nearest[window], distance, out=nearest[window])
    labels[window][closer] = number
    return int(inside.sum())


def _unbend(grid: SceneGrid, warp: tuple[np.ndarray, np.ndarray], points: np.ndarray) -> np.ndarray:
    """Where points of the unbent scene lie in the tissue: solves p + warp(p) = point by iteration."""
    found = points.astype(np.float64)
    for _ in range(4):
        index = found.T / np.asarray(grid.voxel_size)[:, None]
        shift = np.stack([ndimage.map_coordinates(field, index, order=1, mode="nearest") for field in warp], axis=1)
        found[:, 1:] = points[:, 1:] - shift
    return found


def _largest_pieces(labels: np.ndarray, smallest: int) -> np.ndarray:
    """Keep the largest 26-connected piece of every label, drop small ones, number the rest 1..n."""
    pieces, count = cc3d.connected_components(labels, connectivity=26, return_N=True)
    sizes = np.bincount(pieces.ravel(), minlength=count + 1)
    owner = np.zeros(count + 1, np.int64)
    owner[pieces.ravel()] = labels.ravel()
    by_size = np.argsort(sizes, kind="stable")
    largest = np.zeros(int(owner.max()) + 1, np.int64)
    largest[owner[by_size]] = by_size  # later entries overwrite smaller ones
    kept = largest[1:][sizes[largest[1:]] >= smallest]
    kept = kept[kept > 0]
    numbers = np.zeros(count + 1, np.uint32)
    numbers[kept] = np.arange(1, kept.size + 1)
    return numbers[pieces]


def _cristae(grid: SceneGrid, labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Phase of the lamellae: each whole number is one crista, wavy, in a direction of its own in each mitochondrion."""
    count = int(labels.max()) + 1
    angles = rng.uniform(0, np.pi, count).astype(np.float32)
    period = rng.uniform(38.0, 60.0, count).astype(np.float32)
    tilt = rng.normal(0.0, 0.25, count).astype(np.float32)
    along = (np.cos(angles) / period)[labels] * grid.y[:, :, None] + (np.sin(angles) / period)[labels] * grid.x[:, None]
    wave = smooth_field(grid, (90.0, 45.0), rng)
    return along + (tilt / period)[labels] * grid.z[:, None, None] + 0.38 * wave


@dataclass(frozen=True)
class Tube:
    """One mitochondrion as a chain of overlapping spheres.

    Attributes:
        host: number of the fibre that holds it.
        points: (n, 3) sphere centres in the unbent scene, nm.
        radii: (n,) nm.
    """

    host: int
    points: np.ndarray
    radii: np.ndarray


@dataclass(frozen=True)
class Mitochondria:
    """All mitochondria of a scene.

    Attributes:
        labels: uint32 (Z, Y, X), 1..n.
        surface: float32 (Z, Y, X), signed distance to the outer membrane, nm, negative inside.
        phase: float32 (Z, Y, X), position within the pattern of cristae; whole numbers are their middles.
    """

    labels: np.ndarray
    surface: np.ndarray
    phase: np.ndarray
