"""Weighted sums of overlapping windows that remember only the planes which windows still reach."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from emlib.atomic import explain_write_error


def accumulator_bytes(channels: int, weight_maps: int, depth: int, plane: Sequence[int]) -> int:
    """Bytes that a `RollingAccumulator` takes."""
    return (channels + weight_maps) * depth * plane[0] * plane[1] * 4


class RollingAccumulator:
    """Sums `weight * prediction` and `weight` per voxel for windows that come in the order of their z position.

    It holds as many planes as a window is deep, in a ring: plane z lies in row z modulo depth. When the next
    windows start further on, the planes before them are complete; `take` divides them and frees their rows. So
    the memory depends on the window's depth and on the plane, not on how many planes the volume has.

    The weights are summed by the same float32 operations in the same order as the predictions. Rounding is
    monotonic, so a mean of probabilities cannot leave the range [0, 1] and a constant prediction of 1 stays 1.

    Args:
        channels: number of prediction channels.
        depth: planes of a window.
        plane: (y, x) of the padded volume.
        weight_maps: 1 if all channels have the same weights, else as many as there are channels.
        folder: None keeps the ring in memory; a folder keeps it in a file there, which is removed in any case.

    Raises:
        OSError: there is no room for the file.

    Example:
        >>> ring = RollingAccumulator(1, 2, (2, 2))
        >>> ring.add(torch.full((1, 2, 2, 2), 0.5), torch.ones(1, 2, 2, 2), (0, 0, 0))
        >>> ring.take(range(0, 1)).flatten()
        tensor([0.5000, 0.5000, 0.5000, 0.5000])
    """

    def __init__(
        self,
        channels: int,
        depth: int,
        plane: tuple[int, int],
        *,
        weight_maps: int = 1,
        folder: str | Path | None = None,
    ) -> None:
        self.channels = channels
        self.depth = depth
        shape = (channels + weight_maps, depth, *plane)
        self._file: Path | None = None
        if folder is None:
            self.sums = torch.zeros(shape)
        else:
            self.sums = torch.from_numpy(self._map_file(Path(folder), shape))

    def add(self, prediction: torch.Tensor, weights: torch.Tensor, position: Sequence[int]) -> None:
        """Add the prediction (c, z, y, x) of the window at `position` (z, y, x), with its weights (maps, z, y, x)."""
        z, y, x = position
        height, width = prediction.shape[-2:]
        for rows, planes in self._rows(z, z + self.depth):
            sums = self.sums[:, rows, y : y + height, x : x + width]
            sums[: self.channels].addcmul_(prediction[:, planes], weights[:, planes])
            sums[self.channels :].add_(weights[:, planes])

    def take(self, planes: range, region: tuple[slice, slice] = (slice(None), slice(None))) -> torch.Tensor:
        """Means (c, planes, y, x) of finished planes inside `region` (y, x); their rows are empty afterwards."""
        parts = []
        for rows, _ in self._rows(planes.start, planes.stop):
            sums = self.sums[:, rows, region[0], region[1]]
            parts.append(sums[: self.channels] / sums[self.channels :])
        self.drop(planes)
        return parts[0] if len(parts) == 1 else torch.cat(parts, 1)

    def drop(self, planes: range) -> None:
        """Empty the rows of planes whose means are not wanted."""
        for rows, _ in self._rows(planes.start, planes.stop):
            self.sums[:, rows] = 0

    def close(self) -> None:
        """Give the memory, or the file, back."""
        self.sums = torch.empty(0)
        self._remove_name()

    def _rows(self, start: int, stop: int) -> Iterator[tuple[slice, slice]]:
        """Rows of the ring for planes start ... stop, with their place in the window, in at most two runs."""
        first = start % self.depth
        count = stop - start
        split = min(count, self.depth - first)
        yield slice(first, first + split), slice(0, split)
        if split < count:
            yield slice(0, count - split), slice(split, count)

    def _map_file(self, folder: Path, shape: tuple[int, ...]) -> np.ndarray:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            descriptor, name = tempfile.mkstemp(prefix=".sums.partial-", dir=folder)
            self._file = Path(name)
            with os.fdopen(descriptor, "r+b") as file:
                _reserve(file.fileno(), int(np.prod(shape)) * 4)
                array = np.memmap(file, np.float32, "r+", shape=shape)
            if os.name == "posix":
                # without a name the file goes with the process, however that ends
                self._remove_name()
        except OSError as error:
            self._remove_name()
            raise explain_write_error(error, folder) from error
        return array

    def _remove_name(self) -> None:
        """Remove the file's name; an existing mapping stays usable on POSIX systems."""
        if self._file is not None:
            self._file.unlink(missing_ok=True)
            self._file = None


def _reserve(descriptor: int, size: int) -> None:
    """Take the disk space now: a full disk is an OSError here, but would kill the process at a mapped write."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, size)
        return
    block = bytes(1 << 20)
    for start in range(0, size, len(block)):
        os.write(descriptor, block[: min(len(block), size - start)])
