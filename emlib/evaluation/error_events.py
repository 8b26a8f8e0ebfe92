"""Where splits and merges are: one position for each pair of parts that are wrongly cut or wrongly joined."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from emlib.evaluation.contacts import middle_voxels, sum_boundaries, sum_parts
from emlib.evaluation.label_blocks import check_pair
from emlib.evaluation.overlap_table import OverlapTable, overlap_table


@dataclass(frozen=True)
class ErrorEvent:
    """One split or merge that one can go and look at.

    Attributes:
        kind: "split" (one neuron, two segments) or "merge" (two neurons, one segment).
        position: (z, y, x), the voxel in the middle of the boundary between the two parts; inside the smaller part
            if they meet nowhere.
        neurons: truth ids: one of a split, two of a merge.
        segments: segment ids: two of a split, one of a merge.
        size: voxels of the smaller part, that is of what has to be joined or cut off.
        contact: faces between the two parts; 0 if they meet nowhere.
    """

    kind: str
    position: tuple[int, int, int]
    neurons: tuple[int, ...]
    segments: tuple[int, ...]
    size: int
    contact: int

    @property
    def description(self) -> str:
        """One line, for a list of annotations."""
        if self.kind == "split":
            return f"neuron {self.neurons[0]} is cut into {self.segments[0]} | {self.segments[1]}, {self.size} voxels"
        return f"segment {self.segments[0]} joins {self.neurons[0]} + {self.neurons[1]}, {self.size} voxels"


def find_events(
    segmentation: Any, truth: Any, *, min_overlap: int = 100, gap: int = 3, table: OverlapTable | None = None
) -> tuple[list[ErrorEvent], list[ErrorEvent]]:
    """All splits and all merges with their positions, the largest first.

    A part is what a neuron and a segment share, if it has at least `min_overlap` voxels. Two parts of one neuron make
    a split, and two parts of one segment a merge, where they meet: through a face, or along an axis across at most
    `gap` voxels that are 0 in the segmentation (split) or in the truth (merge), all inside that neuron or segment.
    Of parts that do not hang together in this way, the largest of each group is listed against the largest of all,
    with a contact of 0, so that no error is left out.

    Both volumes are read in blocks, a few times; the result does not depend on the blocks.

    Args:
        segmentation: (Z, Y, X) labels, any integer type, 0 = background; an array or a lazy volume.
        truth: labels of the same shape.
        min_overlap: voxels, at least 1.
        gap: voxels, 0 or more.
        table: the overlap table of the two, if it has been counted already.

    Returns:
        Splits, merges.

    Raises:
        TypeError: labels that are not integers.
        ValueError: not 3-D, shapes that differ, empty volumes, negative ids, or a min_overlap or gap out of range.

    Example:
        >>> truth = np.array([[[1, 1, 1, 1, 2, 2, 2]]])
        >>> segmentation = np.array([[[7, 7, 8, 8, 8, 8, 8]]])
        >>> (split,), (merge,) = find_events(segmentation, truth, min_overlap=2)
        >>> split.position, split.description
        ((0, 0, 1), 'neuron 1 is cut into 7 | 8, 2 voxels')
        >>> merge.position, merge.description
        ((0, 0, 3), 'segment 8 joins 1 + 2, 2 voxels')
    """
    segmentation, truth = check_pair(segmentation, truth)
    if len(truth.shape) != 3:
        raise ValueError(
            f"Events have positions (z, y, x), so labels must be 3-D; their shape is {tuple(truth.shape)}."
        )
    if min_overlap < 1:
        raise ValueError(f"min_overlap must be at least 1 voxel, got {min_overlap!r}.")
    if gap < 0:
        raise ValueError(f"gap must be 0 voxels or more, got {gap!r}.")
    table = (overlap_table(segmentation, truth) if table is None else table).without(truth=(0,), segmentation=(0,))
    splits = _events("split", truth, segmentation, table, min_overlap, gap)
    return splits, _events("merge", segmentation, truth, table.swapped(), min_overlap, gap)


def _events(kind: str, owners: Any, parts: Any, table: OverlapTable, min_overlap: int, gap: int) -> list[ErrorEvent]:
    """The events of one kind; the owners are the truth side of `table`."""
    sizes = _parts_of_owners(table, min_overlap)
    if not sizes:
        return []
    keys, sums = sum_boundaries(owners, parts, gap=gap)
    known = np.array([part in sizes.get(owner, ()) and other in sizes[owner] for owner, part, other in keys.tolist()])
    keys, sums = (keys[known], sums[known]) if len(keys) else (keys, sums)
    apart = _apart(sizes, keys)
    if apart:
        smaller = np.array([(owner, part, part) for owner, part, _ in apart], dtype=np.uint64)
        keys, sums = np.concatenate([keys, smaller]), np.concatenate([sums, sum_parts(owners, parts, smaller)])
    voxels = middle_voxels(owners, parts, keys, sums, gap=gap)
    largest = {(owner, part): most for owner, part, most in apart}
    events = []
    for (owner, part, other), (places, *_), voxel in zip(keys.tolist(), sums.tolist(), voxels.tolist(), strict=True):
        contact = places if part != other else 0
        pair = (part, other) if part != other else tuple(sorted((part, largest[owner, part])))
        size = min(sizes[owner][one] for one in pair)
        neurons, segments = ((owner,), pair) if kind == "split" else (pair, (owner,))
        events.append(ErrorEvent(kind, tuple(voxel), neurons, segments, size, contact))
    return sorted(events, key=lambda event: (-event.size, event.neurons, event.segments))


def _parts_of_owners(table: OverlapTable, min_overlap: int) -> dict[int, dict[int, int]]:
    """Owner -> {part: voxels}, for owners of at least two parts of `min_overlap` voxels."""
    sizes: dict[int, dict[int, int]] = {}
    large = table.pair_counts >= min_overlap
    owners = table.truth_ids[table.pair_truth[large]].tolist()
    parts = table.segmentation_ids[table.pair_segmentation[large]].tolist()
    for owner, part, voxels in zip(owners, parts, table.pair_counts[large].tolist(), strict=True):
        sizes.setdefault(owner, {})[part] = voxels
    return {owner: of_owner for owner, of_owner in sizes.items() if len(of_owner) > 1}


def _apart(sizes: dict[int, dict[int, int]], keys: np.ndarray) -> list[tuple[int, int, int]]:
    """(owner, part, largest part) for the largest part of every group that boundaries do not tie to the largest."""
    roots = {owner: {part: part for part in parts} for owner, parts in sizes.items()}

    def root(owner: int, part: int) -> int:
        while roots[owner][part] != part:
            roots[owner][part] = part = roots[owner][roots[owner][part]]
        return part

    for owner, part, other in keys.tolist():
        roots[owner][root(owner, part)] = root(owner, other)
    found = []
    for owner, parts in sizes.items():
        groups: dict[int, int] = {}
        by_size = sorted(parts, key=lambda part: (-parts[part], part))
        for part in by_size:
            groups.setdefault(root(owner, part), part)
        found += [(owner, part, by_size[0]) for part in groups.values() if part != by_size[0]]
    return found
