"""A heap of boundaries by (score, rank), in two arrays."""

from __future__ import annotations

import numpy as np

from emlib.compilation import compiled
from emlib.postprocessing.uncounted import uncounted


@compiled
def make_room(scores, items, size):
    """Both arrays, or larger copies if they cannot hold `size` entries."""
    if size <= scores.size:
        return scores, items
    more_scores = np.empty(size + size // 2, dtype=np.float64)
    more_items = np.empty(more_scores.size, dtype=np.uint64)
    more_scores[: scores.size] = scores
    more_items[: items.size] = items
    return more_scores, more_items


@uncounted
def push(scores, items, size, score, rank, edge):
    """Add an entry; returns the new size. The item is rank * 2**32 + edge."""
    item = (np.uint64(rank) << np.uint64(32)) | np.uint64(edge)
    child = size
    while child > 0:
        parent = (child - 1) >> 1
        if scores[parent] < score or (scores[parent] == score and items[parent] < item):
            break
        scores[child], items[child] = scores[parent], items[parent]
        child = parent
    scores[child], items[child] = score, item
    return size + 1


@uncounted
def pop(scores, items, size):
    """Remove the first entry; returns the new size."""
    size -= 1
    score, item = scores[size], items[size]
    parent = 0
    while True:
        child = 2 * parent + 1
        if child >= size:
            break
        right = child + 1
        if right < size and (
            scores[right] < scores[child] or (scores[right] == scores[child] and items[right] < items[child])
        ):
            child = right
        if score < scores[child] or (score == scores[child] and item < items[child]):
            break
        scores[parent], items[parent] = scores[child], items[child]
        parent = child
    scores[parent], items[parent] = score, item
    return size
