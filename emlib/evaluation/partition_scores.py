"""Scores of a segmentation as a partition of the voxels: adapted Rand error, Rand split and merge, information."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from emlib.evaluation.overlap_table import OverlapTable, as_overlap_table

CONVENTIONS = ("snemi3d", "cremi", "scikit-image")


@dataclass(frozen=True)
class AdaptedRandError:
    """1 - F-score of the Rand index, its precision (few merges) and recall (few splits); 0 error is perfect."""

    error: float
    precision: float
    recall: float
    convention: str


@dataclass(frozen=True)
class VariationOfInformation:
    """Conditional entropies: `split` = H(segmentation | truth), `merge` = H(truth | segmentation); 0 is perfect."""

    split: float
    merge: float
    base: float

    @property
    def total(self) -> float:
        """split + merge."""
        return self.split + self.merge


@dataclass(frozen=True)
class RandSplitMerge:
    """Rand scores that fall with splits (`split`) and with merges (`merge`); 1 is perfect, unlike in VOI."""

    split: float
    merge: float

    @property
    def f_score(self) -> float:
        """Harmonic mean of split and merge."""
        return 2 * self.split * self.merge / (self.split + self.merge)


def adapted_rand_error(segmentation: Any, truth: Any = None, *, convention: str = "snemi3d") -> AdaptedRandError:
    """The adapted Rand error, over the voxels where the truth is not 0.

    With n_ij the number of voxels of truth object i in segment j, precision = sum n_ij^2 / sum_j s_j^2 and
    recall = sum n_ij^2 / sum_i t_i^2, where s and t are the sums over i and j. The conventions differ in what a
    voxel does that the segmentation leaves 0 (c of them):

    - "cremi": each is a segment of its own: the sums over j > 0 get + c.
    - "snemi3d": the same with c / n in place of c (n: voxels of the volume). This is what SNEMI3D figures of
      PyTorch Connectomics were computed with; it practically leaves those voxels out of the precision.
    - "scikit-image": 0 is a segment like any other, and pairs of a voxel with itself do not count. (scikit-image 0.26
      returns what is called precision and recall here in the opposite order; the error is the same.)

    Args:
        segmentation: labels, any integer type; or an `OverlapTable` alone, without truth.
        truth: labels of the same shape; 0 is not scored.
        convention: see above.

    Raises:
        TypeError: labels that are not integers.
        ValueError: shapes that differ, empty volumes, an unknown convention, or a truth that is 0 everywhere.

    Source: Arganda-Carreras et al., Frontiers in Neuroanatomy 9:142 (2015).

    Example:
        >>> truth = np.array([[1, 1, 2, 2]])
        >>> adapted_rand_error(np.array([[3, 3, 3, 3]]), truth, convention="cremi")
        AdaptedRandError(error=0.33333333333333337, precision=0.5, recall=1.0, convention='cremi')
    """
    if convention not in CONVENTIONS:
        raise ValueError(f"convention must be one of {', '.join(map(repr, CONVENTIONS))}, got {convention!r}.")
    whole = as_overlap_table(segmentation, truth)
    table = whole.without(truth=(0,))
    if not table.truth_ids.size:
        raise ValueError("truth is 0 everywhere, so there is no voxel that the adapted Rand error could score.")
    truth_squares = _sum_of_squares(table.truth_sizes)
    if convention == "scikit-image":
        voxels = table.voxels
        both = _sum_of_squares(table.pair_counts) - voxels
        segment_squares = _sum_of_squares(table.segmentation_sizes) - voxels
        truth_squares -= voxels
    else:
        left_out = int(table.segmentation_sizes[table.segmentation_ids == 0].sum())
        extra = left_out if convention == "cremi" else left_out / whole.voxels
        inside = table.segmentation_ids[table.pair_segmentation] != 0
        both = _sum_of_squares(table.pair_counts[inside]) + extra
        segment_squares = _sum_of_squares(table.segmentation_sizes[table.segmentation_ids != 0]) + extra
    precision = both / segment_squares if segment_squares else float(both == 0)
    recall = both / truth_squares if truth_squares else float(both == 0)
    f_score = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
    return AdaptedRandError(1 - f_score, precision, recall, convention)


def variation_of_information(
    segmentation: Any,
    truth: Any = None,
    *,
    ignore_truth: Iterable[int] = (0,),
    ignore_segmentation: Iterable[int] = (),
    base: float = 2,
) -> VariationOfInformation:
    """How much is still unknown about one partition when the other is known, in bits (base 2).

    Args:
        segmentation: labels, any integer type; or an `OverlapTable` alone, without truth.
        truth: labels of the same shape.
        ignore_truth, ignore_segmentation: voxels with these ids are left out. By default only the truth's
            background is; a 0 of the segmentation counts as one more segment.
        base: of the logarithm.

    Raises:
        TypeError: labels that are not integers.
        ValueError: shapes that differ, empty volumes, a base that is not above 1, or no voxel left to score.

    Source: Meila, Journal of Multivariate Analysis 98 (2007).

    Example:
        >>> truth = np.array([[1, 1, 2, 2]])
        >>> scores = variation_of_information(np.array([[3, 3, 3, 3]]), truth)
        >>> scores.split, scores.merge
        (0.0, 1.0)
    """
    if not base > 1:
        raise ValueError(f"base must be a number above 1, got {base!r}.")
    table = as_overlap_table(segmentation, truth).without(truth=ignore_truth, segmentation=ignore_segmentation)
    if not table.voxels:
        raise ValueError("No voxel is left to score once the ignored ids are taken out.")
    return VariationOfInformation(
        split=_conditional_entropy(table, table.truth_sizes[table.pair_truth], base),
        merge=_conditional_entropy(table, table.segmentation_sizes[table.pair_segmentation], base),
        base=base,
    )


def rand_split_merge(
    segmentation: Any,
    truth: Any = None,
    *,
    ignore_truth: Iterable[int] = (0,),
    ignore_segmentation: Iterable[int] = (),
) -> RandSplitMerge:
    """The Rand scores that waterz prints: how much of the truth's (the segments') pairs of voxels stay together.

    With n_ij the voxels of truth object i in segment j, split = sum n_ij^2 / sum_i t_i^2 falls when objects are cut,
    and merge = sum n_ij^2 / sum_j s_j^2 falls when segments hold several objects; t and s are the sums over j and i.

    Args:
        segmentation: labels, any integer type; or an `OverlapTable` alone, without truth.
        truth: labels of the same shape.
        ignore_truth, ignore_segmentation: voxels with these ids are left out. By default only the truth's background
            is; a 0 of the segmentation counts as one more segment, as in waterz.

    Raises:
        TypeError: labels that are not integers.
        ValueError: shapes that differ, empty volumes, or no voxel left to score.

    Source: `evaluate` of waterz (Funke et al., IEEE TPAMI 41(7), 2019), after Arganda-Carreras et al., Frontiers in
    Neuroanatomy 9:142 (2015).

    Example:
        >>> scores = rand_split_merge(np.array([[3, 3, 3, 3]]), np.array([[1, 1, 2, 2]]))
        >>> scores.split, scores.merge
        (1.0, 0.5)
    """
    table = as_overlap_table(segmentation, truth).without(truth=ignore_truth, segmentation=ignore_segmentation)
    if not table.voxels:
        raise ValueError("No voxel is left to score once the ignored ids are taken out.")
    both = _sum_of_squares(table.pair_counts)
    return RandSplitMerge(both / _sum_of_squares(table.truth_sizes), both / _sum_of_squares(table.segmentation_sizes))


def _conditional_entropy(table: OverlapTable, known: np.ndarray, base: float) -> float:
    """-sum p_ij log(p_ij / p_known), where `known` is the size of the known side's object for each pair."""
    terms = table.pair_counts * np.log(known / table.pair_counts)
    # fsum is exact before its one rounding, so the figure does not depend on how the ids are ordered.
    return math.fsum(terms.tolist()) / (table.voxels * math.log(base))


def _sum_of_squares(counts: np.ndarray) -> int:
    """Exact, also where the squares of voxel counts exceed 64 bits."""
    high, low = np.divmod(counts.astype(np.int64), 2**20)
    return (int((high * high).sum()) << 40) + (int((high * low).sum()) << 21) + int((low * low).sum())
