"""Cells as regions of interest of ImageJ: the bytes of its .roi format."""

from __future__ import annotations

import struct

import numpy as np

VERSION, TRACED = 227, 8
HEADER, SECOND_HEADER = 64, 64
WITH_FRACTIONS = 128
LARGEST = 2**15 - 1
MOST_CORNERS = 2**16 - 1


def roi_bytes(ring: np.ndarray, name: str) -> bytes:
    """One traced region, as ImageJ's RoiEncoder writes it.

    Coordinates are whole numbers of 16 bits; beyond 32,767 pixels floats, which ImageJ also reads, take their place.

    Args:
        ring: int (n, 2) corners (y, x) between pixels, as ImageJ counts them.
        name: shown in its ROI manager.

    Raises:
        ValueError: fewer than three corners, or more than the format can hold.

    Source: the class RoiDecoder of ImageJ 1, which documents the format.

    Example:
        >>> content = roi_bytes(np.array([[0, 1], [0, 3], [1, 3], [1, 1]]), "5")
        >>> content[:4], len(content)
        (b'Iout', 146)
    """
    if not 3 <= len(ring) <= MOST_CORNERS:
        raise ValueError(f"The outline '{name}' has {len(ring)} corners, but 3 to {MOST_CORNERS} were expected.")
    (top, left), (bottom, right) = ring.min(axis=0).tolist(), ring.max(axis=0).tolist()
    fractions = max(bottom, right) > LARGEST
    box = [min(side, LARGEST) for side in (top, left, bottom, right)]
    relative = np.minimum(ring - ring.min(axis=0), LARGEST).astype(">i2")
    content = bytearray(HEADER)
    struct.pack_into(">4sHBB4hH", content, 0, b"Iout", VERSION, TRACED, 0, *box, len(ring))
    content += relative[:, 1].tobytes() + relative[:, 0].tobytes()
    if fractions:
        struct.pack_into(">H", content, 50, WITH_FRACTIONS)
        content += ring[:, 1].astype(">f4").tobytes() + ring[:, 0].astype(">f4").tobytes()
    struct.pack_into(">i", content, 60, len(content))
    second = bytearray(SECOND_HEADER)
    struct.pack_into(">ii", second, 16, len(content) + SECOND_HEADER, len(name))
    return bytes(content + second + name.encode("utf-16-be"))
