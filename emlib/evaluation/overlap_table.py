"""How many voxels each truth object shares with each segment: the table from which every score is computed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from emlib.compilation import compiled
from emlib.evaluation.label_blocks import check_pair, chunks_of, iterate_boxes, read_block

# Odd 64-bit constants with well-mixed bits (from the golden ratio and from the MurmurHash3 finaliser).
MIX_TRUTH = np.uint64(0x9E3779B97F4A7C15)
MIX_SEGMENTATION = np.uint64(0xFF51AFD7ED558CCD)


def overlap_table(segmentation: Any, truth: Any) -> OverlapTable:
    """Count the voxels of every pair of ids that occurs, in one pass, block by block.

    Args:
        segmentation: labels of any shape and any integer type, 0 = background; an array, a Volume, or a zarr or
            HDF5 data set, which is read in blocks and never loaded whole.
        truth: labels of the same shape.

    Raises:
        TypeError: labels that are not integers.
        ValueError: shapes that differ, empty volumes, negative ids.

    Example:
        >>> truth = np.array([[1, 1, 2, 0]])
        >>> segmentation = np.array([[7, 7, 7, 0]])
        >>> table = overlap_table(segmentation, truth)
        >>> [(int(table.truth_ids[t]), int(table.segmentation_ids[s]), int(n)) for t, s, n in table.pairs()]
        [(0, 0, 1), (1, 7, 2), (2, 7, 1)]
    """
    segmentation, truth = check_pair(segmentation, truth)
    counter = _new_counter(1024)
    used = 0
    for box in iterate_boxes(tuple(truth.shape), chunks_of(segmentation, truth)):
        truth_block = read_block(truth, box, "truth").reshape(-1)
        segmentation_block = read_block(segmentation, box, "segmentation").reshape(-1)
        counter, used = _count_pairs(truth_block, segmentation_block, *counter, used)
    filled = counter[2] > 0
    return _from_pairs(*(column[filled] for column in counter))


@dataclass(frozen=True, eq=False)
class OverlapTable:
    """The non-empty cells of the contingency table of two label volumes, background (id 0) included.

    Tables of separate blocks of a volume add up (`+`) to exactly the table of the whole.

    Attributes:
        truth_ids, segmentation_ids: uint64, sorted; only ids that occur.
        truth_sizes, segmentation_sizes: int64, voxels of each id.
        pair_truth, pair_segmentation: int64, places in the id arrays; sorted by truth, then segmentation.
        pair_counts: int64, voxels that have both ids.
    """

    truth_ids: np.ndarray
    truth_sizes: np.ndarray
    segmentation_ids: np.ndarray
    segmentation_sizes: np.ndarray
    pair_truth: np.ndarray
    pair_segmentation: np.ndarray
    pair_counts: np.ndarray

    def __add__(self, other: OverlapTable) -> OverlapTable:
        if not isinstance(other, OverlapTable):
            return NotImplemented
        tables = (self, other)
        return _from_pairs(
            np.concatenate([table.truth_ids[table.pair_truth] for table in tables]),
            np.concatenate([table.segmentation_ids[table.pair_segmentation] for table in tables]),
            np.concatenate([table.pair_counts for table in tables]),
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, OverlapTable):
            return NotImplemented
        return all(np.array_equal(getattr(self, name), getattr(other, name)) for name in self.__dataclass_fields__)

    __hash__ = None

    @property
    def voxels(self) -> int:
        """Number of voxels counted."""
        return int(self.pair_counts.sum())

    def pairs(self) -> zip:
        """(place in truth_ids, place in segmentation_ids, voxels) of each pair."""
        return zip(self.pair_truth, self.pair_segmentation, self.pair_counts, strict=True)

    def without(self, *, truth: Any = (), segmentation: Any = ()) -> OverlapTable:
        """The table of only those voxels whose truth id and segmentation id are not among the given ones."""
        keep = ~np.isin(self.truth_ids, np.array(list(truth), dtype=np.uint64))[self.pair_truth]
        keep &= ~np.isin(self.segmentation_ids, np.array(list(segmentation), dtype=np.uint64))[self.pair_segmentation]
        return _from_pairs(
            self.truth_ids[self.pair_truth[keep]],
            self.segmentation_ids[self.pair_segmentation[keep]],
            self.pair_counts[keep],
        )

    def relabel(self, ids: Any, new_ids: Any) -> OverlapTable:
        """The table of the segmentation in which every segment of `ids` carries its id of `new_ids` instead.

        This is how fragments are scored at many thresholds after one pass over the voxels: the table of the fragments
        is counted once, and each agglomeration is a lookup table that merges its columns. The result equals the table
        of the relabelled volume exactly.

        Args:
            ids: each segmentation id once, integers (N,); ids that do not occur are allowed.
            new_ids: integers (N,), the id that takes the place of each. 0 stays 0 unless it is listed.

        Raises:
            TypeError: ids that are not integers.
            ValueError: lengths that differ, negative or repeated ids, or a segment without a new id.

        Example:
            >>> table = overlap_table(np.array([[5, 6, 7]]), np.array([[1, 1, 2]]))
            >>> merged = table.relabel([5, 6, 7], [5, 5, 7])
            >>> merged.segmentation_ids.tolist(), merged.segmentation_sizes.tolist()
            ([5, 7], [2, 1])
        """
        ids, new_ids = _lookup_column(ids, "ids"), _lookup_column(new_ids, "new_ids")
        if ids.size != new_ids.size:
            raise ValueError(f"ids and new_ids must be as long as each other, got {ids.size} and {new_ids.size}.")
        if not (ids == 0).any():
            ids, new_ids = np.append(ids, np.uint64(0)), np.append(new_ids, np.uint64(0))
        order = np.argsort(ids, kind="stable")
        ids, new_ids = ids[order], new_ids[order]
        repeated = ids[1:][ids[1:] == ids[:-1]]
        if repeated.size:
            raise ValueError(f"ids must list each segment once, but {repeated[0]} occurs more than once.")
        places = np.minimum(np.searchsorted(ids, self.segmentation_ids), ids.size - 1)
        missing = self.segmentation_ids[ids[places] != self.segmentation_ids]
        if missing.size:
            raise ValueError(
                f"ids must list every segment of the table, but {missing.size} have no new id, first {missing[0]}."
            )
        return _from_pairs(self.truth_ids[self.pair_truth], new_ids[places][self.pair_segmentation], self.pair_counts)

    def swapped(self) -> OverlapTable:
        """The table with truth and segmentation exchanged."""
        return _from_pairs(
            self.segmentation_ids[self.pair_segmentation], self.truth_ids[self.pair_truth], self.pair_counts
        )


def as_overlap_table(segmentation: Any, truth: Any) -> OverlapTable:
    """The table of two label volumes, or the one that was passed in place of the segmentation (with truth None)."""
    if isinstance(segmentation, OverlapTable):
        if truth is not None:
            raise TypeError("Pass an overlap table alone, or a segmentation and a truth, but not both.")
        return segmentation
    if truth is None:
        raise TypeError("truth is missing: pass a segmentation and a truth, or an overlap table alone.")
    return overlap_table(segmentation, truth)


def intersection_over_union(table: OverlapTable) -> np.ndarray:
    """IoU (float64) of each pair of the table: shared voxels over the voxels of either."""
    union = table.truth_sizes[table.pair_truth] + table.segmentation_sizes[table.pair_segmentation] - table.pair_counts
    return table.pair_counts / union


def _from_pairs(truth: np.ndarray, segmentation: np.ndarray, counts: np.ndarray) -> OverlapTable:
    """Sort pairs of ids, add up those that occur more than once, and sum the sizes."""
    truth_ids, pair_truth = np.unique(truth, return_inverse=True)
    segmentation_ids, pair_segmentation = np.unique(segmentation, return_inverse=True)
    order = np.lexsort((pair_segmentation, pair_truth))
    pair_truth, pair_segmentation, counts = pair_truth[order], pair_segmentation[order], counts[order]
    if counts.size:
        starts = np.flatnonzero(
            np.concatenate([[True], (np.diff(pair_truth) != 0) | (np.diff(pair_segmentation) != 0)])
        )
        pair_truth, pair_segmentation = pair_truth[starts], pair_segmentation[starts]
        counts = np.add.reduceat(counts, starts)
    truth_sizes = np.zeros(truth_ids.size, dtype=np.int64)
    segmentation_sizes = np.zeros(segmentation_ids.size, dtype=np.int64)
    np.add.at(truth_sizes, pair_truth, counts)
    np.add.at(segmentation_sizes, pair_segmentation, counts)
    return OverlapTable(
        truth_ids, truth_sizes, segmentation_ids, segmentation_sizes, pair_truth, pair_segmentation, counts
    )


def _lookup_column(values: Any, name: str) -> np.ndarray:
    """One column of a lookup table as uint64."""
    values = np.asarray(values)
    if values.size == 0:
        return np.empty(0, dtype=np.uint64)
    if values.dtype.kind not in "iu":
        raise TypeError(f"{name} must be integers, got {values.dtype}.")
    if values.ndim != 1:
        raise ValueError(f"{name} must have one axis, got the shape {values.shape}.")
    if values.min() < 0:
        raise ValueError(f"{name} must not be negative, got {values.min()}.")
    return values.astype(np.uint64)


def _new_counter(slots: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Truth ids, segmentation ids and counts of an open-addressing hash table; count 0 marks a free slot."""
    return np.empty(slots, np.uint64), np.empty(slots, np.uint64), np.zeros(slots, np.int64)


@compiled
def _slot(truth_keys, segmentation_keys, counts, truth, segmentation):
    """The slot of a pair of ids, or the free one where it belongs. The table's size is a power of two."""
    hashed = (truth * MIX_TRUTH) ^ (segmentation * MIX_SEGMENTATION)
    hashed ^= hashed >> np.uint64(32)
    hashed *= MIX_SEGMENTATION
    hashed ^= hashed >> np.uint64(29)
    slot = np.int64(hashed & np.uint64(counts.size - 1))
    while counts[slot] != 0 and (truth_keys[slot] != truth or segmentation_keys[slot] != segmentation):
        slot = (slot + 1) & (counts.size - 1)
    return slot


@compiled
def _count_pairs(truth, segmentation, truth_keys, segmentation_keys, counts, used):
    """Add the pairs of two flat blocks to the hash table; runs of the same pair touch the table once."""
    position = 0
    while position < truth.size:
        label, segment = truth[position], segmentation[position]
        start = position
        position += 1
        while position < truth.size and truth[position] == label and segmentation[position] == segment:
            position += 1
        slot = _slot(truth_keys, segmentation_keys, counts, label, segment)
        if counts[slot] == 0:
            truth_keys[slot] = label
            segmentation_keys[slot] = segment
            used += 1
        counts[slot] += position - start
        if 2 * used > counts.size:
            old_truth, old_segmentation, old_counts = truth_keys, segmentation_keys, counts
            truth_keys = np.empty(4 * old_counts.size, dtype=np.uint64)
            segmentation_keys = np.empty(4 * old_counts.size, dtype=np.uint64)
            counts = np.zeros(4 * old_counts.size, dtype=np.int64)
            for old in range(old_counts.size):
                if old_counts[old] != 0:
                    slot = _slot(truth_keys, segmentation_keys, counts, old_truth[old], old_segmentation[old])
                    truth_keys[slot] = old_truth[old]
                    segmentation_keys[slot] = old_segmentation[old]
                    counts[slot] = old_counts[old]
    return (truth_keys, segmentation_keys, counts), used
