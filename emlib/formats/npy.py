"""Volumes in .npy files: memory-mapped, with an optional line of metadata behind the array.

A .npy file has no place for a voxel size. `save` therefore appends, behind the array, one line of JSON that starts
with a mark; numpy and other readers stop at the end of the array and never see it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from emlib.formats.boxes import blocks
from emlib.formats.metadata import Metadata, check_dtype, from_stored, to_stored
from emlib.formats.source import Box, FileSource

MARK = b"\nemlib-metadata "


class NpySource(FileSource):
    """A memory-mapped .npy file.

    Raises:
        OSError: not a .npy file, or a truncated one.
        TypeError: a dtype a volume cannot hold.
    """

    def __init__(self, path: Path, key: str | None = None, *, writable: bool = False):
        if key is not None:
            raise ValueError(f"{path} is a .npy file, which holds one array; do not pass a key (got {key!r}).")
        self.path, self.writable = path, writable
        array = self._open()
        self.shape = array.shape
        self._stored_dtype = array.dtype
        self.dtype = check_dtype(array.dtype, str(path))
        stored = _read_footer(path, array.offset + array.nbytes)
        self.metadata = from_stored(stored, array.ndim, str(path))
        self._opened = None

    def _open(self) -> np.memmap:
        try:
            return np.load(self.path, mmap_mode="r+" if self.writable else "r", allow_pickle=False)
        except (ValueError, EOFError) as error:
            # numpy takes anything without its magic bytes for a pickle.
            with open(self.path, "rb") as file:
                magic = file.read(len(np.lib.format.MAGIC_PREFIX))
            if magic == np.lib.format.MAGIC_PREFIX and "object" in str(error).lower():
                raise TypeError(f"{self.path} has dtype object; a volume holds bool, integers or floats.") from error
            reason = error if magic == np.lib.format.MAGIC_PREFIX else "its first bytes are not .npy's"
            raise OSError(f"{self.path} is no complete .npy file, it is damaged or truncated ({reason}).") from error

    def read(self, box: Box) -> np.ndarray:
        return np.array(self.handle()[box], dtype=self.dtype, order="C", copy=True, subok=False)

    def write(self, box: Box, values: np.ndarray) -> None:
        array = self.handle()
        array[box] = values
        array.flush()


def _read_footer(path: Path, position: int) -> dict[str, Any]:
    with open(path, "rb") as file:
        file.seek(position)
        if file.read(len(MARK)) != MARK:
            return {}
        try:
            stored = json.loads(file.read().decode("utf-8"))
        except ValueError as error:
            raise OSError(f"{path} is damaged: the metadata behind the array cannot be read ({error}).") from error
    return stored


def save(path: Path, array: Any, metadata: Metadata) -> None:
    """Write `array` slab by slab, then the metadata if there is any beyond the usual axes.

    Plain writes, not a memory map: on a full disk a memory map kills the process instead of raising.
    """
    header = {"descr": np.lib.format.dtype_to_descr(array.dtype), "fortran_order": False, "shape": tuple(array.shape)}
    with open(path, "wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        # Whole rows of the first axis, so that slabs follow one another in C order.
        for box in blocks(array.shape, (1, *array.shape[1:]), array.dtype.itemsize):
            file.write(np.ascontiguousarray(array[box]).data)
        usual = from_stored({}, len(array.shape), str(path))
        if metadata != usual:
            file.write(MARK + json.dumps(to_stored(metadata)).encode())
