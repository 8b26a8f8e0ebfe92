"""Volumes in HDF5 files: one data set each, chunked in three dimensions, attributes beside the voxels."""

from __future__ import annotations

import errno
import io
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from emlib.formats.boxes import blocks
from emlib.formats.metadata import Metadata, check_dtype, from_stored, plain, to_stored
from emlib.formats.ordering import DEFAULT_KEY, choose_key, missing_key
from emlib.formats.source import Box, FileSource, box_text, one_line

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

# Free attributes go into one JSON text: HDF5 attributes hold no nested values and no None.
FREE = "attributes_json"


class Hdf5Source(FileSource):
    """One data set of an HDF5 file.

    For reading, the file stays open (one handle a process). For writing it is opened and closed around each write,
    so that what was written is on disk and other readers see a whole file at any moment.

    Raises:
        OSError: not an HDF5 file, a truncated one, or one that another program holds open for writing.
        ValueError: no such key.
        TypeError: a dtype a volume cannot hold.
    """

    def __init__(self, path: Path, key: str | None = None, *, writable: bool = False):
        self.path, self.writable = path, writable
        with open_file(path) as file:
            self.key = find_key(path, file, key)
            data = file[self.key]
            if data.shape is None:
                raise ValueError(f"{self.describe()} is an empty HDF5 data set without a shape.")
            self.shape, self.chunks = data.shape, data.chunks
            self.dtype = check_dtype(data.dtype, self.describe())
            self.metadata = from_stored(_read_attributes(data), len(data.shape), self.describe())

    def _open(self) -> h5py.Dataset:
        return open_file(self.path)[self.key]

    def close(self) -> None:
        opened, self._opened = self._opened, None
        if opened is not None and opened[0] == os.getpid() and opened[1]:
            opened[1].file.close()

    def read(self, box: Box) -> np.ndarray:
        try:
            if self.writable:
                with open_file(self.path) as file:
                    values = file[self.key][box]
            else:
                values = self.handle()[box]
        except (OSError, RuntimeError, KeyError) as error:
            # HDF5's filters are the checksum and the compression; its own words for both say nothing more.
            reason = "a chunk fails its check" if "filter returned failure" in str(error) else one_line(error)
            raise OSError(f"{self.describe()} cannot be read at {box_text(box)}, it is damaged ({reason}).") from error
        return np.ascontiguousarray(values, dtype=self.dtype)

    def write(self, box: Box, values: np.ndarray) -> None:
        with writing(self.path) as file:
            file[self.key][box] = values


def open_file(path: Path, mode: str = "r", raw: Any = None) -> h5py.File:
    """`h5py.File` of the path (or of the open file `raw`), with one sentence if it cannot be opened."""
    try:
        return h5py.File(path if raw is None else raw, mode)
    except OSError as error:
        text = str(error)
        if "truncated file" in text:
            sizes = re.search(r"eof = (\d+).*stored_eof = (\d+)", text)
            held = f": it has {sizes[1]} of its {sizes[2]} bytes" if sizes else ""
            raise OSError(f"{path} is a truncated HDF5 file{held}; copy or download it again.") from error
        if "file signature not found" in text:
            raise OSError(f"{path} is not an HDF5 file (its first bytes are not HDF5's).") from error
        if "lock" in text or "already open" in text:
            raise OSError(f"{path} is open elsewhere (a volume.close() may be missing): {one_line(error)}.") from error
        if error.errno is None:
            raise OSError(f"{path} is damaged or truncated: HDF5 cannot open it ({one_line(error)}).") from error
        raise


@contextmanager
def writing(path: Path) -> Iterator[h5py.File]:
    """The file opened for writing (made if it is not there), through `_RecordingFile`.

    Raises:
        OSError: a write failed, with the operating system's number; or somebody has the file open.
    """
    mode = "r+" if path.exists() else "w"
    with _RecordingFile(io.FileIO(path, "r+" if mode == "r+" else "w+")) as raw:
        _lock(raw, path)
        file = open_file(path, mode, raw)
        try:
            yield file
        except RuntimeError:
            # After a failed write HDF5 may stumble over what it cannot read back; the failed write is the reason.
            if raw.error is None:
                raise
        finally:
            file.close()
            raw.flush()
        if raw.error is not None:
            raise raw.error


class _RecordingFile(io.BufferedRandom):
    """A file that keeps the first error of a write for later instead of raising it.

    HDF5 cannot close a file it failed to write: the process crashes when it ends. So HDF5 is left in the belief that
    all is well, and the caller looks at `error`.
    """

    error: OSError | None = None

    def write(self, data: Any) -> int:
        if self.error is None:
            try:
                return super().write(data)
            except OSError as error:
                self.error = error
        return len(data)

    def flush(self) -> None:
        try:
            super().flush()
        except OSError as error:
            self.error = self.error or error


def _lock(file: Any, path: Path) -> None:
    """Refuse to write to a file that is open elsewhere, as HDF5 itself does where it opens the file."""
    if fcntl is None:
        return
    try:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise OSError(f"{path} is open elsewhere; close that volume (volume.close()) before writing.") from error
    except OSError as error:
        # Some network file systems have no locks.
        if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):
            raise


def dimensions(file: h5py.File) -> dict[str, int]:
    """Number of dimensions of each numeric data set in the file, by key."""
    found: dict[str, int] = {}

    def visit(name: str, node: Any) -> None:
        if isinstance(node, h5py.Dataset) and node.shape is not None and node.dtype.kind in "biuf":
            found[name] = len(node.shape)

    file.visititems(visit)
    return found


def find_key(path: Path, file: h5py.File, key: str | None) -> str:
    """The data set `key` names, or the first one in the order of `emlib.formats.ordering`."""
    if key is None:
        return choose_key(path, dimensions(file))
    name = key.strip("/")
    # h5py says KeyError for links that lead nowhere, as for names that are not there.
    if not name or name not in file or not isinstance(file[name], h5py.Dataset):
        raise missing_key(path, key, dimensions(file))
    return name


def _read_attributes(data: h5py.Dataset) -> dict[str, Any]:
    stored = {}
    for name, value in data.attrs.items():
        try:
            stored[name] = value if isinstance(value, str) else json.loads(json.dumps(value, default=plain))
        except (TypeError, ValueError):
            # References and other types that only HDF5 knows: keep what can be shown.
            stored[name] = str(value)
    free = stored.pop(FREE, None)
    if free is not None:
        stored.update(json.loads(free))
    return stored


def create(path: Path, shape: Any, dtype: Any, metadata: Metadata, chunks: Any, key: str | None) -> None:
    """Add a data set, filled with zeros, to the file at `path`, which is made if it is not there.

    Compressed with LZF (fast) and protected by a checksum, which HDF5 tests on reading.
    """
    with writing(path) as file:
        name = (key or DEFAULT_KEY).strip("/")
        if name in file:
            del file[name]
        data = file.create_dataset(name, shape, dtype, chunks=chunks, compression="lzf", fletcher32=True)
        stored = to_stored(metadata)
        for attribute in ("voxel_size", "axes"):
            if attribute in stored:
                data.attrs[attribute] = stored[attribute]
        if metadata.attributes:
            data.attrs[FREE] = json.dumps(metadata.attributes)


def holds(path: Path, key: str | None) -> bool:
    """Whether the file has something under `key`."""
    if not path.exists():
        return False
    with open_file(path) as file:
        return (key or DEFAULT_KEY).strip("/") in file


def save(path: Path, array: Any, metadata: Metadata, chunks: Any, key: str | None, existing: Path) -> None:
    """Write `array` as a data set of a new file at `path`, beside the other data sets of the file `existing`.

    A damaged `existing` file is replaced if no key was named; with a key it is an error, for its other data sets
    would be lost.
    """
    name = (key or DEFAULT_KEY).strip("/")
    if existing.exists() and (key is not None or h5py.is_hdf5(existing)):
        try:
            with open_file(existing) as source, writing(path) as target:
                _copy_others(source, target, name)
        except OSError:
            if key is not None or _readable(existing):
                raise
            path.unlink(missing_ok=True)
    create(path, array.shape, array.dtype, metadata, chunks, name)
    for box in blocks(array.shape, chunks, array.dtype.itemsize):
        with writing(path) as file:
            file[name][box] = array[box]


def _readable(path: Path) -> bool:
    try:
        with open_file(path):
            return True
    except OSError:
        return False


def _copy_others(source: h5py.Group, target: h5py.Group, key: str) -> None:
    """Copy everything except the data set `key`, so that its old voxels do not stay behind as dead space."""
    for name, value in source.attrs.items():
        target.attrs[name] = value
    first, _, rest = key.partition("/")
    for child in source:
        if child != first:
            source.copy(child, target, name=child)
        elif rest and isinstance(source[child], h5py.Group):
            _copy_others(source[child], target.create_group(child), rest)
