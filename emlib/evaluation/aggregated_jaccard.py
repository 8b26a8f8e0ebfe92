"""The aggregated Jaccard index: shared pixels of all cells over joined pixels of all cells, false ones included."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from emlib.evaluation.overlap_table import OverlapTable, as_overlap_table, intersection_over_union


def aggregated_jaccard_index(segmentation: Any, truth: Any = None) -> AggregatedJaccard:
    """AJI (Kumar et al., IEEE TMI 2017) and AJI+ (Graham et al., HoVer-Net, 2019).

    AJI gives every cell the segment of largest IoU, which several cells may share, and divides the sum of the shared
    pixels by the sum of the joined ones; segments that nobody took add their pixels below. One segment that covers
    two cells is punished twice, which AJI+ repairs: its partners are one to one, chosen for the largest sum of IoUs.

    Args:
        segmentation: labels, any integer type, 0 = background; or an `OverlapTable` alone, without truth.
        truth: labels of the same shape.

    Returns:
        AggregatedJaccard; both figures are 1 if there is neither a cell nor a segment.

    Raises:
        TypeError: labels that are not integers.
        ValueError: shapes that differ, empty images, negative ids.

    Example:
        >>> truth = np.array([[1, 1, 1, 2, 2, 2, 0, 0]])
        >>> segmentation = np.array([[7, 7, 7, 7, 7, 0, 0, 9]])
        >>> index = aggregated_jaccard_index(segmentation, truth)
        >>> round(index.aji, 4), round(index.aji_plus, 4)
        (0.4167, 0.3333)
    """
    table = as_overlap_table(segmentation, truth)
    cells, segments = table.truth_ids != 0, table.segmentation_ids != 0
    if not cells.any() and not segments.any():
        return AggregatedJaccard(1.0, 1.0)
    pairs = np.flatnonzero(cells[table.pair_truth] & segments[table.pair_segmentation])
    ious = intersection_over_union(table)[pairs]
    # Pairs come sorted by cell, then segment: the first of the largest is the segment of the lowest id.
    order = np.lexsort((np.arange(pairs.size), -ious, table.pair_truth[pairs]))
    owners = table.pair_truth[pairs][order]
    best = pairs[order[np.flatnonzero(np.diff(owners, prepend=-1))]]
    return AggregatedJaccard(_index(table, best), _index(table, pairs[_heaviest_matching(table, pairs, ious)]))


def _index(table: OverlapTable, chosen: np.ndarray) -> float:
    """Shared over joined pixels of the chosen pairs; objects in no pair join the denominator."""
    truths, segments = table.pair_truth[chosen], table.pair_segmentation[chosen]
    shared = int(table.pair_counts[chosen].sum())
    joined = int((table.truth_sizes[truths] + table.segmentation_sizes[segments]).sum()) - shared
    for ids, sizes, taken in (
        (table.truth_ids, table.truth_sizes, truths),
        (table.segmentation_ids, table.segmentation_sizes, segments),
    ):
        left = ids != 0
        left[taken] = False
        joined += int(sizes[left].sum())
    return shared / joined


def _heaviest_matching(table: OverlapTable, pairs: np.ndarray, ious: np.ndarray) -> np.ndarray:
    """Places in `pairs` of the one-to-one choice with the largest sum of IoUs.

    The matrix of all cells and segments would not fit into memory for a slide, and is nearly empty. Every cell may
    also take a partner of its own, of IoU 0, so that a full matching always exists.
    """
    if not pairs.size:
        return np.empty(0, dtype=np.int64)
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import min_weight_full_bipartite_matching

    cells, row = np.unique(table.pair_truth[pairs], return_inverse=True)
    segments, column = np.unique(table.pair_segmentation[pairs], return_inverse=True)
    rows = np.concatenate([row, np.arange(cells.size)])
    columns = np.concatenate([column, segments.size + np.arange(cells.size)])
    # Stored zeros would count as missing, hence costs from 1 (IoU 1) to 2 (nothing).
    costs = np.concatenate([2.0 - ious, np.full(cells.size, 2.0)])
    shape = (cells.size, segments.size + cells.size)
    matched_rows, matched = min_weight_full_bipartite_matching(coo_array((costs, (rows, columns)), shape=shape).tocsr())
    partner = np.full(cells.size, -1)
    partner[matched_rows] = matched
    return np.flatnonzero(partner[row] == column)


@dataclass(frozen=True)
class AggregatedJaccard:
    """Both forms of the index, 0 to 1.

    Attributes:
        aji: cells may share a segment (Kumar et al. 2017).
        aji_plus: one to one (Graham et al. 2019).
    """

    aji: float
    aji_plus: float
