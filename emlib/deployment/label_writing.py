"""The last stage of a segmentation: the labels of single blocks become those of the volume."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from emlib.compilation import compiled
from emlib.deployment.stored_arrays import read_arrays, table
from emlib.scaling import Block, BlockVolume, WrittenFiles
from emlib.scaling.label_faces import BlockGrid


@dataclass(frozen=True)
class WriteLabels:
    """Write one block with the numbers that hold for the whole volume.

    Args:
        local: labels of single blocks.
        grid: of the blocks.
        tables: folder; see `emlib.deployment.component_tables`.
        flooded: folder with the labels of components that cross blocks; None where there are none.
        out: uint64.
        depth: sections that are worked on at once, a multiple of the depth of a chunk of `out`.
    """

    local: BlockVolume
    grid: BlockGrid
    tables: Path
    flooded: Path | None
    out: BlockVolume
    depth: int

    def __call__(self, block: Block) -> dict[str, Any]:
        offsets = table(self.tables, "offsets")
        number = self.grid.number(block.index)
        numbers = np.array(table(self.tables, "label_numbers")[offsets[number] : offsets[number + 1]])
        values, begins, bases = self._pieces(number)
        object_numbers = table(self.tables, "object_numbers") if self.flooded is not None else np.empty(0, np.uint64)
        finished, written = numbers.size - bases.size, []
        for part in slabs(block, self.depth):
            labels = self.local[part.inner]
            joined = np.empty(labels.shape, np.uint64)
            _replace(labels.reshape(-1), numbers, finished, values, begins, bases, object_numbers, joined.reshape(-1))
            written.append(self.out.write(part, joined))
        names = tuple(name for one in written for name in one.names)
        return {"labels": WrittenFiles(written[0].roots, names)}

    def _pieces(self, number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Labels of the block's pieces, one after the other; where each begins; what its component's labels add to."""
        if self.flooded is None:
            return np.empty(0, np.uint32), np.empty(0, np.int64), np.empty(0, np.int64)
        names = ("piece_offsets", "piece_component", "component_members", "member_blocks", "member_pieces", "groups")
        names += ("object_offsets", "member_voxels")
        at, component, members, blocks, pieces, groups, objects, voxels = (table(self.tables, name) for name in names)
        components = np.array(component[at[number] : at[number + 1]])
        begins, bases = np.full(components.size, -1, np.int64), np.zeros(components.size, np.int64)
        found, total = [np.empty(0, np.uint32)], 0
        group_of = np.searchsorted(groups, components, side="right") - 1
        for group in np.unique(group_of[components >= 0]):
            (labels,) = read_arrays(self.flooded, f"{group}", "labels")
            member = slice(members[groups[group]], members[groups[group + 1]])
            ends = np.cumsum(voxels[member])
            for place in np.flatnonzero(blocks[member] == number):
                piece = int(pieces[member][place])
                part = labels[ends[place] - voxels[member][place] : ends[place]]
                begins[piece], bases[piece] = total, objects[components[piece]]
                found.append(part.astype(np.uint32))
                total += part.size
        return np.concatenate(found), begins, bases


def slabs(block: Block, depth: int) -> Iterator[Block]:
    """A block cut along z, at multiples of `depth` from its start.

    Example:
        >>> from emlib.scaling import plan_blocks
        >>> [str(part) for part in slabs(plan_blocks((7, 4), 5)[0], 2)]
        ['block (0, 0) at [0:2, 0:4]', 'block (0, 0) at [2:4, 0:4]', 'block (0, 0) at [4:5, 0:4]']
    """
    for low in range(block.start[0], block.stop[0], depth):
        start = (low, *block.start[1:])
        stop = (min(low + depth, block.stop[0]), *block.stop[1:])
        yield Block(block.index, start, stop, start, stop)


@compiled
def _replace(labels, numbers, finished, values, begins, bases, object_numbers, joined):
    """`begins` moves on with every voxel of a piece: its labels are in raster order."""
    for position in range(labels.size):
        label = np.int64(labels[position])
        if label == 0:
            joined[position] = 0
        elif label <= finished:
            joined[position] = numbers[label - 1]
        else:
            piece = label - finished - 1
            joined[position] = 0
            if begins[piece] >= 0:
                inside = np.int64(values[begins[piece]])
                begins[piece] += 1
                if inside > 0:
                    joined[position] = object_numbers[bases[piece] + inside - 1]
