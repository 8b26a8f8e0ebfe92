"""One score per segment: how sure the segmentation is of it, which orders the segments for average precision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from emlib.evaluation.label_blocks import check_labels, chunks_of, iterate_boxes, read_block


def mean_scores(segmentation: Any, heatmap: Any) -> dict[int, float]:
    """The mean of a probability map over each segment, for the `scores` of `average_precision`.

    Args:
        segmentation: labels, 0 = background.
        heatmap: values of the same shape, for example the predicted mask.

    Returns:
        Segment id to mean value.

    Raises:
        TypeError: labels that are not integers.
        ValueError: shapes that differ, values that are not numbers.

    Example:
        >>> mean_scores(np.array([[1, 1, 0, 5]]), np.array([[0.5, 1.0, 0.0, 0.25]]))
        {1: 0.75, 5: 0.25}
    """
    segmentation = check_labels(segmentation, "segmentation")
    heatmap = heatmap if hasattr(heatmap, "shape") else np.asarray(heatmap)
    if tuple(heatmap.shape) != tuple(segmentation.shape):
        raise ValueError(
            f"heatmap and segmentation must have the same shape, got {tuple(heatmap.shape)} and "
            f"{tuple(segmentation.shape)}."
        )
    sums: dict[int, float] = {}
    sizes: dict[int, int] = {}
    for box in iterate_boxes(tuple(segmentation.shape), chunks_of(segmentation, heatmap)):
        ids, places = np.unique(read_block(segmentation, box, "segmentation"), return_inverse=True)
        values = np.asarray(heatmap[box], dtype=np.float64)
        if not np.isfinite(values).all():
            raise ValueError("heatmap must hold finite numbers, but has NaN or infinite values.")
        block_sums = np.bincount(places.reshape(-1), weights=values.reshape(-1))
        block_sizes = np.bincount(places.reshape(-1))
        for label, total, size in zip(ids.tolist(), block_sums.tolist(), block_sizes.tolist(), strict=True):
            sums[label] = sums.get(label, 0.0) + total
            sizes[label] = sizes.get(label, 0) + size
    return {label: sums[label] / sizes[label] for label in sorted(sums) if label != 0}


def scores_by_id(
    ids: np.ndarray, sizes: np.ndarray, scores: Mapping[int, float] | Sequence[float] | np.ndarray | None
) -> np.ndarray:
    """Scores (float64) in the order of `ids`; the sizes themselves if none are given.

    Raises:
        ValueError: a segment without a score, a number of scores that does not fit, or a score that is not finite.
    """
    if scores is None:
        return sizes.astype(np.float64)
    if isinstance(scores, Mapping):
        known = {int(label): score for label, score in scores.items()}
        missing = [label for label in ids.tolist() if label not in known]
        if missing:
            raise ValueError(f"scores has no entry for {len(missing)} of {ids.size} segments, first id {missing[0]}.")
        values = np.array([known[label] for label in ids.tolist()], dtype=np.float64)
    else:
        values = np.asarray(scores, dtype=np.float64)
        if values.shape != ids.shape:
            raise ValueError(
                f"scores must be one number per segment in the order of the ids: {ids.size} segments, "
                f"but scores of shape {values.shape}."
            )
    if not np.isfinite(values).all():
        raise ValueError("scores must be finite numbers, but some are NaN or infinite.")
    return values
