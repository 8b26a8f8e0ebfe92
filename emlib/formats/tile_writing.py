"""Writing a volume as a pyramid of square PNG tiles, each level with the list that `open_volume` reads."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from emlib.atomic import atomic_path
from emlib.formats.metadata import check_voxel_size
from emlib.formats.pictures import encode_ids, encode_png
from emlib.formats.resampled import CoarseSource
from emlib.formats.source import Box, in_threads
from emlib.formats.tile_list import tile_name
from emlib.formats.tiles import TileSource
from emlib.progress import progress

HALVED = (1, 2, 2)
SLAB_BYTES = 2**28
LIST = "level{}.json"


def write_tiles(
    volume: Any,
    folder: str | Path,
    *,
    labels: bool,
    tile_size: int = 1024,
    levels: int | None = None,
    voxel_size: Sequence[float] | None = None,
    overwrite: bool = False,
    show_progress: bool = True,
) -> Path:
    """Write a (z, y, x) volume as PNG tiles, `level<n>/<section>/<row>_<column>.png`, rows and columns from 1.

    Each level has half as many voxels along y and x as the one before; sections stay. Images are averaged; of labels
    the most frequent counts. Beside the tiles of a level lies its list, `level<n>.json` (key `sections`), which
    `open_volume` reads. A level is made from the tiles of the level before, some at a time, and the folder appears
    when it is complete. Tiles at the end of an axis are as small as what is left.

    Args:
        volume: array or Volume; an image of uint8 or uint16, or labels up to 2^24 - 1, which become colours.
        folder: folder to write.
        labels: whether the voxels are ids.
        tile_size: pixels of a tile's side.
        levels: how many, the full resolution included; None goes on until a section is one tile.
        voxel_size: nm (z, y, x), default the Volume's; stored in the lists.
        overwrite: replace a folder that this function wrote.
        show_progress: show a bar, or a line now and then in a log.

    Returns:
        The list of level 0.

    Raises:
        FileExistsError: the folder exists, and `overwrite` is False or it holds something else.
        TypeError: voxels of another type.
        ValueError: not three axes, no voxels, an id that is no colour, or an unusable size or number of levels.
        OSError: the disk is full or not writable; nothing is left at `folder`.

    Example:
        >>> import tempfile
        >>> from emlib.volume import open_volume
        >>> image = np.arange(2 * 5 * 6, dtype=np.uint8).reshape(2, 5, 6)
        >>> first = write_tiles(image, tempfile.mkdtemp() + "/tiles", labels=False, tile_size=3)
        >>> (open_volume(first)[:] == image).all(), open_volume(first.parent / "level1.json").shape
        (np.True_, (2, 3, 3))
    """
    folder = Path(folder)
    size = check_voxel_size(getattr(volume, "voxel_size", None) if voxel_size is None else voxel_size, "zyx")
    _check(volume, labels, tile_size, levels)
    if folder.exists() and not (overwrite and (folder / LIST.format(0)).is_file()):
        what = "holds no tiles that were written here" if overwrite else "exists already"
        raise FileExistsError(f"The folder {folder} {what}; choose another, or remove it first.")
    with atomic_path(folder) as temporary:
        temporary.mkdir()
        source: Any = volume
        for level in itertools.count():
            listed = _write_level(temporary, level, source, labels, tile_size, size, show_progress)
            if level + 1 == levels or (levels is None and max(source.shape[1:]) <= tile_size):
                break
            tiles = _Sliced(TileSource(listed, labels=labels))
            source = _Sliced(CoarseSource(tiles, HALVED, rule="majority" if labels else None))
            size = None if size is None else (size[0], 2 * size[1], 2 * size[2])
    return folder / LIST.format(0)


class _Sliced:
    """A source that is read with square brackets."""

    def __init__(self, source: Any):
        self.source, self.shape, self.dtype, self.chunks = source, source.shape, source.dtype, source.chunks

    def __getitem__(self, box: Box) -> np.ndarray:
        return self.source.read(box)


def _check(volume: Any, labels: bool, tile_size: int, levels: int | None) -> None:
    if len(volume.shape) != 3 or 0 in volume.shape:
        raise ValueError(f"Tiles are made of a volume (z, y, x) with voxels, but the shape is {tuple(volume.shape)}.")
    dtype = np.dtype(volume.dtype)
    if labels and dtype.kind not in "ui":
        raise TypeError(f"The labels are {dtype}, but whole numbers (one an object) were expected.")
    if not labels and dtype not in (np.uint8, np.uint16):
        raise TypeError(f"The image is {dtype}, but tiles hold uint8 or uint16.")
    for name, value in (("tile_size", tile_size), ("levels", 1 if levels is None else levels)):
        if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < 1:
            raise ValueError(f"{name} is {value!r}, but a whole number of at least 1 was expected.")


def _write_level(
    folder: Path, level: int, volume: Any, labels: bool, tile_size: int, voxel_size: Any, show_progress: bool
) -> Path:
    """All tiles of a level, then its list."""
    depth, height, width = (int(length) for length in volume.shape)
    name = f"level{level}"
    patterns = [f"{name}/{z:04d}/{{row}}_{{column}}.png" for z in range(depth)]
    for z in range(depth):
        (folder / name / f"{z:04d}").mkdir(parents=True)
    slabs = list(_slabs(volume, tile_size))

    def write(tile: tuple[int, int, int, np.ndarray]) -> None:
        z, row, column, pixels = tile
        file = folder / tile_name(patterns[z], row + 1, column + 1)
        file.write_bytes(encode_png(_colours(pixels, z) if labels else pixels))

    for box in progress(slabs, label=f"writing tiles of level {level}", unit="tile column", show=show_progress):
        row, column = box[1].start // tile_size, box[2].start // tile_size
        values = np.asarray(volume[box])
        jobs = ((box[0].start + place, row, column, pixels) for place, pixels in enumerate(values))
        for _ in in_threads(write, jobs, len(values)):
            pass
    described = {
        "sections": patterns, "depth": depth, "height": height, "width": width, "tile_size": int(tile_size),
        "n_rows": -(-height // tile_size), "n_columns": -(-width // tile_size), "tile_st": [1, 1],
        "dtype": "uint32" if labels else np.dtype(volume.dtype).name,
    }  # fmt: skip
    described |= {} if voxel_size is None else {"voxel_size": list(voxel_size)}
    path = folder / LIST.format(level)
    path.write_text(json.dumps(described, indent=1), encoding="utf-8")
    return path


def _colours(pixels: np.ndarray, z: int) -> np.ndarray:
    try:
        return encode_ids(pixels)
    except ValueError as error:
        raise ValueError(f"Section {z} cannot become tiles: {str(error)[0].lower()}{str(error)[1:]}") from None


def _slabs(volume: Any, tile_size: int) -> Iterator[Box]:
    """Boxes of one tile's area and as many sections as are stored together and fit into memory."""
    depth, height, width = volume.shape
    area = min(tile_size, height) * min(tile_size, width)
    together = (getattr(volume, "chunks", None) or (depth,))[0]
    step = max(1, min(together, SLAB_BYTES // (area * np.dtype(volume.dtype).itemsize)))
    count = math.ceil(depth / step)
    for number, y, x in itertools.product(range(count), range(0, height, tile_size), range(0, width, tile_size)):
        z = slice(number * step, min((number + 1) * step, depth))
        yield z, slice(y, min(y + tile_size, height)), slice(x, min(x + tile_size, width))
