"""Write a large picture as TIFF in compressed tiles, one row of tiles at a time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from emlib.formats.metadata import Metadata, to_stored
from emlib.formats.tiff import INFO_NAME

SIDE = 512
# Compressed tiles are smaller, but how much is not known when the file is begun.
CLASSIC_BYTES = 2**32 - 2**24


def save_tiled(path: Path, array: Any, metadata: Metadata) -> None:
    """Write (y, x) to `path`, directly; deflate, and BigTIFF where uncompressed pixels would need it.

    Tiles are of 512 x 512 pixels, in the order in which viewers of slides read them.

    Args:
        path: of the file.
        array: anything of two axes that is sliced like an array.
        metadata: with axes "yx"; stored as `open_volume` reads it.

    Memory: one row of tiles.

    Raises:
        OSError: the file cannot be written.
    """
    import tifffile

    height, width = array.shape
    dtype = np.dtype(array.dtype)
    stored = {"axes": "YX", INFO_NAME: {**to_stored(metadata), "shape": [height, width]}}
    with open(path, "w+b") as file:
        tifffile.imwrite(
            file, _tiles(array), shape=(height, width), dtype=dtype, tile=(SIDE, SIDE), compression="zlib",
            photometric="minisblack", bigtiff=height * width * dtype.itemsize >= CLASSIC_BYTES, metadata=stored,
            maxworkers=1,
        )  # fmt: skip


def _tiles(array: Any) -> Iterator[np.ndarray]:
    """Whole tiles from left to right and top to bottom, those at the border filled up with zeros."""
    height, width = array.shape
    for y in range(0, height, SIDE):
        rows = np.asarray(array[y : y + SIDE])
        for x in range(0, width, SIDE):
            part = rows[:, x : x + SIDE]
            tile = np.zeros((SIDE, SIDE), part.dtype)
            tile[: part.shape[0], : part.shape[1]] = part
            yield tile
