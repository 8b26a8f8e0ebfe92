"""Voxelwise agreement of foreground: precision, recall, Jaccard and Dice, without regard to instances."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from emlib.evaluation.label_blocks import chunks_of, iterate_boxes, same_shape


@dataclass(frozen=True)
class ForegroundScores:
    """Counts of voxels and the ratios made of them; a ratio 0 / 0 is 1 (nothing there, nothing said).

    Attributes:
        tp, fp, fn, tn: voxels.
    """

    tp: int
    fp: int
    fn: int
    tn: int

    @property
    def precision(self) -> float:
        """tp / (tp + fp)."""
        return _share(self.tp, self.tp + self.fp)

    @property
    def recall(self) -> float:
        """tp / (tp + fn)."""
        return _share(self.tp, self.tp + self.fn)

    @property
    def f1(self) -> float:
        """2 tp / (2 tp + fp + fn), the Dice coefficient."""
        return _share(2 * self.tp, 2 * self.tp + self.fp + self.fn)

    @property
    def jaccard(self) -> float:
        """tp / (tp + fp + fn), the IoU of the foreground."""
        return _share(self.tp, self.tp + self.fp + self.fn)

    @property
    def mean_jaccard(self) -> float:
        """Mean IoU of the two classes, foreground and background."""
        return (self.jaccard + _share(self.tn, self.tn + self.fp + self.fn)) / 2


def foreground_precision_recall(segmentation: Any, truth: Any, *, threshold: float | None = None) -> ForegroundScores:
    """Compare the foreground of two volumes voxel by voxel.

    Args:
        segmentation: labels (foreground: not 0), a bool mask, or with `threshold` a probability map.
        truth: labels or a bool mask of the same shape.
        threshold: in [0, 1]; foreground is a float value above it, or a uint8 value above int(255 * threshold).

    Raises:
        TypeError: floats without a threshold, or a threshold for something that is not a probability map.
        ValueError: shapes that differ, empty volumes, or a threshold outside [0, 1].

    Example:
        >>> scores = foreground_precision_recall(np.array([[1, 1, 0, 0]]), np.array([[4, 0, 4, 0]]))
        >>> scores.precision, scores.recall, scores.jaccard
        (0.5, 0.5, 0.3333333333333333)
    """
    segmentation = segmentation if hasattr(segmentation, "dtype") else np.asarray(segmentation)
    truth = truth if hasattr(truth, "dtype") else np.asarray(truth)
    level = _level(np.dtype(segmentation.dtype), threshold)
    if np.dtype(truth.dtype).kind not in "iub":
        raise TypeError(f"truth must be labels or a bool mask, got {truth.dtype}.")
    same_shape(segmentation, truth)
    if 0 in truth.shape:
        raise ValueError(f"truth is empty: its shape is {tuple(truth.shape)}.")
    tp = fp = fn = tn = 0
    for box in iterate_boxes(tuple(truth.shape), chunks_of(segmentation, truth)):
        values = np.asarray(segmentation[box])
        if values.dtype.kind == "f" and np.isnan(values).any():
            raise ValueError("segmentation must hold probabilities, but has NaN values.")
        found = values != 0 if level is None else values > level
        real = np.asarray(truth[box]) != 0
        both, said, there = (int(np.count_nonzero(mask)) for mask in (found & real, found, real))
        tp, fp, fn, tn = tp + both, fp + said - both, fn + there - both, tn + found.size - said - there + both
    return ForegroundScores(tp, fp, fn, tn)


def _level(dtype: np.dtype, threshold: float | None) -> float | None:
    if threshold is None:
        if dtype.kind not in "iub":
            raise TypeError(f"segmentation must be labels or a bool mask, got {dtype}; give a threshold for a map.")
        return None
    if not 0 <= threshold <= 1:
        raise ValueError(f"threshold must be a probability between 0 and 1, got {threshold!r}.")
    if dtype == np.uint8:
        return int(255 * threshold)
    if dtype.kind != "f":
        raise TypeError(f"A threshold needs a probability map (uint8 or float), got {dtype}.")
    return threshold


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 1.0
