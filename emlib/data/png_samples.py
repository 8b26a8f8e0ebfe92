"""PNG files whose colours have 16 bits, which the imaging library would cut to 8."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np

from emlib.compilation import compiled
from emlib.formats.png_parts import SIGNATURE, png_parts

COLOUR_CHANNELS = {2: 3, 4: 2, 6: 4}
INTERLACED = 1


def is_deep_colour(head: bytes) -> bool:
    """Whether a file that begins with these (at least 29) bytes is a PNG of several channels of 16 bits.

    Example:
        >>> is_deep_colour(b"BM" + bytes(27))
        False
    """
    return head[:8] == SIGNATURE and len(head) >= 29 and head[24] == 16 and head[25] in COLOUR_CHANNELS


def read_deep_colour(path: Path) -> np.ndarray:
    """Decode such a picture: uint16 (y, x, channels), opacity included (the last of 2 or 4 channels).

    Raises:
        OSError: the file is damaged or truncated.
        ValueError: an interlaced picture, which this reader does not know.
    """
    data = path.read_bytes()
    width, height, _, colour, _, _, interlace = struct.unpack(">IIBBBBB", data[16:29])
    if interlace == INTERLACED:
        raise ValueError(f"{path} is an interlaced PNG of 16 bits a channel; save it without interlacing, or as TIFF.")
    channels = COLOUR_CHANNELS[colour]
    row = 2 * channels * width
    try:
        packed = b"".join(body for kind, body in png_parts(data) if kind == b"IDAT")
        lines = np.frombuffer(zlib.decompress(packed), np.uint8)
    except (struct.error, zlib.error) as error:
        raise OSError(f"{path} cannot be read, it is damaged or truncated ({error}).") from error
    if lines.size != height * (row + 1) or lines[:: row + 1].max(initial=0) > 4:
        raise OSError(f"{path} cannot be read, it is damaged or truncated (its lines have another length).")
    lines = lines.reshape(height, row + 1)
    plain = _undo_filters(np.ascontiguousarray(lines[:, 0]), lines[:, 1:].copy(), 2 * channels)
    return plain.view(">u2").astype(np.uint16).reshape(height, width, channels)


@compiled
def _undo_filters(kinds, lines, step):
    """Turn differences to the left, upper and upper-left neighbour back into values, in place (PNG, section 9)."""
    for y in range(lines.shape[0]):
        kind = kinds[y]
        for x in range(lines.shape[1]):
            left = np.int64(lines[y, x - step]) if x >= step else np.int64(0)
            up = np.int64(lines[y - 1, x]) if y > 0 else np.int64(0)
            corner = np.int64(lines[y - 1, x - step]) if x >= step and y > 0 else np.int64(0)
            guess = np.int64(0)
            if kind == 1:
                guess = left
            elif kind == 2:
                guess = up
            elif kind == 3:
                guess = (left + up) // 2
            elif kind == 4:
                to_left, to_up, to_corner = abs(up - corner), abs(left - corner), abs(left + up - 2 * corner)
                if to_left <= to_up and to_left <= to_corner:
                    guess = left
                elif to_up <= to_corner:
                    guess = up
                else:
                    guess = corner
            lines[y, x] = np.uint8((np.int64(lines[y, x]) + guess) & 255)
    return lines
