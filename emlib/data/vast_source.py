"""The sections of a VAST export as one label volume that is decoded section by section."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from emlib.data.vast_names import missing_sections, number_sections
from emlib.formats.metadata import Metadata
from emlib.formats.pictures import Header, check_channels, decode_ids, read_header, read_picture
from emlib.formats.slices import find_slices
from emlib.formats.source import Box, Source, box_shape, in_threads

MISSING = ("error", "background", "skip")


class VastSource(Source):
    """Colours R * 65536 + G * 256 + B, and grey values, as ids; see `read_vast` for the arguments."""

    def __init__(self, path: Path, *, pattern: str | None, missing: str, ids: Mapping[int, int] | None):
        if missing not in MISSING:
            raise ValueError(f"missing is {missing!r}, but one of {', '.join(MISSING)} was expected.")
        self.path = path
        numbered = number_sections(_pictures(path), pattern)
        numbers = list(numbered)
        gaps = missing_sections(numbers)
        if gaps and missing == "error":
            raise FileNotFoundError(
                f"The VAST export {path} lacks the sections {gaps} (it has {numbers[0]} to {numbers[-1]}); pass "
                "missing='background' for empty ones in their place, or 'skip' to close the gaps."
            )
        if missing == "background":
            numbers = list(range(numbers[0], numbers[-1] + 1))
        self.sections = tuple((number, numbered.get(number)) for number in numbers)
        files = list(numbered.values())
        headers = list(in_threads(read_header, files, len(files)))
        for file, header in zip(files, headers, strict=True):
            _check(file, header, files[0], headers[0])
        self.shape = (len(numbers), *headers[0].shape[:2])
        self.chunks = (1, *self.shape[1:])
        self.lookup = None if ids is None else _lookup(ids)
        self.dtype = np.dtype(np.uint32) if self.lookup is None else self.lookup[0].dtype
        self.metadata = Metadata("zyx", None, {"first_section": numbers[0]})

    def read(self, box: Box) -> np.ndarray:
        result = np.empty(box_shape(box), dtype=self.dtype)
        wanted = range(box[0].start, box[0].stop, box[0].step or 1)
        for place, ids in enumerate(in_threads(self.read_section, wanted, len(wanted))):
            result[place] = 0 if ids is None else ids[box[1:]]
        return result

    def read_section(self, z: int) -> np.ndarray | None:
        """The ids (y, x) of section `z` of the volume, None where there is no picture."""
        number, file = self.sections[z]
        if file is None:
            return None
        try:
            pixels = read_picture(file)
        except FileNotFoundError as error:
            raise FileNotFoundError(f"The section {file} is gone; it was there when the export was opened.") from error
        if pixels.shape[:2] != self.shape[1:]:
            raise ValueError(f"{file} is {pixels.shape[:2]}, but it was {self.shape[1:]} when the export was opened.")
        ids = decode_ids(pixels, file)
        if self.lookup is None:
            return ids
        table, known = self.lookup
        strange = ids.max(initial=0) >= table.size or not known[ids].all()
        if strange:
            wrong = next(int(one) for one in np.unique(ids) if one >= table.size or not known[one])
            raise ValueError(f"{file} (section {number}) holds the number {wrong}, which the table of ids lacks.")
        return table[ids]


def _pictures(path: Path) -> list[Path]:
    if path.is_dir():
        found = sorted(one for one in path.iterdir() if one.suffix.lower() == ".png" and not one.name.startswith("."))
        if not found:
            raise FileNotFoundError(f"The folder {path} holds no PNG pictures, so it is no VAST export.")
        return found
    if path.suffix.lower() == ".json":
        raise ValueError(f"{path} is a list of tiles, not an export; use open_volume(path, labels=True).")
    found = find_slices(path)
    other = next((one for one in found if one.suffix.lower() != ".png"), None)
    if other is not None:
        raise ValueError(f"{path} matches {other.name}, but a VAST export is PNG pictures.")
    return found


def _check(file: Path, header: Header, first: Path, expected: Header) -> None:
    if header.shape[:2] != expected.shape[:2]:
        raise ValueError(
            f"{file} is {header.shape[:2]} pixels (y, x), but {first.name} is {expected.shape[:2]}; all sections of an "
            "export must have one size."
        )
    if header.bits < 8:
        raise ValueError(
            f"{file} has {header.bits} bit a pixel, so it is a mask and not ids; VAST exports 8, 16 or 24."
        )
    check_channels(file, header.shape, header.dtype, labels=True)


def _lookup(ids: Mapping[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """New id of each number, and which numbers have one; 0 stays 0 unless the table says otherwise."""
    numbers = np.array([0, *ids], dtype=np.int64)
    values = [int(ids.get(0, 0)), *(int(one) for one in ids.values())]
    if numbers.min() < 0 or min(values) < 0 or max(values) >= 2**64:
        raise ValueError("A table of ids must hold whole numbers from 0 (and ids below 2**64).")
    table = np.zeros(int(numbers.max()) + 1, np.uint64 if max(values) >= 2**32 else np.uint32)
    known = np.zeros(table.size, bool)
    table[numbers], known[numbers] = np.array(values, dtype=np.uint64), True
    return table, known
