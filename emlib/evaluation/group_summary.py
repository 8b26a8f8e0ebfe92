"""Scores of many images as one row a modality: median and mean, because a mean alone hides a rare kind that fails."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from emlib.evaluation.cell_scores import CellScore

ALL = "all"


def summarize_by_group(scores: Sequence[CellScore], groups: Sequence[str]) -> tuple[GroupSummary, ...]:
    """Median and mean over the images of each group, and over all.

    Args:
        scores: one for each image, all of one threshold, from `cell_f1`.
        groups: each image's modality (or any other kind).

    Returns:
        One row a group, by name, and one named "all" at the end.

    Raises:
        ValueError: no image, lists of unequal length, scores of different thresholds, or a group named "all".

    Example:
        >>> scores = [CellScore(3, 1, 0, 0.5), CellScore(1, 0, 1, 0.5), CellScore(0, 0, 5, 0.5)]
        >>> for row in summarize_by_group(scores, ["phase", "phase", "bacteria"]):
        ...     print(row.group, row.images, row.cells, round(row.median_f1, 3), round(row.mean_f1, 3))
        bacteria 1 5 0.0 0.0
        phase 2 5 0.762 0.762
        all 3 10 0.667 0.508
    """
    scores, groups = list(scores), [str(group) for group in groups]
    if len(scores) != len(groups) or not scores:
        raise ValueError(
            f"There are {len(scores)} scores and {len(groups)} groups, but one group a score was expected."
        )
    thresholds = sorted({score.threshold for score in scores})
    if len(thresholds) > 1:
        raise ValueError(f"The scores have thresholds {thresholds}, but one table holds scores of one threshold.")
    if ALL in groups:
        raise ValueError(f"A group is named '{ALL}', which is the name of the last row.")
    rows = []
    for group in (*sorted(set(groups)), ALL):
        own = [score for score, name in zip(scores, groups, strict=True) if group in (name, ALL)]
        figures = np.array([[score.f1, score.precision, score.recall] for score in own])
        median, mean = np.median(figures, axis=0).tolist(), figures.mean(axis=0).tolist()
        tp, fp, fn = (sum(getattr(score, name) for score in own) for name in ("tp", "fp", "fn"))
        pooled = CellScore(tp, fp, fn, thresholds[0]).f1
        lowest = float(figures[:, 0].min())
        rows.append(GroupSummary(group, len(own), tp + fn, tp, fp, fn, *median, *mean, pooled, lowest))
    return tuple(rows)


@dataclass(frozen=True)
class GroupSummary:
    """One row of the table.

    Attributes:
        group: the modality, or "all".
        images, cells: how many were scored (cells: without those left out at the border).
        tp, fp, fn: sums of the counts.
        median_f1, median_precision, median_recall: over the images.
        mean_f1, mean_precision, mean_recall: over the images.
        pooled_f1: of the summed counts, in which an image weighs as much as it has cells.
        lowest_f1: of the worst image.
    """

    group: str
    images: int
    cells: int
    tp: int
    fp: int
    fn: int
    median_f1: float
    median_precision: float
    median_recall: float
    mean_f1: float
    mean_precision: float
    mean_recall: float
    pooled_f1: float
    lowest_f1: float
