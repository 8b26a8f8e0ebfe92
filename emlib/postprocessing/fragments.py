"""Fragments of a volume from its affinities: each voxel joins its most affine neighbour."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from emlib.compilation import compiled
from emlib.postprocessing.affinity_maps import Maps, affinity_maps, fragment_levels

# What a voxel is joined with: the neighbours before it in x, y, z, then those after it.
BEFORE_X, BEFORE_Y, BEFORE_Z, AFTER_X, AFTER_Y, AFTER_Z, FOREGROUND = (1 << bit for bit in range(7))


@dataclass(frozen=True)
class FragmentBlock:
    """Fragments of one block, and which of its border voxels want to be joined with the block beside.

    `labels` (Z, Y, X) holds 1 ... `count` in raster order, 0 = background; `before[axis]` and `after[axis]` are bool
    planes, the first and last of the block along that axis.
    """

    labels: np.ndarray
    count: int
    before: tuple[np.ndarray, np.ndarray, np.ndarray]
    after: tuple[np.ndarray, np.ndarray, np.ndarray]


def affinity_fragments(
    affinities: Any,
    *,
    dimensions: int = 3,
    low: float = 0.0001,
    high: float = 0.9999,
    offsets: Sequence[Sequence[int]] | None = None,
) -> np.ndarray:
    """Over-segment a volume along its affinities: fragments for agglomeration.

    Every voxel is joined with the neighbour across its strongest edge; of equally strong edges the first counts, in
    the order x - 1, y - 1, z - 1, x + 1, y + 1, z + 1. Edges of at least `high` are always joined. A voxel whose
    strongest edge is not above `low` is background. Fragments are the connected components of these joins (the
    catchment basins of steepest ascent, or the first round of Boruvka's spanning tree). As each voxel looks at its own
    six edges only, any block of the volume can be computed by itself with a halo of one voxel.

    Args:
        affinities: (C, Z, Y, X), uint8 0-255 or float 0-1; an array, Volume or zarr array, see `affinity_maps`.
        dimensions: 3, or 2 to join within each section (y and x edges only); ids are unique over the volume.
        low, high: affinities in [0, 1].
        offsets: of the channels; None means (-1, 0, 0), (0, -1, 0), (0, 0, -1).

    Returns:
        (Z, Y, X) labels, 1, 2, ... in the raster order of the fragments' first voxels, 0 = background; uint32, or
        uint64 where that does not hold them.

    Raises:
        TypeError, ValueError: unsuitable affinities, offsets, `dimensions` or thresholds.

    Memory: 4 bytes a voxel (8 beyond 2**32 voxels), and 3 for uint8 copies of affinities that are not uint8.

    Source: the rule of waterz' and zwatershed's fragments (Zlateski and Seung, arXiv:1505.00249), which divide
        plateaus of equal affinity in another way.

    Example:
        >>> affinities = np.zeros((3, 1, 1, 6), dtype=np.uint8)
        >>> affinities[2, 0, 0] = [0, 200, 100, 150, 0, 0]
        >>> affinity_fragments(affinities)
        array([[[1, 1, 2, 2, 0, 0]]], dtype=uint32)
    """
    check_dimensions(dimensions)
    levels = fragment_levels(low, high)
    maps = affinity_maps(affinities, offsets)
    return find_fragments(maps.read(), levels, dimensions)


def check_dimensions(dimensions: Any) -> None:
    """Raise a ValueError unless it is 2 or 3."""
    if isinstance(dimensions, bool) or dimensions not in (2, 3):
        raise ValueError(f"dimensions must be 3 (fragments in the volume) or 2 (in each section), got {dimensions!r}.")


def find_fragments(maps: Maps, levels: tuple[int, int], dimensions: int) -> np.ndarray:
    """`affinity_fragments` of a whole volume whose edges are at hand as levels."""
    labels = fragment_block(maps, maps[0].shape, levels, dimensions).labels
    if labels.dtype == np.uint64 and int(labels.max()) < 2**32:
        labels = labels.astype(np.uint32)
    return labels


def fragment_block(
    maps: Maps,
    shape: tuple[int, int, int],
    levels: tuple[int, int],
    dimensions: int,
    connected: tuple[bool, bool, bool] = (False, False, False),
    dtype: Any = None,
) -> FragmentBlock:
    """The fragments of a block of `shape` voxels at the start of `maps`.

    Args:
        maps: levels of the edges to the voxel before along z, y, x, with one more plane at the end of each axis
            along which the volume goes on after the block.
        levels: (low, high) of `fragment_levels`.
        connected: whether the volume goes on before the block along z, y, x, so that its first edges exist.
        dtype: of the labels; by default uint32, and uint64 from 2**32 - 1 voxels on.
    """
    voxels = int(np.prod(shape, dtype=np.int64))
    dtype = dtype or (np.uint32 if voxels < 2**32 - 1 else np.uint64)
    labels = np.empty(shape, dtype=dtype)
    before = tuple(np.zeros([length for place, length in enumerate(shape) if place != axis], bool) for axis in range(3))
    after = tuple(np.zeros_like(plane) for plane in before)
    _join(*maps, *levels, dimensions == 2, *connected, labels, *before, *after)
    count = _number(labels.reshape(-1))
    return FragmentBlock(labels, int(count), before, after)


@compiled
def _choose(below, level_row, depth_row, next_level_row, next_depth_row, low, high, joins):
    """What each voxel of a row is joined with, as bits.

    `below` holds the edges along x and one more: voxel x lies between below[x] and below[x + 1].
    """
    for x in range(joins.size):
        here_x, here_y, here_z = below[x], level_row[x], depth_row[x]
        next_x, next_y, next_z = below[x + 1], next_level_row[x], next_depth_row[x]
        best = max(max(max(here_x, here_y), max(here_z, next_x)), max(next_y, next_z))
        join = np.uint8(AFTER_Z)
        join = np.uint8(AFTER_Y) if next_y == best else join
        join = np.uint8(AFTER_X) if next_x == best else join
        join = np.uint8(BEFORE_Z) if here_z == best else join
        join = np.uint8(BEFORE_Y) if here_y == best else join
        join = np.uint8(BEFORE_X) if here_x == best else join
        join |= np.uint8(BEFORE_X) if here_x >= high else np.uint8(0)
        join |= np.uint8(BEFORE_Y) if here_y >= high else np.uint8(0)
        join |= np.uint8(BEFORE_Z) if here_z >= high else np.uint8(0)
        join |= np.uint8(AFTER_X) if next_x >= high else np.uint8(0)
        join |= np.uint8(AFTER_Y) if next_y >= high else np.uint8(0)
        join |= np.uint8(AFTER_Z) if next_z >= high else np.uint8(0)
        joins[x] = join | np.uint8(FOREGROUND) if best > low else np.uint8(0)


@compiled
def _join(
    edges_z, edges_y, edges_x, low, high, planar, open_z, open_y, open_x, parents,
    before_z, before_y, before_x, after_z, after_y, after_x,
):  # fmt: skip
    """One pass in raster order: `parents` becomes a forest whose roots are the first voxels of their fragments.

    A voxel is joined with voxels before it only; what those wanted to be joined with after them was kept in the rows
    `wanted`. Background gets the largest value of the type.
    """
    planes, rows, columns = parents.shape
    flat = parents.reshape(-1)
    background = ~flat.dtype.type(0)
    nothing = np.zeros(columns, dtype=np.uint8)
    line = np.zeros(columns + 1, dtype=np.uint8)
    joins = np.empty(columns, dtype=np.uint8)
    wanted = np.zeros((rows, columns), dtype=np.uint8)
    more_z, more_y, more_x = edges_z.shape[0], edges_y.shape[1], edges_x.shape[2]
    low, high = np.uint8(low), np.uint16(high)
    for z in range(planes):
        for y in range(rows):
            line[:columns] = edges_x[z, y, :columns]
            line[columns] = edges_x[z, y, columns] if more_x > columns else 0
            if not open_x:
                line[0] = 0
            _choose(
                line,
                edges_y[z, y, :columns] if y > 0 or open_y else nothing,
                edges_z[z, y, :columns] if (z > 0 or open_z) and not planar else nothing,
                edges_y[z, y + 1, :columns] if y + 1 < more_y else nothing,
                edges_z[z + 1, y, :columns] if z + 1 < more_z and not planar else nothing,
                low,
                high,
                joins,
            )
            if z == 0:
                for x in range(columns):
                    before_z[y, x] = joins[x] & BEFORE_Z != 0
            if z == planes - 1:
                for x in range(columns):
                    after_z[y, x] = joins[x] & AFTER_Z != 0
            if y == 0:
                for x in range(columns):
                    before_y[z, x] = joins[x] & BEFORE_Y != 0
            if y == rows - 1:
                for x in range(columns):
                    after_y[z, x] = joins[x] & AFTER_Y != 0
            before_x[z, y] = joins[0] & BEFORE_X != 0
            after_x[z, y] = joins[columns - 1] & AFTER_X != 0

            start = (z * rows + y) * columns
            above = wanted[y]
            beside = wanted[y - 1]
            root = start
            carried = False
            for x in range(columns):
                join = joins[x]
                position = start + x
                if join == 0:
                    flat[position] = background
                    continue
                if x > 0 and (carried or join & BEFORE_X):
                    flat[position] = root
                else:
                    root = position
                    flat[position] = position
                carried = join & AFTER_X != 0
                if y > 0 and (join & BEFORE_Y or beside[x] & AFTER_Y):
                    root = _unite(flat, root, position - columns)
                if z > 0 and (join & BEFORE_Z or above[x] & AFTER_Z):
                    root = _unite(flat, root, position - rows * columns)
            wanted[y] = joins


@compiled
def _unite(parents, root, member):
    """Unite the tree of `root` (below `root` nothing has another) with that of `member`; returns the common root."""
    other = np.int64(parents[member])
    if other == root:
        return root
    while other != member:
        grandparent = np.int64(parents[other])
        parents[member] = grandparent
        member = other
        other = grandparent
    if other < root:
        parents[root] = other
        return other
    parents[other] = root
    return root


@compiled
def _number(parents):
    """In place: number the trees 1, 2, ... in the order of their roots, background 0; returns how many there are."""
    background = ~parents.dtype.type(0)
    count = 0
    for position in range(parents.size):
        parent = parents[position]
        if parent == background:
            parents[position] = 0
        elif np.int64(parent) == position:
            count += 1
            parents[position] = count
        else:
            # A parent lies before its child, so it has its number already.
            parents[position] = parents[np.int64(parent)]
    return count
