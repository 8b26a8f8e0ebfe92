"""The diffusion of heat in cells, word by word and without any speed: whole images, plain numpy."""

from __future__ import annotations

import itertools

import numpy as np

RULES = ("cellpose3", "mediar", "cellpose4")


def centre_of(positions, rule):
    """Which of a cell's pixels (n, d) is its centre; positions count from the corner of the cell's box."""
    wanted = np.median(positions, axis=0) if rule == "mediar" else positions.mean(axis=0)
    wanted = np.round(wanted) if rule == "cellpose4" else wanted
    return positions[((positions - wanted) ** 2).sum(axis=1).argmin()]


def dense_flow(labels, rule, *, leak=False):
    """float64 (d, ...); every id has one centre."""
    dimensions = labels.ndim
    ids = [label for label in np.unique(labels) if label]
    heat = np.zeros(np.add(labels.shape, 2))
    framed = np.pad(labels, 1)
    if dimensions == 2:
        steps_around = list(itertools.product((-1, 0, 1), repeat=2))
    else:
        steps_around = [(0, 0, 0), *(tuple(s * (a == b) for b in range(3)) for a in range(3) for s in (-1, 1))]
    margin = 2 if rule == "cellpose3" else 1
    cells = []
    for label in ids:
        positions = np.argwhere(framed == label)
        corner = positions.min(axis=0)
        sides = positions.max(axis=0) - corner + 1
        count = (2 if dimensions == 2 else 6) * (sides + margin).sum()
        cells.append((label, tuple(corner + centre_of(positions - corner, rule)), count))
    most = max((count for *_, count in cells), default=0)
    for label, centre, count in cells:
        inside = framed == label
        own = np.zeros(framed.shape)
        for _ in range(count if rule == "cellpose3" else most):
            own[centre] += 1
            total = sum(np.roll(own, step, axis=range(dimensions)) for step in steps_around)
            own = np.where(inside, total / len(steps_around), 0)
        heat += own
    heat = np.log1p(heat) if rule == "mediar" else heat
    flow = np.zeros((dimensions, *framed.shape))
    for axis in range(dimensions):
        for sign in (-1, 1):
            near, who = np.roll(heat, -sign, axis), np.roll(framed, -sign, axis)
            flow[axis] += sign * (near if leak else np.where(who == framed, near, 0))
    flow *= framed != 0
    # Less than this is rounding of the heat itself.
    flow[np.abs(flow) < 1e-12 * heat] = 0
    length = np.sqrt((flow**2).sum(axis=0))
    flow /= np.where(length > 0, length, 1)
    return flow[(slice(None), *(slice(1, -1),) * dimensions)]
