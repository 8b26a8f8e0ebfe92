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
        buffers: float64 (3, n) with room for the framed box; what is returned is one of them.
    """
    rows, columns = part.shape[0] + 2, part.shape[1] + 2
    size = rows * columns
    old, new, weight = buffers[0, :size], buffers[1, :size], buffers[2, :size]
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
        for y in range(1, rows - 1):
            k, width = y * columns + first[y], last[y] - first[y] + 1
            if width <= 0:
                continue
            above = old[k - columns - 1 : k - columns + width + 1]
            here = old[k - 1 : k + width + 1]
            below = old[k + columns - 1 : k + columns + width + 1]
            share, result = weight[k : k + width], new[k : k + width]
            for i in range(width):
                corners = (above[i] + below[i + 2]) + (above[i + 2] + below[i])
                sides = (above[i + 1] + below[i + 1]) + (here[i] + here[i + 2])
                result[i] = ((corners + sides) + here[i + 1]) * share[i]
        old, new = new, old
    return old


@compiled
def heat_in_volume(part, label, centre, steps, buffers):
    """The same for a 3-D cell (z, y, x): a seventh of the sum over a voxel and its six neighbours."""
    planes, rows, columns = part.shape[0] + 2, part.shape[1] + 2, part.shape[2] + 2
    plane = rows * columns
    size = planes * plane
    old, new, weight = buffers[0, :size], buffers[1, :size], buffers[2, :size]
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
        for z in range(1, planes - 1):
            for y in range(1, rows - 1):
                k, width = z * plane + y * columns + first[z, y], last[z, y] - first[z, y] + 1
                if width <= 0:
                    continue
                before, behind = old[k - plane : k - plane + width], old[k + plane : k + plane + width]
                above, below = old[k - columns : k - columns + width], old[k + columns : k + columns + width]
                here = old[k - 1 : k + width + 1]
                share, result = weight[k : k + width], new[k : k + width]
                for i in range(width):
                    around = (before[i] + behind[i]) + (above[i] + below[i]) + (here[i] + here[i + 2])
                    result[i] = (around + here[i + 1]) * share[i]
        old, new = new, old
    return old
