"""The last stages: a segmentation as Neuroglancer reads it, level by level, each made in blocks."""

from __future__ import annotations

import json
import math
import os
import shutil
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from emlib.atomic import TEMPORARY_MARK, explain_write_error, flush_to_disk, replace, write_text
from emlib.formats.coarsening import downsample_labels
from emlib.scaling import Block, BlockVolume, WrittenFiles, plan_blocks
from emlib.visualization.precomputed import (
    chunk_boxes,
    chunk_name,
    encode_chunk,
    plan_levels,
    read_box,
    scales_info,
)

# Voxels that one job reads: 128 MiB of labels.
_MOST_VOXELS = 2**24
_MADE_FROM = "emlib_made_from"
INFO = "info"


@dataclass(frozen=True)
class Pyramid:
    """A precomputed folder that many processes write at once, and that is seen under its name when it is whole.

    Args:
        path: of the folder.
        shape: of the labels (z, y, x).
        voxel_size: nm (z, y, x).
        mips: coarser levels; None ends when no side is above 512 voxels.
        chunk: voxels of a chunk (z, y, x), multiples of 8.
        made_from: digest of what the labels depend on.

    Example:
        >>> pyramid = Pyramid(Path("labels"), (300, 512, 512), (30.0, 8.0, 8.0), None, (64, 64, 64), "0a1b")
        >>> [(one.finest, one.coarsest, len(one.plan)) for one in pyramid.passes()]
        [(0, 0, 8)]
        >>> pyramid = Pyramid(Path("labels"), (1200, 1024, 1024), (8.0, 8.0, 8.0), 3, (64, 64, 64), "0a1b")
        >>> [(one.finest, one.coarsest, len(one.plan)) for one in pyramid.passes()]
        [(0, 2, 80), (3, 3, 2)]
    """

    path: Path
    shape: tuple[int, ...]
    voxel_size: tuple[float, ...]
    mips: int | None
    chunk: tuple[int, ...]
    made_from: str

    @property
    def hidden(self) -> Path:
        """Where it lies until it is whole."""
        return self.path.with_name(f".{self.path.name}.{self.made_from[:12]}.unfinished")

    @property
    def place(self) -> Path:
        """Where it lies now."""
        return self.hidden if self.hidden.is_dir() else self.path

    def levels(self) -> list[tuple[tuple[int, ...], tuple[float, ...], tuple[int, ...]]]:
        """Shape, voxel size and reduction of each level."""
        return plan_levels(self.shape, self.voxel_size, self.mips)

    def info(self) -> dict[str, Any]:
        """The content of the file `info`."""
        info = scales_info(self.levels(), np.dtype(np.uint64), "segmentation", self.chunk, 1)
        return info | {_MADE_FROM: self.made_from}

    def passes(self) -> list[PyramidPass]:
        """The stages in which the levels are made, each from the files of the one before."""
        levels, passes, finest = self.levels(), [], 0
        while finest < len(levels):
            source = max(finest - 1, 0)
            coarsest, side = finest, self._side(levels, source, finest)
            while coarsest + 1 < len(levels):
                wider = self._side(levels, source, coarsest + 1)
                if math.prod(wider) > _MOST_VOXELS:
                    break
                coarsest, side = coarsest + 1, wider
            side = _grown(side, levels[source][0])
            passes.append(PyramidPass(self, finest, coarsest, plan_blocks(levels[source][0], side)))
            finest = coarsest + 1
        return passes

    def begin(self, *, overwrite: bool) -> None:
        """Make the folder, or find that of an earlier or parallel run.

        Raises:
            FileExistsError: something else has the name and `overwrite` is False.
            OSError: the disk is full or cannot be written.
        """
        if self.finished:
            return
        if self.path.exists() and not overwrite:
            raise FileExistsError(f"{self.path} exists already; remove it or allow overwriting.")
        fresh = not self.hidden.is_dir()
        for number in range(len(self.levels())):
            (self.hidden / f"mip{number}").mkdir(parents=True, exist_ok=True)
        write_text(self.hidden / INFO, json.dumps(self.info(), indent=1))
        # Others may have ended while this process stood still.
        if fresh and self._has_name:
            shutil.rmtree(self.hidden, ignore_errors=True)

    @property
    def finished(self) -> bool:
        """Whether it has its name, and nothing is left to be done."""
        return not self.hidden.is_dir() and self._has_name

    @property
    def _has_name(self) -> bool:
        if not (self.path / INFO).is_file():
            return False
        return json.loads((self.path / INFO).read_text(encoding="utf-8")).get(_MADE_FROM) == self.made_from

    def finish(self) -> Path:
        """Give the folder its name; any process may, more than once."""
        for file in self.place.rglob(f"{TEMPORARY_MARK}*"):
            file.unlink(missing_ok=True)
        if self.hidden.is_dir():
            try:
                if not self.path.exists():
                    os.rename(self.hidden, self.path)
                elif self.hidden.is_dir():
                    replace(self.hidden, self.path)
                flush_to_disk(self.path.parent, recursive=False)
            except OSError as error:
                # Unless another process was faster.
                if not self.finished:
                    raise explain_write_error(error, self.path) from error
        for old in self.path.parent.glob(f".{self.path.name}.old-*"):
            shutil.rmtree(old, ignore_errors=True)
        return self.path

    def write(self, mip: int, start: Sequence[int], values: np.ndarray) -> list[str]:
        """Write the chunks of a part of a level, which begins with a chunk; returns their names."""
        names, info, place = [], self.info(), self.place
        for box in chunk_boxes(values.shape, self.chunk):
            there = tuple(slice(side.start + low, side.stop + low) for side, low in zip(box, start, strict=True))
            name = f"mip{mip}/{chunk_name(there)}"
            temporary = place / f"mip{mip}" / f"{TEMPORARY_MARK}{uuid.uuid4().hex[:8]}"
            try:
                temporary.write_bytes(encode_chunk(info, values[box]))
                os.replace(temporary, place / name)
            except OSError as error:
                raise explain_write_error(error, self.path) from error
            names.append(name)
        return names

    def _side(self, levels: Sequence[Any], source: int, coarsest: int) -> tuple[int, ...]:
        """Voxels of level `source` that hold one chunk of level `coarsest`."""
        steps = [factor for _, _, factor in levels[source + 1 : coarsest + 1]]
        return tuple(side * math.prod(step[axis] for step in steps) for axis, side in enumerate(self.chunk))


@dataclass(frozen=True)
class PyramidPass:
    """Levels that are made together, and the blocks of the level that they are made from."""

    pyramid: Pyramid
    finest: int
    coarsest: int
    plan: tuple[Block, ...]

    @property
    def name(self) -> str:
        """Of the stage."""
        return f"pyramid_{self.finest}"

    def of(self, segmentation: BlockVolume) -> PyramidBlock:
        """What does a block."""
        return PyramidBlock(self.pyramid, self.finest, self.coarsest, segmentation)


@dataclass(frozen=True)
class PyramidBlock:
    """Write all levels of a pass for one block: the most frequent label of the level before, as `write_precomputed`."""

    pyramid: Pyramid
    finest: int
    coarsest: int
    segmentation: BlockVolume

    def __call__(self, block: Block) -> dict[str, Any]:
        levels, start, names = self.pyramid.levels(), block.start, []
        if self.finest == 0:
            values = self.segmentation[block.inner]
            names += self.pyramid.write(0, start, values)
        else:
            values = read_box(self.pyramid.place, self.pyramid.info(), self.finest - 1, block.inner)
        for mip in range(max(self.finest, 1), self.coarsest + 1):
            factor = levels[mip][2]
            values = downsample_labels(values, factor)
            start = tuple(low // step for low, step in zip(start, factor, strict=True))
            names += self.pyramid.write(mip, start, values)
        return {"chunks": WrittenFiles((self.pyramid.hidden, self.pyramid.path), tuple(names))}


def _grown(side: tuple[int, ...], shape: Sequence[int]) -> tuple[int, ...]:
    """Blocks of several chunks where a job would have little to do; the shortest side that can grow is doubled."""
    while True:
        short = [axis for axis, length in enumerate(shape) if side[axis] < length]
        if not short or 2 * math.prod(side) > _MOST_VOXELS:
            return side
        axis = min(short, key=lambda one: side[one])
        side = tuple(2 * length if place == axis else length for place, length in enumerate(side))
