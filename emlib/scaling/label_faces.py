"""The three things that are done to each block when labels made block by block become labels of the whole volume."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fastremap
import numpy as np

from emlib.compilation import compiled
from emlib.scaling.block_volume import BlockVolume
from emlib.scaling.blocks import Block, Box, Place, plan_shape
from emlib.volume import Volume


@dataclass(frozen=True)
class BlockGrid:
    """Where blocks begin along each axis, and so which block a voxel lies in.

    Attributes:
        starts: first voxels of the blocks, axis by axis.
        shape: of the volume.
    """

    starts: tuple[Place, ...]
    shape: Place

    @property
    def counts(self) -> Place:
        """Blocks along each axis."""
        return tuple(map(len, self.starts))

    def number(self, index: Place) -> int:
        """The place in the plan of the block with this index."""
        return int(np.ravel_multi_index(index, self.counts))

    def parts(self, box: Box) -> list[tuple[int, Box]]:
        """The blocks that a box touches: the number of each, and the part of the box that lies in it."""
        pieces = []
        for starts, length, wanted in zip(self.starts, self.shape, box, strict=True):
            stops = (*starts[1:], length)
            pieces.append(
                [
                    (index, slice(max(start, wanted.start), min(stop, wanted.stop)))
                    for index, (start, stop) in enumerate(zip(starts, stops, strict=True))
                    if start < wanted.stop and wanted.start < stop
                ]
            )
        return [
            (self.number(tuple(index for index, _ in one)), tuple(part for _, part in one))
            for one in itertools.product(*pieces)
        ]


def grid_of(plan: Sequence[Block]) -> BlockGrid:
    """The grid that a plan's blocks form.

    Raises:
        ValueError: they are not all the blocks of `plan_blocks`, in its order.

    Example:
        >>> from emlib.scaling import plan_blocks
        >>> grid_of(plan_blocks((4, 10), (4, 6))).starts
        ((0,), (0, 6))
    """
    shape = plan_shape(plan)
    starts = tuple(tuple(sorted({block.start[axis] for block in plan})) for axis in range(len(shape)))
    expected = [(index, start) for index, start in zip(
        itertools.product(*(range(len(one)) for one in starts)), itertools.product(*starts), strict=True)]  # fmt: skip
    if [(block.index, block.start) for block in plan] != expected:
        raise ValueError("The plan must be all the blocks of plan_blocks, in its order.")
    return BlockGrid(starts, shape)


@dataclass(frozen=True)
class LabelBlock:
    """Pass 1: labels of one block, numbered 1, 2, 3, ..., and the first voxel of each in the volume."""

    source: Volume
    label_block: Callable[[np.ndarray, Block], np.ndarray]
    local: BlockVolume
    shape: Place

    def __call__(self, block: Block) -> dict[str, Any]:
        labels = np.asarray(self.label_block(self.source[(..., *block.outer)], block))
        if labels.shape != block.outer_shape:
            raise ValueError(
                f"label_block must return labels of the array's shape {block.outer_shape}, it returned {labels.shape}."
            )
        if labels.dtype.kind not in "ui" or (labels.dtype.kind == "i" and labels.min() < 0):
            raise TypeError(f"label_block must return whole numbers of at least 0, it returned {labels.dtype}.")
        labels = np.ascontiguousarray(labels[block.within]).astype(np.uint64)
        labels, _ = fastremap.renumber(labels, preserve_zero=True, in_place=True)
        labels = labels.astype(np.uint32, copy=False)
        count = int(labels.max(initial=0))
        places = np.unravel_index(_first_voxels(labels.ravel(), count), block.shape)
        places = [place + start for place, start in zip(places, block.start, strict=True)]
        first = np.ravel_multi_index(places, self.shape).astype(np.int64)
        return {"count": count, "first": first, "labels": self.local.write(block, labels)}


@dataclass(frozen=True)
class LinkBlock:
    """Pass 2: pairs of labels that are one object, across the faces of a block with the next along each axis."""

    local: BlockVolume
    grid: BlockGrid
    offsets: Path
    link_faces: Callable[[np.ndarray, np.ndarray], np.ndarray]
    reach: int

    def __call__(self, block: Block) -> dict[str, Any]:
        offsets = np.load(self.offsets, mmap_mode="r")
        found = [np.empty((0, 2), np.uint64)]
        for axis, (stop, length) in enumerate(zip(block.stop, self.grid.shape, strict=True)):
            if stop == length:
                continue
            wide = [
                slice(max(start - self.reach, 0), min(end + self.reach, side))
                for start, end, side in zip(block.start, block.stop, self.grid.shape, strict=True)
            ]
            near, far = (
                np.take(self._read(offsets, (*wide[:axis], slice(at, at + 1), *wide[axis + 1 :])), 0, axis=axis)
                for at in (stop - 1, stop)
            )
            found.append(_checked(self.link_faces(near, far), near, far, f"{block}, axis {axis}"))
        pairs = np.unique(np.concatenate(found), axis=0)
        return {"pairs": pairs}

    def _read(self, offsets: np.ndarray, box: Box) -> np.ndarray:
        """Labels in a box, as numbers of the whole volume: those of block k begin after offsets[k]."""
        labels = np.empty([part.stop - part.start for part in box], np.uint64)
        for number, part in self.grid.parts(box):
            inside = tuple(
                slice(one.start - all_.start, one.stop - all_.start) for one, all_ in zip(part, box, strict=True)
            )
            values = self.local[part].astype(np.uint64)
            values[values > 0] += np.uint64(offsets[number])
            labels[inside] = values
        return labels


@dataclass(frozen=True)
class WriteBlock:
    """Pass 3: the labels of one block as objects of the whole volume."""

    local: BlockVolume
    grid: BlockGrid
    offsets: Path
    table: Path
    out: BlockVolume
    dtype: np.dtype

    def __call__(self, block: Block) -> dict[str, Any]:
        offsets, table = (np.load(path, mmap_mode="r") for path in (self.offsets, self.table))
        number = self.grid.number(block.index)
        lookup = np.zeros(int(offsets[number + 1] - offsets[number]) + 1, self.dtype)
        lookup[1:] = table[offsets[number] : offsets[number + 1]]
        return {"labels": self.out.write(block, lookup[self.local[block.inner]])}


def _checked(pairs: Any, near: np.ndarray, far: np.ndarray, where: str) -> np.ndarray:
    pairs = np.asarray(pairs)
    if pairs.size == 0:
        return np.empty((0, 2), np.uint64)
    if pairs.ndim != 2 or pairs.shape[1] != 2 or pairs.dtype.kind not in "ui":
        raise ValueError(f"link_faces must return whole numbers (n, 2), it returned {pairs.dtype} {pairs.shape}.")
    for column, face in ((0, near), (1, far)):
        ids = np.unique(pairs[:, column])
        strange = ids[~np.isin(ids, face) | (ids <= 0)]
        if strange.size:
            raise ValueError(f"link_faces returned {strange[0]}, which is no label of its face ({where}).")
    return pairs.astype(np.uint64)


@compiled
def _first_voxels(labels, count):
    """Place of the first voxel of each of the labels 1 ... count, all of which occur."""
    first = np.full(count, -1, dtype=np.int64)
    for place in range(labels.size):
        label = labels[place]
        if label > 0 and first[label - 1] < 0:
            first[label - 1] = place
    return first
