"""The "zwatershed": steepest-ascent fragments of affinities, of which small ones merge, then vanish."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from emlib.postprocessing.affinity_maps import AffinityMaps, affinity_maps, check_probability
from emlib.postprocessing.agglomeration import relabel
from emlib.postprocessing.fragments import affinity_fragments
from emlib.postprocessing.probabilities import voxel_count
from emlib.postprocessing.region_graph import region_graph
from emlib.postprocessing.size_merging import merge_small_regions
from emlib.postprocessing.small_objects import keep_large_and_renumber


def zwatershed(
    affinities: Any,
    *,
    low: float = 0.01,
    high: float = 0.8,
    merge: float = 0.2,
    size_threshold: int = 800,
    dust_size: int = 600,
    relative: bool = False,
    offsets: Sequence[Sequence[int]] | None = None,
) -> np.ndarray:
    """Segment affinities by a steepest-ascent watershed whose small regions are merged, then dropped.

    1. Fragments: `affinity_fragments(affinities, dimensions=3, low=low, high=high)`. Edges of `high` and more always
       join; voxels without an edge above `low` are background.
    2. Merging by size, see `merge_small_regions`: over boundaries whose largest affinity is above `merge`.
    3. Regions with fewer than `dust_size` voxels become background, the rest is numbered 1, 2, ... in raster order.

    For several size thresholds, make fragments and region graph once and call `merge_small_regions` for each of them.

    Args:
        affinities: (C, Z, Y, X), uint8 0-255 or float 0-1; 1 = same object. Only the three channels of the nearest
            neighbours are read.
        low, high, merge: thresholds in [0, 1], low < high.
        size_threshold: in voxels; two regions merge if one of them has fewer.
        dust_size: in voxels; a region of exactly this size stays.
        relative: the three thresholds are fractions of all edges instead: 0.8 means the smallest affinity that 80 %
            of the edges do not exceed.
        offsets: what the channels mean, see `affinity_maps`; None is (-1, 0, 0), (0, -1, 0), (0, 0, -1).

    Returns:
        Labels (Z, Y, X), 0 = background.

    Raises:
        TypeError: affinities that are neither uint8 nor float, thresholds or sizes that are not numbers.
        ValueError: values or thresholds that are not probabilities, `low` not below `high`, offsets that do not fit.

    Source: Zlateski and Seung, "Image Segmentation by Size-Dependent Single Linkage Clustering of a Watershed Basin
    Graph" (arXiv:1505.00249); the defaults are those of PyTorch Connectomics.

    Example:
        >>> affinities = np.full((3, 1, 1, 8), 0.9)
        >>> affinities[2, 0, 0, [3, 6]] = 0.1, 0.5
        >>> zwatershed(affinities, size_threshold=3, dust_size=0)
        array([[[1, 1, 1, 2, 2, 2, 2, 2]]], dtype=uint32)
    """
    size_threshold = voxel_count(size_threshold, "size_threshold")
    dust_size = voxel_count(dust_size, "dust_size")
    low, high, merge = (
        check_probability(value, name) for value, name in ((low, "low"), (high, "high"), (merge, "merge"))
    )
    if low >= high:
        raise ValueError(f"low must be smaller than high, got {low} and {high}.")
    if relative:
        low, high, merge = _quantiles(affinity_maps(affinities, offsets), (low, high, merge))
        if low == high:
            raise ValueError(f"The affinities at the fractions low and high are the same, {low}; take others.")
    fragments = affinity_fragments(affinities, dimensions=3, low=low, high=high, offsets=offsets)
    graph = region_graph(affinities, fragments, offsets=offsets)
    segments = merge_small_regions(graph, threshold=merge, size_threshold=size_threshold)
    # Fragments are numbered 1 ... N here, as they stand in the graph.
    labels = relabel(fragments, segments, fragments)
    keep_large_and_renumber(labels, int(segments.max(initial=0)), dust_size)
    return labels


def _quantiles(maps: AffinityMaps, fractions: Sequence[float]) -> tuple[float, ...]:
    """For each fraction the smallest affinity that so many of the volume's edges do not exceed."""
    counts = np.zeros(256, dtype=np.int64)
    for z in range(maps.shape[0]):
        for axis, levels in enumerate(maps.read((z, 0, 0), (z + 1, *maps.shape[1:]))):
            # The first plane of an axis has no edges.
            inner = levels[z == 0 :] if axis == 0 else levels[:, axis == 1 :, axis == 2 :]
            counts += np.bincount(inner.reshape(-1), minlength=256)
    if not counts.any():
        return tuple(fractions)
    total = int(counts.sum())
    # At least one edge, so that 0 is the smallest affinity.
    wanted = [max(math.ceil(round(fraction * total, 6)), 1) for fraction in fractions]
    return tuple(int(level) / 255 for level in np.searchsorted(np.cumsum(counts), wanted))
