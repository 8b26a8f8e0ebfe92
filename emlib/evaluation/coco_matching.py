"""COCO's matching of results with truth objects: greedy by score, at every IoU threshold and in every range of area."""

from __future__ import annotations

import numpy as np

from emlib.compilation import compiled
from emlib.evaluation.coco_overlap import CandidatePairs

FALSE_POSITIVE, TRUE_POSITIVE, IGNORED = 0, 1, 2


def match_greedily(
    pairs: CandidatePairs,
    groups: np.ndarray,
    areas: np.ndarray,
    crowd: np.ndarray,
    ignored: np.ndarray,
    thresholds: np.ndarray,
    ranges: np.ndarray,
) -> np.ndarray:
    """What becomes of each result: 0 a false positive, 1 a true positive, 2 ignored.

    Result by result, by decreasing score within an image and category: it takes the truth object of largest IoU that
    is free and reaches the threshold, among equal ones the last; only if there is none, one that is ignored (a crowd,
    or of an area outside the range), and is ignored with it. A crowd is never used up. A result without partner is
    ignored if its own area is outside the range.

    Args:
        pairs: of the results in that order.
        groups: int64 offsets of the results of each image and category.
        areas: float64, of the results.
        crowd: bool, for each truth.
        ignored: bool (range of area, truth).
        thresholds: IoUs (float64).
        ranges: float64 (range, 2), least and largest area, both included.

    Returns:
        uint8 (range, threshold, result).
    """
    outcomes = np.zeros((len(ranges), thresholds.size, areas.size), np.uint8)
    # COCO lets a pair of IoU 1 but for rounding match at a threshold of 1.
    least = np.minimum(thresholds, 1 - 1e-10)
    _match(pairs.offsets, pairs.truths, pairs.ious, groups, areas, crowd, ignored, least, ranges, outcomes)
    return outcomes


@compiled
def _match(offsets, truths, ious, groups, areas, crowd, ignored, thresholds, ranges, outcomes):
    # The threshold at which a truth was last taken, so that nothing has to be cleared.
    taken = np.zeros(crowd.size, np.int64)
    turn = 0
    for within in range(ranges.shape[0]):
        for level in range(thresholds.size):
            turn += 1
            for group in range(groups.size - 1):
                for result in range(groups[group], groups[group + 1]):
                    partner = -1
                    for second_choice in (False, True):
                        if partner >= 0:
                            break
                        best = thresholds[level]
                        for pair in range(offsets[result], offsets[result + 1]):
                            truth = truths[pair]
                            if ignored[within, truth] != second_choice or ious[pair] < best:
                                continue
                            if taken[truth] == turn and not crowd[truth]:
                                continue
                            best, partner = ious[pair], truth
                    if partner >= 0:
                        taken[partner] = turn
                        outcomes[within, level, result] = IGNORED if ignored[within, partner] else TRUE_POSITIVE
                    elif areas[result] < ranges[within, 0] or areas[result] > ranges[within, 1]:
                        outcomes[within, level, result] = IGNORED
