"""Match each segment to at most one truth object and count: tp, fp, fn and the figures made of them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np

from emlib.evaluation.match_rates import MatchRates
from emlib.evaluation.overlap_table import OverlapTable, as_overlap_table, intersection_over_union


@dataclass(frozen=True)
class InstanceMatches(MatchRates):
    """A one-to-one matching of segments and truth objects.

    If there is neither a segment nor a truth object, every ratio is 1 (nothing to find, nothing found); any other
    ratio 0 / 0 is 0.

    Attributes:
        tp, fp, fn: matched pairs, unmatched segments, unmatched truth objects.
        pairs: uint64 (tp, 2), truth id and segment id, by increasing truth id.
        ious: float64 (tp,), of each pair.
        threshold: the IoU from which a pair may match.
    """

    tp: int
    fp: int
    fn: int
    pairs: np.ndarray
    ious: np.ndarray
    threshold: float

    @property
    def threat_score(self) -> float:
        """tp / (tp + fp + fn), also called accuracy or critical success index (2018 Data Science Bowl)."""
        return self._share(self.tp, self.tp + self.fp + self.fn)

    @property
    def mean_iou(self) -> float:
        """Mean IoU of the matched pairs (segmentation quality)."""
        return self._share(math.fsum(self.ious.tolist()), self.tp)

    @property
    def panoptic_quality(self) -> float:
        """Sum of the matched IoUs / (tp + fp / 2 + fn / 2) (Kirillov et al., CVPR 2019)."""
        return self._share(math.fsum(self.ious.tolist()), self.tp + self.fp / 2 + self.fn / 2)


def match_instances(segmentation: Any, truth: Any = None, *, threshold: float = 0.5) -> InstanceMatches:
    """Match segments and truth objects whose IoU is at least `threshold`.

    Each takes part in at most one pair. Above 0.5 the matching is unique by itself; otherwise it is the one with the
    most pairs, and among those the one with the largest sum of IoUs (Hungarian method).

    Args:
        segmentation: labels, any integer type, 0 = background; or an `OverlapTable` alone, without truth.
        truth: labels of the same shape.
        threshold: in (0, 1].

    Raises:
        TypeError: labels that are not integers.
        ValueError: shapes that differ, empty volumes, or a threshold outside (0, 1].

    Example:
        >>> truth = np.array([[1, 1, 1, 0, 2, 2]])
        >>> segmentation = np.array([[5, 5, 0, 0, 0, 8]])
        >>> result = match_instances(segmentation, truth, threshold=0.6)
        >>> result.tp, result.fp, result.fn, result.pairs.tolist()
        (1, 1, 1, [[1, 5]])
    """
    check_threshold(threshold)
    table = as_overlap_table(segmentation, truth)
    ious = intersection_over_union(table)
    candidates = ious >= threshold
    candidates &= table.truth_ids[table.pair_truth] != 0
    candidates &= table.segmentation_ids[table.pair_segmentation] != 0
    chosen = _best_matching(table, ious, np.flatnonzero(candidates))
    tp = int(chosen.size)
    pairs = np.stack(
        [table.truth_ids[table.pair_truth[chosen]], table.segmentation_ids[table.pair_segmentation[chosen]]], axis=1
    )
    return InstanceMatches(
        tp=tp,
        fp=int((table.segmentation_ids != 0).sum()) - tp,
        fn=int((table.truth_ids != 0).sum()) - tp,
        pairs=pairs,
        ious=ious[chosen],
        threshold=float(threshold),
    )


def check_threshold(threshold: float) -> None:
    """Raise if an IoU threshold is not a number in (0, 1]."""
    if isinstance(threshold, bool) or not isinstance(threshold, Real):
        raise TypeError(f"threshold must be a number between 0 and 1, not {type(threshold).__name__}.")
    if not 0 < threshold <= 1:
        raise ValueError(f"threshold must be an IoU above 0 and at most 1, got {threshold}.")


def _best_matching(table: OverlapTable, ious: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    """The chosen ones of the candidate pairs (places in the table's pair arrays), in the table's order."""
    truths, segments = table.pair_truth[candidates], table.pair_segmentation[candidates]
    if np.unique(truths).size == truths.size and np.unique(segments).size == segments.size:
        return candidates

    from scipy.optimize import linear_sum_assignment
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    # Groups of objects that compete with each other are small, and each is a dense assignment problem of its own.
    nodes = table.truth_ids.size + table.segmentation_ids.size
    graph = coo_array((np.ones(truths.size), (truths, table.truth_ids.size + segments)), shape=(nodes, nodes))
    group = connected_components(graph, directed=False)[1][truths]
    by_group = np.argsort(group, kind="stable")
    chosen = []
    for members in np.split(by_group, np.flatnonzero(np.diff(group[by_group])) + 1):
        rows, row = np.unique(truths[members], return_inverse=True)
        columns, column = np.unique(segments[members], return_inverse=True)
        # A pair is worth more than all that IoUs can add, so the number of pairs comes first.
        gain = np.zeros((rows.size, columns.size))
        gain[row, column] = min(gain.shape) + ious[candidates[members]]
        place = np.full(gain.shape, -1)
        place[row, column] = members
        picked = place[linear_sum_assignment(gain, maximize=True)]
        chosen.append(picked[picked >= 0])
    return candidates[np.sort(np.concatenate(chosen))]
