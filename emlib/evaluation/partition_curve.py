"""Partition scores over a threshold: how a segmentation goes from too many pieces to too few."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from emlib.evaluation.overlap_table import as_overlap_table
from emlib.evaluation.partition_scores import adapted_rand_error, rand_split_merge, variation_of_information


@dataclass(frozen=True, eq=False)
class PartitionCurve:
    """Scores (float64, one a threshold) in the order of the thresholds.

    Attributes:
        thresholds: as given.
        adapted_rand_error: 0 is perfect.
        voi_split, voi_merge: bits, 0 is perfect.
        rand_split, rand_merge: 1 is perfect.
        convention: of the adapted Rand error.
    """

    thresholds: np.ndarray
    adapted_rand_error: np.ndarray
    voi_split: np.ndarray
    voi_merge: np.ndarray
    rand_split: np.ndarray
    rand_merge: np.ndarray
    convention: str

    @property
    def best(self) -> int:
        """Index of the lowest adapted Rand error, the first of equal ones."""
        return int(np.argmin(self.adapted_rand_error))

    @property
    def best_voi(self) -> int:
        """Index of the lowest VOI split + merge, the first of equal ones."""
        return int(np.argmin(self.voi_split + self.voi_merge))

    def rows(self) -> list[dict[str, float]]:
        """One dict a threshold, for `show_threshold_sweep` or a json file."""
        names = ("adapted_rand_error", "voi_split", "voi_merge", "rand_split", "rand_merge")
        columns = [getattr(self, name).tolist() for name in names]
        return [
            {"threshold": threshold, **dict(zip(names, scores, strict=True))}
            for threshold, *scores in zip(self.thresholds.tolist(), *columns, strict=True)
        ]


def partition_curve(
    segmentations: Iterable[Any],
    truth: Any,
    thresholds: Sequence[float],
    *,
    convention: str = "snemi3d",
    ignore_truth: Iterable[int] = (0,),
    ignore_segmentation: Iterable[int] = (),
) -> PartitionCurve:
    """Score one segmentation a threshold; each is asked for when its turn comes, so an iterator may make them.

    When all of them merge the same fragments, the voxels need to be counted only once: pass overlap tables and None
    for the truth, `partition_curve((table.relabel(ids, new) for new in lookups), None, thresholds)`, where `table` is
    `overlap_table(fragments, truth)`.

    Args:
        segmentations: label volumes or overlap tables, one a threshold.
        truth: labels of the same shape, or None if overlap tables are given.
        thresholds: finite numbers.
        convention: of `adapted_rand_error`.
        ignore_truth, ignore_segmentation: for variation of information and Rand split and merge.

    Raises:
        TypeError: labels that are not integers, tables together with a truth, or volumes without one.
        ValueError: no threshold, one that is not finite, another number of segmentations, or what the scores refuse.

    Example:
        >>> from emlib.evaluation import overlap_table
        >>> truth = np.array([[1, 1, 2, 2]])
        >>> table = overlap_table(np.array([[1, 2, 3, 4]]), truth)
        >>> lookups = [[1, 2, 3, 4], [1, 1, 3, 3], [1, 1, 1, 1]]
        >>> curve = partition_curve((table.relabel([1, 2, 3, 4], new) for new in lookups), None, [0.1, 0.5, 0.9])
        >>> curve.best, curve.voi_split.tolist(), curve.voi_merge.tolist()
        (1, [1.0, 0.0, 0.0], [0.0, 0.0, 1.0])
    """
    limits = np.array([float(one) for one in thresholds])
    if not limits.size or not np.isfinite(limits).all():
        raise ValueError(f"thresholds must be one or more finite numbers, got {list(thresholds)!r}.")
    ignored = {"ignore_truth": tuple(ignore_truth), "ignore_segmentation": tuple(ignore_segmentation)}
    scores = []
    for segmentation in segmentations:
        if len(scores) == limits.size:
            raise ValueError(f"There are {limits.size} thresholds, but more segmentations.")
        table = as_overlap_table(segmentation, truth)
        information = variation_of_information(table, **ignored)
        rand = rand_split_merge(table, **ignored)
        error = adapted_rand_error(table, convention=convention).error
        scores.append((error, information.split, information.merge, rand.split, rand.merge))
    if len(scores) != limits.size:
        raise ValueError(f"There are {limits.size} thresholds, but {len(scores)} segmentations.")
    return PartitionCurve(limits, *np.array(scores, dtype=np.float64).T, convention)
