"""Where the planes of a prediction go: an array, or a file that appears only when it is whole."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from emlib.atomic import atomic_path, explain_write_error, flush_to_disk, replace
from emlib.inference.ledger import Ledger

SUFFIXES = (".zarr", ".h5", ".hdf5")
_DEEPEST_CHUNK = 32
_WIDEST_CHUNK = 256


class ArrayOutput:
    """Collects planes in one numpy array (c, z, y, x)."""

    def __init__(self, shape: Sequence[int], dtype: str) -> None:
        self._shape = tuple(shape)
        self._dtype = dtype
        self._array: np.ndarray | None = None
        self.done = 0

    def append(self, planes: np.ndarray) -> None:
        """Store the next planes (c, n, y, x)."""
        if self._array is None:
            self._array = np.empty((len(planes), *self._shape), self._dtype)
        self._array[:, self.done : self.done + planes.shape[1]] = planes
        self.done += planes.shape[1]

    def finish(self) -> np.ndarray:
        """The whole array."""
        return self._array


class StreamedOutput:
    """Writes planes to a hidden zarr beside `path`, a whole number of chunks at a time, and resumes there.

    The hidden files are `.NAME.partial-prediction.zarr` and its `.json` ledger. `finish` moves the zarr to `path`
    (for HDF5: copies it, since an HDF5 file that a killed process had open cannot be trusted) and removes them.

    Args:
        path: final name, .zarr, .h5 or .hdf5.
        shape: (z, y, x).
        dtype: of the output.
        fingerprint: everything the values depend on.
        resume: False starts from the first plane whatever is there.
        key: name of the array inside the file.
        voxel_size: nm, (z, y, x).
        channels: their names, or None for channel_0, channel_1, ...
        offsets: the (z, y, x) offset of each affinity channel, None for a channel without; None altogether: no offsets.
        buffer_bytes: how much may be collected before it is written.
    """

    def __init__(
        self,
        path: str | Path,
        shape: Sequence[int],
        dtype: str,
        *,
        fingerprint: dict[str, Any],
        resume: bool = True,
        key: str | None = None,
        voxel_size: Sequence[float] | None = None,
        channels: Sequence[str] | None = None,
        offsets: Sequence[Sequence[int] | None] | None = None,
        buffer_bytes: int = 1 << 27,
    ) -> None:
        self.path = check_output_path(path)
        self._shape = tuple(shape)
        self._dtype = dtype
        self._key = key
        self._voxel_size = voxel_size
        self._channels = channels
        self._offsets = offsets
        self._buffer_bytes = buffer_bytes
        hidden = f".{self.path.name}.partial-prediction"
        self.hidden = self.path.with_name(hidden + ".zarr")
        self._lock = self.path.with_name(hidden + ".lock")
        self.ledger = Ledger(self.path.with_name(hidden + ".json"), fingerprint)
        self._record = self.ledger.load() if resume and self.hidden.exists() else None
        if resume and self._record is None and self.hidden.exists():
            reasons = ", ".join(self.ledger.differences()) or "ledger"
            print(f"{self.path.name}: an unfinished prediction is there with another {reasons}; starting over.")
        self.done = int(self._record["planes"]) if self._record else 0
        self._buffer: list[np.ndarray] = []
        self._array: Any = None
        if self._record:
            from emlib.volume import open_volume

            self._depth = int(self._record["chunk_depth"])
            self._array = open_volume(self.hidden, key, mode="r+")

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from predicting into the same file at the same time.

        The hidden files stay for a later run if the block fails, unless that could not use them.

        Raises:
            BlockingIOError: one does.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            file = self._lock.open("w")
        except OSError as error:
            raise explain_write_error(error, self.path) from error
        with file:
            _take_lock(file.fileno(), self.path)
            try:
                yield
            except BaseException as error:
                # A wrong volume or network has to change before this can work, and then the planes would not fit.
                if self.done == 0 or isinstance(error, ValueError | TypeError):
                    self._remove_hidden()
                raise
            finally:
                self._lock.unlink(missing_ok=True)

    def append(self, planes: np.ndarray) -> None:
        """Take the next planes (c, n, y, x); they are written as soon as they fill chunks.

        Raises:
            OSError: the disk is full; what was written before is kept for a later run, nothing has the final name.
        """
        if self._array is None:
            self._create(len(planes))
        self._buffer.append(planes)
        held = self.done + sum(part.shape[1] for part in self._buffer)
        ready = held if held == self._shape[0] else held // self._depth * self._depth
        if ready <= self.done:
            return
        joined = self._buffer[0] if len(self._buffer) == 1 else np.concatenate(self._buffer, 1)
        count = ready - self.done
        try:
            started = time.time_ns()
            self._array[:, self.done : ready] = joined[:, :count]
            _flush_changed(self.hidden, started)
            self.ledger.write(ready, chunk_depth=self._depth)
        except OSError as error:
            raise explain_write_error(error, self.path) from error
        self._buffer = [joined[:, count:]] if count < joined.shape[1] else []
        self.done = ready

    def finish(self) -> Any:
        """Give the whole output its final name and return it as a Volume.

        Raises:
            OSError: it could not be written there; the finished planes stay hidden for a later run.
        """
        from emlib.volume import open_volume

        try:
            self._array.mark_complete()
            if self.path.suffix == ".zarr":
                # Not through atomic_path, which would delete the planes if the last step failed.
                flush_to_disk(self.hidden)
                replace(self.hidden, self.path)
                flush_to_disk(self.path.parent, recursive=False)
            else:
                with atomic_path(self.path) as temporary:
                    self._copy_to_hdf5(temporary)
        except OSError as error:
            raise explain_write_error(error, self.path) from error
        self._remove_hidden()
        return open_volume(self.path, self._key)

    def _remove_hidden(self) -> None:
        self.ledger.remove()
        shutil.rmtree(self.hidden, ignore_errors=True)

    def _create(self, channels: int) -> None:
        from emlib.volume import create_volume

        plane_bytes = channels * self._shape[1] * self._shape[2] * np.dtype(self._dtype).itemsize
        self._depth = 1
        while self._depth < min(_DEEPEST_CHUNK, self._shape[0]) and 2 * self._depth * plane_bytes <= self._buffer_bytes:
            self._depth *= 2
        try:
            self._remove_hidden()
            self._array = create_volume(
                self.hidden, (channels, *self._shape), self._dtype, overwrite=True, **self._layout(channels)
            )
            self.ledger.write(0, chunk_depth=self._depth)
        except OSError as error:
            raise explain_write_error(error, self.path) from error

    def _copy_to_hdf5(self, target: Path) -> None:
        from emlib.volume import create_volume

        written = target.with_name(target.name + ".h5")
        channels, planes = self._array.shape[:2]
        try:
            copy = create_volume(written, self._array.shape, self._dtype, overwrite=True, **self._layout(channels))
            for start in range(0, planes, self._depth):
                copy[:, start : start + self._depth] = self._array[:, start : start + self._depth]
            copy.mark_complete()
            os.rename(written, target)
        finally:
            written.unlink(missing_ok=True)

    def _layout(self, channels: int) -> dict[str, Any]:
        chunk = (self._depth, _WIDEST_CHUNK, _WIDEST_CHUNK)
        attributes: dict[str, Any] = {"channels": list(self._channels or [f"channel_{c}" for c in range(channels)])}
        if self._offsets is not None:
            attributes["offsets"] = [None if offset is None else list(offset) for offset in self._offsets]
        return {
            "key": self._key,
            "voxel_size": self._voxel_size,
            "axes": "czyx",
            "chunks": (1, *(min(pair) for pair in zip(self._shape, chunk, strict=True))),
            "attributes": attributes,
        }


def check_output_path(path: str | Path) -> Path:
    """The path, if predictions can be written there.

    Raises:
        ValueError: its suffix is not .zarr, .h5 or .hdf5.
    """
    path = Path(path)
    if path.suffix not in SUFFIXES:
        raise ValueError(f"Predictions are written to {', '.join(SUFFIXES)}; {path.name} ends otherwise.")
    return path


def refuse_loss(path: str | Path, key: str | None, volume: Any) -> None:
    """Refuse to replace anything but an earlier prediction: `finish` replaces all that is at `path`.

    Raises:
        ValueError: `path` is the volume itself, another kind of file or folder, or holds other arrays.
    """
    path = Path(path)
    advice = "; choose another name for the prediction."
    if not path.exists():
        return
    if volume.path is not None and path.resolve() == Path(volume.path).resolve():
        raise ValueError(f"{path} is the volume that is predicted{advice}")
    if path.is_dir() != (path.suffix == ".zarr"):
        raise ValueError(f"{path} is a {'folder' if path.is_dir() else 'file'}{advice}")
    name = key.strip("/") if key else None
    if path.suffix != ".zarr":
        from emlib.formats import hdf5

        with hdf5.open_file(path) as file:
            held = set(hdf5.dimensions(file)) - {name or hdf5.DEFAULT_KEY}
    else:
        from emlib.formats import zarr_store

        if not zarr_store.is_node(path):
            if any(path.iterdir()):
                raise ValueError(f"{path} is a folder but no zarr store{advice}")
            return
        whole = zarr_store.read_node(path)[0] == "array"
        held = ({None} if whole else set(zarr_store.dimensions(path))) - {name}
    if held:
        what = "one array" if None in held else f"the array {', '.join(sorted(held))}"
        raise ValueError(f"{path} holds {what}, which would be lost{advice}")


def _flush_changed(folder: Path, since: int) -> None:
    """fsync what was written after `since` (ns), so that the ledger never promises planes that a power cut takes."""
    margin = 2_000_000_000  # file systems keep times coarsely
    for entry in folder.rglob("*"):
        if entry.is_file() and entry.stat().st_mtime_ns >= since - margin:
            flush_to_disk(entry)


def _take_lock(descriptor: int, path: Path) -> None:
    try:
        import fcntl
    except ImportError:  # no advisory locks on this system
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise BlockingIOError(f"Another process is predicting into {path} right now.") from error
