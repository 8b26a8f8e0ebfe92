"""`distance_watershed` of a volume that is cut into blocks: what a block can finish, and what it leaves for later."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from emlib.compilation import compiled
from emlib.postprocessing.components import label_components
from emlib.postprocessing.distance_watershed import WatershedRules, label_seeds, label_unseeded
from emlib.postprocessing.face_overlaps import face_overlap
from emlib.postprocessing.flooding import flood_from_seeds
from emlib.postprocessing.voxel_runs import VoxelPieces, cut_out


@dataclass(frozen=True)
class BlockObjects:
    """What is known of a block without its neighbours.

    Attributes:
        labels: uint32 (Z, Y, X): 1 ... len(first) are finished objects, seeded ones first; the numbers after them are
            the pieces, in raster order.
        seeded: how many of the finished objects have a seed.
        first: int64, place in the volume (raster order) of the first voxel of each finished object's seed, or of
            the object where it has none.
        pieces: the components of the foreground that reach a face behind which there is another block.
    """

    labels: np.ndarray
    seeded: int
    first: np.ndarray
    pieces: VoxelPieces


def watershed_of_block(
    levels: np.ndarray, rules: WatershedRules, start: Sequence[int], shape: Sequence[int]
) -> BlockObjects:
    """Finish the components of the foreground that lie inside a block, and take note of the others.

    A component that reaches no other block is a component of the volume: its size, its seeds and its flood are those
    of the whole volume. Of the others nothing is decided; `watershed_of_runs` does it when all pieces are together.

    Args:
        levels: (Z, Y, X) uint8, C-contiguous, the smoothed heatmap of the block; it is used up.
        rules: of `watershed_rules`.
        start: (z, y, x) of the block in the volume.
        shape: of the volume.

    Returns:
        BlockObjects.

    Memory: about 6 bytes a voxel above the levels, and 2 for each voxel of a piece.

    Example:
        >>> from emlib.postprocessing.distance_watershed import watershed_rules
        >>> levels = np.array([[[40, 250, 40, 0, 0, 200, 40]]], np.uint8)
        >>> rules = watershed_rules(min_size=1, min_seed_size=1, sigma=0)
        >>> found = watershed_of_block(levels, rules, (0, 0, 0), (1, 1, 10))
        >>> found.labels.tolist(), found.first.tolist(), found.pieces.levels.tolist()
        ([[[1, 1, 1, 0, 0, 2, 2]]], [1], [200, 40])
    """
    components, count = label_components(levels > rules.lowest, 26)
    numbers = np.zeros(count + 1, np.int64)
    for axis in range(3):
        for inside, side in ((start[axis] > 0, 0), (start[axis] + levels.shape[axis] < shape[axis], -1)):
            if inside:
                numbers[np.unique(np.take(components, side, axis=axis))] = 1
    numbers[0] = 0
    opened = numbers > 0
    numbers[opened] = np.arange(1, np.count_nonzero(opened) + 1)
    pieces = cut_out(components, numbers, levels, start, shape[1])
    _erase(levels.reshape(-1), components.reshape(-1), opened, max(rules.min_size, 1))
    del components
    labels, seeded = label_seeds(levels, rules)
    first = first_voxels(labels, seeded)
    if seeded:
        flood_from_seeds(levels, labels, rules.lowest)
    unseeded = label_unseeded(levels, labels, seeded, rules)
    if unseeded:
        first = np.concatenate([first, first_voxels(labels, seeded + unseeded)[seeded:]])
    if seeded + unseeded + len(pieces) >= 2**32:
        raise ValueError(f"The block at {tuple(start)} holds more than 2**32 objects; choose smaller blocks.")
    labels = labels.astype(np.uint32, copy=False)
    _paint(labels, pieces.runs.rows, pieces.runs.starts, pieces.runs.stops, pieces.run_offsets, first.size,
           np.array(start, dtype=np.int64), shape[1])  # fmt: skip
    z, y, x = np.unravel_index(first, labels.shape)
    first = ((z + start[0]) * shape[1] + y + start[1]) * shape[2] + x + start[2]
    return BlockObjects(labels, seeded, first.astype(np.int64), pieces)


def touching_pairs(near: np.ndarray, far: np.ndarray) -> np.ndarray:
    """Pairs of labels in two planes, one behind the other, that are neighbours with 26-connectivity; (P, 2) uint64.

    Example:
        >>> touching_pairs(np.array([[0, 5, 0, 0]]), np.array([[7, 0, 0, 8]])).tolist()
        [[5, 7]]
    """
    pairs = [np.empty((0, 2), np.uint64)]
    for shift in np.ndindex(3, 3):
        one, two = [], []
        for step, length in zip(shift, near.shape, strict=True):
            one.append(slice(max(1 - step, 0), length - max(step - 1, 0)))
            two.append(slice(max(step - 1, 0), length - max(1 - step, 0)))
        part, other = near[tuple(one)], far[tuple(two)]
        if part.size:
            pairs.append(face_overlap(part, other).pairs)
    return np.unique(np.concatenate(pairs), axis=0)


@compiled
def _erase(levels, components, opened, min_size):
    """Set to 0 what is no finished component."""
    sizes = np.zeros(opened.size, dtype=np.int64)
    for position in range(levels.size):
        sizes[components[position]] += 1
    for position in range(levels.size):
        number = components[position]
        if number == 0 or opened[number] or sizes[number] < min_size:
            levels[position] = 0


@compiled
def first_voxels(labels, count):
    """int64 (count,): where, in raster order, each of the labels 1 ... count comes first; -1 if it does not."""
    flat = labels.reshape(-1)
    first = np.full(count, -1, dtype=np.int64)
    for position in range(flat.size):
        label = flat[position]
        if label > 0 and first[label - 1] < 0:
            first[label - 1] = position
    return first


@compiled
def _paint(labels, rows, starts, stops, run_offsets, before, start, height):
    for piece in range(run_offsets.size - 1):
        for run in range(run_offsets[piece], run_offsets[piece + 1]):
            z, y = rows[run] // height - start[0], rows[run] % height - start[1]
            for x in range(starts[run] - start[2], stops[run] - start[2]):
                labels[z, y, x] = before + piece + 1
