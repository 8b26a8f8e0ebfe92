"""Write one array in every format a volume can be read from, with the formats' own libraries or with save_volume."""

import json
import shutil
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import tifffile

from emlib.volume import save_volume

SAVED = ("a.zarr", "a.h5", "a.tif", "a.npy")


def write_slices(folder: Path, array: np.ndarray, suffix: str = ".png") -> Path:
    """One picture a section, named s0, s1, ... s10, so that only natural order is right."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for number, section in enumerate(array):
        if suffix == ".png":
            iio.imwrite(folder / f"s{number}.png", np.ascontiguousarray(section), plugin="pillow")
        else:
            tifffile.imwrite(folder / f"s{number}.tif", np.ascontiguousarray(section), photometric="minisblack")
    return folder


def as_colours(ids: np.ndarray) -> np.ndarray:
    """Ids below 2^24 as RGB pixels, R most significant."""
    return np.stack([ids >> 16 & 255, ids >> 8 & 255, ids & 255], axis=-1).astype(np.uint8)


def write_tiles(folder: Path, array: np.ndarray, size: int = 8, colours: bool = False, **more) -> Path:
    """A MitoEM tile list of `array`, with tiles of `size`; RGB tiles if `colours`."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "tiles").mkdir(parents=True)
    depth, height, width = array.shape
    first = more.get("tile_st", [0, 0])
    for z, y, x in np.ndindex(depth, -(-height // size), -(-width // size)):
        tile = array[z, y * size : (y + 1) * size, x * size : (x + 1) * size]
        tile = as_colours(tile) if colours else np.ascontiguousarray(tile)
        iio.imwrite(folder / "tiles" / f"{z:04d}_{y + first[0]}_{x + first[1]}.png", tile, plugin="pillow")
    described = {
        "ndim": 1,
        "dtype": str(array.dtype),
        "image": [f"tiles/{z:04d}_{{row}}_{{column}}.png" for z in range(depth)],
        "depth": depth,
        "height": height,
        "width": width,
        "n_rows": -(-height // size),
        "n_columns": -(-width // size),
        "tile_size": size,
        "tile_ratio": 1,
        "tile_st": first,
    } | more
    (folder / "im.json").write_text(json.dumps(described))
    return folder / "im.json"


def write_everywhere(folder: Path, array: np.ndarray) -> dict[str, Path]:
    """`array` (zyx) in every format that can hold its dtype; the paths by name."""
    paths = {}
    for name in SAVED:
        if not (name.endswith(".tif") and array.dtype == bool):
            paths[name] = save_volume(folder / name, array, chunks=(2, 3, 4) if name[-3:] in ("arr", ".h5") else None)
    if array.dtype != bool:
        paths["compressed.tif"] = folder / "compressed.tif"
        contiguous = np.ascontiguousarray(array)
        tifffile.imwrite(paths["compressed.tif"], contiguous, compression="zlib", photometric="minisblack")
        paths["slices of tif"] = write_slices(folder / "tif", array, ".tif")
    if array.dtype in (np.uint8, np.uint16):
        paths["slices of png"] = write_slices(folder / "png", array)
    if array.dtype == np.uint8:
        paths["tiles"] = write_tiles(folder / "grey", array)
    if array.dtype == np.uint32:
        paths["colour tiles"] = write_tiles(folder / "ids", array % 2**24, colours=True)
    return paths
