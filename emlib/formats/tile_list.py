"""What the JSON file of a tiled volume says: where each section's tiles are, and how they make a volume.

Two kinds are read. In both a tile's file is its section's pattern with `{row}` and `{column}` replaced; a pattern
without them serves every tile; relative paths start at the folder of the JSON.

`image`: the list of the MitoEM challenge and of PyTorch Connectomics (`TileDataset`). Rows and columns count from 0.
Needed: `image` (one pattern a section), `depth`, `height`, `width`, `tile_size`.

`sections`: the list of the EM mitochondria pipeline (`get_dataset.py`). Rows and columns count **from 1**. Needed:
`sections` (one pattern a section). `tile_size` may be an argument instead; without either it is that of the first tile.
`height` and `width`, where they are not said, are found from the names of all tiles and the pixels of the last ones.

Both may have `n_rows`, `n_columns`, `dtype` (otherwise uint8, of labels uint32), `tile_st` (row and column of the first
tile), `tile_ratio` (1, the factor by which a tile is enlarged: linearly for images, nearest for labels) and
`voxel_size` (nm, z y x).
"""

from __future__ import annotations

import difflib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emlib.formats.pictures import read_header

REQUIRED = ("image", "depth", "height", "width", "tile_size")
WHOLE = ("depth", "height", "width", "tile_size", "n_rows", "n_columns")


@dataclass(frozen=True)
class TileList:
    """A tiled volume.

    Attributes:
        path: the JSON file.
        patterns: one a section.
        shape: voxels (z, y, x).
        tile_size: voxels of a tile's side in the volume.
        ratio: by which a tile's pixels are enlarged.
        first: row and column that the first tile has in its name.
        exact: no tile may be larger than `tile_size`.
        dtype: name of the voxels' type, if stated.
        voxel_size: as stated, not checked.
    """

    path: Path
    patterns: tuple[str, ...]
    shape: tuple[int, int, int]
    tile_size: int
    ratio: float
    first: tuple[int, int]
    exact: bool
    dtype: Any
    voxel_size: Any

    def tile_path(self, z: int, row: int, column: int) -> Path:
        """The file of one tile; row and column count from 0 in this volume."""
        return self.path.parent / tile_name(self.patterns[z], row + self.first[0], column + self.first[1])


def tile_name(pattern: str, row: int, column: int) -> str:
    """A section's pattern with row and column in their places.

    Example:
        >>> tile_name("s1/tr{row}-tc{column}.png", 1, 2)
        's1/tr1-tc2.png'
    """
    return pattern.replace("{row}", str(row)).replace("{column}", str(column))


def read_tile_list(path: Path, tile_size: int | None = None) -> TileList:
    """The JSON, checked.

    Args:
        path: the file.
        tile_size: pixels of a tile's side, where the JSON does not say it.

    Raises:
        OSError: it is not JSON.
        FileNotFoundError: the size has to be found, and there is no tile.
        ValueError: a key is missing or contradicts another, or the argument.
    """
    described = _read(path)
    key = "sections" if "sections" in described else "image"
    if "sections" in described and "image" in described:
        raise ValueError(f"{path} has both keys 'sections' and 'image'; a tile list has one of them.")
    for name in REQUIRED if key == "image" else ():
        if name not in described:
            near = difflib.get_close_matches(name, described, n=1)
            hint = f" ({near[0]!r} is there)" if near else ""
            raise ValueError(f"{path} is not a tile list: the key {name!r} is missing{hint}.")
    for name in WHOLE:
        _check_whole(path, name, described.get(name, 1))
    patterns = described[key]
    if not isinstance(patterns, list) or not all(isinstance(one, str) for one in patterns):
        raise ValueError(f"{path}: {key} must be a list of paths, one a section.")
    if len(patterns) != described.get("depth", len(patterns)):
        raise ValueError(f"{path}: {key} lists {len(patterns)} sections, but depth is {described['depth']}.")
    if not patterns:
        raise ValueError(f"{path}: {key} lists no sections.")
    ratio, first = described.get("tile_ratio", 1), described.get("tile_st", [0, 0] if key == "image" else [1, 1])
    if not isinstance(ratio, int | float) or isinstance(ratio, bool) or not 0 < ratio < 1e6:
        raise ValueError(f"{path}: tile_ratio must be a positive number, got {ratio!r}.")
    if not isinstance(first, list) or len(first) != 2 or not all(isinstance(one, int) for one in first):
        raise ValueError(f"{path}: tile_st must be two whole numbers (row, column), got {first!r}.")
    described |= {"tile_size": _tile_size(path, described.get("tile_size"), tile_size)}
    if key == "sections":
        described |= _found_sizes(path, patterns, described, first, ratio)
    _check_cover(path, described)
    return TileList(
        path=path,
        patterns=tuple(patterns),
        shape=(len(patterns), described["height"], described["width"]),
        tile_size=described["tile_size"],
        ratio=ratio,
        first=tuple(first),
        exact=key == "sections",
        dtype=described.get("dtype"),
        voxel_size=described.get("voxel_size"),
    )


def _read(path: Path) -> dict[str, Any]:
    try:
        described = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise OSError(f"{path} is no complete JSON file, it is damaged or truncated ({error}).") from error
    if not isinstance(described, dict):
        raise ValueError(f"{path} is not a tile list: it holds a {type(described).__name__}, not keys and values.")
    return described


def _check_whole(path: Path, name: str, value: Any) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{path}: {name} must be a whole number of at least 1, got {value!r}.")


def _tile_size(path: Path, stated: int | None, asked: int | None) -> int | None:
    if asked is not None:
        _check_whole(path, "tile_size", asked)
    if None not in (stated, asked) and stated != asked:
        raise ValueError(f"{path} says that tile_size is {stated}, but {asked} was asked for.")
    return asked if stated is None else stated


def _check_cover(path: Path, described: dict[str, Any]) -> None:
    for tiles, length in (("n_rows", "height"), ("n_columns", "width")):
        covered = described.get(tiles, 10**9) * described["tile_size"]
        if covered < described[length]:
            raise ValueError(f"{path}: {tiles} x tile_size = {covered} does not cover {length} = {described[length]}.")


def _found_sizes(
    path: Path, patterns: list[str], described: dict[str, Any], first: list[int], ratio: float
) -> dict[str, int]:
    """Tile size, height and width, taken from the tiles where the JSON does not say them."""
    known = {name: described[name] for name in ("tile_size", "height", "width") if described.get(name) is not None}
    if len(known) == 3:
        return known
    tiles = _list_tiles(path, patterns)
    if not tiles:
        raise FileNotFoundError(
            f"{path} does not say tile_size, height and width, and there is no tile to take them from; the first "
            f"would be {path.parent / tile_name(patterns[0], *first)}."
        )
    if min(row for row, _ in tiles) < first[0] or min(column for _, column in tiles) < first[1]:
        raise ValueError(f"{path}: there are tiles before row and column {first}; set tile_st to those of the first.")
    last = {"height": max(row for row, _ in tiles), "width": max(column for _, column in tiles)}
    # Only tiles at the end of an axis may be smaller than the others.
    inner = min(tiles, key=lambda place: (place[0] == last["height"], place[1] == last["width"], place))
    size = known.get("tile_size") or round(max(read_header(tiles[inner]).shape[:2]) * ratio)
    found = {"tile_size": size}
    for axis, name in enumerate(("height", "width")):
        end = next(file for place, file in sorted(tiles.items()) if place[axis] == last[name])
        found[name] = (last[name] - first[axis]) * size + round(read_header(end).shape[axis] * ratio)
    return found | known


def _list_tiles(path: Path, patterns: list[str]) -> dict[tuple[int, int], Path]:
    """A file for each row and column (as in the names) that any section has."""
    tiles: dict[tuple[int, int], Path] = {}
    names: dict[Path, list[str]] = {}
    for pattern in patterns:
        folder, name = (path.parent / pattern).parent, Path(pattern).name
        if "{row}" not in name or "{column}" not in name or "{" in str(Path(pattern).parent):
            raise ValueError(
                f"{path} has to say height, width and tile_size: they can be found from the tiles only where the "
                f"names of the files, not of their folders, hold {{row}} and {{column}}, as {pattern!r} does not."
            )
        if folder not in names:
            names[folder] = [one.name for one in folder.iterdir()] if folder.is_dir() else []
        form = re.escape(name).replace(r"\{row\}", r"(?P<row>\d+)", 1).replace(r"\{column\}", r"(?P<column>\d+)", 1)
        for one in names[folder]:
            if match := re.fullmatch(form, one):
                place = int(match["row"]), int(match["column"])
                if one == tile_name(name, *place):
                    tiles.setdefault(place, folder / one)
    return tiles
