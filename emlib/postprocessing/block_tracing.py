"""Consistent ids across the faces of blocks that were segmented one by one."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from emlib.postprocessing.block_numbers import Link, ids_of, number_blocks, replace_ids
from emlib.postprocessing.face_overlaps import check_overlap, face_links, face_overlap, largest_overlaps
from emlib.postprocessing.small_objects import check_labels

RULES = ("union", "published")
Place = tuple[int, int, int]


def trace_blocks(
    previous: Any,
    next: Any,
    *,
    rule: str = "union",
    min_overlap: float = 0.2,
    measure: str = "sum",
    overlap: int = 0,
    first_new_id: int | None = None,
) -> np.ndarray:
    """Give the objects of a block the ids that they have in the block before it along z.

    What is compared are the last section of the previous block and the first of the next (with `overlap` the sections
    that both have). Objects A and B share I voxels there; their share is I / (|A| + |B|), sizes being those on the
    compared sections. 0.2 of it is a Dice coefficient of 0.4 and an IoU of 0.25.

    "union": all pairs with enough overlap are links, and what hangs together by links is one object: all its parts in
    the next block take its smallest previous id. Several previous ids in it are thus known to be one object, but those
    were given away already; `BlockTracer` numbers all blocks when all links are known.

    "published": each previous id, rising, picks the next id with which it shares most voxels (the smallest of equals)
    and gives it its id if the share is enough. So the largest previous id wins, previous ids are never joined, and of
    the parts that a previous object falls into only one keeps its id.

    Next objects without a link get new ids, first_new_id, first_new_id + 1, ..., in the order of their old ones.

    Args:
        previous, next: (Z, Y, X), any integer type, ids up to 2**64 - 1, 0 = background; equal along y and x.
        rule: see above.
        min_overlap: of the share; 0 links all that share a voxel.
        measure: for "union" also "smaller": share is I / min(|A|, |B|), so that a thin branch can join a thick object.
        overlap: sections that both blocks have; 0 if the next one starts where the previous one ends.
        first_new_id: None takes the largest previous id + 1. Over many blocks pass a number above all ids given so
            far, else ids of objects that ended before the previous block can come again.

    Returns:
        A new array of next's shape; the wider of both unsigned types, at least uint32, and uint64 where ids need it.

    Raises:
        TypeError: not integers, or a number that is none.
        ValueError: shapes that do not fit, negative ids, an unknown rule or measure, a wrong overlap, a new id that is
            in use, ids beyond 2**64 - 1.

    Source: EM Mitochondria Pipeline, `trace.py`, is "published".

    Example:
        >>> previous = np.array([[[4, 4, 4, 0, 9, 9, 9]]])
        >>> following = np.array([[[1, 1, 1, 0, 2, 0, 3]]])
        >>> trace_blocks(previous, following)
        array([[[4, 4, 4, 0, 9, 0, 9]]], dtype=uint64)
        >>> trace_blocks(previous, following, rule="published")
        array([[[ 4,  4,  4,  0,  9,  0, 10]]], dtype=uint64)
    """
    if rule not in RULES:
        raise ValueError(f"rule must be one of {', '.join(map(repr, RULES))}, got {rule!r}.")
    check_overlap(min_overlap, measure)
    if rule == "published" and measure != "sum":
        raise ValueError(f"rule='published' measures overlap by 'sum', got measure={measure!r}.")
    previous, following = (check_block(block, name) for block, name in ((previous, "previous"), (next, "next")))
    overlap = _check_depths((overlap, 0, 0), previous.shape)[0]
    _check_depths((overlap, 0, 0), following.shape)
    thick = max(overlap, 1)
    before, behind = previous[-thick:], following[:thick]
    old, largest = ids_of(following), int(previous.max())
    start = largest + 1 if first_new_id is None else operator.index(first_new_id)
    if start <= largest:
        raise ValueError(f"first_new_id must lie above the largest previous id, {largest}, got {start}.")
    if start + old.size > 2**64:
        raise ValueError(f"New ids from {start} on for up to {old.size} objects do not fit into 64 bits.")

    taken = np.zeros(old.size, dtype=np.uint64)
    if rule == "published":
        for one, two in largest_overlaps(face_overlap(before, behind), min_overlap):
            taken[np.searchsorted(old, two)] = one
    else:
        links = face_links(before, behind, min_overlap=min_overlap, measure=measure)
        known = np.unique(links[:, 0])
        numbers, count = number_blocks({0: known, 1: old}, [(0, 1, links)])
        # Numbers rise with the smallest previous id of an object, and stand for that id.
        first = np.zeros(count + 1, dtype=np.uint64)
        first[numbers[0][::-1]] = known[::-1]
        taken = first[numbers[1]]
    free = taken == 0
    taken[free] = np.uint64(start) + np.arange(np.count_nonzero(free), dtype=np.uint64)
    most = max(int(taken.max(initial=0)), 1)
    dtype = max((previous.dtype, following.dtype, np.dtype(np.uint32)), key=lambda one: one.itemsize)
    wide = np.uint64 if dtype.itemsize == 8 or most >= 2**32 else np.uint32
    return replace_ids(following, old, taken, wide)


class BlockTracer:
    """One numbering for any number of blocks, which may come in any order, along z or in a grid.

    Blocks that touch (or, with `overlap`, have sections in common) are linked as by `face_links`; in the end objects
    that hang together by links, through however many blocks, are one. The result depends on the blocks only, not on
    the order in which they came. Of a block only its ids and those faces are kept whose neighbour has not come yet.

    Args:
        min_overlap, measure: see `trace_blocks`; 0 links all that share a voxel of the compared sections.
        overlap: voxels (z, y, x) that neighbours have in common, or one number for z alone.

    Example:
        >>> blocks = [np.array([[[1, 1, 0, 2, 2]]]), np.array([[[7, 7, 7, 7, 7]]]), np.array([[[3, 3, 0, 0, 5]]])]
        >>> tracer = BlockTracer(min_overlap=0.2)
        >>> for index in (2, 0, 1):
        ...     tracer.add(index, blocks[index])
        >>> [tracer.relabel(index, block).tolist() for index, block in enumerate(blocks)]
        [[[[1, 1, 0, 1, 1]]], [[[1, 1, 1, 1, 1]]], [[[1, 1, 0, 0, 2]]]]
        >>> tracer.objects
        2
    """

    def __init__(self, *, min_overlap: float = 0.2, measure: str = "sum", overlap: int | Place = 0) -> None:
        check_overlap(min_overlap, measure)
        self.min_overlap, self.measure = min_overlap, measure
        self.overlap = check_depth(overlap)
        self._ids: dict[Place, np.ndarray] = {}
        self._links: list[Link] = []
        self._faces: dict[tuple[Place, int, bool], np.ndarray] = {}
        self._numbers: dict[Place, np.ndarray] | None = None
        self._objects = 0

    def add(self, index: int | Place, block: Any) -> None:
        """Take note of a block.

        Args:
            index: its place: along z, or (z, y, x) in a grid, in blocks.
            block: (Z, Y, X) labels, any integer type.

        Raises:
            TypeError, ValueError: no labels, a block that is there already, that is thinner than the overlap, or whose
                face differs in shape from that of its neighbour.
        """
        place = grid_place(index)
        if place in self._ids:
            raise ValueError(f"Block {index} was added before.")
        block = check_block(block, f"block {index}")
        depths = _check_depths(self.overlap, block.shape)
        links, waiting = [], {}
        for axis, depth in enumerate(depths):
            thick = max(depth, 1)
            for behind in (False, True):
                there = tuple(position + (1 if behind else -1) * (a == axis) for a, position in enumerate(place))
                length = block.shape[axis]
                part = range(length - thick, length) if behind else range(thick)
                face = np.take(block, part, axis=axis)
                other = self._faces.get((there, axis, not behind))
                if other is None:
                    waiting[place, axis, behind] = face
                    continue
                one, two = ((place, face), (there, other)) if behind else ((there, other), (place, face))
                options = {"min_overlap": self.min_overlap, "measure": self.measure}
                links.append((one[0], two[0], face_links(one[1], two[1], **options)))
        for one, two, _ in links:
            other = one if two == place else two
            axis = next(a for a in range(3) if other[a] != place[a])
            del self._faces[other, axis, other[axis] < place[axis]]
        self._faces |= waiting
        self._ids[place], self._numbers = ids_of(block), None
        self._links += links

    def relabel(self, index: int | Place, block: Any) -> np.ndarray:
        """The block with the ids that hold for all blocks added so far: (Z, Y, X) uint64, 1 ... `objects`.

        Raises:
            KeyError: a block that was not added.
            ValueError: an id that it did not have then.
        """
        ids, numbers = self.numbers(index)
        return replace_ids(check_block(block, f"block {index}"), ids, numbers)

    def numbers(self, index: int | Place) -> tuple[np.ndarray, np.ndarray]:
        """The ids of a block, rising, and the number of each among all blocks; both uint64.

        Raises:
            KeyError: a block that was not added.
        """
        place = grid_place(index)
        if place not in self._ids:
            raise KeyError(f"Block {index} was not added.")
        return self._ids[place], self._all_numbers()[place]

    @property
    def objects(self) -> int:
        """How many objects there are in all blocks together."""
        self._all_numbers()
        return self._objects

    def _all_numbers(self) -> dict[Place, np.ndarray]:
        if self._numbers is None:
            self._numbers, self._objects = number_blocks(self._ids, self._links)
        return self._numbers


def grid_place(index: int | Place) -> Place:
    """A block's place (z, y, x) in the grid; a single number counts along z.

    Raises:
        ValueError: neither a whole number nor three.

    Example:
        >>> grid_place(4), grid_place((1, 0, 2))
        ((4, 0, 0), (1, 0, 2))
    """
    try:
        place = tuple(map(operator.index, index)) if isinstance(index, tuple | list) else (operator.index(index), 0, 0)
    except TypeError as error:
        raise ValueError(f"The place of a block is a whole number or three (z, y, x), got {index!r}.") from error
    if len(place) != 3:
        raise ValueError(f"The place of a block is a whole number or three (z, y, x), got {index!r}.")
    return place


def check_depth(overlap: int | Place) -> Place:
    """Voxels (z, y, x) that neighbouring blocks have in common; a single number is along z.

    Raises:
        ValueError: not whole numbers of at least 0.
    """
    depth = grid_place(overlap)
    if min(depth) < 0:
        raise ValueError(f"overlap must be numbers of voxels of at least 0, got {overlap!r}.")
    return depth


def check_block(block: Any, name: str) -> np.ndarray:
    """`block` as an array of labels with the axes (z, y, x), or one sentence that says what is wrong."""
    block = check_labels(block)
    if block.ndim != 3:
        raise ValueError(f"{name} must have the axes (z, y, x), got an array of shape {block.shape}.")
    return block


def _check_depths(overlap: Any, shape: Place) -> Place:
    depth = check_depth(tuple(overlap))
    if any(thick > length for thick, length in zip(depth, shape, strict=True)):
        raise ValueError(f"The blocks overlap by {depth} voxels (z, y, x), but one has the shape {shape}.")
    return depth
