"""One PNG or TIFF picture: what it holds from its header alone, and its pixels as grey values or ids."""

from __future__ import annotations

import io
import struct
import threading
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from emlib.formats.png_parts import SIGNATURE, check_png

SUFFIXES = (".png", ".tif", ".tiff")
PNG_CHANNELS = {0: 1, 2: 3, 4: 2, 6: 4}
DAMAGE = (OSError, ValueError, SyntaxError, RuntimeError, KeyError, IndexError, struct.error, zlib.error)
LARGEST_COLOUR = 2**24 - 1
# The limit against decompression bombs is a global of the imaging library, and below the size of a stitched section.
_PILLOW_LIMIT = threading.Lock()


@dataclass(frozen=True)
class Header:
    """Shape (y, x) or (y, x, c) and dtype that `read_picture` will give, and the bits a PNG stores of each value."""

    shape: tuple[int, ...]
    dtype: np.dtype
    bits: int = field(default=8, compare=False)


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
    if len(head) < 29 or head[:8] != SIGNATURE or head[12:16] != b"IHDR":
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
    return Header(shape, np.dtype(np.uint16 if bits == 16 else np.uint8), bits)


def read_picture(path: Path) -> np.ndarray:
    """Decode a picture: (y, x) or (y, x, c); 1-bit as uint8 0 and 255.

    Raises:
        FileNotFoundError: no such file.
        OSError: the picture is damaged or truncated.
        ValueError: a PNG with a palette or 16-bit colour.
    """
    png = path.suffix.lower() == ".png"
    if png:
        header = read_header(path)
        check_png(path)
    try:
        if png:
            with open_pillow(path) as picture:
                return _native(grey(np.array(picture)), header.dtype)
        import tifffile

        return _native(grey(tifffile.imread(path)), None)
    except FileNotFoundError:
        raise
    except DAMAGE as error:
        raise OSError(f"{path} cannot be read, it is damaged or truncated ({error}).") from error


def open_pillow(path: Path) -> Any:
    """Open a picture of any size with the imaging library, which would refuse the largest sections."""
    from PIL import Image

    with _PILLOW_LIMIT:
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            return Image.open(path)
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def encode_png(pixels: np.ndarray, *, level: int = 3) -> bytes:
    """A PNG file of (y, x) uint8 or uint16, or (y, x, 3) uint8; `level` 0 to 9 trades time for size.

    Example:
        >>> encode_png(np.zeros((2, 3), np.uint8))[1:4]
        b'PNG'
    """
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(stream, format="PNG", compress_level=level)
    return stream.getvalue()


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


def encode_ids(ids: np.ndarray) -> np.ndarray:
    """Ids (y, x) as RGB pixels (y, x, 3) uint8, R most significant: the inverse of `decode_ids`.

    Raises:
        ValueError: an id that is negative or does not fit into 24 bits.

    Example:
        >>> encode_ids(np.array([[65536 + 2 * 256 + 3]])).tolist()
        [[[1, 2, 3]]]
    """
    if ids.size and not 0 <= ids.min() <= ids.max() <= LARGEST_COLOUR:
        wrong = ids.min() if ids.min() < 0 else ids.max()
        raise ValueError(f"The id {wrong} does not fit into a colour, which holds ids from 0 to {LARGEST_COLOUR}.")
    shifted = (ids >> np.array(shift, ids.dtype) if shift < 8 * ids.itemsize else 0 * ids for shift in (16, 8, 0))
    return np.stack([part.astype(np.uint8) for part in shifted], axis=-1)
