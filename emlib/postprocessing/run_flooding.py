"""The watershed of `flood_from_seeds` on voxels that are given as runs: memory as the object, not as its box."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from emlib.compilation import compiled
from emlib.postprocessing.distance_watershed import WatershedRules
from emlib.postprocessing.voxel_runs import VoxelRuns

Allocate = Callable[[int, Any], np.ndarray]


@dataclass(frozen=True)
class RunObjects:
    """Objects of one component.

    Attributes:
        labels: uint32, one for each voxel in raster order: 0, seeded objects 1, 2, ..., and unseeded ones behind them.
        seeded: how many have a seed.
        first: int64, the place among the component's voxels of the first voxel of each seed (of each unseeded object).
    """

    labels: np.ndarray
    seeded: int
    first: np.ndarray


def watershed_of_runs(
    runs: VoxelRuns, levels: np.ndarray, rules: WatershedRules, *, allocate: Allocate = np.zeros
) -> RunObjects:
    """What `distance_watershed` makes of one whole component of the foreground.

    Components do not see each other in the flood, so a component alone gets the labels that it gets in the volume,
    numbers aside; and so does a 6-connected part of it, which takes no flood at all if it has one seed or none.

    Args:
        runs: its voxels, a whole 26-connected component.
        levels: uint8, the smoothed heatmap there, in raster order; all above `rules.lowest`.
        rules: of `watershed_rules`; the component's size was looked at before.
        allocate: makes arrays of zeros of a length and dtype.

    Returns:
        RunObjects.

    Memory: 9 bytes a voxel and about 60 a run, above the arguments.

    Example:
        >>> from emlib.postprocessing.distance_watershed import watershed_rules
        >>> from emlib.postprocessing.voxel_runs import runs_of
        >>> levels = np.array([40, 160, 250, 160, 60, 160, 240, 160, 40], np.uint8)
        >>> rules = watershed_rules(min_size=1, min_seed_size=1, sigma=0)
        >>> found = watershed_of_runs(runs_of(np.ones((1, 1, 9), bool)), levels, rules)
        >>> found.labels.tolist(), found.seeded, found.first.tolist()
        ([1, 1, 1, 1, 1, 2, 2, 2, 2], 2, [1, 5])
    """
    runs = runs.cropped()
    labels = allocate(levels.size, np.uint32)
    parts, part_count = runs.components(6)
    seed_runs, places = runs.chosen(levels > rules.seed_level)
    seeds, first = _large(seed_runs, places, 6, rules.min_seed_size)
    offsets = runs.offsets
    part_of = parts[np.searchsorted(offsets, first, side="right") - 1]
    in_part = np.bincount(part_of, minlength=part_count)
    alone = np.zeros(part_count, np.uint32)
    alone[part_of] = np.arange(1, first.size + 1, dtype=np.uint32)
    alone[in_part != 1] = 0
    _fill(labels, offsets[:-1], np.diff(offsets), alone[parts])
    several = in_part > 1
    if several.any():
        # Seeds whose part is filled have nothing to flood.
        wanted = (seeds > 0) & several[parts[np.searchsorted(offsets, places, side="right") - 1]]
        lengths = (seed_runs.stops - seed_runs.starts).astype(np.int64)
        _fill(labels, places[wanted], lengths[wanted], seeds[wanted])
        following = allocate(levels.size, np.int32 if levels.size < 2**31 else np.int64)
        rows = np.searchsorted(runs.rows, np.arange(int(runs.rows[-1]) + 2))
        _flood(levels, labels, runs.rows, runs.starts, offsets, rows, runs.height, places[wanted], lengths[wanted],
               following)  # fmt: skip
    if rules.unseeded == "drop":
        return RunObjects(labels, first.size, first)
    rest, places = runs.chosen(labels == 0)
    numbers, more = _large(rest, places, 26, rules.min_size)
    numbers[numbers > 0] += np.uint32(first.size)
    _fill(labels, places, (rest.stops - rest.starts).astype(np.int64), numbers)
    return RunObjects(labels, first.size, np.concatenate([first, more]))


def _large(runs: VoxelRuns, places: np.ndarray, connectivity: int, min_size: int) -> tuple[np.ndarray, np.ndarray]:
    """The component (1, 2, ..., or 0 if it is too small) of each run, and the place of each one's first voxel."""
    components, count = runs.components(connectivity)
    sizes = np.bincount(components, weights=runs.stops - runs.starts, minlength=count)
    kept = sizes >= max(min_size, 1)
    numbers = np.zeros(count, np.uint32)
    numbers[kept] = np.arange(1, np.count_nonzero(kept) + 1, dtype=np.uint32)
    first = np.zeros(count, np.int64)
    first[components[::-1]] = places[::-1]
    return numbers[components], first[kept]


@compiled
def _fill(labels, places, lengths, numbers):
    for run in range(places.size):
        if numbers[run] != 0:
            for place in range(places[run], places[run] + lengths[run]):
                labels[place] = numbers[run]


@compiled
def _flood(levels, labels, run_rows, starts, offsets, rows, height, seed_places, seed_lengths, following):
    """Queues of voxels, one for each level, each a chain through `following`; a voxel is queued once."""
    first = np.full(256, -1, dtype=np.int64)
    last = np.full(256, -1, dtype=np.int64)
    highest = np.int64(-1)
    for run in range(seed_places.size):
        for place in range(seed_places[run], seed_places[run] + seed_lengths[run]):
            level = np.int64(levels[place])
            _queue(place, level, first, last, following)
            highest = max(highest, level)
    # The order of flood_from_seeds: section before, row before, voxel before, and the same behind.
    dy = np.array([0, -1, 0, 0, 1, 0])
    dz = np.array([-1, 0, 0, 0, 0, 1])
    dx = np.array([0, 0, -1, 1, 0, 0])
    while highest >= 0:
        if first[highest] == -1:
            highest -= 1
            continue
        place = first[highest]
        first[highest] = following[place] if place != last[highest] else -1
        run = np.searchsorted(offsets, place, side="right") - 1
        x = starts[run] + place - offsets[run]
        row = run_rows[run]
        y = row % height
        for side in range(6):
            if dx[side] != 0:
                neighbour = place + dx[side]
                if neighbour < offsets[run] or neighbour >= offsets[run + 1]:
                    continue
            else:
                other_row = row + dy[side] + dz[side] * height
                if y + dy[side] < 0 or y + dy[side] >= height or other_row < 0 or other_row >= rows.size - 1:
                    continue
                neighbour = _place(x, rows[other_row], rows[other_row + 1], starts, offsets)
                if neighbour < 0:
                    continue
            if labels[neighbour] == 0:
                labels[neighbour] = labels[place]
                level = np.int64(levels[neighbour])
                _queue(neighbour, level, first, last, following)
                highest = max(highest, level)


@compiled
def _queue(place, level, first, last, following):
    if first[level] == -1:
        first[level] = place
    else:
        following[last[level]] = place
    last[level] = place


@compiled
def _place(x, low, high, starts, offsets):
    """The place of voxel x in the runs low ... high - 1 of its row, -1 if it is in none."""
    begin = low
    while low < high:
        middle = (low + high) // 2
        if starts[middle] <= x:
            low = middle + 1
        else:
            high = middle
    run = low - 1
    if run < begin:
        return np.int64(-1)
    place = offsets[run] + x - starts[run]
    return np.int64(place) if place < offsets[run + 1] else np.int64(-1)
