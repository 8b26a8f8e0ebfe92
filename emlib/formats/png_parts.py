"""PNG files part by part, each with its checksum: damage that the imaging library overlooks."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

SIGNATURE = b"\x89PNG\r\n\x1a\n"


def check_png(path: Path) -> None:
    """Compare the checksums in a PNG file with its content; another kind of file is passed over.

    The imaging library does not: a flipped bit in the pixels of a mask gives another mask without a word.

    Raises:
        OSError: the file is damaged or truncated.
    """
    data = path.read_bytes()
    if data[:8] != SIGNATURE:
        return
    try:
        for _ in png_parts(data):
            pass
    except (struct.error, zlib.error) as error:
        raise OSError(f"{path} cannot be read, it is damaged or truncated ({error}).") from error


def png_parts(data: bytes) -> Iterator[tuple[bytes, memoryview]]:
    """Kind and body of each part of the file up to the end mark; each is checked against its checksum.

    Raises:
        struct.error: the data end too early.
        zlib.error: a part does not agree with its checksum.
    """
    view = memoryview(data)
    place = len(SIGNATURE)
    kind = b""
    while kind != b"IEND":
        if len(data) < place + 12:
            raise struct.error(f"it breaks off after {len(data)} bytes")
        length, kind = struct.unpack_from(">I4s", view, place)
        if len(data) < place + 12 + length:
            raise struct.error(f"it breaks off after {len(data)} bytes, but should have at least {place + 12 + length}")
        body = view[place + 8 : place + 8 + length]
        (checksum,) = struct.unpack_from(">I", view, place + 8 + length)
        if zlib.crc32(body, zlib.crc32(kind)) != checksum:
            raise zlib.error(f"the part {kind!r} has a wrong checksum")
        yield kind, body
        place += length + 12
