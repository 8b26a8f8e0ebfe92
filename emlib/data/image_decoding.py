"""The pixels of one picture file as they are stored, with the meaning of their axes, whatever wrote the file."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from emlib.data.png_samples import is_deep_colour, read_deep_colour
from emlib.formats.pictures import open_pillow
from emlib.formats.png_parts import check_png
from emlib.formats.tiff import count_pages

DAMAGE = (OSError, ValueError, SyntaxError, RuntimeError, KeyError, IndexError, TypeError, EOFError, AttributeError,
          struct.error, zlib.error)  # fmt: skip
TIFF_MARKS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
MOST_CHANNELS_LAST = 4


@dataclass(frozen=True)
class Pixels:
    """Decoded pixels.

    Attributes:
        values: the array, of native byte order.
        axes: one letter an axis: p (pages, of a stack), y, x, c (channels).
    """

    values: np.ndarray
    axes: str


def decode_picture(path: Path, *, ids: bool = False) -> Pixels:
    """Decode a PNG, TIFF, BMP or JPEG file; what it is, its first bytes say, not its name.

    Args:
        path: the file.
        ids: the pixels are ids: a palette's entries are returned as numbers instead of colours, and nothing that is
            meant for the eye (inverted grey) is applied.

    Returns:
        Pixels with axes (p,) y, x (, c), without axes of length 1 and without an opacity channel; 1-bit pictures as
        bool.

    Raises:
        FileNotFoundError: no such file.
        OSError: the file is no picture, or it is damaged or truncated.
        ValueError: a TIFF file with more axes than these, or a kind of PNG that is not read.
    """
    head = _head(path)
    if head[:4] in TIFF_MARKS:
        return _decode_tiff(path, ids)
    check_png(path)
    if is_deep_colour(head):
        deep = read_deep_colour(path)
        colours = deep[..., :3] if deep.shape[2] >= 3 else deep[..., 0]
        return Pixels(np.ascontiguousarray(colours), "yxc"[: colours.ndim])
    return _decode_pillow(path, ids)


def picture_size(path: Path) -> tuple[int, int]:
    """Height and width in pixels, from the file's header alone.

    Raises:
        FileNotFoundError, OSError, ValueError: as in `decode_picture`.
    """
    if _head(path)[:4] in TIFF_MARKS:
        import tifffile

        try:
            count_pages(path)
            with tifffile.TiffFile(path) as file:
                shape, axes = _tiff_layout(file, path)
        except DAMAGE as error:
            raise _explain(error, path) from error
        return shape[axes.index("y")], shape[axes.index("x")]
    with _open_pillow(path) as picture:
        return picture.height, picture.width


def _head(path: Path) -> bytes:
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder, but a picture file was expected.")
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path}.")
    with open(path, "rb") as file:
        head = file.read(29)
    if not head:
        raise OSError(f"{path} is empty (0 bytes), but a picture was expected.")
    return head


def _explain(error: Exception, path: Path) -> Exception:
    if isinstance(error, ValueError) and str(error).startswith(str(path)):
        return error
    reason = " ".join(str(error).split()).rstrip(".")
    return OSError(f"{path} cannot be read, it is damaged, truncated or no picture ({reason}).")


def _decode_tiff(path: Path, ids: bool) -> Pixels:
    import tifffile

    try:
        pages = count_pages(path)
        with tifffile.TiffFile(path) as file:
            if len(file.pages) != pages:
                raise OSError("its list of pages breaks off")
            page, (shape, axes) = file.pages.first, _tiff_layout(file, path)
            _check_length(file, path)
            if _decodes(page):
                stacked = len(file.series) > 1 and axes.startswith("p")
                values = [one.asarray() for one in (file.series if stacked else file.series[:1])]
                values = (np.stack(values) if stacked else values[0]).reshape(shape)
                values, axes = _plain(values, axes)
                return _as_meant(values, axes, page, ids)
    except DAMAGE as error:
        raise _explain(error, path) from error
    if "p" in axes:
        raise ValueError(f"{path} is a stack of {shape[0]} pages compressed by {page.compression.name}; save it with "
                         "zlib or without compression.")  # fmt: skip
    return _decode_pillow(path, ids)


def _decodes(page: Any) -> bool:
    """Whether tifffile decodes this compression without its optional companion package."""
    import tifffile

    try:
        known = page.compression in (1, 8, 32946) or page.compression in tifffile.TIFF.DECOMPRESSORS
        return known and page.predictor in (1, 2)
    except (KeyError, ImportError, ValueError):
        return False


def _check_length(file: Any, path: Path) -> None:
    """tifffile fills what is missing at the end of a file with zeros."""
    size = path.stat().st_size
    for number, page in enumerate(file.pages):
        ends = [start + length for start, length in zip(page.dataoffsets, page.databytecounts, strict=False)]
        if ends and max(ends) > size:
            raise OSError(f"page {number} should reach to byte {max(ends)}, but the file has {size} bytes")


def _tiff_layout(file: Any, path: Path) -> tuple[tuple[int, ...], str]:
    """Shape and our axes of what is in the file; series of equal shape (appended pages) count as a stack."""
    series = file.series
    if not series:
        raise OSError("it has no pages")
    shape, names = tuple(series[0].shape), series[0].axes
    if len(series) > 1 and len({(tuple(one.shape), str(one.dtype)) for one in series}) == 1:
        shape, names = (len(series), *shape), "I" + names
    axes = "".join({"Y": "y", "X": "x", "S": "c", "C": "c"}.get(name, "p") for name in names)
    if axes == "pyx" and names[0] in "QI" and shape[2] <= MOST_CHANNELS_LAST < min(shape[:2]):
        # Written as an array (y, x, c) by a program that did not say so: pages of width 2 are no pictures.
        axes = "yxc"
    long = [place for place, axis in enumerate(axes) if shape[place] > 1 or axis in "yx"]
    shape, axes = tuple(shape[place] for place in long), "".join(axes[place] for place in long)
    if len(set(axes)) != len(axes) or not {"y", "x"} <= set(axes):
        raise ValueError(f"{path} has axes {names} {tuple(series[0].shape)}, but a picture or one stack was expected.")
    return shape, axes


def _plain(values: np.ndarray, axes: str) -> tuple[np.ndarray, str]:
    """Axes in the order p, y, x, c."""
    order = [axes.index(axis) for axis in "pyxc" if axis in axes]
    return np.ascontiguousarray(values.transpose(order)), "".join(axes[place] for place in order)


def _as_meant(values: np.ndarray, axes: str, page: Any, ids: bool) -> Pixels:
    """Native byte order; colours of a palette; inverted grey turned; opacity left out."""
    values = values.astype(values.dtype.newbyteorder("="), copy=False)
    if not ids and page.photometric == 3 and page.colormap is not None:
        return Pixels(np.moveaxis((page.colormap >> 8).astype(np.uint8)[:, values], 0, -1), axes + "c")
    if not ids and page.photometric == 0 and values.dtype.kind in "bu":
        values = ~values
    opacity = axes.endswith("c") and len(page.extrasamples) == 1 and page.extrasamples[0] in (1, 2)
    if opacity and values.shape[-1] > 1:
        values = values[..., :-1]
        if values.shape[-1] == 1:
            values, axes = values[..., 0], axes[:-1]
    return Pixels(np.ascontiguousarray(values), axes)


def _open_pillow(path: Path) -> Any:
    try:
        return open_pillow(path)
    except DAMAGE as error:
        raise _explain(error, path) from error


def _decode_pillow(path: Path, ids: bool) -> Pixels:
    with _open_pillow(path) as picture:
        try:
            picture.load()
            mode = picture.mode
            if mode in ("P", "PA") and not ids:
                picture = picture.convert("RGBA").convert("RGB")
            elif mode in ("LA", "La"):
                picture = picture.getchannel(0)
            elif mode in ("RGBA", "RGBa"):
                picture = picture.convert("RGBA").convert("RGB")
            elif mode in ("CMYK", "YCbCr", "LAB", "HSV", "RGBX"):
                picture = picture.convert("RGB")
            elif mode == "PA":
                picture = picture.getchannel(0)
            values = np.array(picture)
        except DAMAGE as error:
            raise _explain(error, path) from error
    values = values.astype(values.dtype.newbyteorder("="), copy=False)
    return Pixels(values, "yxc"[: values.ndim])
