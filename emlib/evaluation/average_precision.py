"""Average precision of instances in a volume, by the rules of the MitoEM challenge or one-to-one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from emlib.evaluation.object_scores import scores_by_id
from emlib.evaluation.overlap_table import OverlapTable, as_overlap_table, intersection_over_union

THRESHOLDS = np.round(np.linspace(0.5, 0.95, 10), 2)
RECALL_GRID = np.linspace(0, 1, 101)
RULES = ("challenge", "one-to-one")
TRUE_POSITIVE, FALSE_POSITIVE, IGNORED = 1, 0, -1
NO_TRUTH = -1.0
OBJECT_FIELDS = [
    ("id", np.uint64),
    ("size", np.int64),
    ("score", np.float64),
    ("truth_id", np.uint64),
    ("truth_size", np.int64),
    ("iou", np.float64),
]


@dataclass(frozen=True)
class AveragePrecision:
    """Average precision at ten IoU thresholds and in three size ranges; -1 where a range has no truth object.

    Attributes:
        ap: mean over the thresholds 0.50, 0.55, ..., 0.95; ap50 and ap75 at one threshold.
        by_size: AP-75 of the truth objects that are "small", "medium" and "large".
        thresholds: the IoU thresholds (10,).
        per_threshold: AP of all objects at each threshold (10,).
        per_threshold_by_size: the same for "all", "small", "medium" and "large".
        objects: structured array, one row a segment, by decreasing score: id, size, score, and truth_id, truth_size
            and iou of the truth object of largest IoU (0 if it overlaps none).
        truth_objects: number of truth objects in each range.
        rules: "challenge" or "one-to-one".
    """

    ap: float
    ap50: float
    ap75: float
    by_size: dict[str, float]
    thresholds: np.ndarray
    per_threshold: np.ndarray
    per_threshold_by_size: dict[str, np.ndarray]
    objects: np.ndarray
    truth_objects: dict[str, int]
    rules: str
    outcomes: dict[str, np.ndarray] = field(repr=False)

    def curve(self, threshold: float = 0.75, *, size: str = "all") -> tuple[np.ndarray, np.ndarray]:
        """Recall 0, 0.01, ..., 1 and the precision there (monotone envelope), whose mean is the AP.

        Raises:
            ValueError: a threshold that is not one of `thresholds`, or an unknown size range.
        """
        matching = np.flatnonzero(np.isclose(self.thresholds, threshold))
        if not matching.size:
            raise ValueError(f"threshold must be one of {', '.join(map(str, self.thresholds))}, got {threshold}.")
        if size not in self.outcomes:
            raise ValueError(f"size must be one of {', '.join(self.outcomes)}, got {size!r}.")
        return RECALL_GRID.copy(), _precision_on_grid(self.outcomes[size][matching[0]], self.truth_objects[size])


def average_precision(
    segmentation: Any,
    truth: Any = None,
    *,
    rules: str = "challenge",
    scores: Mapping[int, float] | Sequence[float] | np.ndarray | None = None,
    size_limits: tuple[int, int] = (5000, 30000),
    drop_truth_below: int = 2000,
) -> AveragePrecision:
    """Rank the segments by score and integrate precision over recall, as detection benchmarks do.

    Segments are taken by decreasing score (equal scores by increasing id). With rules="challenge", as in the MitoEM
    challenge's code:

    - IoU is taken of whole objects. A segment is a true positive at threshold t if its best truth object has
      IoU >= t, and a false positive otherwise. Several segments may match the same truth object (at IoU 0.5 two
      halves both do), so recall can exceed 1.
    - In a size range (small: up to size_limits[0] voxels, medium: up to size_limits[1], large: above), the best truth
      object *within the range* counts; if the segment overlaps none, its best overall. A segment that matches a
      truth object outside the range is ignored, and so is an unmatched segment whose own size is outside it.
    - Truth objects below `drop_truth_below` voxels are turned to background first (segments on them are false
      positives).

    With rules="one-to-one" each truth object is matched at most once: by decreasing score, a segment takes the free
    truth object of largest IoU >= t, in the range if there is one, outside it (and is ignored) if not.

    AP at a threshold is the mean of the precision's monotone envelope at recall 0, 0.01, ..., 1 (0 beyond the last
    recall reached). No truth object in the range: -1. No segment but some truth: 0. Equal IoUs go to the smaller
    truth id.

    Args:
        segmentation: labels, any integer type, 0 = background; or an `OverlapTable` alone, without truth.
        truth: labels of the same shape.
        scores: one per segment: a mapping from id to score, or a sequence in the order of increasing ids. None takes
            the segment's number of voxels, as the challenge does. `mean_scores` makes them from a probability map.
        size_limits: voxels.
        drop_truth_below: voxels; 0 drops nothing.

    Raises:
        TypeError: labels that are not integers.
        ValueError: shapes that differ, empty volumes, unknown rules, unordered limits, or scores that do not fit.

    Source: Wei et al., MitoEM dataset, MICCAI 2020, and its evaluation code; COCO's AP for the curve.

    Example:
        >>> truth = np.repeat([[1, 2, 0]], 4000, axis=0)
        >>> segmentation = np.repeat([[1, 0, 9]], 4000, axis=0)
        >>> figures = average_precision(segmentation, truth)
        >>> round(figures.ap, 4), figures.by_size
        (0.505, {'small': 0.504950495049505, 'medium': -1.0, 'large': -1.0})
    """
    _check_options(rules, size_limits, drop_truth_below)
    table = as_overlap_table(segmentation, truth)
    sizes, matches = _candidates(table, drop_truth_below)
    ids = table.segmentation_ids[table.segmentation_ids != 0]
    segment_scores = scores_by_id(ids, sizes.segments, scores)
    order = np.argsort(-segment_scores, kind="stable")
    judge = _judge_challenge if rules == "challenge" else _judge_one_to_one

    small, medium = size_limits
    ranges = {"all": (0, np.inf), "small": (0, small), "medium": (small, medium), "large": (medium, np.inf)}
    outcomes, counts, figures = {}, {}, {}
    for name, (above, up_to) in ranges.items():
        inside = (sizes.truths > above) & (sizes.truths <= up_to)
        own_inside = (sizes.segments > above) & (sizes.segments <= up_to)
        outcomes[name] = judge(matches, inside, own_inside, order)
        counts[name] = int(inside.sum())
        figures[name] = np.array([_average(outcome, counts[name]) for outcome in outcomes[name]])
    figure75 = {name: float(values[5]) for name, values in figures.items()}
    return AveragePrecision(
        ap=float(figures["all"].mean()),
        ap50=float(figures["all"][0]),
        ap75=figure75["all"],
        by_size={name: figure75[name] for name in ("small", "medium", "large")},
        thresholds=THRESHOLDS.copy(),
        per_threshold=figures["all"],
        per_threshold_by_size=figures,
        objects=_object_table(ids, sizes, segment_scores, matches)[order],
        truth_objects=counts,
        rules=rules,
        outcomes=outcomes,
    )


@dataclass(frozen=True)
class _Sizes:
    segments: np.ndarray
    truths: np.ndarray
    truth_ids: np.ndarray


@dataclass(frozen=True)
class _Matches:
    """Overlapping (segment, truth) pairs, for each segment the largest IoU first, equal ones by truth id."""

    segments: np.ndarray
    truths: np.ndarray
    ious: np.ndarray


def _check_options(rules: str, size_limits: tuple[int, int], drop_truth_below: int) -> None:
    if rules not in RULES:
        raise ValueError(f"rules must be 'challenge' or 'one-to-one', got {rules!r}.")
    if len(size_limits) != 2 or not 0 < size_limits[0] <= size_limits[1]:
        raise ValueError(f"size_limits must be two increasing numbers of voxels, got {size_limits!r}.")
    if not drop_truth_below >= 0:
        raise ValueError(f"drop_truth_below must be a number of voxels of at least 0, got {drop_truth_below!r}.")


def _candidates(table: OverlapTable, drop_truth_below: int) -> tuple[_Sizes, _Matches]:
    """Sizes of the objects that count, and their overlaps, with places counted among those objects only."""
    kept_truth = (table.truth_ids != 0) & (table.truth_sizes >= drop_truth_below)
    kept_segment = table.segmentation_ids != 0
    kept = kept_truth[table.pair_truth] & kept_segment[table.pair_segmentation]
    truths = (np.cumsum(kept_truth) - 1)[table.pair_truth[kept]]
    segments = (np.cumsum(kept_segment) - 1)[table.pair_segmentation[kept]]
    ious = intersection_over_union(table)[kept]
    order = np.lexsort((truths, -ious, segments))
    sizes = _Sizes(table.segmentation_sizes[kept_segment], table.truth_sizes[kept_truth], table.truth_ids[kept_truth])
    return sizes, _Matches(segments[order], truths[order], ious[order])


def _judge_challenge(matches: _Matches, inside: np.ndarray, own_inside: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Outcome of every segment (by decreasing score) at every threshold, truth objects being free for all."""
    # Best in the range first, best overall behind it: the first pair of each segment is the one that counts.
    preferred = np.lexsort((np.arange(matches.segments.size), ~inside[matches.truths], matches.segments))
    segments, first = np.unique(matches.segments[preferred], return_index=True)
    chosen = preferred[first]
    best_iou = np.zeros(own_inside.size)
    best_inside = np.zeros(own_inside.size, dtype=bool)
    best_iou[segments] = matches.ious[chosen]
    best_inside[segments] = inside[matches.truths[chosen]]

    matched = best_iou >= THRESHOLDS[:, np.newaxis]
    hit = np.where(best_inside, TRUE_POSITIVE, IGNORED)
    miss = np.where(own_inside, FALSE_POSITIVE, IGNORED)
    return np.where(matched, hit, miss)[:, order]


def _judge_one_to_one(matches: _Matches, inside: np.ndarray, own_inside: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Outcome of every segment (by decreasing score) at every threshold, each truth object being taken once."""
    result = np.tile(np.where(own_inside, FALSE_POSITIVE, IGNORED), (THRESHOLDS.size, 1))
    good = matches.ious >= THRESHOLDS[0]
    segments, truths, ious = matches.segments[good], matches.truths[good], matches.ious[good]
    rank = np.empty(order.size, dtype=np.int64)
    rank[order] = np.arange(order.size)
    # By score, then in the range before outside it, then by IoU.
    visits = np.lexsort((np.arange(segments.size), ~inside[truths], rank[segments]))
    for row, threshold in enumerate(THRESHOLDS):
        free = np.ones(inside.size, dtype=bool)
        waiting = np.ones(own_inside.size, dtype=bool)
        for pair in visits[ious[visits] >= threshold]:
            segment, truth = segments[pair], truths[pair]
            if waiting[segment] and free[truth]:
                waiting[segment] = free[truth] = False
                result[row, segment] = TRUE_POSITIVE if inside[truth] else IGNORED
    return result[:, order]


def _precision_on_grid(outcome: np.ndarray, truth_objects: int) -> np.ndarray:
    """The monotone envelope of precision at recall 0, 0.01, ..., 1; zeros where that recall is not reached."""
    precision_there = np.zeros(RECALL_GRID.size)
    counted = outcome[outcome != IGNORED]
    if truth_objects == 0 or counted.size == 0:
        return precision_there
    hits = np.cumsum(counted == TRUE_POSITIVE)
    precision = hits / np.arange(1, counted.size + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    places = np.searchsorted(hits / truth_objects, RECALL_GRID, side="left")
    reached = places < counted.size
    precision_there[reached] = envelope[places[reached]]
    return precision_there


def _average(outcome: np.ndarray, truth_objects: int) -> float:
    return float(_precision_on_grid(outcome, truth_objects).mean()) if truth_objects else NO_TRUTH


def _object_table(ids: np.ndarray, sizes: _Sizes, scores: np.ndarray, matches: _Matches) -> np.ndarray:
    rows = np.zeros(ids.size, dtype=OBJECT_FIELDS)
    rows["id"], rows["size"], rows["score"] = ids, sizes.segments, scores
    segments, first = np.unique(matches.segments, return_index=True)
    rows["truth_id"][segments] = sizes.truth_ids[matches.truths[first]]
    rows["truth_size"][segments] = sizes.truths[matches.truths[first]]
    rows["iou"][segments] = matches.ious[first]
    return rows
