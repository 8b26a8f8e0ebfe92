"""One PNG or TIFF picture: what it holds from its header alone, and its pixels as grey values or ids."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

SUFFIXES = (".png", ".tif", ".tiff")
PNG_CHANNELS = {0: 1, 2: 3, 4: 2, 6: 4}
DAMAGE = (OSError, ValueError, SyntaxError, RuntimeError, KeyError, IndexError, struct.error, zlib.error)


@dataclass(frozen=True)
class Header:
    """Shape (y, x) or (y, x, c) and dtype that `read_picture` will give."""

    shape: tuple[int, ...]
    dtype: np.dtype


def read_header(path: Path) -> Header:
    """Shape and dtype of a picture without decoding it.

    A 1-bit picture counts as uint8 (0 and 255), so that masks saved with 1 and with 8 bits are of one kind.

    Raises:
        FileNotFoundError: no such file.
        OSError: not a PNG or TIFF file, or a damaged one.
        ValueError: a palette, 16-bit colour, or several pages.
    """
    if path.suffix.lower() == ".png":
        return _png_header(path)
    import tifffile

    try:
        with tifffile.TiffFile(path) as file:
            page = file.pages.first
            pages, shape, dtype = len(file.pages), page.shape, page.dtype
    except FileNotFoundError:
        raise
    except (tifffile.TiffFileError, *DAMAGE) as error:
        raise OSError(f"{path} is no complete TIFF picture, it is damaged or truncated ({error}).") from error
    if pages > 1 or dtype is None:
        raise ValueError(f"{path} has {pages} pages; a slice is one page, so open the stack by itself.")
    return Header(shape, grey(np.empty(0, dtype)).dtype)


def _png_header(path: Path) -> Header:
    with open(path, "rb") as file:
        head = file.read(29)
    if len(head) < 29 or head[:8] != b"\x89PNG\r\n\x1a\n" or head[12:16] != b"IHDR":
        raise OSError(f"{path} is no complete PNG picture, it is damaged or truncated.")
    width, height, bits, colour = struct.unpack(">IIBB", head[16:26])
    if colour == 3:
        raise ValueError(f"{path} has a colour palette; save it as grey values, or as RGB for ids.")
    if colour not in PNG_CHANNELS:
        raise OSError(f"{path} is a damaged PNG picture: there is no colour type {colour}.")
    channels = PNG_CHANNELS[colour]
    if bits == 16 and channels > 1:
        raise ValueError(f"{path} has 16 bits a channel in {channels} channels; save it as 16-bit grey or 8-bit RGB.")
    shape = (height, width) if channels == 1 else (height, width, channels)
    return Header(shape, np.dtype(np.uint16 if bits == 16 else np.uint8))


def read_picture(path: Path) -> np.ndarray:
    """Decode a picture: (y, x) or (y, x, c); 1-bit as uint8 0 and 255.

    Raises:
        FileNotFoundError: no such file.
        OSError: the picture is damaged or truncated.
    """
    try:
        if path.suffix.lower() == ".png":
            import imageio.v3 as iio

            return _native(grey(iio.imread(path, plugin="pillow")), read_header(path).dtype)
        import tifffile

        return _native(grey(tifffile.imread(path)), None)
    except FileNotFoundError:
        raise
    except DAMAGE as error:
        raise OSError(f"{path} cannot be read, it is damaged or truncated ({error}).") from error


def _native(pixels: np.ndarray, dtype: np.dtype | None) -> np.ndarray:
    # Pillow hands out some 16-bit grey pictures as int32; the header knows better.
    return pixels.astype(dtype or pixels.dtype.newbyteorder("="), copy=False)


def grey(pixels: np.ndarray) -> np.ndarray:
    """1-bit pixels as uint8 0 and 255, all others as they are.

    Example:
        >>> grey(np.array([True, False])).tolist()
        [255, 0]
    """
    return pixels.astype(np.uint8) * np.uint8(255) if pixels.dtype == bool else pixels


def check_channels(path: Path, shape: tuple[int, ...], dtype: Any, labels: bool) -> None:
    """Refuse colour where grey values are expected, and colour that cannot be ids.

    Raises:
        ValueError: with both ways out: ids, or grey values.
    """
    if len(shape) == 2:
        return
    if not labels:
        raise ValueError(
            f"{path} is a colour picture of {shape[2]} channels; pass labels=True to read ids R*65536 + G*256 + B, "
            "or convert the slices to grey values."
        )
    if shape[2] not in (3, 4) or np.dtype(dtype) != np.uint8:
        raise ValueError(f"{path} cannot hold ids: they need 3 channels of uint8, it has {shape[2]} of {dtype}.")


def decode_ids(pixels: np.ndarray, path: Path | str = "The picture") -> np.ndarray:
    """RGB pixels (y, x, 3) uint8 as ids R * 65536 + G * 256 + B, uint32 (y, x); grey pixels are ids already.

    Raises:
        ValueError: a fourth channel (opacity) that is not 255 everywhere.

    Example:
        >>> decode_ids(np.array([[[1, 2, 3]]], dtype=np.uint8)).item() == 1 * 65536 + 2 * 256 + 3
        True
    """
    if pixels.ndim == 2:
        return pixels
    if pixels.shape[2] == 4 and (pixels[..., 3] != 255).any():
        raise ValueError(f"{path} has transparent pixels, so its colours are not ids.")
    ids = pixels[..., 0].astype(np.uint32) << 16
    ids |= pixels[..., 1].astype(np.uint32) << 8
    ids |= pixels[..., 2]
    return ids
