"""Pairs of a result and a truth object that overlap enough to match, image by image and category by category."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from emlib.compilation import compiled
from emlib.run_lengths import RunTable, shared_pixels

# The lowest of COCO's IoU thresholds: pairs below it never match.
LEAST_IOU = 0.5


@dataclass(frozen=True)
class CandidatePairs:
    """For each result the truth objects of IoU >= 0.5 in their order.

    Attributes:
        offsets: int64; result r has the entries offsets[r] to offsets[r + 1] - 1 of the others.
        truths: int64, rows of the truth.
        ious: float64.
    """

    offsets: np.ndarray
    truths: np.ndarray
    ious: np.ndarray


def find_pairs(
    results: RunTable | np.ndarray,
    truths: RunTable | np.ndarray,
    crowd: np.ndarray,
    first_truth: np.ndarray,
    end_truth: np.ndarray,
    heights: np.ndarray,
) -> CandidatePairs:
    """Pairs of IoU >= 0.5; in a crowd the overlap is divided by the area of the result alone, as COCO does.

    Masks are not drawn: the runs of both are walked along, and only if the boxes overlap enough for an IoU of 0.5.

    Args:
        results, truths: runs, or boxes x, y, width, height (float64 (n, 4)), in the same form.
        crowd: bool, for each truth.
        first_truth, end_truth: int64, for each result the rows of the truth to look at.
        heights: int64, of the picture of each result and then of each truth; only for runs.
    """
    if isinstance(results, RunTable):
        number = len(results)
        arrays = _run_pairs(
            results.starts, results.stops, results.offsets, results.areas(), results.boxes(heights[:number]),
            truths.starts, truths.stops, truths.offsets, truths.areas(), truths.boxes(heights[number:]),
            crowd, first_truth, end_truth,
        )  # fmt: skip
    else:
        arrays = _box_pairs(results, truths, crowd, first_truth, end_truth)
    return CandidatePairs(*arrays)


@compiled
def _box_pairs(results, truths, crowd, first_truth, end_truth):
    offsets = np.zeros(first_truth.size + 1, np.int64)
    partners, ious = np.empty(1024, np.int64), np.empty(1024)
    filled = 0
    for row in range(first_truth.size):
        x, y, width, height = results[row]
        area = width * height
        for truth in range(first_truth[row], end_truth[row]):
            other_x, other_y, other_width, other_height = truths[truth]
            shared_width = min(width + x, other_width + other_x) - max(x, other_x)
            if shared_width <= 0:
                continue
            shared_height = min(height + y, other_height + other_y) - max(y, other_y)
            if shared_height <= 0:
                continue
            shared = shared_width * shared_height
            iou = shared / (area if crowd[truth] else area + other_width * other_height - shared)
            if iou < LEAST_IOU:
                continue
            if filled == ious.size:
                partners = np.concatenate((partners, np.empty_like(partners)))
                ious = np.concatenate((ious, np.empty_like(ious)))
            partners[filled], ious[filled] = truth, iou
            filled += 1
        offsets[row + 1] = filled
    return offsets, partners[:filled].copy(), ious[:filled].copy()


@compiled
def _run_pairs(
    starts, stops, runs, areas, boxes, truth_starts, truth_stops, truth_runs, truth_areas, truth_boxes, crowd,
    first_truth, end_truth,
):  # fmt: skip
    offsets = np.zeros(first_truth.size + 1, np.int64)
    partners, ious = np.empty(1024, np.int64), np.empty(1024)
    filled = 0
    for row in range(first_truth.size):
        left, top, right, bottom = boxes[row]
        area = areas[row]
        for truth in range(first_truth[row], end_truth[row]):
            width = min(right, truth_boxes[truth, 2]) - max(left, truth_boxes[truth, 0])
            if width <= 0:
                continue
            height = min(bottom, truth_boxes[truth, 3]) - max(top, truth_boxes[truth, 1])
            if height <= 0:
                continue
            # shared / (area + other - shared) >= 1/2 needs 3 shared >= area + other.
            at_most = min(width * height, area, truth_areas[truth])
            if 2 * at_most < area if crowd[truth] else 3 * at_most < area + truth_areas[truth]:
                continue
            shared = shared_pixels(
                starts[runs[row] : runs[row + 1]],
                stops[runs[row] : runs[row + 1]],
                truth_starts[truth_runs[truth] : truth_runs[truth + 1]],
                truth_stops[truth_runs[truth] : truth_runs[truth + 1]],
            )
            iou = shared / (area if crowd[truth] else area + truth_areas[truth] - shared)
            if shared == 0 or iou < LEAST_IOU:
                continue
            if filled == ious.size:
                partners = np.concatenate((partners, np.empty_like(partners)))
                ious = np.concatenate((ious, np.empty_like(ious)))
            partners[filled], ious[filled] = truth, iou
            filled += 1
        offsets[row + 1] = filled
    return offsets, partners[:filled].copy(), ious[:filled].copy()
