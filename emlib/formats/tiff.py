"""Volumes in multi-page TIFF files: memory-mapped where the pages are uncompressed, read page by page otherwise."""

from __future__ import annotations

import io
import itertools
import json
import struct
import threading
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from emlib.formats.boxes import blocks
from emlib.formats.metadata import AXES, NANOMETRES, Metadata, check_dtype, check_voxel_size, from_stored, to_stored
from emlib.formats.pictures import check_channels, decode_ids, grey
from emlib.formats.source import Box, FileSource, box_shape

DAMAGE = (tifffile.TiffFileError, ValueError, OSError, RuntimeError, KeyError, IndexError, struct.error, zlib.error)
IMAGEJ_DTYPES = ("uint8", "uint16", "float32")
# ImageJ itself reads at most 4 GiB, and tifffile cannot write ImageJ files as BigTIFF.
IMAGEJ_BYTES = 2**32 - 2**24
INFO_NAME = "emlib"


class TiffSource(FileSource):
    """A TIFF stack; one axis of pages is z, whatever it is called in the file (`axes=` of `open_volume` overrules).

    Args:
        path: the file.
        key: not for TIFF; anything but None is refused.
        labels: True decodes colour pages to ids R * 65536 + G * 256 + B (uint32).

    Raises:
        OSError: not a TIFF file, or a truncated or damaged one.
        ValueError: pages of different shapes, more axes than z, c, y, x, colour pages without `labels`.
        TypeError: a dtype a volume cannot hold.
    """

    def __init__(self, path: Path, key: str | None = None, *, writable: bool = False, labels: bool = False):
        if key is not None:
            raise ValueError(f"{path} is a TIFF file, which holds one stack; do not pass a key (got {key!r}).")
        if writable:
            raise ValueError(f"{path} is a TIFF file, which is read-only here; convert it to .zarr to write to it.")
        self.path = path
        try:
            # Counted first: tifffile prints warnings of its own about a list of pages that breaks off.
            pages = count_pages(path)
            with tifffile.TiffFile(path) as file:
                if len(file.pages) != pages:
                    raise OSError("its list of pages breaks off")
                stored = _own_metadata(file)
                self._read_layout(file, stored, labels)
                if not stored and file.is_imagej:
                    stored = _imagej_voxel_size(file, self.axes)
        except DAMAGE as error:
            if isinstance(error, ValueError) and str(error).startswith(str(path)):
                raise
            raise OSError(f"{path} is no complete TIFF file, it is damaged or truncated ({error}).") from error
        stored.pop("shape", None)
        metadata = from_stored(stored, len(self.axes), str(path))
        self.metadata = Metadata(self.axes, metadata.voxel_size, metadata.attributes)
        self._lock = threading.Lock()

    def _read_layout(self, file: tifffile.TiffFile, stored: dict[str, Any], labels: bool) -> None:
        if not file.series:
            raise OSError("it has no pages")
        series, page = file.series, file.series[0].keyframe
        names, shape = _stored_layout(series, stored, self.path)
        axes = _volume_axes(names)
        if axes is None:
            raise ValueError(f"{self.path} has axes {series[0].axes} {shape}; a volume has z, c, y and x only.")
        self._ids = axes.endswith("c") and (labels or "z" in axes)
        if labels and axes.startswith("c"):
            raise ValueError(f"{self.path} holds channels as planes ({series[0].axes}), which cannot be read as ids.")
        dtype = grey(np.empty(0, page.dtype)).dtype
        self._leading = shape[: -(3 if names.endswith("c") else 2)]
        if self._ids:
            check_channels(self.path, shape[-3:], dtype, labels)
            axes, names, shape, dtype = axes[:-1], names[:-1], shape[:-1], np.dtype(np.uint32)
        self.dtype = check_dtype(dtype, str(self.path))
        self.axes, self._file_axes = axes, names
        self.shape = tuple(shape[names.index(axis)] for axis in axes)
        outer = names[: len(self._leading)]
        self.chunks = tuple(1 if axis in outer else length for axis, length in zip(axes, self.shape, strict=True))
        self._map = None
        offset = series[0].dataoffset if len(series) == 1 else None
        if offset is not None and page.is_memmappable and page.dtype.kind != "b" and not self._ids:
            self._map = (offset, file.byteorder + page.dtype.str[1:], shape)
            missing = offset + series[0].nbytes - self.path.stat().st_size
            if missing > 0:
                raise OSError(f"the last {missing} bytes of the voxels are missing")
        self._pages = [(s, p) for s in range(len(series)) for p in range(len(series[s].pages))]

    def _open(self) -> Any:
        if self._map is not None:
            offset, dtype, shape = self._map
            try:
                return np.memmap(self.path, dtype=dtype, mode="r", offset=offset, shape=shape)
            except ValueError as error:
                raise OSError(f"{self.path} was truncated after it was opened ({error}).") from error
        return tifffile.TiffFile(self.path)

    def __getstate__(self) -> dict[str, Any]:
        state = super().__getstate__()
        del state["_lock"]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = threading.Lock()

    def read(self, box: Box) -> np.ndarray:
        order = [self.axes.index(axis) for axis in self._file_axes]
        stored_box = tuple(box[position] for position in order)
        back = [self._file_axes.index(axis) for axis in self.axes]
        if self._map is not None:
            found = self.handle()[stored_box].transpose(back)
            return np.array(found, dtype=self.dtype, order="C", copy=True, subok=False)
        outer = len(self._leading)
        result = np.empty(box_shape(stored_box), dtype=self.dtype)
        lists = [range(part.start, part.stop, part.step or 1) for part in stored_box[:outer]]
        for place in itertools.product(*(range(len(steps)) for steps in lists)):
            position = tuple(steps[index] for steps, index in zip(lists, place, strict=True))
            number = int(np.ravel_multi_index(position, self._leading)) if outer else 0
            result[place] = self.read_page(number)[stored_box[outer:]]
        return np.ascontiguousarray(result.transpose(back))

    def read_page(self, number: int) -> np.ndarray:
        """Decode one page: (y, x), ids decoded, 1-bit as 0/255; or (y, x, c)."""
        try:
            with self._lock:
                series, page = self._pages[number]
                found = self.handle().series[series].pages[page]
                if found is None:
                    raise OSError("the page is not in the file")
                found = found.asarray()
        except DAMAGE as error:
            raise OSError(
                f"Page {number} of {self.path} cannot be read, it is damaged or truncated ({error})."
            ) from error
        return decode_ids(found, self.path) if self._ids else grey(found)


def _stored_layout(series: list[Any], stored: dict[str, Any], path: Path) -> tuple[str, tuple[int, ...]]:
    """Axes (ours, in the file's order) and shape of what is in the file."""
    first, page = series[0], series[0].keyframe
    if len(series) > 1:
        # A file to which pages were appended one by one: each counts as a series of its own.
        kinds = {(one.shape, str(one.dtype)) for one in series}
        if len(kinds) > 1 or first.ndim != page.ndim:
            found = " and ".join(f"{shape} {dtype}" for shape, dtype in sorted(kinds)[:2])
            raise ValueError(f"{path} holds {len(series)} images ({found}), which do not make one stack.")
        return "z" + first.axes.lower().replace("s", "c"), (len(series), *first.shape)
    own = stored.get("shape"), stored.get("axes")
    if own[1] in AXES and isinstance(own[0], list) and np.prod(own[0]) == first.size and len(own[0]) == len(own[1]):
        return own[1], tuple(own[0])
    # tifffile drops axes of length 1; a stack of one section written as such stays a stack.
    for squeeze in (False, True) if first.kind == "shaped" else (True,):
        names, shape = first.get_axes(squeeze), first.get_shape(squeeze)
        if len(shape) - page.ndim == 1:
            # One axis of pages is z, whatever the file calls it: often I, Q or T, or C, which tifffile writes unasked.
            names = "Z" + names[1:]
        names = names.lower().replace("s", "c")
        if _volume_axes(names) is not None:
            break
    return names, tuple(shape)


def _volume_axes(stored: str) -> str | None:
    """The axes of a volume whose axes are `stored` in the file, perhaps in another order."""
    if stored in AXES:
        return stored
    return next((axes for axes in ("czyx", "cyx", "zyx") if sorted(axes) == sorted(stored)), None)


def count_pages(path: Path) -> int:
    """Follow the chain of page headers; tifffile stops without an error where the file does.

    Raises:
        OSError: no TIFF file, or the chain leaves the file.
    """
    size = path.stat().st_size
    with open(path, "rb") as file:
        head = file.read(16)
        if head[:2] not in (b"II", b"MM") or len(head) < 8:
            raise OSError("its first bytes are not TIFF's")
        order = "<" if head[:2] == b"II" else ">"
        big = struct.unpack(order + "H", head[2:4])[0] == 43
        where, count_form, entry, next_form = (8, "Q", 20, "Q") if big else (4, "H", 12, "I")
        offset = struct.unpack_from(order + next_form, head, where)[0]
        pages, seen = 0, set()
        while offset:
            if offset >= size or offset in seen:
                raise OSError(f"the header of page {pages} should be at byte {offset}, but the file has {size} bytes")
            seen.add(offset)
            file.seek(offset)
            try:
                entries = struct.unpack(order + count_form, file.read(struct.calcsize(count_form)))[0]
                file.seek(entries * entry, 1)
                offset = struct.unpack(order + next_form, file.read(struct.calcsize(next_form)))[0]
            except struct.error as error:
                raise OSError(f"the file ends within the header of page {pages}") from error
            pages += 1
    return pages


def _own_metadata(file: tifffile.TiffFile) -> dict[str, Any]:
    """What `save` wrote beside the voxels, or nothing."""
    if file.is_imagej:
        try:
            own = json.loads((file.imagej_metadata or {}).get("Info", ""))[INFO_NAME]
        except (ValueError, KeyError, TypeError):
            # Info is free text of ImageJ's users; only ours is JSON with our name.
            return {}
    else:
        own = (file.shaped_metadata or ({},))[0].get(INFO_NAME, {})
    return own if isinstance(own, dict) else {}


def _imagej_voxel_size(file: tifffile.TiffFile, axes: str) -> dict[str, Any]:
    found = file.imagej_metadata or {}
    tags = file.pages.first.tags
    factor = NANOMETRES.get(str(found.get("unit", "")).replace("\\u00B5", "µ"))
    if factor is None or "XResolution" not in tags or "YResolution" not in tags:
        return {}
    per_pixel = [tags[name].value[1] / tags[name].value[0] * factor if tags[name].value[0] else 0.0
                 for name in ("YResolution", "XResolution")]  # fmt: skip
    sizes = [*([found["spacing"] * factor] if "z" in axes and "spacing" in found else []), *per_pixel]
    try:
        return {"voxel_size": check_voxel_size(sizes, axes)}
    except (TypeError, ValueError):
        # A spacing without z, or zero: not clearly given.
        return {}


def save(path: Path, array: Any, metadata: Metadata) -> None:
    """Write a TIFF stack, page by page and uncompressed, so that it can be memory-mapped.

    Grey stacks of uint8, uint16 or float32 up to 4 GiB are ImageJ files with spacing and resolution; others are plain
    (Big)TIFF. Both carry the exact metadata as JSON. bool is refused: 1-bit TIFF reads as uint8 0 and 255.

    Raises:
        TypeError: bool voxels.
        ValueError: stacks of colour pages (zyxc), which would be read as ids.
    """
    dtype, shape, axes = np.dtype(array.dtype), tuple(array.shape), metadata.axes
    if dtype.kind == "b":
        raise TypeError(f"{path} cannot hold bool voxels; save them as uint8, or as .zarr, .h5 or .npy.")
    if axes == "zyxc":
        raise ValueError(f"{path} cannot hold axes 'zyxc'; save as .zarr, .h5 or .npy, or channels first ('czyx').")
    if axes == "yxc" and shape[-1] == 1:
        written, pages = "YX", shape[:-1]
    else:
        written, pages = axes.upper().replace("C", "S") if axes.endswith("c") else axes.upper(), shape
    size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    stored = {INFO_NAME: {**to_stored(metadata), "shape": list(shape)}}
    options: dict[str, Any] = {"photometric": "rgb" if axes == "yxc" and shape[-1] == 3 else "minisblack"}
    if axes in ("yx", "zyx") and dtype.name in IMAGEJ_DTYPES and size < IMAGEJ_BYTES:
        options |= {"imagej": True, "byteorder": "<", "metadata": {"axes": written, "Info": json.dumps(stored)}}
        if metadata.voxel_size is not None:
            options["metadata"] |= {"unit": "nm", **({"spacing": metadata.voxel_size[0]} if axes == "zyx" else {})}
            options["resolution"] = (1 / metadata.voxel_size[-1], 1 / metadata.voxel_size[-2])
    else:
        if "S" in written:
            options["planarconfig"] = "contig"
        options |= {"bigtiff": size >= IMAGEJ_BYTES, "metadata": {"axes": written, **stored}}
    inside = 3 if axes.endswith("c") else 2
    page = pages[-(inside - len(shape) + len(pages)) :]
    with _PlainFile(io.FileIO(path, "w+")) as file:
        tifffile.imwrite(file, _pages(array, shape, inside, page), shape=pages, dtype=dtype, **options)


class _PlainFile(io.BufferedRandom):
    """A file that numpy's `tofile` leaves alone: on a full disk that raises without saying why, `write` does."""

    def fileno(self) -> int:
        raise io.UnsupportedOperation("written through write() only")


def _pages(array: Any, shape: tuple[int, ...], inside: int, page: tuple[int, ...]) -> Any:
    """The pages in order, each of shape `page`, read from `array` in slabs of whole pages."""
    unit = (*(1 for _ in shape[:-inside]), *shape[-inside:])
    for box in blocks(shape, unit, np.dtype(array.dtype).itemsize):
        yield from array[box].reshape(-1, *page)
