"""Union-find: which labels are one object, given pairs of labels that belong together."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from emlib.compilation import compiled


def unite(count: int, pairs: Iterable[np.ndarray]) -> np.ndarray:
    """The smallest member of each member's set, after all pairs were united.

    Args:
        count: members are 0 ... count - 1.
        pairs: arrays (n, 2) of whole numbers, one after the other; they need not fit in memory together.

    Returns:
        int64 (count,).

    Raises:
        ValueError: an array of another shape, or a number that is no member.
        TypeError: numbers that are not whole.

    Memory: 8 bytes a member.

    Example:
        >>> unite(5, [np.array([[4, 1], [3, 4]])]).tolist()
        [0, 1, 2, 1, 1]
    """
    parents = np.arange(count, dtype=np.int64)
    for part in pairs:
        if part.ndim != 2 or part.shape[1] != 2:
            raise ValueError(f"Pairs must have the shape (n, 2), got {part.shape}.")
        if part.dtype.kind not in "ui":
            raise TypeError(f"Pairs must be of whole numbers, got {part.dtype}.")
        if part.size and (part.min() < 0 or part.max() >= count):
            raise ValueError(f"Pairs must be of members 0 to {count - 1}, got {part.min()} to {part.max()}.")
        _join(parents, part.astype(np.int64))
    _flatten(parents)
    return parents


@compiled
def _join(parents, pairs):
    """Unite the pairs; the smaller root stays, so that the result does not depend on their order."""
    for row in range(pairs.shape[0]):
        one, two = pairs[row, 0], pairs[row, 1]
        while parents[one] != one:
            parents[one] = parents[parents[one]]
            one = parents[one]
        while parents[two] != two:
            parents[two] = parents[parents[two]]
            two = parents[two]
        if one < two:
            parents[two] = one
        else:
            parents[one] = two


@compiled
def _flatten(parents):
    """A parent is never larger than its child: in rising order each parent is already a root."""
    for member in range(parents.size):
        parents[member] = parents[parents[member]]
