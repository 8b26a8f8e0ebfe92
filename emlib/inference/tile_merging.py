"""One list of objects from those that overlapping tiles saw: every object once, and whole where a tile saw it whole."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from emlib.inference.image_tiles import NEAR, ImageTiles
from emlib.models.mask_rcnn_pasting import ObjectMask

SMALLEST_CELL = 32


@dataclass(frozen=True, eq=False)
class SeenObject:
    """An object as a tile saw it, or joined from what several saw.

    Attributes:
        mask: its pixels in the image.
        box: x0, y0, x1, y1, in pixels of the image.
        score: 0-1.
        label: its class.
        tiles: numbers of the tiles.
        room: pixels between it and the nearest inner border of its tile.
    """

    mask: ObjectMask
    box: tuple[float, float, float, float]
    score: float
    label: int
    tiles: frozenset[int]
    room: float

    @property
    def is_cut(self) -> bool:
        """Whether a tile's inner border may have cut it."""
        return self.room < NEAR


def see_object(
    tiles: ImageTiles, tile: int, mask: ObjectMask, box: Sequence[float], score: float, label: int
) -> SeenObject | None:
    """An object of a tile; None for a piece of which another tile sees more, whose word then counts.

    Args:
        tiles: all of them.
        tile: number of the one that saw it.
        mask, box: in pixels of the tile.
        score, label: see `SeenObject`.
    """
    rows, columns = tiles.slices(tile)
    moved = ObjectMask((mask.corner[0] + rows.start, mask.corner[1] + columns.start), mask.mask)
    x0, y0, x1, y1 = (float(value) for value in box)
    box = (x0 + columns.start, y0 + rows.start, x1 + columns.start, y1 + rows.start)
    # Pixels may lie a little outside the box.
    top, left, bottom, right = _bounds(moved)
    extent = min(box[1], top), min(box[0], left), max(box[3], bottom), max(box[2], right)
    room = tiles.room(tile, extent)
    if room < NEAR and tiles.sees_whole(extent):
        return None
    return SeenObject(moved, box, float(score), int(label), frozenset([tile]), room)


def merge_seen(objects: Iterable[SeenObject], tiles: ImageTiles, threshold: float) -> list[SeenObject]:
    """Leave one of the objects that several tiles saw.

    Two objects of one tile are always two, as they are for a network that sees the whole image; and so are objects of
    two classes. For the rest:

    1. Objects that are not cut are gone through, those farthest from their tile's inner border first, then those of
       the best score. One is dropped if at least `threshold` of its pixels belong to objects that stay.
    2. Pieces are joined if they agree where both tiles saw them: if there, shared pixels / pixels of either is at least
       `threshold`. The joined object has the pixels of all and the best score.
    3. The joined are dropped, the largest first, as those of step 1 were.

    Without errors of the network the result is that of the whole image, whatever the tiles, as long as they overlap
    and an object's pixels hang together.

    Args:
        objects: from `see_object`, in any order.
        tiles: which saw them.
        threshold: above 0, at most 1.

    Returns:
        The objects, best first; those that are joined, or a piece, say so by `is_cut`.
    """
    objects = sorted(objects, key=lambda one: (-one.room, -one.score, min(one.tiles), one.mask.corner))
    index = CropIndex(_cell_side(objects))
    kept: list[SeenObject] = []
    for one in (one for one in objects if not one.is_cut):
        _keep_unless_covered(one, kept, index, threshold)
    pieces = _joined([one for one in objects if one.is_cut], tiles, threshold)
    for one in sorted(pieces, key=lambda one: (-int(one.mask.mask.sum()), -one.score, one.mask.corner)):
        _keep_unless_covered(one, kept, index, threshold)
    return sorted(kept, key=lambda one: (-one.score, one.mask.corner))


class CropIndex:
    """Finds crops that overlap: each is noted in all squares of a grid that it touches.

    Args:
        side: of a square in pixels.

    Example:
        >>> index = CropIndex(32)
        >>> index.add(ObjectMask((0, 0), np.ones((5, 5), bool)))
        >>> index.near(ObjectMask((4, 4), np.ones((9, 9), bool))), index.near(ObjectMask((5, 5), np.ones((9, 9), bool)))
        ([0], [])
    """

    def __init__(self, side: int) -> None:
        self.side = side
        self._squares: dict[tuple[int, int], list[int]] = defaultdict(list)
        self._bounds: list[tuple[int, int, int, int]] = []

    def add(self, mask: ObjectMask) -> None:
        """Note a crop; they are numbered from 0."""
        for square in self._touched(_bounds(mask)):
            self._squares[square].append(len(self._bounds))
        self._bounds.append(_bounds(mask))

    def near(self, mask: ObjectMask) -> list[int]:
        """The numbers of the crops that share a pixel with this one, whatever is set in it."""
        bounds = _bounds(mask)
        top, left, bottom, right = bounds
        numbers = {number for square in self._touched(bounds) for number in self._squares.get(square, ())}
        boxes = ((number, self._bounds[number]) for number in sorted(numbers))
        return [n for n, box in boxes if box[0] < bottom and top < box[2] and box[1] < right and left < box[3]]

    def _touched(self, bounds: tuple[int, int, int, int]) -> list[tuple[int, int]]:
        top, left, bottom, right = bounds
        rows = range(top // self.side, (bottom - 1) // self.side + 1)
        columns = range(left // self.side, (right - 1) // self.side + 1)
        return [(row, column) for row in rows for column in columns]


def _keep_unless_covered(one: SeenObject, kept: list[SeenObject], index: CropIndex, threshold: float) -> None:
    covered = np.zeros(one.mask.mask.shape, bool)
    for number in index.near(one.mask):
        other = kept[number]
        if other.label == one.label and not other.tiles & one.tiles:
            here, there = _common(one.mask, other.mask)
            covered[here] |= other.mask.mask[there]
    pixels = np.count_nonzero(one.mask.mask)
    if np.count_nonzero(covered & one.mask.mask) < threshold * pixels:
        kept.append(one)
        index.add(one.mask)


def _joined(pieces: list[SeenObject], tiles: ImageTiles, threshold: float) -> list[SeenObject]:
    """Pieces that agree, joined with all that agree with one of them."""
    parents = list(range(len(pieces)))

    def root(number: int) -> int:
        while parents[number] != number:
            parents[number] = number = parents[parents[number]]
        return number

    index = CropIndex(_cell_side(pieces))
    for number, one in enumerate(pieces):
        for place in index.near(one.mask):
            other = pieces[place]
            different = other.label == one.label and not other.tiles & one.tiles
            if different and root(place) != root(number) and _agreement(one, other, tiles) >= threshold:
                parents[root(number)] = root(place)
        index.add(one.mask)
    groups: dict[int, list[SeenObject]] = defaultdict(list)
    for number, one in enumerate(pieces):
        groups[root(number)].append(one)
    return [_union(group) for group in groups.values()]


def _agreement(one: SeenObject, other: SeenObject, tiles: ImageTiles) -> float:
    """Shared pixels / pixels of either, where both tiles saw."""
    here, there = _common(one.mask, other.mask)
    shared = np.count_nonzero(one.mask.mask[here] & other.mask.mask[there])
    if not shared:
        return 0.0
    (rows, columns), (other_rows, other_columns) = (tiles.slices(min(each.tiles)) for each in (one, other))
    both = (
        max(rows.start, other_rows.start),
        max(columns.start, other_columns.start),
        min(rows.stop, other_rows.stop),
        min(columns.stop, other_columns.stop),
    )
    seen = [np.count_nonzero(each.mask.mask[_within(each.mask, both)]) for each in (one, other)]
    return shared / (sum(seen) - shared)


def _union(group: list[SeenObject]) -> SeenObject:
    if len(group) == 1:
        return group[0]
    bounds = np.array([_bounds(one.mask) for one in group])
    top, left = bounds[:, :2].min(0).tolist()
    bottom, right = bounds[:, 2:].max(0).tolist()
    mask = np.zeros((bottom - top, right - left), bool)
    for one, (y, x, *_) in zip(group, bounds.tolist(), strict=True):
        height, width = one.mask.mask.shape
        mask[y - top : y - top + height, x - left : x - left + width] |= one.mask.mask
    boxes = np.array([one.box for one in group])
    best = max(group, key=lambda one: one.score)
    return replace(
        best,
        mask=ObjectMask((top, left), mask),
        box=(*boxes[:, :2].min(0).tolist(), *boxes[:, 2:].max(0).tolist()),
        tiles=frozenset().union(*(one.tiles for one in group)),
        room=min(one.room for one in group),
    )


def _bounds(mask: ObjectMask) -> tuple[int, int, int, int]:
    """First row and column, and one past the last."""
    rows, columns = mask.slices
    return rows.start, columns.start, rows.stop, columns.stop


def _common(one: ObjectMask, other: ObjectMask) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """The part that both crops cover, in each of them."""
    return _within(one, _bounds(other)), _within(other, _bounds(one))


def _within(mask: ObjectMask, bounds: tuple[int, int, int, int]) -> tuple[slice, slice]:
    """The part of a crop that lies inside bounds."""
    (y, x), (height, width) = mask.corner, mask.mask.shape
    top, left, bottom, right = bounds
    rows = slice(max(top - y, 0), max(min(bottom - y, height), 0))
    return rows, slice(max(left - x, 0), max(min(right - x, width), 0))


def _cell_side(objects: Sequence[SeenObject]) -> int:
    """About twice the usual object, so that most lie in one to four squares."""
    if not objects:
        return SMALLEST_CELL
    return max(SMALLEST_CELL, int(2 * np.median([max(one.mask.mask.shape) for one in objects])))
