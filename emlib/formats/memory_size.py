"""Sizes of memory as people write them."""

from __future__ import annotations

import re

_UNITS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}


def memory_in_bytes(memory: int | str) -> int:
    """Bytes of a size such as `"2GiB"`, `"500 MB"` or a plain number; KiB is 1024 bytes and kB 1000.

    Raises:
        ValueError: not a positive size.

    Example:
        >>> memory_in_bytes("2GiB"), memory_in_bytes("1.5 kB"), memory_in_bytes(4096)
        (2147483648, 1500, 4096)
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?)(i?)b?\s*", str(memory), re.IGNORECASE)
    size = 0
    if match and not isinstance(memory, bool):
        number, unit, binary = match.groups()
        size = int(float(number) * (1024 if binary else 1000) ** _UNITS[unit.lower()])
    if size < 1:
        raise ValueError(f"memory must be a positive size such as '2GiB' or a number of bytes, not {memory!r}.")
    return size
