"""Volumes as a folder, or a glob, of PNG or TIFF slices; a single picture is a two-dimensional volume."""

from __future__ import annotations

import glob
from pathlib import Path

import numpy as np

from emlib.formats.metadata import Metadata, check_dtype
from emlib.formats.ordering import natural_key
from emlib.formats.pictures import SUFFIXES, check_channels, decode_ids, read_header, read_picture
from emlib.formats.source import Box, Source, box_shape, in_threads


class SliceSource(Source):
    """Slices in natural order (s2 before s10) along z, each decoded when it is needed.

    The headers of all slices are read at once and must agree. 1-bit slices read as uint8 0 and 255, so a folder that
    mixes masks of 1 and 8 bits is one uint8 volume.

    Args:
        path: a folder, a glob pattern, or one picture.
        labels: True decodes colour slices to ids R * 65536 + G * 256 + B (uint32).

    Raises:
        FileNotFoundError: no slices there.
        ValueError: slices of different shapes or dtypes, PNG beside TIFF in a folder, colour without `labels`.
        OSError: a damaged or truncated slice.
    """

    def __init__(self, path: Path, key: str | None = None, *, writable: bool = False, labels: bool = False):
        if key is not None:
            raise ValueError(f"{path} is read as slices, which have no keys; do not pass a key (got {key!r}).")
        if writable:
            raise ValueError(f"{path} is read as slices, which are read-only here; convert them to .zarr first.")
        self.path, self.labels = path, labels
        self.files = find_slices(path)
        single = path.is_file()
        headers = list(in_threads(read_header, self.files, len(self.files)))
        first = headers[0]
        for file, header in zip(self.files, headers, strict=True):
            if header != first:
                raise ValueError(
                    f"{file} is {header.shape} {header.dtype}, but {self.files[0].name} is "
                    f"{first.shape} {first.dtype}; all slices must agree."
                )
        self._ids = labels and len(first.shape) == 3
        if not single or labels:
            check_channels(self.files[0], first.shape, first.dtype, labels)
        self._page = first.shape
        inside = first.shape[:2] if self._ids else first.shape
        self.dtype = np.dtype(np.uint32) if self._ids else check_dtype(first.dtype, str(self.files[0]))
        self.shape = inside if single else (len(self.files), *inside)
        self.chunks = inside if single else (1, *inside)
        self._single = single
        self.metadata = Metadata({(True, 2): "yx", (True, 3): "yxc", (False, 2): "zyx"}[single, len(inside)])

    def read(self, box: Box) -> np.ndarray:
        if self._single:
            return np.array(self.read_slice(0)[box], dtype=self.dtype, order="C", copy=True)
        result = np.empty(box_shape(box), dtype=self.dtype)
        wanted = range(box[0].start, box[0].stop, box[0].step or 1)
        for place, pixels in enumerate(in_threads(self.read_slice, wanted, len(wanted))):
            result[place] = pixels[box[1:]]
        return result

    def read_slice(self, number: int) -> np.ndarray:
        """Decode slice `number`."""
        file = self.files[number]
        try:
            pixels = read_picture(file)
        except FileNotFoundError as error:
            raise FileNotFoundError(f"The slice {file} is gone; it was there when the volume was opened.") from error
        if pixels.shape != self._page:
            raise ValueError(f"{file} is {pixels.shape}, but its header and the other slices say {self._page}.")
        return decode_ids(pixels, file) if self._ids else pixels


def find_slices(path: Path) -> list[Path]:
    """The slices of a folder or glob pattern in natural order; hidden files and other kinds are passed over.

    Raises:
        FileNotFoundError: there is none.
        ValueError: a folder with PNG and TIFF, or a pattern that matches other files.
    """
    if path.is_file():
        return [path]
    if path.is_dir():
        found = [one for one in path.iterdir() if one.suffix.lower() in SUFFIXES and not one.name.startswith(".")]
        if len({".png" if one.suffix.lower() == ".png" else ".tif" for one in found}) > 1:
            raise ValueError(f"The folder {path} holds PNG and TIFF slices; name one kind, such as {path / '*.png'}.")
        if not found:
            raise FileNotFoundError(f"The folder {path} holds no slices ({', '.join(SUFFIXES)}) and is no zarr store.")
    else:
        found = [Path(one) for one in glob.glob(str(path), recursive=True)]
        if not found:
            raise FileNotFoundError(f"No file matches {path}.")
        strange = next((one for one in found if one.suffix.lower() not in SUFFIXES), None)
        if strange is not None:
            raise ValueError(f"{path} matches {strange.name}, which is not a slice ({', '.join(SUFFIXES)}).")
    return sorted(found, key=lambda one: natural_key(str(one)))
