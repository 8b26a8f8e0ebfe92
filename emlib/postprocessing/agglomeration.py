"""From affinities to neurons: hierarchical agglomeration of fragments, at several thresholds in one pass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from emlib.compilation import compiled
from emlib.postprocessing.affinity_maps import affinity_maps, check_thresholds, fragment_levels
from emlib.postprocessing.agglomeration_scores import MEAN, AgglomerationScore, parse_score
from emlib.postprocessing.boundary_records import make_boundaries
from emlib.postprocessing.boundary_statistics import make_statistics, set_sums, set_values
from emlib.postprocessing.boundary_table import BoundaryTable
from emlib.postprocessing.fragment_numbers import number_fragments
from emlib.postprocessing.fragments import check_dimensions, find_fragments
from emlib.postprocessing.region_graph import RegionGraph, measure
from emlib.postprocessing.region_merging import merge_regions


def agglomerate_affinities(
    affinities: Any,
    *,
    thresholds: Sequence[float] = (0.1, 0.3, 0.6),
    scoring: str = "aff50_his256",
    fragments: Any = None,
    fragment_dimensions: int = 3,
    low: float = 0.0001,
    high: float = 0.9999,
    offsets: Sequence[Sequence[int]] | None = None,
    init_with_max: bool | None = None,
) -> list[np.ndarray]:
    """Segment a volume: fragments merge, the most affine first, while the score of their boundary is below a threshold.

    The score of a boundary is one minus an affinity, see `parse_score`: the mean over all its contacts ("mean"), a
    percentile ("aff50_his256", "aff85_his0", ...) or the mean of its largest values ("max10", ...). When two regions
    are merged, their boundaries with a common neighbour become one. (For "maxK" its score may be lower than those of
    its parts, and fall below a threshold that was reached before; it then counts for the later thresholds.) Of equal
    scores, the boundary that contains the smallest pair of fragments comes first, where fragments are ordered by their
    first voxels: the result depends on neither the ids of the fragments nor chance.

    Args:
        affinities: (C, Z, Y, X), uint8 0-255 or float 0-1; an array, Volume or zarr array, see `affinity_maps`.
        thresholds: ascending, in [0, 1]; one segmentation is returned for each.
        scoring: name of a score.
        fragments: (Z, Y, X), any integer type, 0 = background; None makes them with `affinity_fragments`.
        fragment_dimensions, low, high: for `affinity_fragments`, unused with `fragments`.
        offsets: of the channels; None means (-1, 0, 0), (0, -1, 0), (0, 0, -1).
        init_with_max: whether a boundary of two fragments starts with its largest affinity only, rather than with
            those of all contacts. None does what waterz does: True for percentiles, False for "maxK". The mean is
            always over all contacts.

    Returns:
        For each threshold labels (Z, Y, X) uint32: 1, 2, ... in the order of their first voxels, 0 = background.

    Raises:
        TypeError, ValueError: unsuitable affinities, offsets, fragments, thresholds or scoring.

    Memory: 4 bytes a voxel for the fragments, which become the last result, and 4 for each result before; 3 for
        affinities that are not contiguous uint8, until the region graph is made; about 60 bytes a boundary (the
        boundaries of all fragments, a number that depends on the data), up to 20 more with all contacts.

    Source: the agglomeration of waterz (Funke et al., IEEE TPAMI 41(7), 2019), with exact order in place of bins.

    Example:
        >>> affinities = np.zeros((3, 1, 1, 6), dtype=np.uint8)
        >>> affinities[2, 0, 0] = [0, 230, 128, 230, 26, 230]
        >>> [labels[0, 0].tolist() for labels in agglomerate_affinities(affinities, thresholds=[0.3, 0.6])]
        [[1, 1, 2, 2, 3, 3], [1, 1, 1, 1, 2, 2]]
    """
    score = parse_score(scoring)
    thresholds = check_thresholds(thresholds)
    with_max = check_start(score, init_with_max)
    check_dimensions(fragment_dimensions)
    levels = fragment_levels(low, high)
    source = affinity_maps(affinities, offsets)
    if fragments is None:
        maps = source.read()
        labels = find_fragments(maps, levels, fragment_dimensions)
        count = int(labels.max())
    else:
        labels, ids = number_fragments(fragments, source.shape)
        maps, count = source.read(), ids.size
    sizes, _ = measure(labels, count, (0, 0, 0), (0, 0, 0), labels.shape)
    table = BoundaryTable(sizes, histograms=score.kind != MEAN and not with_max)
    table.add(maps, labels)
    del maps, sizes
    boundaries = table.take_sorted()
    del table
    segments = merge_boundaries(count, boundaries, score, thresholds, with_max)
    results = [relabel(labels, row, np.empty(labels.shape, dtype=np.uint32)) for row in segments[:-1]]
    last = labels if labels.dtype == np.uint32 else np.empty(labels.shape, dtype=np.uint32)
    return [*results, relabel(labels, segments[-1], last)]


def agglomerate_graph(
    graph: RegionGraph,
    *,
    thresholds: Sequence[float],
    scoring: str = "aff50_his256",
    init_with_max: bool | None = None,
) -> list[np.ndarray]:
    """Agglomerate a region graph: which segment each fragment belongs to, at any number of thresholds.

    Args:
        graph: of `region_graph`; with histograms for "maxK", and for percentiles with init_with_max=False.
        thresholds, scoring, init_with_max: as for `agglomerate_affinities`.

    Returns:
        For each threshold (N,) uint32: the segment 1, 2, ... of each of `graph.fragments`. `relabel_fragments` applies
        one to a volume.

    Raises:
        TypeError, ValueError: an unsuitable graph, thresholds or scoring.

    Example:
        >>> from emlib.postprocessing import region_graph
        >>> affinities = np.full((3, 1, 1, 3), 0.8)
        >>> graph = region_graph(affinities, np.array([[[30, 10, 20]]]))
        >>> [table.tolist() for table in agglomerate_graph(graph, thresholds=[0.1, 0.3], scoring="mean")]
        [[2, 3, 1], [1, 1, 1]]
    """
    if not isinstance(graph, RegionGraph):
        raise TypeError(f"graph must be a RegionGraph, not {type(graph).__name__}.")
    score = parse_score(scoring)
    thresholds = check_thresholds(thresholds)
    with_max = check_start(score, init_with_max)
    if score.kind != MEAN and not with_max and graph.histogram_starts is None:
        raise ValueError(
            f"scoring={scoring!r} needs all affinities of each boundary; make the graph with region_graph(..., "
            "histograms=True)."
        )
    # In the order of the first voxels, so that ties are broken in the same way whatever the ids are.
    order = np.lexsort((graph.fragments, graph.first_voxels))
    places = np.empty(order.size, dtype=np.uint32)
    places[order] = np.arange(order.size, dtype=np.uint32)
    edges = np.sort(places[graph.edges], axis=1)
    sorting = np.lexsort((edges[:, 1], edges[:, 0]))
    boundaries = {"edges": edges[sorting], "counts": graph.counts[sorting], "sums": graph.sums[sorting]}
    boundaries["maxima"] = graph.maxima[sorting]
    if graph.histogram_starts is not None:
        boundaries["histogram_starts"] = graph.histogram_starts
        boundaries["histogram_levels"] = graph.histogram_levels
        boundaries["histogram_counts"] = graph.histogram_counts
        boundaries["histogram_order"] = sorting
    return [row[places] for row in merge_boundaries(order.size, boundaries, score, thresholds, with_max)]


def relabel_fragments(fragments: Any, graph: RegionGraph, segments: np.ndarray) -> np.ndarray:
    """Replace fragments by their segments.

    Args:
        fragments: (Z, Y, X) those that the graph was made of, or a part of them.
        graph: whose ids they have.
        segments: (N,) one of the tables of `agglomerate_graph`.

    Returns:
        (Z, Y, X) labels of the dtype of `segments`; 0 stays 0.

    Raises:
        ValueError: a fragment that the graph does not know, or a table of another length.

    Example:
        >>> from emlib.postprocessing import region_graph
        >>> fragments = np.array([[[30, 0, 20]]])
        >>> graph = region_graph(np.zeros((3, 1, 1, 3)), fragments)
        >>> relabel_fragments(fragments, graph, np.array([5, 6], dtype=np.uint32)).tolist()
        [[[6, 0, 5]]]
    """
    segments = np.asarray(segments)
    if segments.shape != graph.fragments.shape:
        raise ValueError(f"segments must have one entry for each of {graph.fragments.size} fragments.")
    shape = tuple(np.shape(fragments)) if not hasattr(fragments, "shape") else tuple(fragments.shape)
    numbers, ids = number_fragments(fragments, shape)
    places = np.searchsorted(graph.fragments, ids)
    known = places < graph.fragments.size
    known[known] = graph.fragments[places[known]] == ids[known]
    if not known.all():
        raise ValueError(f"Fragment {ids[~known][0]} is not in the region graph.")
    return relabel(numbers, segments[places], np.empty(shape, dtype=segments.dtype))


def check_start(score: AgglomerationScore, init_with_max: bool | None) -> bool:
    """Whether boundaries start with their maximum only."""
    if init_with_max is None:
        return score.starts_with_maximum
    if not isinstance(init_with_max, bool | np.bool_):
        raise TypeError(f"init_with_max must be True, False or None, got {init_with_max!r}.")
    if init_with_max and score.kind == MEAN:
        raise ValueError("init_with_max=True is for percentiles and largest values; the mean is over all contacts.")
    return bool(init_with_max)


def merge_boundaries(
    regions: int,
    boundaries: dict[str, np.ndarray],
    score: AgglomerationScore,
    thresholds: tuple[float, ...],
    with_max: bool,
) -> np.ndarray:
    """(T, regions) segments of the regions at each threshold; takes the boundaries out of their dictionary."""
    edges, counts = boundaries.pop("edges"), boundaries.pop("counts")
    maxima, sums = boundaries.pop("maxima"), boundaries.pop("sums")
    if score.kind == MEAN:
        del maxima
        records = make_boundaries(regions, edges, counts)
        set_sums(records, sums)
        statistics = make_statistics(score, 0)
    elif with_max:
        del sums
        counts = np.ones(counts.size, dtype=np.uint32)
        records = make_boundaries(regions, edges, counts)
        statistics = make_statistics(score, counts.size)
        none = np.zeros(1, dtype=np.int64)
        set_values(records, statistics, none, maxima, np.ones(1, dtype=np.int64), none)
    else:
        del sums, maxima
        records = make_boundaries(regions, edges, counts)
        statistics = make_statistics(score, int(counts.sum(dtype=np.int64)))
        histogram = [boundaries.pop(f"histogram_{name}") for name in ("starts", "levels", "counts")]
        set_values(records, statistics, *histogram, boundaries.pop("histogram_order", np.zeros(1, dtype=np.int64)))
    edges = counts = sums = maxima = histogram = None
    return merge_regions(records, statistics, thresholds)


def relabel(numbers: np.ndarray, segments: np.ndarray, out: np.ndarray) -> np.ndarray:
    """Put segments[n - 1] where `numbers` is n and 0 where it is 0; `out` may be `numbers`, and is returned."""
    _relabel(numbers.reshape(-1), segments, out.reshape(-1))
    return out


@compiled
def _relabel(numbers, segments, out):
    for position in range(numbers.size):
        number = np.int64(numbers[position])
        out[position] = segments[number - 1] if number > 0 else 0
