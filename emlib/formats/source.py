"""What every reader offers: shape, dtype, chunks, metadata, and boxes of voxels on demand."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from emlib.formats.metadata import Metadata, check_axes, check_dtype

Box = tuple[slice, ...]


class Source:
    """An array on disk or in memory that is read by boxes.

    A box is one slice an axis with 0 <= start < stop <= length and step >= 1. `read` gives a fresh array in C order
    and native byte order. Sources can be pickled: open handles stay behind, each process opens its own.
    """

    path: Path | None = None
    key: str | None = None
    chunks: tuple[int, ...] | None = None
    writable: bool = False
    shape: tuple[int, ...]
    dtype: np.dtype
    metadata: Metadata

    def read(self, box: Box) -> np.ndarray:
        """The voxels of `box`, a fresh array."""
        raise TypeError(f"{type(self).__name__} cannot be read.")

    def write(self, box: Box, values: np.ndarray) -> None:
        """Put `values` (already of this dtype, or a scalar) into `box`."""
        raise ValueError(f"{self.describe()} cannot be written to.")

    def mark_complete(self) -> None:
        """Note that everything was written; formats in which nothing can be missing have nothing to note."""

    def close(self) -> None:
        """Close open files; a later read opens them again."""

    def describe(self) -> str:
        """The file and key, for messages."""
        if self.path is None:
            return "The array in memory"
        return str(self.path) if not self.key else f"{self.path} [{self.key}]"


class FileSource(Source):
    """A source with a handle that must not cross a fork or a pickle: opened when first needed, once a process."""

    _opened: tuple[int, Any] | None = None

    def _open(self) -> Any:
        raise TypeError(f"{type(self).__name__} has no handle to open.")

    def handle(self) -> Any:
        """This process's handle."""
        opened = self._opened
        if opened is None or opened[0] != os.getpid():
            # Two threads may both open here; the later one stays, which costs nothing but the second opening.
            opened = (os.getpid(), self._open())
            self._opened = opened
        return opened[1]

    def close(self) -> None:
        opened, self._opened = self._opened, None
        if opened is not None and opened[0] == os.getpid() and hasattr(opened[1], "close"):
            opened[1].close()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_opened"}


class ArraySource(Source):
    """An array in memory.

    Raises:
        TypeError: a dtype that is not bool, integer or floating point.
    """

    def __init__(self, array: Any):
        if type(array).__module__.split(".")[0] in ("zarr", "h5py"):
            kind = f"{type(array).__module__.split('.')[0]} {type(array).__name__}"
            raise TypeError(f"A {kind} would be loaded whole; open it with open_volume(path, key) instead.")
        self.array = np.asarray(array)
        check_dtype(self.array.dtype, "The array")
        self.shape = self.array.shape
        self.dtype = self.array.dtype.newbyteorder("=")
        self.writable = bool(self.array.flags.writeable)
        self.metadata = Metadata(check_axes(None, 3))

    def read(self, box: Box) -> np.ndarray:
        return np.array(self.array[box], dtype=self.dtype, order="C", copy=True)

    def write(self, box: Box, values: np.ndarray) -> None:
        self.array[box] = values


def box_text(box: Box) -> str:
    """A box as it would be typed, for messages.

    Example:
        >>> box_text((slice(0, 4, 1), slice(2, 9, 3)))
        '[0:4, 2:9:3]'
    """
    parts = [f"{part.start}:{part.stop}" + (f":{part.step}" if part.step not in (None, 1) else "") for part in box]
    return f"[{', '.join(parts)}]"


def box_shape(box: Box) -> tuple[int, ...]:
    """How many voxels a box takes along each axis."""
    return tuple(len(range(part.start, part.stop, part.step or 1)) for part in box)


def in_threads(work: Callable[[Any], Any], jobs: Iterable[Any], count: int) -> Iterator[Any]:
    """`map` in threads, in order; when it ends or raises, no job is under way any more.

    Decoding and compressing are most of the time of pictures and chunks, and run beside Python.

    Example:
        >>> list(in_threads(abs, [-1, -2], 2))
        [1, 2]
    """
    workers = min(8, count, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    if workers <= 1:
        yield from map(work, jobs)
        return
    with ThreadPoolExecutor(workers) as pool:
        try:
            yield from pool.map(work, jobs)
        finally:
            pool.shutdown(cancel_futures=True)


def one_line(error: Exception) -> str:
    """A library's own words in one line, without a closing full stop, to be put into a sentence.

    Example:
        >>> one_line(OSError("no   such chunk."))
        'no such chunk'
    """
    return " ".join(str(error).split()).rstrip(".")
