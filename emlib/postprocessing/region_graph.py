"""The region graph of a volume's fragments: which touch, and how affine their boundaries are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from emlib.postprocessing.affinity_maps import affinity_maps
from emlib.postprocessing.boundary_table import BoundaryTable, measure_fragments
from emlib.postprocessing.fragment_numbers import number_fragments


@dataclass(frozen=True, eq=False)
class RegionGraph:
    """Fragments (N) and the boundaries (E) between them, in whole numbers: graphs of blocks are added with `+`.

    Attributes:
        fragments: (N,) uint64 ids, ascending.
        sizes: (N,) int64 voxels.
        first_voxels: (N,) int64, raster position in the whole volume of each fragment's first voxel; -1 for one that
            was met in a halo only.
        edges: (E, 2) uint32 places in `fragments`, first < second, sorted.
        counts: (E,) int64, contacts: pairs of voxels with a common face.
        sums: (E,) int64, sum of their affinities as levels 0-255.
        maxima: (E,) uint8, the largest of them.
        histogram_starts, histogram_levels, histogram_counts: None, or the contacts by level: those of edge e are the
            entries from starts[e] to starts[e + 1], ascending in their level.
    """

    fragments: np.ndarray
    sizes: np.ndarray
    first_voxels: np.ndarray
    edges: np.ndarray
    counts: np.ndarray
    sums: np.ndarray
    maxima: np.ndarray
    histogram_starts: np.ndarray | None = None
    histogram_levels: np.ndarray | None = None
    histogram_counts: np.ndarray | None = None

    @property
    def pairs(self) -> np.ndarray:
        """(E, 2) uint64: the ids of the two fragments of each boundary."""
        return self.fragments[self.edges]

    @property
    def means(self) -> np.ndarray:
        """(E,) float64: mean affinity of each boundary, 0 to 1."""
        return self.sums / self.counts / 255

    def __add__(self, other: RegionGraph) -> RegionGraph:
        if not isinstance(other, RegionGraph):
            return NotImplemented
        if (self.histogram_starts is None) != (other.histogram_starts is None):
            raise ValueError("Only one of the two region graphs has histograms; make both with or both without.")
        fragments = np.union1d(self.fragments, other.fragments)
        sizes = np.zeros(fragments.size, dtype=np.int64)
        first_voxels = np.full(fragments.size, np.iinfo(np.int64).max)
        keys, entry_keys = [], []
        for graph in (self, other):
            places = np.searchsorted(fragments, graph.fragments)
            sizes[places] += graph.sizes
            known = graph.first_voxels >= 0
            first_voxels[places[known]] = np.minimum(first_voxels[places[known]], graph.first_voxels[known])
            mapped = places[graph.edges].astype(np.uint64)
            keys.append((mapped[:, 0] << np.uint64(32)) | mapped[:, 1])
        first_voxels[first_voxels == np.iinfo(np.int64).max] = -1
        keys = np.concatenate(keys)
        unique, places = np.unique(keys, return_inverse=True)
        edges = np.stack([unique >> np.uint64(32), unique & np.uint64(0xFFFFFFFF)], axis=1).astype(np.uint32)
        counts, sums = (np.zeros(unique.size, dtype=np.int64) for _ in range(2))
        maxima = np.zeros(unique.size, dtype=np.uint8)
        np.add.at(counts, places, np.concatenate([self.counts, other.counts]))
        np.add.at(sums, places, np.concatenate([self.sums, other.sums]))
        np.maximum.at(maxima, places, np.concatenate([self.maxima, other.maxima]))
        histogram = {}
        if self.histogram_starts is not None:
            for graph, part in ((self, places[: len(self.edges)]), (other, places[len(self.edges) :])):
                entry_keys.append(np.repeat(part, np.diff(graph.histogram_starts)) * 256 + graph.histogram_levels)
            entries, places = np.unique(np.concatenate(entry_keys), return_inverse=True)
            numbers = np.zeros(entries.size, dtype=np.int64)
            np.add.at(numbers, places, np.concatenate([self.histogram_counts, other.histogram_counts]))
            histogram = {
                "histogram_starts": np.searchsorted(entries, np.arange(unique.size + 1) * 256),
                "histogram_levels": (entries % 256).astype(np.uint8),
                "histogram_counts": numbers,
            }
        return RegionGraph(fragments, sizes, first_voxels, edges, counts, sums, maxima, **histogram)


def region_graph(
    affinities: Any,
    fragments: Any,
    *,
    offsets: Sequence[Sequence[int]] | None = None,
    histograms: bool = False,
    halo: Sequence[int] = (0, 0, 0),
    origin: Sequence[int] = (0, 0, 0),
    volume_shape: Sequence[int] | None = None,
) -> RegionGraph:
    """Collect the affinities on the boundaries between fragments.

    Every contact, a pair of voxels with a common face in two fragments, belongs to the later of its two voxels.
    Background (0) has no boundaries.

    Args:
        affinities: (C, Z, Y, X), uint8 0-255 or float 0-1; an array, Volume or zarr array, see `affinity_maps`.
        fragments: (Z, Y, X), any integer type, ids up to 2**64 - 1, 0 = background.
        offsets: of the channels; None means (-1, 0, 0), (0, -1, 0), (0, 0, -1).
        histograms: count the levels of each boundary (needed for "maxK" scores and for quantiles over all contacts).
        halo: for a block of a larger volume: planes (0 or 1) at the start of z, y, x that belong to the blocks before;
            their voxels are not counted, contacts with them are. The graphs of all blocks add up to that of the volume.
        origin: place in the volume of the first voxel after the halo.
        volume_shape: (Z, Y, X) of the volume that the block is part of.

    Raises:
        TypeError, ValueError: unsuitable affinities, offsets or fragments, shapes that differ, a wrong halo.

    Memory: 25 bytes a boundary (and 9 for each of its levels with histograms), 4 bytes a voxel.

    Example:
        >>> affinities = np.zeros((3, 1, 2, 3), dtype=np.uint8)
        >>> affinities[2, 0, :, 1] = [102, 204]
        >>> graph = region_graph(affinities, np.array([[[5, 9, 9], [5, 9, 0]]]))
        >>> graph.pairs.tolist(), graph.counts.tolist(), graph.means.tolist(), graph.maxima.tolist()
        ([[5, 9]], [2], [0.6], [204])
    """
    maps = affinity_maps(affinities, offsets)
    halo, origin, volume_shape = _check_block(halo, origin, volume_shape, maps.shape)
    numbers, ids = number_fragments(fragments, maps.shape)
    sizes, first_voxels = measure(numbers, ids.size, halo, origin, volume_shape)
    table = BoundaryTable(sizes, histograms=histograms)
    table.add(maps.read(), numbers, halo)
    del numbers
    boundaries = table.take_sorted()
    boundaries["counts"] = boundaries["counts"].astype(np.int64)
    order = np.argsort(ids)
    graph = RegionGraph(ids, sizes[1:], first_voxels[1:], **boundaries)
    return graph if np.array_equal(order, np.arange(ids.size)) else _sort_by_id(graph, order)


def measure(
    numbers: np.ndarray, count: int, halo: tuple[int, ...], origin: tuple[int, ...], volume_shape: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """(count + 1,) sizes and first voxels of the fragments 1 ... count in a block; entry 0 means nothing."""
    sizes, first_voxels = np.zeros(count + 1, dtype=np.int64), np.full(count + 1, -1, dtype=np.int64)
    corner = [place - width for place, width in zip(origin, halo, strict=True)]
    first = (corner[0] * volume_shape[1] + corner[1]) * volume_shape[2] + corner[2]
    measure_fragments(numbers, *halo, first, volume_shape[1], volume_shape[2], sizes, first_voxels)
    return sizes, first_voxels


def _check_block(
    halo: Sequence[int], origin: Sequence[int], volume_shape: Sequence[int] | None, shape: tuple[int, int, int]
) -> tuple[tuple[int, ...], ...]:
    halo, origin = tuple(int(width) for width in halo), tuple(int(place) for place in origin)
    if len(halo) != 3 or any(width not in (0, 1) for width in halo):
        raise ValueError(f"halo must be three numbers 0 or 1 (z, y, x), got {halo}.")
    if any(width >= length for width, length in zip(halo, shape, strict=True)):
        raise ValueError(f"The block of shape {shape} has no voxel besides its halo {halo}.")
    volume_shape = shape if volume_shape is None else tuple(int(length) for length in volume_shape)
    if len(origin) != 3 or len(volume_shape) != 3:
        raise ValueError(f"origin and volume_shape must be three numbers (z, y, x), got {origin} and {volume_shape}.")
    for place, width, length, whole in zip(origin, halo, shape, volume_shape, strict=True):
        if place < width or place - width + length > whole:
            raise ValueError(
                f"A block of shape {shape} with halo {halo} at origin {origin} does not lie in a volume of shape "
                f"{volume_shape}."
            )
    return halo, origin, volume_shape


def _sort_by_id(graph: RegionGraph, order: np.ndarray) -> RegionGraph:
    """The same graph with its fragments in another order."""
    places = np.empty(order.size, dtype=np.uint32)
    places[order] = np.arange(order.size, dtype=np.uint32)
    edges = np.sort(places[graph.edges], axis=1)
    sorting = np.lexsort((edges[:, 1], edges[:, 0]))
    histogram = {}
    if graph.histogram_starts is not None:
        lengths = np.diff(graph.histogram_starts)[sorting]
        starts = np.concatenate([[0], np.cumsum(lengths)])
        entries = np.arange(starts[-1]) + np.repeat(graph.histogram_starts[:-1][sorting] - starts[:-1], lengths)
        histogram = {
            "histogram_starts": starts,
            "histogram_levels": graph.histogram_levels[entries],
            "histogram_counts": graph.histogram_counts[entries],
        }
    return RegionGraph(
        graph.fragments[order],
        graph.sizes[order],
        graph.first_voxels[order],
        edges[sorting],
        graph.counts[sorting],
        graph.sums[sorting],
        graph.maxima[sorting],
        **histogram,
    )
