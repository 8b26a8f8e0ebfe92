"""Put cells into a picture so that a good share of them touch, as soft bodies do, without a gap and without overlap."""

from __future__ import annotations

from collections.abc import Callable

import cc3d
import numpy as np

from emlib.data.cells.outlines import Blob, Rod

TRIES = 14
LEAST_SHARE = 0.7  # of its own area that a cell keeps where others press against it
LEAST_CLEARANCE = 0.35  # of its half width that the centre of a newcomer may lie inside another cell
GAP = 2.0  # pixels around a cell that stands alone


def pack_cells(
    shape: tuple[int, int],
    draw: Callable[[np.random.Generator], Blob | Rod],
    count: int,
    *,
    touching: float,
    least_area: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """Labels of up to `count` cells; where two press against each other they share a contact line.

    Args:
        shape: pixels (y, x).
        draw: makes one outline.
        count: how many cells to try; fewer fit into a crowded picture. The first lies around the middle.
        touching: share of the cells that are placed against an earlier one.
        least_area: pixels; what is smaller (a sliver at the edge of the picture) is left out.
        rng: the generator.

    Returns:
        uint32 (y, x), ids 1 ... n without gaps, each one 4-connected piece.
    """
    canvas = _Canvas(shape)
    for number in range(count):
        outline = draw(rng)
        for attempt in range(TRIES):
            against = number > 0 and attempt < TRIES - 4 and rng.random() < touching
            if number == 0:
                centre = np.asarray(shape) * rng.uniform(0.4, 0.6, 2)
            elif against:
                centre = _beside(canvas, outline, rng)
            else:
                centre = np.asarray(shape) * rng.random(2)
            if canvas.place(outline, centre, against):
                break
    return _one_piece_each(canvas.labels, least_area)


def _beside(canvas: _Canvas, outline: Blob | Rod, rng: np.random.Generator) -> np.ndarray:
    """A centre from which the outline presses against a cell that is there."""
    other, centre = canvas.placed[rng.integers(len(canvas.placed))]
    direction = rng.uniform(0, 2 * np.pi)
    distance = (other.reach(direction) + outline.reach(direction)) * rng.uniform(0.84, 0.98)
    return centre + distance * np.array([np.sin(direction), np.cos(direction)])


def _one_piece_each(labels: np.ndarray, least_area: int) -> np.ndarray:
    """Keep the largest piece of every id, drop the small, and number the rest without gaps."""
    pieces, count = cc3d.connected_components(labels, connectivity=4, return_N=True)
    sizes = np.bincount(pieces.ravel(), minlength=count + 1)
    owner = np.zeros(count + 1, np.int64)
    owner[pieces] = labels
    order = np.lexsort((-sizes, owner))
    first = np.ones(count + 1, bool)
    first[1:] = owner[order][1:] != owner[order][:-1]
    kept = np.zeros(count + 1, bool)
    kept[order[first]] = True
    kept &= (sizes >= least_area) & (owner > 0)
    numbers = np.zeros(count + 1, np.uint32)
    numbers[kept] = np.arange(1, int(kept.sum()) + 1)
    return numbers[pieces]


class _Canvas:
    """The labels so far, and how deep every pixel lies in its cell: a newcomer gets the pixels where it is deeper."""

    def __init__(self, shape: tuple[int, int]) -> None:
        self.labels = np.zeros(shape, np.int32)
        self.depth = np.zeros(shape)
        self.placed: list[tuple[Blob | Rod, np.ndarray]] = []
        # Areas when a cell was placed, and now; one entry for the background, so that ids are places.
        self._first_areas, self._areas = [0], [0]

    def place(self, outline: Blob | Rod, centre: np.ndarray, against: bool) -> bool:
        """Add a cell if it fits: touching others but hardly pushed in (`against`), or with a gap all around."""
        middle = tuple(np.clip(centre.astype(int), 0, np.array(self.labels.shape) - 1))
        if self.depth[middle] > LEAST_CLEARANCE * outline.half_width:
            return False  # quicker than to find out below
        reach = outline.extent + GAP
        low = np.maximum(np.floor(centre - reach).astype(int), 0)
        high = np.minimum(np.ceil(centre + reach).astype(int) + 1, self.labels.shape)
        if (high <= low).any():
            return False
        box = slice(low[0], high[0]), slice(low[1], high[1])
        y, x = np.arange(low[0], high[0])[:, None] - centre[0], np.arange(low[1], high[1])[None] - centre[1]
        depth = outline.depth(y, x)
        labels, inside = self.labels[box], depth > 0
        area = int(inside.sum())
        near = labels[depth > -GAP]
        if area == 0 or (near.any() and not against):
            return False
        own = inside & (depth > self.depth[box])
        if own.sum() < LEAST_SHARE * area:
            return False
        robbed = np.bincount(labels[own])
        left = {int(other): self._areas[other] - int(robbed[other]) for other in np.flatnonzero(robbed) if other}
        if any(rest < LEAST_SHARE * self._first_areas[other] for other, rest in left.items()):
            return False
        for other, rest in left.items():
            self._areas[other] = rest
        self.placed.append((outline, centre))
        self._first_areas.append(int(own.sum()))
        self._areas.append(int(own.sum()))
        labels[own] = len(self.placed)
        self.depth[box][own] = depth[own]
        return True
