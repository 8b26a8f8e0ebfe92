"""Volumes as square tiles, which a JSON file lists section by section; a tile is read when it is needed.

A missing label tile is an error, and a missing image tile is one unless a fill value is stated.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from emlib.formats.boxes import check_fill
from emlib.formats.metadata import check_dtype, from_stored
from emlib.formats.pictures import decode_ids, read_picture
from emlib.formats.source import Box, Source, box_shape, in_threads
from emlib.formats.tile_list import read_tile_list


class TileSource(Source):
    """The volume a tile list describes, (depth, height, width); see `emlib.formats.tile_list` for its keys.

    Args:
        path: the JSON file.
        labels: whether tiles are ids (RGB tiles are decoded to R * 65536 + G * 256 + B); None: unless dtype is uint8.
        fill: value for missing image tiles, for example 128 (PyTorch Connectomics); None: a missing tile is an error.
        tile_size: pixels of a tile's side, where the JSON does not say it.

    Raises:
        OSError: the JSON or a tile is damaged, or a tile is missing (FileNotFoundError).
        ValueError: keys are missing or contradict each other, `fill` for labels, a tile of the wrong size or kind.
    """

    def __init__(
        self,
        path: Path,
        key: str | None = None,
        *,
        writable: bool = False,
        labels: bool | None = None,
        fill: float | None = None,
        tile_size: int | None = None,
    ):
        if key is not None:
            raise ValueError(f"{path} is a tile list, which has no keys; do not pass a key (got {key!r}).")
        if writable:
            raise ValueError(f"{path} is a tile list, which is read-only here; convert it to .zarr first.")
        self.path = path
        listed = read_tile_list(path, tile_size)
        named = listed.dtype or ("uint32" if labels else "uint8")
        self.dtype = check_dtype(_dtype(path, named), str(path))
        self.labels = self.dtype != np.uint8 if labels is None else labels
        if self.labels and fill is not None:
            raise ValueError(f"fill={fill} is for images, and {path} holds labels: a missing label tile is an error.")
        self.fill = None if fill is None else check_fill(fill, self.dtype)
        self.listed, self.tile_size, self.shape = listed, listed.tile_size, listed.shape
        self.chunks = (1, min(self.tile_size, self.shape[1]), min(self.tile_size, self.shape[2]))
        stored = {} if listed.voxel_size is None else {"voxel_size": listed.voxel_size}
        self.metadata = from_stored(stored, 3, str(path))

    def read(self, box: Box) -> np.ndarray:
        result = np.empty(box_shape(box), dtype=self.dtype)
        sections = range(box[0].start, box[0].stop, box[0].step or 1)
        rows = range(box[1].start // self.tile_size, (box[1].stop - 1) // self.tile_size + 1)
        columns = range(box[2].start // self.tile_size, (box[2].stop - 1) // self.tile_size + 1)
        jobs = [(place, z, row, column) for place, z in enumerate(sections) for row in rows for column in columns]
        for (place, _, row, column), tile in zip(
            jobs, in_threads(lambda job: self.read_tile(*job[1:]), jobs, len(jobs)), strict=True
        ):
            to_y, from_y = _overlap(box[1], row * self.tile_size, tile.shape[0])
            to_x, from_x = _overlap(box[2], column * self.tile_size, tile.shape[1])
            result[place, to_y, to_x] = tile[from_y, from_x]
        return result

    def read_tile(self, z: int, row: int, column: int) -> np.ndarray:
        """One tile at the volume's scale, cut to the part that lies in the volume."""
        height = min(self.tile_size, self.shape[1] - row * self.tile_size)
        width = min(self.tile_size, self.shape[2] - column * self.tile_size)
        file = self.listed.tile_path(z, row, column)
        if not file.exists():
            if self.fill is None:
                hint = "" if self.labels else "; pass fill= (for example 128) to read on without it"
                raise FileNotFoundError(f"The tile {file} (section {z}, row {row}, column {column}) is missing{hint}.")
            return np.full((height, width), self.fill, dtype=self.dtype)
        tile = self._voxels(read_picture(file), file)
        if self.listed.exact and max(tile.shape) > self.tile_size:
            raise ValueError(f"The tile {file} is {tile.shape} pixels, more than the tile size {self.tile_size}.")
        if tile.shape[0] < height or tile.shape[1] < width:
            raise ValueError(f"The tile {file} is {tile.shape} at the volume's scale, ({height}, {width}) is needed.")
        return tile[:height, :width]

    def _voxels(self, tile: np.ndarray, file: Path) -> np.ndarray:
        if self.labels:
            tile = decode_ids(tile, file)
        elif tile.ndim == 3:
            raise ValueError(f"The tile {file} is a colour picture; pass labels=True to read ids, or make it grey.")
        if not np.can_cast(tile.dtype, self.dtype):
            top = tile.max(initial=0)
            if not self.labels or top > np.iinfo(self.dtype).max:
                what = f"id {top}" if self.labels else f"{tile.dtype} values"
                raise ValueError(f"The tile {file} holds {what}, which the dtype {self.dtype} of {self.path} cannot.")
        return resize(tile.astype(self.dtype, copy=False), self.listed.ratio, nearest=self.labels)


def _overlap(part: slice, start: int, length: int) -> tuple[slice, slice]:
    """Where the positions of `part` that lie in start..start+length-1 go to, and where they come from."""
    step = part.step or 1
    first = max(0, -(-(start - part.start) // step))
    last = -(-(min(part.stop, start + length) - part.start) // step)
    origin = part.start + first * step - start
    count = max(0, last - first)
    return slice(first, first + count), slice(
        origin, origin + max(0, (count - 1) * step + 1) if count else origin, step
    )


def resize(tile: np.ndarray, ratio: float, *, nearest: bool) -> np.ndarray:
    """Scale (y, x) pixels by `ratio`, corner pixels staying on corners, as `scipy.ndimage.zoom` does.

    Nearest for ids (exact for any id, where interpolation goes through float64), linear for images.

    Example:
        >>> resize(np.array([[1, 2], [3, 4]]), 2, nearest=True).tolist()
        [[1, 1, 2, 2], [1, 1, 2, 2], [3, 3, 4, 4], [3, 3, 4, 4]]
    """
    if ratio == 1:
        return tile
    if not nearest:
        from scipy.ndimage import zoom

        return zoom(tile, ratio, order=1)
    for axis in (0, 1):
        length = tile.shape[axis]
        wanted = max(1, round(length * ratio))
        step = (length - 1) / (wanted - 1) if wanted > 1 else 0.0
        tile = np.take(tile, np.floor(np.arange(wanted) * step + 0.5).astype(np.int64), axis=axis)
    return tile


def _dtype(path: Path, name: str) -> np.dtype:
    try:
        return np.dtype(name)
    except TypeError as error:
        raise ValueError(f"{path}: dtype {name!r} is unknown; use for example 'uint8' or 'uint32'.") from error
