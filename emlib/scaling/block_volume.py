"""A zarr array that many processes write at once, each its own blocks, and that is seen only when it is whole."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from emlib.atomic import TEMPORARY_MARK, explain_write_error, flush_to_disk, replace
from emlib.scaling.block_record import WrittenFiles
from emlib.scaling.blocks import Block, Place, plan_shape, whole_numbers
from emlib.volume import Volume, create_volume, open_volume

LONGEST_CHUNK = 128
_MADE_FROM = "blocks_made_from"


class BlockVolume:
    """The volume that `create_block_volume` made; it can be pickled and used in any process.

    Until `finish` it is a hidden folder beside its path, `.NAME.unfinished`; then it has its name.

    Example:
        >>> import tempfile
        >>> from emlib.scaling import plan_blocks
        >>> plan = plan_blocks((4, 8, 8), (4, 8, 4))
        >>> volume = create_block_volume(tempfile.mkdtemp() + "/labels.zarr", plan, "uint32")
        >>> for block in plan:
        ...     written = volume.write(block, np.full(block.shape, block.index[2], np.uint32))
        >>> open_volume(volume.finish())[0, 0].tolist()
        [0, 0, 0, 0, 1, 1, 1, 1]
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).absolute()
        self.hidden = self.path.with_name(f".{self.path.name}.unfinished")
        self._opened: tuple[Path, str, Volume] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_opened": None}

    @property
    def place(self) -> Path:
        """Where it lies now."""
        return self.hidden if (self.hidden / "zarr.json").exists() else self.path

    @property
    def finished(self) -> bool:
        """Whether it has its final name."""
        return self.place == self.path and (self.path / "zarr.json").exists()

    def __getitem__(self, index: Any) -> np.ndarray:
        return self._open("r")[index]

    def write(self, block: Block, values: np.ndarray) -> WrittenFiles:
        """Write the voxels that a block owns.

        Args:
            block: of the plan that the volume was made for.
            values: of the block's `shape`, channels in front if the volume has them.

        Returns:
            The chunk files, for `BlockLedger.store`, which flushes and hashes them.

        Raises:
            ValueError: values of another shape.
            TypeError: values that the volume's dtype cannot hold.
            OSError: the disk is full or cannot be written.
        """
        volume = self._open("r+")
        channels = volume.shape[: volume.ndim - len(block.shape)]
        if values.shape != (*channels, *block.shape):
            raise ValueError(f"{block} needs values of shape {(*channels, *block.shape)}, got {values.shape}.")
        try:
            volume[(..., *block.inner)] = values
        except OSError as error:
            raise explain_write_error(error, self.path) from error
        if self.finished:
            # A parallel run has finished meanwhile, and what was written here may have made the hidden folder anew.
            shutil.rmtree(self.hidden, ignore_errors=True)
        box = [slice(0, length) for length in channels] + list(block.inner)
        return WrittenFiles((self.hidden, self.path), tuple(_chunk_names(box, volume.chunks)))

    def finish(self, *, overwrite: bool = False) -> Path:
        """Give the volume its name, after checking that every chunk was written; any process may, more than once.

        Raises:
            FileExistsError: something else has the name and `overwrite` is False.
            OSError: a chunk was never written, or the disk refuses.
        """
        self.tidy()
        if self.place == self.path:
            return self.path
        # From here on another process may do the same; nothing may be written into the hidden folder, which would
        # come into being again.
        try:
            volume = self._open("r")
            for name in _chunk_names([slice(0, length) for length in volume.shape], volume.chunks):
                if not (self.hidden / name).exists():
                    raise OSError(f"{self.hidden} is incomplete: its chunk {name} was never written.")
            if self.path.exists() and not overwrite and not self.finished:
                raise FileExistsError(f"{self.path} exists already; remove it or allow overwriting.")
            if not self.finished:
                (replace if self.path.exists() else os.rename)(self.hidden, self.path)
            flush_to_disk(self.path.parent, recursive=False)
        except OSError as error:
            # Unless another process was faster.
            if not self.finished:
                raise explain_write_error(error, self.path) from error
        return self.path

    def tidy(self) -> None:
        """Remove what killed processes left half-written; call it when nothing is being written any more."""
        for folder in self.path.parent.glob(f"{TEMPORARY_MARK}*"):
            if folder.name.endswith(f"-{self.hidden.name}.zarr"):
                shutil.rmtree(folder, ignore_errors=True)
        # The name that zarr gives a chunk while it is being written.
        for file in self.place.rglob("*.partial"):
            file.unlink(missing_ok=True)

    def _open(self, mode: str) -> Volume:
        place = self.place
        if self._opened is None or self._opened[:2] != (place, mode):
            self._opened = (place, mode, open_volume(place, mode=mode))
        return self._opened[2]


def create_block_volume(
    path: str | Path,
    plan: Sequence[Block],
    dtype: Any,
    *,
    channels: int | None = None,
    chunks: Sequence[int] | None = None,
    made_from: str = "",
    voxel_size: Sequence[float] | None = None,
    attributes: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> BlockVolume:
    """Make the array that the blocks of a plan are written to, or find the one that an earlier or parallel run made.

    Args:
        path: .zarr; it is seen there when `BlockVolume.finish` was called.
        plan: covers the whole volume, two or three axes.
        dtype: of the voxels.
        channels: number of channels in front of the plan's axes; None for none.
        chunks: voxels of a chunk along the plan's axes, such that none belongs to two blocks: two processes that
            write into one chunk would undo each other's work. None chooses them.
        made_from: digest of what the values depend on, `BlockLedger.digest`; stored as an attribute.
        voxel_size: nm, (z, y, x).
        attributes: anything JSON can hold.
        overwrite: whether `finish` may replace what has the name.

    Raises:
        ValueError: chunks that two blocks share, an unfinished volume of other work, an unsuitable path or plan.
        FileExistsError: something else is at `path` and `overwrite` is False.
        OSError: the disk is full or cannot be written.

    Example:
        >>> from emlib.scaling import plan_blocks
        >>> create_block_volume("labels.zarr", plan_blocks((4, 8, 8), (4, 8, 4)), "uint32", chunks=(4, 8, 3))
        Traceback (most recent call last):
        ValueError: chunks of (4, 8, 3) voxels cross the border between two blocks along axis 2, at voxel 4; ...
    """
    volume = BlockVolume(path)
    if volume.path.suffix != ".zarr":
        raise ValueError(f"Blocks are written to .zarr, but the path is {str(path)!r}.")
    shape = plan_shape(plan)
    chunks = block_chunks(plan) if chunks is None else check_chunks(plan, chunks)
    leading = () if channels is None else (channels,)
    layout = ((*leading, *shape), np.dtype(dtype), (*(1 for _ in leading), *chunks))
    attributes = dict(attributes or {}) | {_MADE_FROM: made_from}
    if _is_there(volume, layout, made_from, overwrite):
        return volume
    temporary = volume.path.with_name(f"{TEMPORARY_MARK}{uuid.uuid4().hex[:8]}-{volume.hidden.name}.zarr")
    try:
        create_volume(temporary, *layout[:2], chunks=layout[2], voxel_size=voxel_size, attributes=attributes).close()
        _mark_complete(temporary / "zarr.json")
        flush_to_disk(temporary)
        # Not a rename that replaces: of several jobs that begin at once, the first makes the volume for all.
        os.rename(temporary, volume.hidden)
        flush_to_disk(volume.path.parent, recursive=False)
        # Others may have begun and ended while this process stood still.
        if (volume.path / "zarr.json").exists() and _is_ours(volume.path, layout, made_from):
            shutil.rmtree(volume.hidden, ignore_errors=True)
    except OSError as error:
        shutil.rmtree(temporary, ignore_errors=True)
        if not _is_there(volume, layout, made_from, overwrite):
            raise explain_write_error(error, volume.path) from error
    return volume


def block_chunks(plan: Sequence[Block]) -> Place:
    """Chunks of at most 128 voxels along each axis (more, if a block's length has no such divisor) that fit a plan.

    Example:
        >>> from emlib.scaling import plan_blocks
        >>> block_chunks(plan_blocks((1200, 3000, 3000), (200, 1024, 3000)))
        (100, 128, 128)
    """
    chunks = []
    for axis, length in enumerate(plan_shape(plan)):
        starts = {block.start[axis] for block in plan} - {0}
        step = min(starts, default=0)
        if not step:
            chunks.append(min(LONGEST_CHUNK, length))
            continue
        fitting = max(size for size in range(1, min(LONGEST_CHUNK, step) + 1) if step % size == 0)
        # A prime length would give chunks of one voxel.
        chunks.append(fitting if fitting >= min(step, LONGEST_CHUNK // 4) else step)
    return tuple(chunks)


def check_chunks(plan: Sequence[Block], chunks: Sequence[int]) -> Place:
    """The chunks, bounded by the volume, if none belongs to two blocks.

    Raises:
        ValueError: one does; the sentence says along which axis and where. Or a wrong number of values.
        TypeError: no whole numbers.
    """
    shape = plan_shape(plan)
    chunks = whole_numbers("chunks", chunks, len(shape), 1)
    for axis, size in enumerate(chunks):
        for start in sorted({block.start[axis] for block in plan}):
            if start % size:
                raise ValueError(
                    f"chunks of {chunks} voxels cross the border between two blocks along axis {axis}, at voxel "
                    f"{start}; choose chunks that divide the blocks, so that no two processes write one chunk."
                )
    return tuple(min(pair) for pair in zip(chunks, shape, strict=True))


def _is_ours(place: Path, layout: tuple[Any, ...], made_from: str) -> bool:
    found = open_volume(place)
    return (found.shape, found.dtype, found.chunks) == layout and found.attributes.get(_MADE_FROM) == made_from


def _chunk_names(box: Sequence[slice], chunks: Sequence[int]) -> Iterator[str]:
    """The files of the chunks that a box touches."""
    steps = [range(part.start // chunk, (part.stop - 1) // chunk + 1) for part, chunk in zip(box, chunks, strict=True)]
    for position in itertools.product(*steps):
        yield "/".join(map(str, ("c", *position)))


def _mark_complete(metadata: Path) -> None:
    """Say beforehand that every chunk is there: a volume gets its name only when that is so."""
    content = json.loads(metadata.read_text(encoding="utf-8"))
    content["attributes"]["complete"] = True
    metadata.write_text(json.dumps(content, indent=2), encoding="utf-8")


def _is_there(volume: BlockVolume, layout: tuple[Any, ...], made_from: str, overwrite: bool) -> bool:
    """Whether the volume was made before; refuses one of other work."""
    place = volume.place
    if not place.exists():
        return False
    ours = (place / "zarr.json").exists() and _is_ours(place, layout, made_from)
    if not ours and place == volume.hidden:
        raise ValueError(f"{place} is an unfinished volume of other work; remove it to start over.")
    if not ours and not overwrite:
        raise FileExistsError(f"{place} exists already; remove it or allow overwriting.")
    return ours
