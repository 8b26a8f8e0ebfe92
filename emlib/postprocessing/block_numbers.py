"""One numbering for the objects of many blocks, each of which has numbered its objects for itself."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from typing import Any

import fastremap
import numpy as np

from emlib.compilation import compiled
from emlib.postprocessing.small_objects import check_labels

Link = tuple[Hashable, Hashable, np.ndarray]


def ids_of(labels: np.ndarray) -> np.ndarray:
    """The ids of a label array in rising order, without 0; uint64.

    Example:
        >>> ids_of(np.array([[5, 0, 3]]))
        array([3, 5], dtype=uint64)
    """
    ids = fastremap.unique(labels).astype(np.uint64)
    return ids[ids != 0]


def number_blocks(ids: Mapping[Hashable, np.ndarray], links: Iterable[Link]) -> tuple[dict[Hashable, np.ndarray], int]:
    """Number the objects of all blocks together; what is linked, directly or through others, is one object.

    Objects are numbered 1, 2, 3, ... in the order of the blocks' sorted keys and, within a block, of its ids; an
    object has the place of its first part. The order in which blocks and links are given makes no difference.

    Args:
        ids: for each block its ids, rising, without 0; uint64.
        links: (key of a block, key of another, (P, 2) uint64 pairs of an id of the one and an id of the other).

    Returns:
        For each block the number of each of its ids (uint64, aligned with its ids), and how many objects there are.

    Raises:
        KeyError: a link to a block that is not there.
        ValueError: a link to an id that its block does not have.

    Example:
        >>> ids = {0: np.array([4, 7], np.uint64), 1: np.array([4, 9], np.uint64)}
        >>> numbers, count = number_blocks(ids, [(0, 1, np.array([[7, 4]], np.uint64))])
        >>> numbers[0].tolist(), numbers[1].tolist(), count
        ([1, 2], [2, 3], 3)
    """
    first, total = {}, 0
    for key in sorted(ids):
        first[key] = total
        total += len(ids[key])
    roots = np.arange(total)
    for one, two, pairs in links:
        places = np.stack([first[key] + _places(ids[key], pairs[:, side], key) for side, key in enumerate((one, two))])
        _unite(roots, places)
    numbers, count = _number(roots)
    return {key: numbers[first[key] : first[key] + len(known)] for key, known in ids.items()}, int(count)


def replace_ids(labels: Any, ids: np.ndarray, numbers: np.ndarray, dtype: Any = np.uint64) -> np.ndarray:
    """A new array in which `ids[i]` is replaced by `numbers[i]`; 0 stays 0.

    Args:
        labels: (Z, Y, X) or (Y, X), any integer type.
        ids: rising, uint64, without 0; all that occur in the labels.
        numbers: of the same length.
        dtype: of the result.

    Raises:
        TypeError, ValueError: labels that are no labels, or hold an id that is not among `ids`.

    Example:
        >>> ids, numbers = np.array([3, 8], np.uint64), np.array([1, 2**40], np.uint64)
        >>> replace_ids(np.array([[8, 0, 3]]), ids, numbers)
        array([[1099511627776,             0,             1]], dtype=uint64)
    """
    labels = np.ascontiguousarray(check_labels(labels))
    replaced = np.empty(labels.shape, dtype=dtype)
    unknown = _replace(labels.reshape(-1), ids, np.asarray(numbers).astype(dtype), replaced.reshape(-1))
    if unknown >= 0:
        raise ValueError(f"The labels hold the id {labels.reshape(-1)[unknown]}, which was not among the block's ids.")
    return replaced


def _places(ids: np.ndarray, wanted: np.ndarray, key: Hashable) -> np.ndarray:
    places = np.searchsorted(ids, wanted)
    inside = places < len(ids)
    if not inside.all() or (ids[places] != wanted).any():
        raise ValueError(f"There is a link to an id that block {key} does not have.")
    return places


@compiled
def _root(roots, place):
    while roots[place] != place:
        roots[place] = roots[roots[place]]
        place = roots[place]
    return place


@compiled
def _unite(roots, places):
    """The first member of a tree is its root."""
    for link in range(places.shape[1]):
        one, two = _root(roots, places[0, link]), _root(roots, places[1, link])
        roots[max(one, two)] = min(one, two)


@compiled
def _number(roots):
    numbers = np.empty(roots.size, dtype=np.uint64)
    count = 0
    for place in range(roots.size):
        root = _root(roots, place)
        if root == place:
            count += 1
            numbers[place] = count
        else:
            numbers[place] = numbers[root]
    return numbers, count


@compiled
def _replace(labels, ids, numbers, replaced):
    """Returns the place of a label that has no number, else -1."""
    last, number = np.uint64(0), numbers.dtype.type(0)
    for position in range(labels.size):
        label = np.uint64(labels[position])
        if label != last:
            if label == 0:
                number = numbers.dtype.type(0)
            else:
                place = np.searchsorted(ids, label)
                if place == ids.size or ids[place] != label:
                    return position
                number = numbers[place]
            last = label
        replaced[position] = number
    return -1
