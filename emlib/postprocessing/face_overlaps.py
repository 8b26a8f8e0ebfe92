"""How the objects on two sides of a face between blocks overlap, and which of them are the same object."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np

from emlib.compilation import compiled

MEASURES = ("sum", "smaller")


@dataclass(frozen=True)
class FaceOverlap:
    """Objects that lie on the same places before and behind a face; background takes no part.

    Attributes:
        pairs: (P, 2) uint64, id before and id behind, in rising order.
        shared: (P,) voxels where both are.
        sizes: (P, 2) voxels on the face of the one and of the other.
    """

    pairs: np.ndarray
    shared: np.ndarray
    sizes: np.ndarray

    def share(self, measure: str = "sum") -> np.ndarray:
        """(P,) shared voxels divided by both sizes together ("sum", at most 0.5) or by the smaller one ("smaller")."""
        return self.shared / (self.sizes.sum(axis=1) if measure == "sum" else self.sizes.min(axis=1))


def face_overlap(before: Any, behind: Any) -> FaceOverlap:
    """Count the common voxels of the objects on two faces (planes, or slabs where blocks overlap).

    Args:
        before, behind: of equal shape, any integer type, ids up to 2**64 - 1, 0 = background.

    Raises:
        TypeError: not integers.
        ValueError: shapes that differ, negative ids.

    Example:
        >>> overlap = face_overlap(np.array([[3, 3, 3, 0]]), np.array([[5, 5, 9, 9]]))
        >>> overlap.pairs.tolist(), overlap.shared.tolist(), overlap.sizes.tolist()
        ([[3, 5], [3, 9]], [2, 1], [[3, 2], [3, 2]])
        >>> overlap.share()
        array([0.4, 0.2])
    """
    faces = [_check_face(face, name) for face, name in ((before, "before"), (behind, "behind"))]
    if faces[0].shape != faces[1].shape:
        raise ValueError(f"Two faces must have the same shape, got {faces[0].shape} and {faces[1].shape}.")
    one, two = (face.reshape(-1) for face in faces)
    runs = _count_runs(one, two)
    ids, lengths = np.empty((runs, 2), dtype=np.uint64), np.empty(runs, dtype=np.int64)
    _collect_runs(one, two, ids, lengths)
    totals = [_add_up(ids[:, side : side + 1], lengths) for side in (0, 1)]
    pairs, shared = _add_up(ids, lengths)
    both = (pairs != 0).all(axis=1)
    pairs, shared = pairs[both], shared[both]
    sizes = [total[np.searchsorted(known[:, 0], pairs[:, side])] for side, (known, total) in enumerate(totals)]
    return FaceOverlap(pairs, shared, np.stack(sizes, axis=1))


def face_links(before: Any, behind: Any, *, min_overlap: float = 0.2, measure: str = "sum") -> np.ndarray:
    """The pairs of ids before and behind a face that are one object: every pair that overlaps enough.

    Args:
        before, behind: as for `face_overlap`.
        min_overlap: of the measure, see `FaceOverlap.share`; 0 takes all pairs that share a voxel.
        measure: "sum" or "smaller".

    Returns:
        (P, 2) uint64, in rising order.

    Raises:
        TypeError, ValueError: as `face_overlap`; also an unknown measure or an overlap that is no share.

    Example:
        >>> face_links(np.array([[3, 3, 3, 0]]), np.array([[5, 5, 9, 9]]), min_overlap=0.3).tolist()
        [[3, 5]]
    """
    check_overlap(min_overlap, measure)
    overlap = face_overlap(before, behind)
    return overlap.pairs[overlap.share(measure) >= min_overlap]


def largest_overlaps(overlap: FaceOverlap, min_overlap: float) -> np.ndarray:
    """The published choice: for each id before the face the one behind with which it shares most, if that is enough.

    Of ids with which it shares the same number of voxels the smallest is taken. (P, 2) uint64, in rising order.
    """
    pairs, shared = overlap.pairs, overlap.shared
    order = np.lexsort((pairs[:, 1], -shared, pairs[:, 0]))
    first = np.ones(order.size, dtype=bool)
    first[1:] = pairs[order[1:], 0] != pairs[order[:-1], 0]
    chosen = order[first]
    return pairs[chosen[overlap.share()[chosen] >= min_overlap]]


def check_overlap(min_overlap: float, measure: str) -> None:
    """Refuse what is no share of overlap.

    Raises:
        TypeError, ValueError: see `face_links`.
    """
    if measure not in MEASURES:
        raise ValueError(f"measure must be one of {', '.join(map(repr, MEASURES))}, got {measure!r}.")
    if isinstance(min_overlap, bool) or not isinstance(min_overlap, Real):
        raise TypeError(f"min_overlap must be a number, got {min_overlap!r}.")
    most = 0.5 if measure == "sum" else 1.0
    if not 0 <= min_overlap <= most:
        raise ValueError(f"min_overlap must lie between 0 and {most} (measure {measure!r}), got {min_overlap}.")


def _check_face(face: Any, name: str) -> np.ndarray:
    face = np.asarray(face)
    if face.dtype.kind not in "iu":
        raise TypeError(f"The face {name} must hold integers (0 = background), got {face.dtype}.")
    if face.dtype.kind == "i" and face.size and face.min() < 0:
        raise ValueError(f"The face {name} must not hold negative ids, got {face.min()}.")
    return np.ascontiguousarray(face, dtype=np.uint64)


@compiled
def _count_runs(one, two):
    runs = 0
    for place in range(one.size):
        if place == 0 or one[place] != one[place - 1] or two[place] != two[place - 1]:
            runs += 1
    return runs


@compiled
def _collect_runs(one, two, ids, lengths):
    """Neighbours mostly hold the same pair, so that runs of it are far fewer than voxels."""
    run = -1
    for place in range(one.size):
        if place == 0 or one[place] != one[place - 1] or two[place] != two[place - 1]:
            run += 1
            ids[run, 0], ids[run, 1] = one[place], two[place]
            lengths[run] = 0
        lengths[run] += 1


def _add_up(ids: np.ndarray, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The different rows of `ids` in rising order, and the sum of the lengths of each."""
    order = np.lexsort(ids.T[::-1])
    ids = ids[order]
    first = np.ones(len(ids), dtype=bool)
    first[1:] = (ids[1:] != ids[:-1]).any(axis=1)
    starts = np.flatnonzero(first)
    return ids[first], np.add.reduceat(lengths[order], starts) if starts.size else lengths
