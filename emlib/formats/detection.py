"""Which reader a path needs: by its suffix, by what lies in the folder, or because it is a glob pattern."""

from __future__ import annotations

import difflib
import glob
from pathlib import Path
from typing import Any

from emlib.formats.ordering import missing_path
from emlib.formats.source import Source

FORMATS = {
    ".h5": "hdf5", ".hdf5": "hdf5", ".hdf": "hdf5", ".zarr": "zarr", ".tif": "tiff", ".tiff": "tiff",
    ".npy": "npy", ".png": "slices", ".json": "tiles",
}  # fmt: skip


def format_of(path: Path) -> str:
    """The format a path is written in, from its suffix.

    Raises:
        ValueError: an unknown suffix, with the known ones.

    Example:
        >>> format_of(Path("image.h5"))
        'hdf5'
    """
    suffix = path.suffix.lower()
    if suffix not in FORMATS:
        near = difflib.get_close_matches(suffix, FORMATS, n=1, cutoff=0.6)
        hint = f"; did you mean {near[0]!r}?" if near else "."
        found = f"the suffix {path.suffix!r}" if path.suffix else "no suffix"
        raise ValueError(f"{path} has {found}; volumes are read from {', '.join(FORMATS)} and folders of slices{hint}")
    return FORMATS[suffix]


def open_source(
    path: Path,
    key: str | None,
    *,
    writable: bool,
    labels: bool | None = None,
    fill: float | None = None,
    tile_size: int | None = None,
) -> Source:
    """The reader for `path`. `labels` is for pictures and tile lists only, `fill` and `tile_size` for tile lists.

    Raises:
        FileNotFoundError: there is nothing at `path`.
        ValueError: an unknown suffix, or an argument that does not belong to the format.
    """
    kind = _kind(path)
    if fill is not None and kind != "tiles":
        raise ValueError(f"fill={fill!r} is for the missing tiles of a tile list; {path} has none.")
    if tile_size is not None and kind != "tiles":
        raise ValueError(f"tile_size={tile_size!r} is for a tile list; {path} has no tiles.")
    options: dict[str, Any] = {"writable": writable}
    if kind == "tiles":
        options |= {"labels": labels, "fill": fill, "tile_size": tile_size}
    elif kind in ("tiff", "slices"):
        options["labels"] = bool(labels)
    return _reader(kind)(path, key, **options)


def _kind(path: Path) -> str:
    if not path.exists():
        if glob.has_magic(str(path)):
            return "slices"
        raise missing_path(path)
    if not path.is_dir():
        return format_of(path)
    from emlib.formats.zarr_store import is_node

    return "zarr" if path.suffix.lower() == ".zarr" or is_node(path) else "slices"


def _reader(kind: str) -> Any:
    # Imported when needed: each brings its own library.
    if kind == "hdf5":
        from emlib.formats.hdf5 import Hdf5Source as reader
    elif kind == "zarr":
        from emlib.formats.zarr_store import ZarrSource as reader
    elif kind == "tiff":
        from emlib.formats.tiff import TiffSource as reader
    elif kind == "npy":
        from emlib.formats.npy import NpySource as reader
    elif kind == "tiles":
        from emlib.formats.tiles import TileSource as reader
    else:
        from emlib.formats.slices import SliceSource as reader
    return reader
