"""Ways in which a volume on disk can be broken, each with what the message has to name."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emlib.volume import save_volume


@dataclass(frozen=True)
class Damage:
    """A file name, what is done to the saved file (or folder), and words of the sentence that must follow."""

    name: str
    harm: Any
    words: tuple[str, ...]

    def apply(self, folder: Path, array: Any) -> Path:
        """Save `array` in small chunks and break it."""
        chunks = {"chunks": (*(1 for _ in array.shape[:-3]), 4, 16, 16)} if self.name.endswith((".h5", ".zarr")) else {}
        path = save_volume(folder / self.name, array, voxel_size=(30, 8, 8), **chunks)
        self.harm(path)
        return path


def cut(path: Path, keep: float) -> None:
    """Keep this many bytes, or this share of them."""
    os.truncate(path, int(keep if keep > 1 else keep * path.stat().st_size))


def flip_a_bit(path: Path, place: float) -> None:
    content = bytearray(path.read_bytes())
    content[int(place * len(content))] ^= 4
    path.write_bytes(content)


def first_chunk(path: Path) -> Path:
    return min(file for file in (path / "c").rglob("*") if file.is_file())


def change_metadata(path: Path, **changes: Any) -> None:
    file = path / "zarr.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


DAMAGES = {
    "h5 missing": Damage("a.h5", lambda path: path.unlink(), ("a.h5", "no")),
    "h5 empty": Damage("a.h5", lambda path: cut(path, 0), ("a.h5 is not an HDF5 file",)),
    "h5 cut to its signature": Damage("a.h5", lambda path: cut(path, 8), ("a.h5 is damaged or truncated",)),
    "h5 cut in half": Damage("a.h5", lambda path: cut(path, 0.5), ("a.h5 is a truncated HDF5 file", "bytes")),
    "h5 flipped bit": Damage("a.h5", lambda path: flip_a_bit(path, 0.6), ("a.h5", "[main]", "damaged", "check")),
    "zarr missing": Damage("a.zarr", lambda path: path.rename(path.with_name("b.zarr")), ("a.zarr", "no")),
    "zarr missing chunk": Damage("a.zarr", lambda path: first_chunk(path).unlink(), ("incomplete", "a.zarr/c", "0:4")),
    "zarr cut chunk": Damage("a.zarr", lambda path: cut(first_chunk(path), 0.5), ("a.zarr/c", "its checksum is wrong")),
    "zarr empty chunk": Damage("a.zarr", lambda path: cut(first_chunk(path), 0), ("a.zarr/c", "damaged")),
    "zarr flipped bit": Damage("a.zarr", lambda path: flip_a_bit(first_chunk(path), 0.5), ("a.zarr/c", "checksum")),
    "zarr cut zarr.json": Damage("a.zarr", lambda path: cut(path / "zarr.json", 0.5), ("zarr.json is damaged",)),
    "zarr empty zarr.json": Damage("a.zarr", lambda path: cut(path / "zarr.json", 0), ("zarr.json is damaged",)),
    "zarr no zarr.json": Damage("a.zarr", lambda path: (path / "zarr.json").unlink(), ("a.zarr", "no zarr.json")),
    "zarr strange dtype": Damage("a.zarr", lambda path: change_metadata(path, data_type="u99"), ("a.zarr", "metadata")),
    "tif cut in half": Damage("a.tif", lambda path: cut(path, 0.5), ("a.tif", "truncated", "bytes")),
    "tif cut to 60 bytes": Damage("a.tif", lambda path: cut(path, 60), ("a.tif", "truncated")),
    "tif empty": Damage("a.tif", lambda path: cut(path, 0), ("a.tif", "first bytes are not TIFF's")),
    "npy cut in half": Damage("a.npy", lambda path: cut(path, 0.5), ("a.npy", "truncated")),
    "npy empty": Damage("a.npy", lambda path: cut(path, 0), ("a.npy", "first bytes are not .npy's")),
}
