"""Which neurons are split and merged, how much each adds to the variation of information, and where."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from emlib.evaluation.error_events import ErrorEvent, find_events
from emlib.evaluation.overlap_table import OverlapTable, as_overlap_table


@dataclass(frozen=True)
class NeuronScore:
    """How one truth neuron fared.

    Attributes:
        neuron: its id.
        size: its voxels that are scored.
        segments: segments that hold at least `min_overlap` of its voxels; 0 of the segmentation is none.
        main_segment: the one that holds most (the smallest id of equal ones), 0 if there is none.
        main_share: part of its voxels that the main segment holds.
        partners: other neurons of which the main segment holds at least `min_overlap` voxels, largest overlap first.
        voi_split, voi_merge: its terms of the variation of information, in logarithms of `base`.
    """

    neuron: int
    size: int
    segments: int
    main_segment: int
    main_share: float
    partners: tuple[int, ...]
    voi_split: float
    voi_merge: float


@dataclass(frozen=True)
class NeuronErrors:
    """The errors of a segmentation, neuron by neuron and place by place.

    Attributes:
        neurons: the one with the largest part in split + merge first.
        splits, merges: events with positions, the largest first; None if an overlap table was scored, which has no
            positions.
        min_overlap: voxels from which an overlap counts.
        base: of the logarithm.
    """

    neurons: list[NeuronScore]
    splits: list[ErrorEvent] | None
    merges: list[ErrorEvent] | None
    min_overlap: int
    base: float

    @property
    def voi_split(self) -> float:
        """Sum over the neurons: the split of `variation_of_information`."""
        return math.fsum(row.voi_split for row in self.neurons)

    @property
    def voi_merge(self) -> float:
        """Sum over the neurons: the merge of `variation_of_information`."""
        return math.fsum(row.voi_merge for row in self.neurons)

    def rows(self) -> list[dict[str, Any]]:
        """One dict a neuron, for a data frame or a json file."""
        return [asdict(row) for row in self.neurons]


def neuron_errors(
    segmentation: Any,
    truth: Any = None,
    *,
    min_overlap: int = 100,
    gap: int = 3,
    ignore_truth: Iterable[int] = (0,),
    ignore_segmentation: Iterable[int] = (),
    base: float = 2,
) -> NeuronErrors:
    """A table of the neurons, the worst first, and the places of all splits and merges.

    With n_ij the voxels of neuron i in segment j, t_i and s_j the sizes and N all voxels scored, neuron i adds
    sum_j n_ij log(t_i / n_ij) / N to the split and sum_j n_ij log(s_j / n_ij) / N to the merge of
    `variation_of_information`; over all neurons these add up to it, whatever `min_overlap` is.

    Args:
        segmentation: (Z, Y, X) labels, any integer type; an array or a lazy volume, which is read in blocks. Or an
            `OverlapTable` alone, without truth: then there are no positions.
        truth: labels of the same shape.
        min_overlap: voxels that a neuron and a segment must share to count as a piece, a partner or an event; the
            slivers below are scored but not listed.
        gap: voxels of unlabelled membrane across which two parts still meet, see `find_events`.
        ignore_truth, ignore_segmentation: voxels with these ids are left out, as in `variation_of_information`.
        base: of the logarithm; 2 gives bits.

    Raises:
        TypeError: labels that are not integers.
        ValueError: not 3-D, shapes that differ, empty volumes, negative ids, no voxel left to score, or a
            min_overlap, gap or base out of range.

    Source: the terms of Meila, Journal of Multivariate Analysis 98 (2007), grouped by neuron.

    Example:
        >>> truth = np.array([[[1, 1, 1, 1, 2, 2, 2, 3]]])
        >>> errors = neuron_errors(np.array([[[7, 7, 8, 8, 8, 8, 8, 9]]]), truth, min_overlap=2)
        >>> worst = errors.neurons[0]
        >>> worst.neuron, worst.segments, worst.main_segment, worst.main_share, worst.partners
        (1, 2, 7, 0.5, ())
        >>> [(event.neurons, event.position) for event in errors.merges]
        [((1, 2), (0, 0, 3))]
    """
    if not base > 1:
        raise ValueError(f"base must be a number above 1, got {base!r}.")
    if min_overlap < 1:
        raise ValueError(f"min_overlap must be at least 1 voxel, got {min_overlap!r}.")
    ignored = {"truth": tuple(ignore_truth), "segmentation": tuple(ignore_segmentation)}
    table = as_overlap_table(segmentation, truth).without(**ignored)
    if not table.voxels:
        raise ValueError("No voxel is left to score once the ignored ids are taken out.")
    splits = merges = None
    if not isinstance(segmentation, OverlapTable):
        splits, merges = find_events(segmentation, truth, min_overlap=min_overlap, gap=gap, table=table)
    rows = sorted(_rows(table, min_overlap, base), key=lambda row: (-(row.voi_split + row.voi_merge), row.neuron))
    return NeuronErrors(rows, splits, merges, int(min_overlap), float(base))


def _rows(table: OverlapTable, min_overlap: int, base: float) -> list[NeuronScore]:
    counts, owner, segment = table.pair_counts, table.pair_truth, table.pair_segmentation
    neurons = table.truth_ids.size
    scale = table.voxels * math.log(base)
    split = np.bincount(owner, counts * np.log(table.truth_sizes[owner] / counts), neurons) / scale
    merge = np.bincount(owner, counts * np.log(table.segmentation_sizes[segment] / counts), neurons) / scale
    ids = table.segmentation_ids[segment]
    listed = (counts >= min_overlap) & (ids != 0) & (table.truth_ids[owner] != 0)
    pieces = np.bincount(owner[listed], minlength=neurons)

    # The largest real segment of each neuron: pairs are sorted by neuron, then segment, so the first of equal ones.
    real = np.flatnonzero(ids != 0)
    order = real[np.lexsort((segment[real], -counts[real], owner[real]))]
    owners, first = np.unique(owner[order], return_index=True)
    main = dict(zip(owners.tolist(), order[first].tolist(), strict=True))

    by_segment: dict[int, list[tuple[int, int]]] = {}
    for place in np.flatnonzero(listed)[np.argsort(-counts[listed], kind="stable")].tolist():
        by_segment.setdefault(int(segment[place]), []).append((int(owner[place]), int(table.truth_ids[owner[place]])))
    rows = []
    for index, (neuron, size) in enumerate(zip(table.truth_ids.tolist(), table.truth_sizes.tolist(), strict=True)):
        place = main.get(index)
        held = [] if place is None else by_segment.get(int(segment[place]), [])
        rows.append(
            NeuronScore(
                neuron=neuron,
                size=size,
                segments=int(pieces[index]),
                main_segment=0 if place is None else int(ids[place]),
                main_share=0.0 if place is None else int(counts[place]) / size,
                partners=tuple(one for other, one in held if other != index),
                voi_split=float(split[index]),
                voi_merge=float(merge[index]),
            )
        )
    return rows
