"""What several tiles saw becomes one object: against sets of pixels, and with networks that make mistakes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from inference.perfect_detector import PerfectDetector, as_image, as_set, objects_of
from scipy.ndimage import binary_erosion

from emlib.inference import plan_image_tiles, predict_instances
from emlib.inference.image_tiles import NEAR
from emlib.inference.tile_merging import ENOUGH, CropIndex, SeenObject, merge_seen, see_object
from emlib.models import ObjectMask

QUIET = {"normalize": None, "progress": False}


def pixels_of(mask):
    rows, columns = np.nonzero(mask.mask)
    return {(mask.corner[0] + y, mask.corner[1] + x) for y, x in zip(rows.tolist(), columns.tolist(), strict=True)}


def tile_pixels(tiles, number):
    rows, columns = tiles.slices(number)
    return {(y, x) for y in range(rows.start, rows.stop) for x in range(columns.start, columns.stop)}


def share_of_either(one, other):
    return len(one & other) / len(one | other)


def merged_by_sets(objects, tiles, threshold):
    """The three steps of `merge_seen` with sets of pixels and every pair compared."""
    objects = sorted(objects, key=lambda one: (-one.room, -one.score, min(one.tiles), one.mask.corner))
    sets = [pixels_of(one.mask) for one in objects]
    kept = []

    def seen_beside(pixels, one, of_tiles, numbers):
        """Whether a tile of `of_tiles` saw the object `one` as another object than those of these numbers."""
        for tile in of_tiles:
            shares = {
                number: share_of_either(sets[number], pixels)
                for number, other in enumerate(objects)
                if tile in other.tiles and other.label == one.label and sets[number] & pixels
            }
            best = max(shares.values(), default=0.0)
            if best >= threshold and min(n for n, share in shares.items() if share == best) not in numbers:
                return True
        return False

    def keep(pixels, one, of_tiles, score, numbers):
        others = [
            p
            for p, other, tiles_of, _ in kept
            if other.label == one.label and not tiles_of & of_tiles and not seen_beside(p, other, of_tiles, numbers)
        ]
        if len(pixels & set().union(*others)) < threshold * len(pixels):
            kept.append((pixels, one, of_tiles, score))

    for number, one in enumerate(objects):
        if one.room >= NEAR and one.decides:
            keep(sets[number], one, one.tiles, one.score, {number})
    pieces = [number for number, one in enumerate(objects) if one.room < NEAR and one.decides]
    groups = [{number} for number in pieces]
    for first in pieces:
        for second in pieces[: pieces.index(first)]:
            one, other = objects[first], objects[second]
            both = tile_pixels(tiles, min(one.tiles)) & tile_pixels(tiles, min(other.tiles))
            mine, theirs = sets[first] & both, sets[second] & both
            if one.label != other.label or one.tiles == other.tiles or not mine & theirs:
                continue
            if share_of_either(mine, theirs) >= threshold:
                joined = [group for group in groups if first in group or second in group]
                groups = [group for group in groups if group not in joined] + [set().union(*joined)]
    whole = []
    for group in groups:
        parts = [objects[number] for number in group]
        pixels = set().union(*(sets[number] for number in group))
        tiles_of = frozenset().union(*(one.tiles for one in parts))
        whole.append((pixels, parts[0], tiles_of, max(one.score for one in parts), group))
    for entry in sorted(whole, key=lambda entry: (-len(entry[0]), -entry[3], min(p[0] for p in entry[0]))):
        keep(*entry)
    return sorted((score, one.label, sorted(pixels)) for pixels, one, _, score in kept)


@given(st.integers(0, 99999), st.sampled_from([0.2, 0.5, 0.8, 1.0]), st.sampled_from([(12, 5), (9, 2), (20, 12)]))
def test_merging_equals_the_comparison_of_all_pairs_of_sets(seed, threshold, layout):
    rng = np.random.default_rng(seed)
    tiles = plan_image_tiles((26, 31), *layout)
    seen, last = [], None
    for _ in range(rng.integers(0, 9)):
        # One object, which every tile sees in another way, if at all, and some take for something else.
        sides, label = rng.integers(1, 14, 2), rng.integers(1, 3)
        corner = rng.integers(0, np.array([26, 31]) - sides + 1)
        if last is not None and rng.random() < 0.6:
            # Beside the one before, partly below or above it.
            corner = np.clip(last + rng.integers(-4, 5, 2), 0, np.array([26, 31]) - sides)
        last = corner
        for number in range(len(tiles)):
            (rows, columns), whole = tiles.slices(number), np.zeros((26, 31), bool)
            y, x = corner + rng.integers(-1, 2, 2)
            whole[max(y, 0) : y + sides[0], max(x, 0) : x + sides[1]] = rng.random() < 0.9
            part = whole[rows, columns] & (rng.random((rows.stop - rows.start, columns.stop - columns.start)) < 0.9)
            for one in objects_of(part.astype(np.int64)).values():
                (top, left), (height, width) = one.corner, one.mask.shape
                box = (left, top, left + width, top + height)
                # Whole numbers of hundredths never tie.
                found = see_object(tiles, number, one, box, 0.1 + len(seen) * 1e-3, label)
                room = tiles.room(
                    number, (top + rows.start, left + columns.start, *np.add(box[3:1:-1], (rows.start, columns.start)))
                )
                extent = (
                    top + rows.start,
                    left + columns.start,
                    top + rows.start + height,
                    left + columns.start + width,
                )
                corners = {(extent[0], extent[1]), (extent[2] - 1, extent[3] - 1)}
                best = max(
                    tiles.room(other, extent) for other in range(len(tiles)) if corners <= tile_pixels(tiles, other)
                )
                assert best == tiles.best_room(extent) >= room
                assert found.decides != (best >= NEAR and room < max(NEAR, ENOUGH * best))
                assert found.room == room
                seen.append(found)
    merged = merge_seen(rng.permutation(np.array(seen, object)).tolist(), tiles, threshold)
    assert [one.score for one in merged] == sorted((one.score for one in merged), reverse=True)
    result = sorted((one.score, one.label, sorted(pixels_of(one.mask))) for one in merged)
    assert result == merged_by_sets(seen, tiles, threshold)


@given(st.integers(0, 9999), st.integers(1, 40))
def test_the_index_finds_what_a_comparison_of_all_finds(seed, side):
    rng = np.random.default_rng(seed)
    crops = [
        ObjectMask(tuple(rng.integers(0, 60, 2).tolist()), np.ones(rng.integers(1, 30, 2), bool)) for _ in range(15)
    ]
    index = CropIndex(side)
    for number, one in enumerate(crops):
        expected = [place for place in range(number) if pixels_of(crops[place]) & pixels_of(one)]
        assert index.near(one) == expected
        index.add(one)


class Careless(PerfectDetector):
    """What touches the border of what it sees ends some pixels before it; and every look gives other scores."""

    def __init__(self, gap, seed=0):
        super().__init__()
        self.gap, self.random = gap, np.random.default_rng(seed)

    def objects(self, labels):
        found = []
        inner = np.zeros(labels.shape, bool)
        inner[self.gap : labels.shape[0] - self.gap, self.gap : labels.shape[1] - self.gap] = True
        for one in objects_of(np.where(inner, labels, 0)).values():
            found.append((self.random.uniform(0.3, 1), one))
        return found


def discs(rng, shape=(120, 130), radius=6, spacing=17):
    labels = np.zeros(shape, np.int64)
    y, x = np.indices(shape)
    number = 0
    for row in range(14, shape[0] - 10, spacing):
        for column in range(14, shape[1] - 10, spacing):
            number += 1
            cy, cx = row + rng.integers(-2, 3), column + rng.integers(-2, 3)
            labels[(y - cy) ** 2 + (x - cx) ** 2 <= radius**2] = number
    return labels


@pytest.mark.parametrize("gap", [0, 1, 3, 5])
def test_pieces_that_do_not_reach_the_border_are_dropped_all_the_same(gap):
    labels = discs(np.random.default_rng(1))
    found = predict_instances(Careless(gap), as_image(labels), window=50, overlap=26, **QUIET)
    assert as_set(found.masks) == as_set(objects_of(labels).values())
    assert found.cut == 0


class Blurred(PerfectDetector):
    """Masks that are, from look to look, as they are or eroded, or those of two neighbours in one."""

    def __init__(self, seed=0):
        super().__init__()
        self.random = np.random.default_rng(seed)

    def objects(self, labels):
        found = []
        for one in objects_of(labels).values():
            eroded = binary_erosion(np.pad(one.mask, 1))[1:-1, 1:-1]
            mask = eroded if self.random.random() < 0.5 and eroded.any() else one.mask
            found.append((self.random.uniform(0.3, 1), ObjectMask(one.corner, mask)))
        return found


def test_objects_that_differ_from_tile_to_tile_stay_one():
    labels = discs(np.random.default_rng(2))
    found = predict_instances(Blurred(), as_image(labels), window=50, overlap=26, **QUIET)
    assert len(found) == labels.max()
    owners = [np.unique(labels[one.slices][one.mask]).tolist() for one in found.masks]
    assert sorted(owners) == [[number] for number in range(1, labels.max() + 1)]


def test_two_neighbors_that_one_tile_took_for_one_stay_two():
    tiles = plan_image_tiles((20, 80), (40, 50), 20)
    square = np.ones((8, 4), bool)
    # The right tile, in which they have less room, saw them as one.
    first = see_object(tiles, 0, ObjectMask((6, 38), square), (38, 6, 42, 14), 0.6, 1)
    second = see_object(tiles, 0, ObjectMask((6, 34), square), (34, 6, 38, 14), 0.6, 1)
    both = see_object(tiles, 1, ObjectMask((6, 6), np.ones((8, 6), bool)), (6, 6, 12, 14), 0.9, 1)
    assert len(merge_seen([first, second, both], tiles, 0.5)) == 2
    # Of another class it is another object.
    other = see_object(tiles, 1, ObjectMask((6, 6), np.ones((8, 6), bool)), (6, 6, 12, 14), 0.9, 2)
    assert len(merge_seen([first, second, other], tiles, 0.5)) == 3


def test_an_object_below_another_stays_if_its_tile_saw_both():
    tiles = plan_image_tiles((20, 80), (40, 50), 20)
    large, small = np.ones((10, 8), bool), np.ones((4, 6), bool)
    # The larger one is the right tile's to decide. Half of the smaller one's pixels are below it.
    left = [
        see_object(tiles, 0, ObjectMask((4, 40), large), (40, 4, 48, 14), 0.9, 1),
        see_object(tiles, 0, ObjectMask((5, 37), small), (37, 5, 43, 9), 0.8, 1),
    ]
    right = [
        see_object(tiles, 1, ObjectMask((4, 10), large), (10, 4, 18, 14), 0.7, 1),
        see_object(tiles, 1, ObjectMask((5, 7), small), (7, 5, 13, 9), 0.6, 1),
    ]
    assert [(one.room, one.decides) for one in (*left, *right)] == [(2, False), (7, True), (10, True), (7, True)]
    merged = merge_seen(left + right, tiles, 0.5)
    assert [(one.score, one.mask.mask.shape) for one in merged] == [(0.8, (4, 6)), (0.7, (10, 8))]
    # Without the word of the smaller one's tile it is taken for a part of the larger one.
    assert merge_seen([left[1], right[0]], tiles, 0.5) == [right[0]]


def test_objects_of_one_tile_are_never_merged():
    tiles = plan_image_tiles((40, 40), None)
    same = [
        SeenObject(ObjectMask((3, 3), np.ones((9, 9), bool)), (3, 3, 12, 12), s, 1, frozenset([0]), np.inf)
        for s in (0.4, 0.9)
    ]
    assert [one.score for one in merge_seen(same, tiles, 0.5)] == [0.9, 0.4]


def test_more_room_goes_before_score():
    tiles = plan_image_tiles((20, 80), (40, 50), 20)
    left = see_object(tiles, 0, ObjectMask((5, 35), np.ones((5, 9), bool)), (35, 5, 44, 10), 0.4, 1)
    right = see_object(tiles, 1, ObjectMask((5, 5), np.ones((6, 9), bool)), (5, 5, 14, 11), 0.9, 1)
    assert (left.room, right.room) == (6, 5)
    (kept,) = merge_seen([left, right], tiles, 0.5)
    assert kept is left


def test_what_a_tile_sees_at_its_border_does_not_count_where_another_sees_more():
    tiles = plan_image_tiles((20, 80), (40, 50), 20)
    phantom = ObjectMask((5, 42), np.ones((5, 4), bool)), (42, 5, 46, 10), 0.9, 1
    assert not see_object(tiles, 0, *phantom).decides
    assert merge_seen([see_object(tiles, 0, *phantom)], tiles, 0.5) == []
    moved = ObjectMask((5, 12), phantom[0].mask), (12, 5, 16, 10), 0.9, 1
    decisive = see_object(tiles, 1, *moved)
    assert (decisive.room, decisive.decides) == (12, True)
    assert merge_seen([decisive], tiles, 0.5) == [decisive]
