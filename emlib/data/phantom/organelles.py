"""Small things in the cytoplasm: vesicles in clusters, microtubules, endoplasmic reticulum, synaptic densities."""

from __future__ import annotations

import numpy as np

from emlib.data.phantom.neurites import Fibre, Partition
from emlib.data.phantom.scene_grid import SceneGrid, smooth_field

STAMP_RADIUS = 62.0  # nm that a vesicle's picture may reach


def draw_organelles(
    grid: SceneGrid,
    fibres: list[Fibre],
    partition: Partition,
    surface: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:
    """How much darker the small organelles make each voxel: float32 (Z, Y, X), about -0.3 (lumen) to 1 (membrane).

    Args:
        grid: the voxels.
        fibres: the neurites' axes; thick ones hold more.
        partition: keeps organelles inside their neurite.
        surface: signed distance to the mitochondria, nm; nothing is drawn inside them.
        rng: source of positions and sizes.
    """
    darkness = np.zeros(grid.shape, np.float32)
    free = np.minimum(partition.depth - 10.0, surface - 4.0)
    _stamp(darkness, grid, *_vesicles(grid, len(fibres), partition.owner, free, rng))
    _stamp(darkness, grid, *_microtubules(grid, partition.owner, free, rng))
    darkness *= np.clip(free / 8.0, 0.0, 1.0)
    np.maximum(darkness, _reticulum(grid, len(fibres), partition.owner, free, rng), out=darkness)
    np.maximum(darkness, _synapses(grid, partition, rng) * np.clip(surface / 12.0, 0, 1), out=darkness)
    return darkness


def _vesicles(grid, count, owner, free, rng):
    """Positions and sizes of vesicles: loosely everywhere, densely in clusters of some neurites."""
    volume = float(np.prod(grid.extent))
    density = np.exp(rng.normal(-1.6, 1.0, count + 1)).astype(np.float32)
    density[rng.random(count + 1) < 0.18] = 6.0
    candidates = rng.random((int(volume / 2.0e5), 3)).astype(np.float32) * np.asarray(grid.shape, np.float32)
    cell = tuple(candidates.astype(np.int64).T)
    crowd = np.clip(smooth_field(grid, 120.0, rng)[cell] * 0.8 + 0.25, 0.02, 1.5)
    # One vesicle in 3 x 10^5 nm3 is a dense cluster.
    chance = 0.3 * density[owner[cell]] * crowd
    kept = (rng.random(len(candidates)) < chance) & (free[cell] > 12.0)
    centres = candidates[kept]
    radii = np.clip(rng.normal(17.5, 3.0, len(centres)), 12.0, 26.0).astype(np.float32)
    large = rng.random(len(centres)) < 0.012
    radii[large] = rng.uniform(34.0, 48.0, large.sum())
    core = np.where(large, 0.9, np.where(rng.random(len(centres)) < 0.03, 0.6, -0.18)).astype(np.float32)
    return centres, radii, core, grid.voxel_size[0] / 2 + 0.8 * radii


def _microtubules(grid, owner, free, rng):
    """Thin tubes along z: the same place in each section, with a slow slide."""
    number = int(grid.extent[1] * grid.extent[2] / 22_000)
    start = rng.random((number, 2)) * np.asarray(grid.shape[1:])
    slide = rng.normal(0.0, 0.12, (number, 2)) * grid.voxel_size[0] / np.asarray(grid.voxel_size[1:])
    z = np.arange(grid.shape[0])
    places = start[:, None] + slide[:, None] * z[None, :, None]
    home = np.floor(places[:, len(z) // 2]).astype(int) % np.asarray(grid.shape[1:])
    host = owner[len(z) // 2][tuple(home.T)]
    centres = np.concatenate([np.broadcast_to(z[None, :, None], (*places.shape[:2], 1)) + 0.5, places], axis=2)
    index = np.floor(centres).astype(int)
    valid = ((index >= 0) & (index < np.asarray(grid.shape))).all(axis=2)
    index = np.where(valid[..., None], index, 0)
    inside = valid & (owner[tuple(np.moveaxis(index, 2, 0))] == host[:, None])
    inside &= (free[tuple(np.moveaxis(index, 2, 0))] > 10.0) & (rng.random(inside.shape) < 0.85)
    centres = centres[inside].astype(np.float32)
    size = len(centres)
    radii, core = np.full(size, 8.0, np.float32), rng.uniform(0.0, 0.5, size).astype(np.float32)
    return centres, radii, core, np.full(size, grid.voxel_size[0] / 2, np.float32)


def _stamp(darkness, grid, centres, radii, core, depth_reach) -> None:
    """Draw rings (membrane) with a core into every section that cuts them; all at once, the darkest wins."""
    if not len(centres):
        return
    half = [int(np.ceil(STAMP_RADIUS / size)) for size in grid.voxel_size]
    half[0] = int(np.ceil(float(depth_reach.max()) / grid.voxel_size[0]))
    width = np.float32(np.hypot(4.5, 0.3 * grid.pixel))
    whole = np.floor(centres).astype(np.int64)
    lateral = np.stack(np.meshgrid(*(np.arange(-h, h + 1) for h in half[1:]), indexing="ij"), -1).reshape(-1, 2)
    # Large vesicles are rare: the small ones use a smaller stamp.
    for large in (False, True):
        some = radii > 30.0 if large else radii <= 30.0
        if not some.any():
            continue
        spread = 30.0 + 2 * grid.pixel
        offsets = lateral if large else lateral[(np.abs(lateral * np.asarray(grid.voxel_size[1:])) <= spread).all(1)]
        for step in range(-half[0], half[0] + 1):
            section = whole[some, 0] + step
            away = np.abs((section + 0.5 - centres[some, 0]) * grid.voxel_size[0])
            cut = (section >= 0) & (section < grid.shape[0]) & (away <= depth_reach[some])
            if not cut.any():
                continue
            pick = np.flatnonzero(some)[cut]
            index = whole[pick, None, 1:] + offsets
            delta = (index + 0.5 - centres[pick, None, 1:]) * np.asarray(grid.voxel_size[1:], np.float32)
            distance = np.sqrt((delta**2).sum(-1)).astype(np.float32)
            radius = radii[pick, None]
            ring = np.exp(-0.5 * ((distance - radius) / width) ** 2) * (4.5 / width)
            inner = core[pick, None] / (1 + np.exp(np.clip((distance - radius * 0.75) / 3.0, -30, 30)))
            value = np.where(np.abs(inner) > ring, inner, ring)
            ok = ((index >= 0) & (index < np.asarray(grid.shape[1:]))).all(-1)
            where = (np.broadcast_to(section[cut, None], ok.shape)[ok], index[ok][:, 0], index[ok][:, 1])
            np.minimum.at(darkness, where, np.where(value[ok] < 0, value[ok], np.inf))
            np.maximum.at(darkness, where, np.where(value[ok] > 0.08, value[ok], -np.inf))


def _reticulum(grid, count, owner, free, rng):
    """Cisternae: pairs of thin wavy lines, the level set of a smooth field, in some places of most neurites."""
    sheet = smooth_field(grid, (120.0, 80.0), rng)
    place = smooth_field(grid, 130.0, rng) + rng.normal(-1.4, 0.5, count + 1).astype(np.float32)[owner]
    # The field's slope is about 1 / 80 per nm, so this is a distance in nm, exact where the slope is typical.
    distance = np.abs(np.abs(sheet) * 80.0 - 11.0)
    line = np.exp(-0.5 * (distance / np.hypot(4.0, 0.35 * grid.pixel)) ** 2)
    return 0.7 * line * np.clip(place * 3.0, 0.0, 1.0) * np.clip(free / 15.0, 0.0, 1.0)


def _synapses(grid, partition, rng):
    """Dark material along some stretches of membrane, on one side more than on the other."""
    spots = np.clip((smooth_field(grid, (80.0, 60.0), rng) - 1.75) * 2.5, 0.0, 1.0)
    side = 0.55 + 0.45 * ((partition.owner % 2) == 0)
    return spots * side * np.exp(-partition.depth / 26.0)
