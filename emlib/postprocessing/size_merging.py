"""The size rule of zwatershed: regions merge over their strongest boundaries as long as one of the two is small."""

from __future__ import annotations

import math

import numpy as np

from emlib.compilation import compiled
from emlib.postprocessing.affinity_maps import check_probability
from emlib.postprocessing.mutual_exclusion import find
from emlib.postprocessing.probabilities import voxel_count
from emlib.postprocessing.region_graph import RegionGraph


def merge_small_regions(graph: RegionGraph, *, threshold: float, size_threshold: int) -> np.ndarray:
    """Which fragments become one: single linkage that stops where both sides are large.

    Boundaries are taken in the order of their largest affinity, from high to low, equal ones in the order of the graph.
    Two regions merge if that affinity is above `threshold` and at least one of them, with all that was merged into
    it before, has fewer than `size_threshold` voxels.

    Args:
        graph: of `region_graph`.
        threshold: in [0, 1].
        size_threshold: in voxels.

    Returns:
        (N,) uint32: the segment 1, 2, ... of each of `graph.fragments`, numbered in their order. `relabel_fragments`
        applies it to a volume.

    Raises:
        TypeError: something else than a region graph, a threshold or a size that is not a number.
        ValueError: a threshold outside [0, 1], a negative size.

    Source: Zlateski and Seung (arXiv:1505.00249), as in zwatershed's `merge_segments`.

    Example:
        >>> from emlib.postprocessing import region_graph
        >>> affinities = np.full((3, 1, 1, 8), 0.5)
        >>> graph = region_graph(affinities, np.array([[[1, 2, 2, 2, 3, 3, 3, 3]]]))
        >>> merge_small_regions(graph, threshold=0.2, size_threshold=3)
        array([1, 1, 2], dtype=uint32)
    """
    if not isinstance(graph, RegionGraph):
        raise TypeError(f"graph must be a RegionGraph, not {type(graph).__name__}.")
    size_threshold = voxel_count(size_threshold, "size_threshold")
    # A tenth of a millionth of a level makes 51/255 mean level 51, however the quotient was rounded.
    level = math.floor(255 * check_probability(threshold, "threshold") + 1e-7)
    chosen = np.flatnonzero(graph.maxima > level)
    order = chosen[np.argsort(255 - graph.maxima[chosen], kind="stable")]
    parent = np.arange(graph.sizes.size, dtype=np.int64)
    _merge(graph.edges, order, parent, graph.sizes.copy(), size_threshold)
    return _number(parent)


@compiled
def _merge(edges, order, parent, sizes, size_threshold):
    for edge in order:
        first, second = find(parent, np.int64(edges[edge, 0])), find(parent, np.int64(edges[edge, 1]))
        if first == second or (sizes[first] >= size_threshold and sizes[second] >= size_threshold):
            continue
        # The first fragment of a region stays its root, so that numbers come in order.
        first, second = min(first, second), max(first, second)
        sizes[first] += sizes[second]
        parent[second] = first


@compiled
def _number(parent):
    segments = np.empty(parent.size, dtype=np.uint32)
    count = 0
    for fragment in range(parent.size):
        root = find(parent, fragment)
        if root == fragment:
            count += 1
            segments[fragment] = count
        else:
            segments[fragment] = segments[root]
    return segments
