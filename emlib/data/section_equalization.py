"""Contrast-limited adaptive histogram equalisation (CLAHE) of a section stack, each section on its own."""

from __future__ import annotations

import math
import operator
import os
from collections.abc import Sequence

import numpy as np

from emlib.compilation import compiled
from emlib.data.slab_writing import write_slabs
from emlib.formats.metadata import Metadata
from emlib.formats.source import Box, Source, box_shape
from emlib.progress import progress
from emlib.volume import Volume, open_volume


def equalize_sections(
    volume: Volume | np.ndarray,
    out: str | os.PathLike | None = None,
    *,
    tiles: Sequence[int] = (8, 8),
    clip_limit: float = 2.0,
    overwrite: bool = False,
    show_progress: bool = False,
) -> np.ndarray | Volume:
    """Even out contrast and brightness within every section (CLAHE), as pre-processing of EM images.

    A section is cut into tiles. Each has a mapping of grey values: the cumulated histogram of its pixels, in which no
    value counts more than `clip_limit` times the mean count, and what is cut off is spread evenly over all values. A
    pixel's value is the bilinear mean of the mappings of the four nearest tile centres. Sections do not influence each
    other, so artefacts stay where they are, and blocks of sections equal the whole.

    Source: K. Zuiderveld, "Contrast limited adaptive histogram equalization", Graphics Gems IV, 1994, in the form that
    OpenCV made common: a section is continued by reflection until the tiles fit, the limit is a whole number, and what
    is left after spreading goes to every n-th value.

    Args:
        volume: (z, y, x) uint8, or one section (y, x); array or Volume.
        out: .zarr or .h5 file to write, section by section; None gives an array.
        tiles: number of tiles along y and x.
        clip_limit: how many times the mean count a value may count; from 1 (hardly any contrast is added) upwards, inf
            for no limit.
        overwrite: replace `out`.
        show_progress: show a bar, or a line now and then in a log.

    Returns:
        A fresh uint8 array of the same shape, or the Volume that was written.

    Raises:
        TypeError: another type than uint8.
        ValueError: other axes, more tiles than half the pixels of a side, a clip limit below 1, or an unsuitable `out`.
        FileExistsError: `out` is there and `overwrite` is False.
        OSError: `out` cannot be written; nothing is left half-written.

    Example:
        >>> ramp = np.tile(np.arange(100, 132, dtype=np.uint8), (32, 1))
        >>> flat = equalize_sections(ramp, tiles=(1, 1), clip_limit=np.inf)
        >>> int(flat.min()), int(flat.max())
        (8, 255)
    """
    volume = open_volume(volume)
    source = _EqualizedSource(volume, tiles, clip_limit)
    if out is not None:
        if volume.axes != "zyx":
            raise ValueError(f"A file is written of a volume (z, y, x), but the axes are {volume.axes!r}.")
        equal = Volume(source, volume.voxel_size, volume.axes, volume.attributes)
        label = "equalising sections"
        return open_volume(write_slabs(equal, out, label=label, overwrite=overwrite, show_progress=show_progress))
    result = np.empty(volume.shape, np.uint8)
    if volume.ndim == 2:
        return source.equalize(volume[:])
    for z in progress(range(len(result)), label="equalising sections", unit="section", show=show_progress):
        result[z] = source.equalize(volume[z])
    return result


class _EqualizedSource(Source):
    """A volume whose sections are equalised when they are read."""

    def __init__(self, volume: Volume, tiles: Sequence[int], clip_limit: float):
        if volume.dtype != np.uint8:
            raise TypeError(f"The image is {volume.dtype}, but uint8 was expected (prepare_data scales other types).")
        if volume.axes not in ("zyx", "yx"):
            raise ValueError(f"The image has axes {volume.axes!r}, but (z, y, x) or (y, x) was expected.")
        self.volume, self.tiles = volume, _check_tiles(tiles, volume.shape[-2:])
        if not isinstance(clip_limit, int | float | np.number) or not clip_limit >= 1:
            raise ValueError(f"clip_limit is {clip_limit!r}, but a number of at least 1 was expected.")
        self.clip_limit = float(clip_limit)
        self.shape, self.dtype = volume.shape, np.dtype(np.uint8)
        self.chunks = (1, *volume.shape[1:])
        self.metadata = Metadata(volume.axes, volume.voxel_size, volume.attributes)

    def read(self, box: Box) -> np.ndarray:
        result = np.empty(box_shape(box), np.uint8)
        # All at once, so that a chunk is decoded once and not once a section.
        sections = self.volume[box[0]]
        for place, section in enumerate(sections):
            result[place] = self.equalize(section)[box[1:]]
        return result

    def equalize(self, section: np.ndarray) -> np.ndarray:
        """One section (y, x)."""
        height, width = (-(-n // count) for n, count in zip(section.shape, self.tiles, strict=True))
        excess = [
            (0, count * side - n) for n, count, side in zip(section.shape, self.tiles, (height, width), strict=True)
        ]
        padded = np.ascontiguousarray(np.pad(section, excess, mode="reflect"))
        limit = height * width
        if math.isfinite(self.clip_limit):
            limit = min(limit, max(1, int(self.clip_limit * height * width / 256)))
        return _blend(np.ascontiguousarray(section), _mappings(padded, *self.tiles, limit), height, width)


def _check_tiles(tiles: Sequence[int], shape: Sequence[int]) -> tuple[int, int]:
    try:
        rows, columns = (operator.index(count) for count in tiles)
    except (TypeError, ValueError):
        raise ValueError(f"tiles is {tiles!r}, but two whole numbers (y, x) were expected.") from None
    for name, count, length in zip("yx", (rows, columns), shape, strict=True):
        # A tile then has two pixels at least, and no more has to be added by reflection than is there.
        if not 1 <= count <= max(1, length // 2):
            raise ValueError(
                f"tiles is {(rows, columns)}, but along {name} there are {length} pixels: 1 to {max(1, length // 2)}."
            )
    return rows, columns


@compiled
def _mappings(section, rows, columns, limit):
    """The new value of every grey value in each tile, uint8 (rows, columns, 256)."""
    height, width = section.shape[0] // rows, section.shape[1] // columns
    scale = np.float32(255) / np.float32(height * width)
    mappings = np.empty((rows, columns, 256), np.uint8)
    for row in range(rows):
        for column in range(columns):
            counts = np.zeros(256, np.int64)
            for y in range(row * height, (row + 1) * height):
                for x in range(column * width, (column + 1) * width):
                    counts[section[y, x]] += 1
            excess = 0
            for value in range(256):
                if counts[value] > limit:
                    excess += counts[value] - limit
                    counts[value] = limit
            share, rest = excess // 256, excess % 256
            counts += share
            step = max(256 // rest, 1) if rest else 256
            value = 0
            while value < 256 and rest > 0:
                counts[value] += 1
                value += step
                rest -= 1
            total = 0
            for value in range(256):
                total += counts[value]
                mappings[row, column, value] = min(np.rint(np.float32(total) * scale), 255)
    return mappings


@compiled
def _blend(section, mappings, height, width):
    """Each pixel through the mappings of the four nearest tiles, in float32 and rounded half to even."""
    rows, columns = mappings.shape[0], mappings.shape[1]
    result = np.empty(section.shape, np.uint8)
    half, one = np.float32(0.5), np.float32(1)
    down, across = one / np.float32(height), one / np.float32(width)
    for y in range(section.shape[0]):
        place = np.float32(y) * down - half
        above = np.int64(np.floor(place))
        low = place - np.float32(above)
        top, bottom = max(above, 0), min(above + 1, rows - 1)
        for x in range(section.shape[1]):
            place = np.float32(x) * across - half
            before = np.int64(np.floor(place))
            right = place - np.float32(before)
            first, second = max(before, 0), min(before + 1, columns - 1)
            value = section[y, x]
            upper = mappings[top, first, value] * (one - right) + mappings[top, second, value] * right
            lower = mappings[bottom, first, value] * (one - right) + mappings[bottom, second, value] * right
            result[y, x] = np.rint(upper * (one - low) + lower * low)
    return result
