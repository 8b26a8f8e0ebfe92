"""Mutex watershed: neurons from short-range affinities that attract and long-range affinities that repel."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Integral
from typing import Any

import numpy as np

from emlib.compilation import compiled
from emlib.postprocessing.affinity_maps import affinity_channels
from emlib.postprocessing.mutual_exclusion import OUTSIDE, MutualExclusion, flatten
from emlib.postprocessing.probabilities import voxel_count
from emlib.postprocessing.small_objects import keep_large_and_renumber
from emlib.randomness import derive_seed

# An edge of strength 0 does nothing, so that 255 strengths are left.
STRENGTHS = 255
EVERYWHERE = (1, 1, 1)


def mutex_watershed(
    affinities: Any,
    *,
    offsets: Sequence[Sequence[int]],
    attractive: int | Sequence[int] = 3,
    strides: Sequence[int] | None = None,
    seed: int | None = None,
    mask: Any = None,
    min_size: int = 0,
) -> np.ndarray:
    """Partition a volume by its attractive and repulsive affinities; no threshold and no seeds are needed.

    Every affinity between two voxels is an edge. An attractive edge has the strength a, a repulsive one 1 - a. The
    edges are taken from strong to weak: an attractive edge merges the clusters of its two voxels unless these
    exclude each other; a repulsive edge between two clusters makes them exclude each other from then on.

    Strengths are compared on 255 levels. Among edges of equal strength those of the first channel are taken first,
    and within a channel in raster order of the voxel that stores the edge, so that the result is always the same.
    Edges of strength 0 are left out: a voxel that belongs to nothing stays alone (and `min_size=2` removes it).

    Args:
        affinities: (C, Z, Y, X), uint8 0-255 or float 0-1; 1 = same object. Channel c, at v, is about the voxels v
            and v + offsets[c].
        offsets: C steps (z, y, x) in voxels, of any sign and length. Edges that leave the volume are ignored.
        attractive: how many channels, from the first, attract, or the indices of those that do; all others repel.
        strides: (z, y, x); repulsive edges are used at every so many voxels only, which saves time and separates
            less. None uses all.
        seed: with strides, use a random part of the repulsive edges instead of a grid, as large on average; the
            same seed gives the same part. None is the grid.
        mask: (Z, Y, X) bool, or an integer array with 0 for outside; outside is label 0 and has no edges.
        min_size: in voxels; objects with fewer become 0.

    Returns:
        Labels (Z, Y, X), uint32, numbered 1, 2, ... in raster order; without a mask and `min_size` no voxel is 0.

    Raises:
        TypeError: affinities that are neither uint8 nor float, or arguments of a wrong type.
        ValueError: values that are not probabilities, offsets that do not fit the channels, channels that do not
            exist or none that attracts, strides below 1, a mask of another shape, 2**32 - 1 voxels or more.

    Memory: 13 bytes per voxel above uint8 affinities, and 20 to 40 for each pair of clusters that exclude each other.

    Source: Wolf et al., "The Mutex Watershed: Efficient, Parameter-Free Image Partitioning" (ECCV 2018).

    Example:
        >>> offsets = [(-1, 0, 0), (0, -1, 0), (0, 0, -1), (0, 0, -3)]
        >>> affinities = np.zeros((4, 1, 1, 6))
        >>> affinities[2] = [0, 0.9, 0.8, 0.6, 0.8, 0.9]
        >>> affinities[3] = [0, 0, 0, 0.1, 0.1, 0.1]
        >>> mutex_watershed(affinities, offsets=offsets)
        array([[[1, 1, 1, 2, 2, 2]]], dtype=uint32)
    """
    min_size = voxel_count(min_size, "min_size")
    levels, offsets = affinity_channels(affinities, offsets)
    channels, shape = len(levels), levels[0].shape
    repulsive = _repulsive_channels(attractive, channels)
    strides = _check_strides(strides)
    outside = _outside(mask, shape)
    size = levels[0].size
    if size >= OUTSIDE:
        raise ValueError(f"A mutex watershed of {size} voxels is too large, {OUTSIDE - 1} is the most; use blocks.")
    scans = []
    for channel, (repels, offset) in enumerate(zip(repulsive, offsets, strict=True)):
        part = _part(strides, seed, channel) if repels else _part(EVERYWHERE, None, channel)
        scans.append((levels[channel], channel, channels, repels, np.array(offset), *part))
    clusters = MutualExclusion(size, outside)
    _process_in_order(scans, clusters, shape)
    labels = clusters.parent
    objects = _number(labels, clusters.last)
    if min_size > 1:
        keep_large_and_renumber(labels, objects, min_size)
    return labels.reshape(shape)


def _process_in_order(scans: list[tuple], clusters: MutualExclusion, shape: tuple[int, int, int]) -> None:
    """Feed all edges to the clusters, sorted by counting.

    The key of an edge is its weakness (255 - strength) and then its channel; the position comes by itself, because a
    scan finds edges in raster order. A round collects the edges of as many keys as there are voxels. Edges
    within one cluster are left out, which after the first round are most.
    """
    channels = len(scans)
    keys = STRENGTHS * channels
    forest = clusters.parent.reshape(shape)
    plane = np.array([shape[1] * shape[2], shape[2], 1])
    order = np.empty(clusters.parent.size, dtype=np.uint32)
    first = 0
    while first < keys:
        flatten(clusters.parent)
        counts = np.zeros(keys, dtype=np.int64)
        for scan in scans:
            _scan(*scan, forest, first, keys, counts, order[:0])
        ends = np.cumsum(counts)
        # No key has more edges than there are voxels, so that every round does at least one.
        stop = int(np.searchsorted(ends, order.size, side="right"))
        cursors = ends - counts
        for scan in scans:
            _scan(*scan, forest, first, stop, cursors, order)
        for key in np.flatnonzero(counts[:stop]):
            channel = key % channels
            step = int(scans[channel][4] @ plane)
            clusters.process(order[ends[key] - counts[key] : ends[key]], step, repulsive=scans[channel][3])
        first = stop
    flatten(clusters.parent)


@compiled
def _scan(levels, channel, channels, repulsive, offset, strides, every, key, forest, first, stop, cursors, order):
    """Write the positions of one channel's open edges with first <= key < stop into `order`, each at its key's cursor.

    With an empty `order` the edges are only counted. `forest` must be flat.
    """
    depth, rows, columns = levels.shape
    dz, dy, dx = offset
    counting = order.size == 0
    for z in range(_aligned(max(0, -dz), strides[0]), min(depth, depth - dz), strides[0]):
        for y in range(_aligned(max(0, -dy), strides[1]), min(rows, rows - dy), strides[1]):
            for x in range(_aligned(max(0, -dx), strides[2]), min(columns, columns - dx), strides[2]):
                root = forest[z, y, x]
                other = forest[z + dz, y + dy, x + dx]
                if root == other or max(root, other) == OUTSIDE:
                    continue
                level = np.int64(levels[z, y, x])
                place = (level if repulsive else STRENGTHS - level) * channels + channel
                if place < first or place >= stop:
                    continue
                position = (z * rows + y) * columns + x
                if every > 1 and _mixed(key, position) % np.uint64(every) != 0:
                    continue
                if not counting:
                    order[cursors[place]] = position
                cursors[place] += 1


@compiled
def _aligned(start, stride):
    return -(-start // stride) * stride


@compiled
def _mixed(key, position):
    """Pseudo-random bits for a position (the finaliser of splitmix64)."""
    value = key + np.uint64(position) * np.uint64(0x9E3779B97F4A7C15)
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


@compiled
def _number(parent, numbers):
    """Replace each root by the number of its cluster, in raster order; returns how many there are."""
    numbers[:] = 0
    objects = 0
    for position in range(parent.size):
        root = parent[position]
        if root == OUTSIDE:
            parent[position] = 0
            continue
        if numbers[root] == 0:
            objects += 1
            numbers[root] = objects
        parent[position] = numbers[root]
    return objects


def _part(strides: tuple[int, int, int], seed: int | None, channel: int) -> tuple[np.ndarray, int, np.uint64]:
    """Strides of the scan, how many edges there are to one that is used at random, and the key of that choice."""
    if seed is None:
        return np.array(strides), 1, np.uint64(0)
    return np.array(EVERYWHERE), math.prod(strides), np.uint64(derive_seed(seed, "mutex_watershed", channel))


def _repulsive_channels(attractive: int | Sequence[int], channels: int) -> list[bool]:
    if isinstance(attractive, Integral) and not isinstance(attractive, bool):
        chosen = list(range(attractive))
    elif isinstance(attractive, Sequence | np.ndarray) and not isinstance(attractive, str):
        chosen = list(attractive)
    else:
        chosen = [attractive]
    if any(isinstance(channel, bool) or not isinstance(channel, Integral) for channel in chosen):
        raise TypeError(f"attractive must be a number of channels or a list of their indices, got {attractive!r}.")
    if not chosen or not all(0 <= channel < channels for channel in chosen):
        raise ValueError(f"attractive must name at least one of the {channels} channels, got {attractive!r}.")
    return [channel not in chosen for channel in range(channels)]


def _check_strides(strides: Sequence[int] | None) -> tuple[int, int, int]:
    if strides is None:
        return EVERYWHERE
    steps = tuple(strides) if isinstance(strides, Sequence | np.ndarray) else ()
    whole = all(isinstance(step, Integral) and not isinstance(step, bool) and step >= 1 for step in steps)
    if len(steps) != 3 or not whole:
        raise ValueError(f"strides must be three whole numbers of at least 1 (z, y, x), got {strides!r}.")
    return tuple(int(step) for step in steps)


def _outside(mask: Any, shape: tuple[int, ...]) -> np.ndarray | None:
    if mask is None:
        return None
    mask = np.asarray(mask)
    if mask.dtype.kind not in "biu":
        raise TypeError(f"mask must be bool or integers (0 = outside), got {mask.dtype}.")
    if mask.shape != shape:
        raise ValueError(f"mask must have the volume's shape {shape}, got {mask.shape}.")
    return (mask == 0).reshape(-1)
