"""Let the C allocator reuse the large blocks that a network frees, instead of returning them to the system."""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
from collections.abc import Iterator

# Parameters of mallopt, from glibc's malloc.h.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4
_NEVER = 2**31 - 1
_MIB = 1 << 20


@contextlib.contextmanager
def keep_freed_memory() -> Iterator[None]:
    """Inside the block freed memory stays with the process; at the end what is free goes back to the system.

    A network's intermediate results are large, and by default glibc returns such blocks when they are freed. The
    next layer then gets fresh pages, and their first touch takes as long as the convolution: without it a forward
    pass on the CPU takes about half the time. The process's peak grows by what lies fragmented, some tens of percent.

    Nothing happens on systems without glibc, or where the user tunes malloc (`MALLOC_...`, `GLIBC_TUNABLES`).

    Example:
        >>> with keep_freed_memory():
        ...     total = sum(range(10))
        >>> total
        45
    """
    tuned = "GLIBC_TUNABLES" in os.environ or any(name.startswith("MALLOC_") for name in os.environ)
    if tuned or platform.libc_ver()[0] != "glibc":
        yield
        return
    libc = ctypes.CDLL(None)
    libc.mallopt(_MMAP_MAX, 0)
    libc.mallopt(_TRIM_THRESHOLD, _NEVER)
    try:
        yield
    finally:
        # glibc's own values, at the upper end of where it moves them in a process that handles arrays
        libc.mallopt(_MMAP_MAX, 65536)
        libc.mallopt(_MMAP_THRESHOLD, 32 * _MIB)
        libc.mallopt(_TRIM_THRESHOLD, 64 * _MIB)
        libc.malloc_trim(0)
