"""Read a microscope picture, or a picture of labels, from any of the files in which data sets come."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from pathlib import Path

import numpy as np

from emlib.data.image_decoding import Pixels, decode_picture, picture_size

IMAGE_SUFFIXES = (".png", ".tif", ".tiff", ".bmp", ".jpg", ".jpeg")
LABEL_SUFFIXES = (*IMAGE_SUFFIXES, ".npy")


def read_image(path: str | Path, *, page: int | None = None, channels: Sequence[int] | None = None) -> np.ndarray:
    """Read a picture as three channels.

    PNG, TIFF, BMP and JPEG; grey, RGB, palette, 1-bit, 8-bit, 16-bit and float. Grey values are repeated three times.
    Opacity is left out. Of two stains the first becomes red, the second green, and blue is 0. Rows run downwards and
    columns to the right, as every reader here has it; a camera's note on how to turn the picture (EXIF) is not
    followed, because labels are drawn on the pixels as stored.

    Args:
        path: the file; its first bytes decide what it is, not its name.
        page: which page of a stack to read. A stack is refused without it.
        channels: up to three channel numbers that become red, green and blue; missing ones are 0. A file of more than
            three channels is refused without it.

    Returns:
        (y, x, 3) of the file's type (float16 as float32, 1-bit as uint8 0 and 255).

    Raises:
        FileNotFoundError: no such file.
        OSError: no picture, or a damaged or truncated one.
        ValueError: a stack without `page`, too many channels without `channels`, or a number out of range.
        TypeError: complex pixels, or `page` or `channels` that are no whole numbers.

    Example:
        >>> import imageio.v3, tempfile, pathlib
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "grey.png"
        >>> imageio.v3.imwrite(path, np.array([[0, 10, 20]], dtype=np.uint8))
        >>> read_image(path)[0, :, 0].tolist(), read_image(path).shape
        ([0, 10, 20], (1, 3, 3))
    """
    path = Path(path)
    pixels = _one_page(decode_picture(path), page, path)
    values = pixels.values
    if values.dtype.kind not in "buif":
        raise TypeError(f"{path} has pixels of type {values.dtype}, but whole numbers or floats were expected.")
    if 0 in values.shape:
        raise ValueError(f"{path} has no pixels: its shape is {values.shape}.")
    if values.dtype == bool:
        values = values.astype(np.uint8) * np.uint8(255)
    elif values.dtype == np.float16:
        values = values.astype(np.float32)
    if values.ndim == 2:
        values = values[..., None]
    return _three_channels(values, channels, path)


def read_label_image(path: str | Path) -> np.ndarray:
    """Read a picture whose pixels are ids: 0 for background, any other number for one cell.

    PNG (also with a palette, whose entries are the ids), TIFF, BMP and .npy; ids may have gaps.

    Args:
        path: the file.

    Returns:
        (y, x) uint8, uint16, uint32 or uint64, as stored (signed ids as the unsigned type of the same width).

    Raises:
        FileNotFoundError: no such file.
        OSError: no picture, or a damaged or truncated one.
        TypeError: pixels that are not whole numbers, or a 1-bit mask.
        ValueError: colours, a stack, a JPEG, or negative ids.

    Example:
        >>> import tempfile, pathlib
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "cells_label.npy"
        >>> np.save(path, np.array([[0, 70000]]))
        >>> read_label_image(path).tolist()
        [[0, 70000]]
    """
    path = Path(path)
    if path.suffix.lower() in (".jpg", ".jpeg"):
        raise ValueError(f"{path} is a JPEG, whose pixels are not exact, so it holds no ids; use PNG or TIFF.")
    values = _load_npy(path) if path.suffix.lower() == ".npy" else _one_page(
        decode_picture(path, ids=True), None, path).values  # fmt: skip
    values = values.squeeze(tuple(axis for axis in range(values.ndim - 2) if values.shape[axis] == 1))
    if values.ndim == 3 and values.shape[2] == 1:
        values = values[..., 0]
    if values.ndim == 3 and values.shape[2] in (2, 3, 4):
        raise ValueError(
            f"{path} is a colour picture of {values.shape[2]} channels, but one id a pixel was expected; if its "
            "colours are ids, emlib.formats.pictures.decode_ids turns R*65536 + G*256 + B into them."
        )
    if values.ndim != 2 or 0 in values.shape:
        raise ValueError(f"{path} has shape {values.shape}, but one picture (y, x) of ids was expected.")
    if values.dtype == bool:
        raise TypeError(f"{path} is a 1-bit mask, which says where cells are but not which; one id a cell is needed.")
    if values.dtype.kind not in "iu":
        raise TypeError(f"{path} has pixels of type {values.dtype}, but whole numbers (one id a cell) were expected.")
    if values.dtype.kind == "i" and values.min() < 0:
        raise ValueError(f"{path} has negative ids, the lowest is {values.min()}, but 0 or more was expected.")
    return np.ascontiguousarray(values, dtype=np.dtype(f"u{values.dtype.itemsize}"))


def image_size(path: str | Path) -> tuple[int, int]:
    """Height and width in pixels of a picture or a .npy file, read from its header.

    Raises:
        FileNotFoundError: no such file.
        OSError: no picture, or a damaged one.

    Example:
        >>> import tempfile, pathlib
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "cells_label.npy"
        >>> np.save(path, np.zeros((20, 30), np.uint16))
        >>> image_size(path)
        (20, 30)
    """
    path = Path(path)
    if path.suffix.lower() == ".npy":
        shape = _load_npy(path).shape
        if len(shape) < 2:
            raise ValueError(f"{path} has shape {shape}, but a picture (y, x) was expected.")
        return (shape[0], shape[1]) if len(shape) == 2 or shape[-1] <= 4 else (shape[-2], shape[-1])
    return picture_size(path)


def _load_npy(path: Path) -> np.ndarray:
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path}.")
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise OSError(f"{path} is no array of numbers, or it is damaged or truncated ({reason}).") from error


def _one_page(pixels: Pixels, page: int | None, path: Path) -> Pixels:
    if page is not None and (isinstance(page, bool) or not isinstance(page, Integral)):
        raise TypeError(f"page is {page!r}, but a whole number or None was expected.")
    if not pixels.axes.startswith("p"):
        if page not in (None, 0):
            raise ValueError(f"{path} is a single picture, but page {page} of it was asked for.")
        return pixels
    count = pixels.values.shape[0]
    if page is None:
        raise ValueError(
            f"{path} is a stack of {count} pages, but one picture was expected; pass page=0 ... {count - 1} for one of "
            "them, or save channels in one page."
        )
    if not 0 <= page < count:
        raise ValueError(f"{path} has {count} pages, but page {page} was asked for.")
    return Pixels(np.ascontiguousarray(pixels.values[page]), pixels.axes[1:])


def _three_channels(values: np.ndarray, channels: Sequence[int] | None, path: Path) -> np.ndarray:
    count = values.shape[2]
    if channels is None:
        if count > 3:
            raise ValueError(f"{path} has {count} channels; say which become red, green and blue: channels=(0, 1, 2).")
        channels = (0, 0, 0) if count == 1 else range(count)
    if not all(isinstance(one, Integral) and not isinstance(one, bool) for one in channels):
        raise TypeError(f"channels is {channels!r}, but up to three whole numbers were expected.")
    if not 1 <= len(channels) <= 3 or not all(0 <= one < count for one in channels):
        raise ValueError(f"channels is {channels!r}, but {path} needs one to three numbers from 0 to {count - 1}.")
    result = np.zeros((*values.shape[:2], 3), values.dtype)
    for place, one in enumerate(channels):
        result[..., place] = values[..., one]
    return result
