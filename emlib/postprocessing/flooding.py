"""Seeded watershed on uint8 volumes with a bucket queue: no sort, no float copy, one label array."""

from __future__ import annotations

import numpy as np

from emlib.compilation import compiled

# Positions per block of the queue: small enough that 256 half-empty blocks do not matter, large enough to be rare.
BLOCK = 1024


def flood_from_seeds(levels: np.ndarray, labels: np.ndarray, lowest: int) -> None:
    """Grow the seeds in `labels` (changed in place) over all connected voxels with `levels > lowest`.

    This is the watershed of Meyer (1994) by immersion, on the height 255 - level: a voxel is labelled and queued,
    with its own height, when the first labelled 6-neighbour is taken from the queue; the lowest height (highest
    level) is taken first, and at equal height the one that was queued first. It is the rule of scikit-image's
    `watershed(-levels, labels, mask=levels > lowest)`, whose order among seeds of equal height is unspecified; here
    seeds start in raster order.

    Args:
        levels: (Z, Y, X) uint8, C-contiguous.
        labels: (Z, Y, X) uint32 or uint64, C-contiguous; 0 where there is no seed.
        lowest: only voxels above this level are flooded; seeds elsewhere stay but do not grow.

    Memory: the queue holds the front of the flood only, in blocks that are used again.

    Example:
        >>> levels = np.array([[[250, 240, 230, 235, 250, 10]]], dtype=np.uint8)
        >>> labels = np.array([[[1, 0, 0, 0, 2, 0]]], dtype=np.uint32)
        >>> flood_from_seeds(levels, labels, 200)
        >>> labels
        array([[[1, 1, 1, 2, 2, 0]]], dtype=uint32)
    """
    _, rows, columns = levels.shape
    flat = levels.reshape(-1), labels.reshape(-1)
    # The first size of the queue is an estimate from every 7th row; growing it later costs a copy, not correctness.
    starting = 7 * _count_border(*flat, lowest, rows, columns, 7)
    blocks = int(1.1 * starting.sum()) // BLOCK + 2 * int(np.count_nonzero(starting)) + 16
    position_type = np.uint32 if levels.size <= np.iinfo(np.uint32).max else np.uint64
    _flood(*flat, lowest, rows, columns, np.empty(blocks * BLOCK, dtype=position_type))


@compiled
def _mark_border(levels, labels, lowest, rows, columns, start, marks):
    """Mark the seeds of one row that have something to flood beside them; returns how many.

    Other seeds would be queued without effect. A row at a time, because a call costs numba more than a voxel does.
    """
    plane = rows * columns
    y = (start // columns) % rows
    marked = 0
    for x in range(columns):
        position = start + x
        marks[x] = False
        if labels[position] == 0 or levels[position] <= lowest:
            continue
        if (
            (position >= plane and labels[position - plane] == 0 and levels[position - plane] > lowest)
            or (y > 0 and labels[position - columns] == 0 and levels[position - columns] > lowest)
            or (x > 0 and labels[position - 1] == 0 and levels[position - 1] > lowest)
            or (x < columns - 1 and labels[position + 1] == 0 and levels[position + 1] > lowest)
            or (y < rows - 1 and labels[position + columns] == 0 and levels[position + columns] > lowest)
            or (position + plane < labels.size and labels[position + plane] == 0 and levels[position + plane] > lowest)
        ):
            marks[x] = True
            marked += 1
    return marked


@compiled
def _count_border(levels, labels, lowest, rows, columns, every):
    """How many seed voxels of each level start in the queue, in every n-th row."""
    counts = np.zeros(256, dtype=np.int64)
    marks = np.empty(columns, dtype=np.bool_)
    for start in range(0, levels.size, every * columns):
        if _mark_border(levels, labels, lowest, rows, columns, start, marks) == 0:
            continue
        for x in range(columns):
            if marks[x]:
                counts[levels[start + x]] += 1
    return counts


@compiled
def _flood(levels, labels, lowest, rows, columns, queue):
    plane = rows * columns
    size = levels.size
    following = np.empty(queue.size // BLOCK, dtype=np.int64)
    for block in range(following.size):
        following[block] = block + 1
    following[-1] = -1
    free = np.int64(0)
    first = np.full(256, -1, dtype=np.int64)
    last = np.full(256, -1, dtype=np.int64)
    read = np.zeros(256, dtype=np.int64)
    write = np.zeros(256, dtype=np.int64)
    highest = np.int64(-1)

    marks = np.empty(columns, dtype=np.bool_)
    for start in range(0, size, columns):
        if _mark_border(levels, labels, lowest, rows, columns, start, marks) == 0:
            continue
        for x in range(columns):
            if not marks[x]:
                continue
            position = start + x
            level = np.int64(levels[position])
            if last[level] == -1 or write[level] == BLOCK:
                if free == -1:
                    queue, following, free = _enlarge(queue, following)
                free = _append_block(level, free, following, first, last, read, write)
            queue[last[level] * BLOCK + write[level]] = position
            write[level] += 1
            highest = max(highest, level)

    offsets = np.array([-plane, -columns, -1, 1, columns, plane])
    inside = np.empty(6, dtype=np.bool_)
    while highest >= 0:
        if first[highest] == -1:
            highest -= 1
            continue
        level = highest
        position = np.int64(queue[first[level] * BLOCK + read[level]])
        read[level] += 1
        if first[level] == last[level] and read[level] == write[level]:
            following[first[level]] = free
            free = first[level]
            first[level] = last[level] = -1
        elif read[level] == BLOCK:
            emptied = first[level]
            first[level] = following[emptied]
            read[level] = 0
            following[emptied] = free
            free = emptied

        row = position // columns
        x = position - row * columns
        y = row % rows
        inside[0] = position >= plane
        inside[1] = y > 0
        inside[2] = x > 0
        inside[3] = x < columns - 1
        inside[4] = y < rows - 1
        inside[5] = position < size - plane
        label = labels[position]
        for side in range(6):
            if not inside[side]:
                continue
            neighbour = position + offsets[side]
            if labels[neighbour] != 0 or levels[neighbour] <= lowest:
                continue
            labels[neighbour] = label
            level = np.int64(levels[neighbour])
            if last[level] == -1 or write[level] == BLOCK:
                if free == -1:
                    queue, following, free = _enlarge(queue, following)
                free = _append_block(level, free, following, first, last, read, write)
            queue[last[level] * BLOCK + write[level]] = neighbour
            write[level] += 1
            highest = max(highest, level)


@compiled
def _append_block(level, free, following, first, last, read, write):
    """Give the bucket of `level` the first free block; returns the new head of the list of free blocks."""
    block = free
    free = following[block]
    following[block] = -1
    if last[level] == -1:
        first[level] = block
        read[level] = 0
    else:
        following[last[level]] = block
    last[level] = block
    write[level] = 0
    return free


@compiled
def _enlarge(queue, following):
    """A quarter more blocks (and at least one), all of them free; called when none is."""
    blocks = following.size
    more = blocks + blocks // 4 + 1
    larger_queue = np.empty(more * BLOCK, dtype=queue.dtype)
    larger_queue[: queue.size] = queue
    larger_following = np.empty(more, dtype=np.int64)
    larger_following[:blocks] = following
    for block in range(blocks, more):
        larger_following[block] = block + 1
    larger_following[-1] = -1
    return larger_queue, larger_following, np.int64(blocks)
