"""An array that is read box by box when it is indexed."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from emlib.formats.boxes import fits, parse_index
from emlib.formats.source import ArraySource, Box, Source, box_shape


class LazyArray:
    """A box of a `Source`, indexed like a numpy array; indexing reads what it needs and gives a fresh array.

    Example:
        >>> LazyArray(ArraySource(np.arange(6).reshape(2, 3)))[1, ::-1].tolist()
        [5, 4, 3]
    """

    def __init__(self, source: Source):
        self._source = source
        self._box: Box = tuple(slice(0, length) for length in source.shape)

    @property
    def shape(self) -> tuple[int, ...]:
        """Voxels along each axis."""
        return tuple(part.stop - part.start for part in self._box)

    @property
    def dtype(self) -> np.dtype:
        """Type of the voxels, in native byte order."""
        return self._source.dtype

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self._box)

    @property
    def size(self) -> int:
        """Number of voxels."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of the whole volume once read."""
        return self.size * self.dtype.itemsize

    @property
    def path(self) -> Path | None:
        """The file, folder or pattern; None in memory."""
        return self._source.path

    @property
    def key(self) -> str | None:
        """The array's name inside the file, where files hold several."""
        return self._source.key

    @property
    def chunks(self) -> tuple[int, ...] | None:
        """Shape of what is read at once (chunk, page, tile), or None where any voxel can be read alone."""
        return self._source.chunks

    @property
    def writable(self) -> bool:
        """Whether voxels can be assigned."""
        return self._source.writable

    def __len__(self) -> int:
        return self.shape[0]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if isinstance(self._source, ArraySource) and not copy:
            return self._source.array[self._box].astype(dtype or self.dtype, copy=False)
        if copy is False:
            raise ValueError(f"{self._source.describe()} cannot become an array without a copy.")
        array = self[...]
        return array if dtype is None else array.astype(dtype, copy=False)

    def __getitem__(self, index: Any) -> np.ndarray:
        box, flipped, dropped = parse_index(index, self.shape)
        values = self._read(box)
        values = np.flip(values, flipped) if flipped else values
        # A reshape, unlike an index, gives an array that owns its voxels in C order; [()] makes a scalar of 0-d.
        kept = tuple(length for axis, length in enumerate(values.shape) if axis not in dropped)
        return np.ascontiguousarray(values).reshape(kept)[() if not kept else ...]

    def __setitem__(self, index: Any, values: Any) -> None:
        if not self.writable:
            raise ValueError(f"{self._source.describe()} is read-only; open it with open_volume(path, mode='r+').")
        box, flipped, dropped = parse_index(index, self.shape)
        full = box_shape(box)
        target = tuple(length for axis, length in enumerate(full) if axis not in dropped)
        try:
            values = np.broadcast_to(np.asarray(values), target).reshape(full)
        except ValueError as error:
            raise ValueError(f"Voxels of shape {np.shape(values)} do not fit a box of shape {target}.") from error
        if not fits(values, self.dtype):
            raise TypeError(f"Voxels of dtype {values.dtype} would be changed by storing them as {self.dtype}.")
        if 0 not in full:
            self._source.write(self._absolute(box), np.flip(values.astype(self.dtype, copy=False), flipped))

    def mark_complete(self) -> LazyArray:
        """Say that all of a volume made with `create_volume` has been written.

        From then on a zarr chunk that is missing is an error instead of zeros. Other formats need no mark.

        Raises:
            OSError: a chunk was never written.
        """
        self._source.mark_complete()
        return self

    def close(self) -> None:
        """Close the file, if one is open; a later read opens it again."""
        self._source.close()

    def _absolute(self, box: Box) -> Box:
        return tuple(
            slice(part.start + whole.start, part.stop + whole.start, part.step or 1)
            for part, whole in zip(box, self._box, strict=True)
        )

    def _read(self, box: Box) -> np.ndarray:
        shape = box_shape(box)
        return np.empty(shape, self.dtype) if 0 in shape else self._source.read(self._absolute(box))
