"""One list of objects from those that overlapping tiles saw: every object once, and whole where a tile saw it whole."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from emlib.inference.image_tiles import NEAR, ImageTiles
from emlib.models.mask_rcnn_pasting import ObjectMask

SMALLEST_CELL = 32
# Tiles see the extent of an object a little differently: if only the best counted, none might think that it is.
ENOUGH = 0.75


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
        decides: False where another tile sees it whole and much more around it, whose word then counts. Near a tile's
            border a network says other things than it would with the whole image before it, and sees objects where
            there are none.
    """

    mask: ObjectMask
    box: tuple[float, float, float, float]
    score: float
    label: int
    tiles: frozenset[int]
    room: float
    decides: bool = True

    @property
    def is_cut(self) -> bool:
        """Whether a tile's inner border may have cut it."""
        return self.room < NEAR


def see_object(
    tiles: ImageTiles, tile: int, mask: ObjectMask, box: Sequence[float], score: float, label: int
) -> SeenObject:
    """An object of a tile.

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
    best = tiles.best_room(extent)
    decides = best < NEAR or room >= max(NEAR, ENOUGH * best)
    return SeenObject(moved, box, float(score), int(label), frozenset([tile]), room, decides)


def merge_seen(objects: Iterable[SeenObject], tiles: ImageTiles, threshold: float) -> list[SeenObject]:
    """Leave one of the objects that several tiles saw.

    Two objects of one tile are always two, as they are for a network that sees the whole image; and so are objects of
    two classes. For the rest:

    1. Objects that are not cut and for their tile to decide are gone through, those farthest from its inner border
       first, then those of the best score. One is dropped if at least `threshold` of its pixels belong to objects that
       stay. An object that its own tile saw as well, beside it, does not count: of all objects of that tile it is
       another one that shares most with it, and at least `threshold` (shared pixels / pixels of either).
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
    merging = _Merging(objects, threshold)
    for number, one in enumerate(objects):
        if one.decides and not one.is_cut:
            merging.keep_unless_covered(one, {number})
    pieces = [number for number, one in enumerate(objects) if one.decides and one.is_cut]
    groups = [
        (_union([objects[number] for number in group]), group) for group in _groups(objects, pieces, tiles, threshold)
    ]
    for one, group in sorted(
        groups, key=lambda pair: (-int(pair[0].mask.mask.sum()), -pair[0].score, pair[0].mask.corner)
    ):
        merging.keep_unless_covered(one, group)
    return sorted(merging.kept, key=lambda one: (-one.score, one.mask.corner))


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


class _Merging:
    """The objects that stay, and in which other tiles they were seen too."""

    def __init__(self, objects: list[SeenObject], threshold: float) -> None:
        self.objects, self.threshold = objects, threshold
        self.kept: list[SeenObject] = []
        self._also_seen: list[dict[int, int]] = []
        side = _cell_side(objects)
        self._all, self._of_kept = CropIndex(side), CropIndex(side)
        for one in objects:
            self._all.add(one.mask)

    def keep_unless_covered(self, one: SeenObject, numbers: set[int]) -> None:
        """Add an object, of which these of the list are the whole or the pieces, unless those that stay cover it."""
        covered = np.zeros(one.mask.mask.shape, bool)
        for place in self._of_kept.near(one.mask):
            other, seen = self.kept[place], self._also_seen[place]
            beside = any(seen[tile] not in numbers for tile in one.tiles if tile in seen)
            if other.label == one.label and not other.tiles & one.tiles and not beside:
                here, there = _common(one.mask, other.mask)
                covered[here] |= other.mask.mask[there]
        pixels = np.count_nonzero(one.mask.mask)
        if np.count_nonzero(covered & one.mask.mask) < self.threshold * pixels:
            self.kept.append(one)
            self._of_kept.add(one.mask)
            self._also_seen.append(self._seen_elsewhere(one))

    def _seen_elsewhere(self, one: SeenObject) -> dict[int, int]:
        """Tile -> number of the object there that shares most with this one, where that is enough."""
        best: dict[int, tuple[float, int]] = {}
        for number in self._all.near(one.mask):
            other = self.objects[number]
            if other.label != one.label or other.tiles & one.tiles:
                continue
            share = _overlap(one.mask, other.mask)
            (tile,) = other.tiles
            if share >= self.threshold and share > best.get(tile, (0.0, 0))[0]:
                best[tile] = share, number
        return {tile: number for tile, (_, number) in best.items()}


def _groups(objects: list[SeenObject], pieces: list[int], tiles: ImageTiles, threshold: float) -> list[set[int]]:
    """Numbers of pieces that agree, each with all that agree with one of them."""
    parents = list(range(len(pieces)))

    def root(number: int) -> int:
        while parents[number] != number:
            parents[number] = number = parents[parents[number]]
        return number

    index = CropIndex(_cell_side([objects[number] for number in pieces]))
    for number, one in enumerate(objects[piece] for piece in pieces):
        for place in index.near(one.mask):
            other = objects[pieces[place]]
            different = other.label == one.label and not other.tiles & one.tiles
            if different and root(place) != root(number) and _agreement(one, other, tiles) >= threshold:
                parents[root(number)] = root(place)
        index.add(one.mask)
    groups: dict[int, set[int]] = defaultdict(set)
    for number, piece in enumerate(pieces):
        groups[root(number)].add(piece)
    return list(groups.values())


def _overlap(one: ObjectMask, other: ObjectMask) -> float:
    """Shared pixels / pixels of either."""
    here, there = _common(one, other)
    shared = np.count_nonzero(one.mask[here] & other.mask[there])
    return shared / (np.count_nonzero(one.mask) + np.count_nonzero(other.mask) - shared)


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
