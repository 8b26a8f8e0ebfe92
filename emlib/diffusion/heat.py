"""Diffusion of heat inside one cell: many small steps over the cell's box, which fits into the processor's cache."""

from __future__ import annotations

import numpy as np

from emlib.compilation import compiled


@compiled
def heat_in_section(part, label, centre, steps, buffers):
    """Heat of one 2-D cell after `steps` steps, flat, with a frame of one pixel of zeros around the cell's box.

    A step adds 1 at the centre and then replaces every pixel of the cell by a ninth of the sum over itself and its
    eight neighbours in the cell. The terms are added in an order that no rotation or reflection changes, so that
    symmetric cells have exactly symmetric heat.

    Args:
        part: (y, x), the labels in the box.
        label: which of them is the cell.
        centre: (y, x) in the framed box.
        steps: how many.
        buffers: three float64 (n,) with room for the framed box; what is returned is one of them. Arrays of their own,
            not rows of one: only then the compiler knows that they do not overlap, and works on several pixels at once.
    """
    rows, columns = part.shape[0] + 2, part.shape[1] + 2
    size = rows * columns
    old, new, weight = buffers[0][:size], buffers[1][:size], buffers[2][:size]
    old[:], new[:], weight[:] = 0.0, 0.0, 0.0
    # Long diagonal cells fill little of their box: each row is worked on from its first to its last pixel only.
    first = np.full(rows, columns, dtype=np.int64)
    last = np.zeros(rows, dtype=np.int64)
    for y in range(1, rows - 1):
        for x in range(1, columns - 1):
            if part[y - 1, x - 1] == label:
                weight[y * columns + x] = 1 / 9
                first[y] = min(first[y], x)
                last[y] = x
    source = centre[0] * columns + centre[1]
    for _ in range(steps):
        old[source] += 1.0
        _spread_in_section(old, new, weight, first, last, columns)
        old, new = new, old
    return old


@compiled
def heat_in_volume(part, label, centre, steps, buffers):
    """The same for a 3-D cell (z, y, x): a seventh of the sum over a voxel and its six neighbours."""
    planes, rows, columns = part.shape[0] + 2, part.shape[1] + 2, part.shape[2] + 2
    plane = rows * columns
    size = planes * plane
    old, new, weight = buffers[0][:size], buffers[1][:size], buffers[2][:size]
    old[:], new[:], weight[:] = 0.0, 0.0, 0.0
    first = np.full((planes, rows), columns, dtype=np.int64)
    last = np.zeros((planes, rows), dtype=np.int64)
    for z in range(1, planes - 1):
        for y in range(1, rows - 1):
            for x in range(1, columns - 1):
                if part[z - 1, y - 1, x - 1] == label:
                    weight[z * plane + y * columns + x] = 1 / 7
                    first[z, y] = min(first[z, y], x)
                    last[z, y] = x
    source = centre[0] * plane + centre[1] * columns + centre[2]
    for _ in range(steps):
        old[source] += 1.0
        _spread_in_volume(old, new, weight, first, last, columns)
        old, new = new, old
    return old


# Indices are unsigned, because signed ones are looked at whether they are negative, which is slower, too.
@compiled
def _spread_in_section(old, new, weight, first, last, columns):
    one, row = np.uint64(1), np.uint64(columns)
    for y in range(1, first.size - 1):
        for k in range(y * columns + first[y], y * columns + last[y] + 1):
            here = np.uint64(k)
            above, below = here - row, here + row
            corners = (old[above - one] + old[below + one]) + (old[above + one] + old[below - one])
            sides = (old[above] + old[below]) + (old[here - one] + old[here + one])
            new[here] = ((corners + sides) + old[here]) * weight[here]


@compiled
def _spread_in_volume(old, new, weight, first, last, columns):
    planes, rows = first.shape
    one, row, section = np.uint64(1), np.uint64(columns), np.uint64(rows * columns)
    for z in range(1, planes - 1):
        for y in range(1, rows - 1):
            start = (z * rows + y) * columns
            for k in range(start + first[z, y], start + last[z, y] + 1):
                here = np.uint64(k)
                around = old[here - section] + old[here + section]
                around = (around + (old[here - row] + old[here + row])) + (old[here - one] + old[here + one])
                new[here] = (around + old[here]) * weight[here]
