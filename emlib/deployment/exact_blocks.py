"""The exact segmentation, stages on blocks and on components: `distance_watershed` of a volume larger than memory."""

from __future__ import annotations

import os
import tempfile
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from emlib.deployment.stored_arrays import read_arrays, table, write_arrays
from emlib.postprocessing.block_watershed import watershed_of_block
from emlib.postprocessing.distance_watershed import WatershedRules
from emlib.postprocessing.probabilities import as_grey_levels
from emlib.postprocessing.run_flooding import Allocate, watershed_of_runs
from emlib.postprocessing.section_smoothing import smooth_sections
from emlib.postprocessing.voxel_runs import VoxelPieces, VoxelRuns, join_runs, reorder
from emlib.scaling import Block, BlockVolume
from emlib.volume import Volume

# Above its arguments, what a voxel of a component takes while it is flooded.
_BYTES_A_VOXEL = 16
_BLOCKS_AT_HAND = 8


@dataclass(frozen=True)
class SegmentBlock:
    """Finish what lies inside one block, and put the pieces of what does not aside."""

    heatmap: Volume
    channel: int | None
    rules: WatershedRules
    local: BlockVolume
    shape: tuple[int, ...]
    pieces: Path

    def __call__(self, block: Block) -> dict[str, Any]:
        box = block.outer if self.channel is None else (self.channel, *block.outer)
        levels = smooth_sections(as_grey_levels(self.heatmap[box], "heatmap"), self.rules.sigma)
        levels = np.ascontiguousarray(levels[block.within])
        found = watershed_of_block(levels, self.rules, block.start, self.shape)
        runs, pieces = found.pieces.runs, found.pieces
        places = runs.rows * self.shape[2] + runs.starts
        return {
            "count": found.first.size + len(pieces),
            "seeded": found.seeded,
            "first": found.first,
            "piece_first": places[pieces.run_offsets[:-1]],
            "piece_voxels": np.diff(pieces.voxel_offsets),
            "labels": self.local.write(block, found.labels),
            "pieces": write_arrays(
                self.pieces, name_of(block), rows=runs.rows, starts=runs.starts, stops=runs.stops,
                run_offsets=pieces.run_offsets, voxel_offsets=pieces.voxel_offsets, levels=pieces.levels,
            ),
        }  # fmt: skip


@dataclass(frozen=True)
class FloodComponents:
    """Flood a group of components that cross blocks, each whole.

    Args:
        plan: the blocks.
        shape: of the volume.
        rules: of `watershed_rules`.
        pieces, tables, flooded: folders.
        memory: bytes; what a component needs beyond that is kept in temporary files in `flooded`.
    """

    plan: Sequence[Block]
    shape: tuple[int, ...]
    rules: WatershedRules
    pieces: Path
    tables: Path
    flooded: Path
    memory: int

    def __call__(self, group: Block) -> dict[str, Any]:
        members, blocks, numbers, groups = (
            table(self.tables, name) for name in ("component_members", "member_blocks", "member_pieces", "groups")
        )
        at_hand: OrderedDict[int, VoxelPieces] = OrderedDict()
        labels, first, seeded, objects = [], [], [], []
        for component in range(groups[group.start[0]], groups[group.stop[0]]):
            parts = []
            for member in range(members[component], members[component + 1]):
                runs, levels = self._pieces(at_hand, int(blocks[member])).of(int(numbers[member]))
                parts.append((VoxelRuns(*(one.copy() for one in (runs.rows, runs.starts, runs.stops)), runs.height),
                              levels.copy()))  # fmt: skip
            allocate = room(sum(levels.size for _, levels in parts), self.memory, self.flooded)
            found = self._flood(parts, allocate)
            labels.append(found[0])
            first.append(found[1])
            seeded.append(found[2])
            objects.append(found[1].size)
        joined = np.concatenate(labels)
        narrow = np.uint16 if max(objects) < 2**16 else np.uint32
        return {
            "seeded": np.array(seeded, np.int64),
            "objects": np.array(objects, np.int64),
            "first": np.concatenate(first),
            "labels": write_arrays(self.flooded, f"{group.index[0]}", labels=joined.astype(narrow)),
        }

    def _flood(
        self, parts: list[tuple[VoxelRuns, np.ndarray]], allocate: Allocate
    ) -> tuple[np.ndarray, np.ndarray, int]:
        """Labels in the order of the parts; the places in the volume of the objects' first voxels; how many seeded."""
        runs, begins, lengths = join_runs([part for part, _ in parts])
        levels = allocate(int(lengths.sum()), np.uint8)
        together = np.concatenate([values for _, values in parts])
        parts.clear()
        reorder(together, begins, lengths, levels, False)
        del together
        found = watershed_of_runs(runs, levels, self.rules, allocate=allocate)
        labels = np.empty(found.labels.size, np.uint32)
        reorder(labels, begins, lengths, found.labels, True)
        offsets = runs.offsets
        run = np.searchsorted(offsets, found.first, side="right") - 1
        first = runs.rows[run] * self.shape[2] + runs.starts[run] + found.first - offsets[run]
        return labels, first, found.seeded

    def _pieces(self, at_hand: OrderedDict[int, VoxelPieces], number: int) -> VoxelPieces:
        """The pieces of a block; those of the last few blocks are kept."""
        if number not in at_hand:
            names = ("rows", "starts", "stops", "run_offsets", "voxel_offsets", "levels")
            rows, starts, stops, *rest = read_arrays(self.pieces, name_of(self.plan[number]), *names)
            at_hand[number] = VoxelPieces(VoxelRuns(rows, starts, stops, self.shape[1]), *rest)
            if len(at_hand) > _BLOCKS_AT_HAND:
                at_hand.popitem(last=False)
        at_hand.move_to_end(number)
        return at_hand[number]


def name_of(block: Block) -> str:
    """The name of a block's files."""
    return ".".join(map(str, block.index))


def room(voxels: int, memory: int, folder: Path) -> Allocate:
    """What makes a component's arrays: in memory if they all fit there, else in temporary files without a name."""
    return np.zeros if voxels * _BYTES_A_VOXEL <= memory else partial(_mapped, folder)


def _mapped(folder: Path, length: int, dtype: Any) -> np.ndarray:
    folder.mkdir(parents=True, exist_ok=True)
    size = max(length, 1) * np.dtype(dtype).itemsize
    with tempfile.TemporaryFile(dir=folder) as file:
        file.truncate(size)
        if hasattr(os, "posix_fallocate"):
            # A full disk is an error here; at a write into the mapped file it would end the process.
            os.posix_fallocate(file.fileno(), 0, size)
        return np.asarray(np.memmap(file, dtype, "r+", shape=(max(length, 1),)))[:length]
