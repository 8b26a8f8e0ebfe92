"""Volumes in zarr stores (v3; v2 can be read): 3-D chunks with checksums, and a mark that says all were written."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from emlib.atomic import TEMPORARY_MARK, write_text
from emlib.formats.boxes import blocks
from emlib.formats.metadata import Metadata, check_axes, check_dtype, from_multiscales, from_stored, to_stored
from emlib.formats.ordering import choose_key, missing_key
from emlib.formats.source import Box, FileSource, box_shape, box_text, in_threads, one_line

NODE_FILES = ("zarr.json", ".zarray", ".zgroup")
# What zarr and its codecs raise on damaged chunks and metadata, by experiment.
DAMAGE = (RuntimeError, ValueError, OSError, KeyError, TypeError, AttributeError)


class ZarrSource(FileSource):
    """One array of a zarr store on disk.

    zarr reads a chunk that is not there as fill value. That is right for a store in progress and wrong for one that
    lost files; arrays marked `complete` (all of `save_volume`'s) therefore raise when a chunk is missing.

    Raises:
        OSError: no zarr.json, one that cannot be read, or (on reading) a damaged or missing chunk.
        ValueError: no such key.
        TypeError: a dtype a volume cannot hold.
    """

    def __init__(self, path: Path, key: str | None = None, *, writable: bool = False):
        self.path, self.writable = path, writable
        self.key = find_key(path, key)
        array = self._open()
        self.shape, self.chunks = array.shape, array.chunks
        self.dtype = check_dtype(array.dtype, self.describe())
        stored = dict(array.attrs)
        self.complete = stored.get("complete") is True
        self.metadata = from_stored(stored, len(self.shape), self.describe())
        if self.metadata.voxel_size is None and self.key:
            self.metadata = self._with_multiscales(stored)

    def _with_multiscales(self, stored: dict[str, Any]) -> Metadata:
        group, _, name = self.key.rpartition("/")
        attributes = read_node(self.path / group)[1] if is_node(self.path / group) else {}
        axes, voxel_size = from_multiscales(attributes, name, len(self.shape))
        axes = self.metadata.axes if "axes" in stored or axes is None else check_axes(axes, len(self.shape))
        return Metadata(axes, voxel_size, self.metadata.attributes)

    def _open(self) -> Any:
        import zarr

        try:
            array = zarr.open_array(str(self.path), path=self.key or "", mode="r+" if self.writable else "r")
            # Blocks of zeros are written like all others: a chunk that is not there was never written. (open_array
            # has an argument for this too, which zarr 3.1 ignores for an array that exists.)
            return array.with_config({"write_empty_chunks": True})
        except DAMAGE as error:
            raise OSError(f"{self.describe()} has metadata that zarr cannot use ({one_line(error)}).") from error

    def read(self, box: Box) -> np.ndarray:
        array = self.handle()
        if self.complete:
            self._refuse_missing(array, box)
        try:
            return np.ascontiguousarray(array[box], dtype=self.dtype)
        except DAMAGE as error:
            file = next((file for part, file in self._chunk_files(array, box) if not _readable(array, part)), "")
            place = f"chunk file {file}" if file else "one of its chunks"
            reason = "its checksum is wrong" if "checksum" in str(error) else one_line(error)
            raise OSError(
                f"{self.describe()} cannot be read at {box_text(box)}: {place} is damaged ({reason})."
            ) from error

    def write(self, box: Box, values: np.ndarray) -> None:
        write_chunks(self.handle(), box, values)

    def mark_complete(self) -> None:
        array = self.handle()
        self._refuse_missing(array, tuple(slice(0, length) for length in self.shape))
        array.attrs["complete"] = True
        self.complete = True

    def _refuse_missing(self, array: Any, box: Box) -> None:
        for part, file in self._chunk_files(array, box):
            if not file.exists():
                raise OSError(
                    f"{self.describe()} is incomplete: the chunk file {file} for {box_text(part)} is missing."
                )

    def _chunk_files(self, array: Any, box: Box) -> Iterator[tuple[Box, Path]]:
        """Each chunk (shard, where the array is sharded) that `box` overlaps, with its file."""
        steps = array.shards or array.chunks
        folder = self.path / (self.key or "")
        ranges = [range(part.start // step, (part.stop - 1) // step + 1) for part, step in zip(box, steps, strict=True)]
        for position in itertools.product(*ranges):
            corner = [index * step for index, step in zip(position, steps, strict=True)]
            part = tuple(
                slice(start, min(start + step, length))
                for start, step, length in zip(corner, steps, self.shape, strict=True)
            )
            yield part, folder / array.metadata.encode_chunk_key(position)


def _readable(array: Any, box: Box) -> bool:
    try:
        array[box]
    except DAMAGE:
        return False
    return True


def is_node(folder: Path) -> bool:
    """Whether the folder is a zarr array or group."""
    return any((folder / name).is_file() for name in NODE_FILES)


def read_node(folder: Path) -> tuple[str, dict[str, Any], int]:
    """Kind ("array" or "group"), attributes and number of dimensions of a zarr node, v3 or v2.

    Raises:
        OSError: the metadata file is missing, empty or damaged.
    """
    name = next((name for name in NODE_FILES if (folder / name).is_file()), None)
    if name is None:
        raise OSError(f"{folder} is not a zarr array or group: it has no zarr.json.")
    try:
        node = json.loads((folder / name).read_text(encoding="utf-8"))
        if name == "zarr.json":
            kind, attributes = node["node_type"], node.get("attributes") or {}
            if kind not in ("array", "group"):
                raise ValueError(f"node_type is {kind!r}")
        else:
            kind = "array" if name == ".zarray" else "group"
            free = folder / ".zattrs"
            attributes = json.loads(free.read_text(encoding="utf-8")) if free.is_file() else {}
        return kind, attributes, len(node["shape"]) if kind == "array" else 0
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise OSError(f"{folder / name} is damaged or truncated: it is not zarr metadata ({error}).") from error


def dimensions(root: Path, prefix: str = "") -> dict[str, int]:
    """Number of dimensions of each array below the group `root`, by key."""
    found: dict[str, int] = {}
    for child in root.iterdir():
        if child.name.startswith(TEMPORARY_MARK) or not child.is_dir() or not is_node(child):
            continue
        kind, _, ndim = read_node(child)
        if kind == "array":
            found[prefix + child.name] = ndim
        else:
            found |= dimensions(child, f"{prefix}{child.name}/")
    return found


def find_key(path: Path, key: str | None) -> str | None:
    """The array `key` names: None if the store is one array, the first of a group if no key is given."""
    kind = read_node(path)[0]
    if key is None:
        return None if kind == "array" else choose_key(path, dimensions(path))
    if kind == "array":
        raise ValueError(f"{path} is one zarr array, not a group; do not pass a key (got {key!r}).")
    name = key.strip("/")
    if not name or ".." in name.split("/") or not is_node(path / name) or read_node(path / name)[0] != "array":
        raise missing_key(path, key, dimensions(path))
    return name


def create(path: Path, shape: Any, dtype: Any, metadata: Metadata, chunks: Any, key: str | None = None) -> Any:
    """Make an array at `path`, or below the group `path` if a key is given; no chunk is written yet.

    Chunks are compressed with Blosc-LZ4 (bits shuffled for types of more than one byte) and carry a CRC-32C.
    """
    import zarr
    from zarr.codecs import BloscCodec, Crc32cCodec

    shuffle = "bitshuffle" if np.dtype(dtype).itemsize > 1 else "noshuffle"
    return zarr.create_array(
        str(path),
        name=key,
        shape=tuple(shape),
        dtype=dtype,
        chunks=chunks,
        compressors=[BloscCodec(cname="lz4", clevel=5, shuffle=shuffle), Crc32cCodec()],
        fill_value=0,
        attributes=to_stored(metadata),
        dimension_names=list(metadata.axes),
        config={"write_empty_chunks": True},
    )


def write_chunks(array: Any, box: Box, values: np.ndarray) -> None:
    """Write `values` into `box`, chunk by chunk in threads, and return when no write is under way any more.

    zarr itself, given many chunks, returns at the first error while its other writes go on in the background, where
    they would race with whoever cleans up.
    """
    steps = array.shards or array.chunks
    if any((part.step or 1) != 1 for part in box):
        array[box] = values
        return
    cuts = [
        [(max(start, part.start), min(start + step, part.stop)) for start in
         range(part.start - part.start % step, part.stop, step)]
        for part, step in zip(box, steps, strict=True)
    ]  # fmt: skip
    values = np.broadcast_to(values, box_shape(box))

    def write(chunk: tuple[tuple[int, int], ...]) -> None:
        inside = tuple(slice(low - part.start, high - part.start) for (low, high), part in zip(chunk, box, strict=True))
        array[tuple(slice(low, high) for low, high in chunk)] = values[inside]

    count = math.prod(map(len, cuts))
    for _ in in_threads(write, itertools.product(*cuts), count):
        pass


def make_groups(path: Path, key: str) -> None:
    """Make the group `path`, and the groups between it and the array `key`, where they are missing.

    Raises:
        ValueError: one of them is an array.
    """
    for depth in range(len(key.split("/"))):
        folder = path.joinpath(*key.split("/")[:depth])
        if not is_node(folder):
            write_text(folder / "zarr.json", json.dumps({"zarr_format": 3, "node_type": "group", "attributes": {}}))
        elif read_node(folder)[0] == "array":
            raise ValueError(f"{folder} is a zarr array, so nothing can be put below it (key {key!r}).")


def save(path: Path, array: Any, metadata: Metadata, chunks: Any) -> None:
    """Write `array` as a new zarr array at `path`, all chunks, and mark it complete."""
    target = create(path, array.shape, array.dtype, metadata, chunks)
    for box in blocks(array.shape, chunks, array.dtype.itemsize):
        write_chunks(target, box, array[box])
    target.attrs["complete"] = True
