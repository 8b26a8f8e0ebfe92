"""Compile a function with numba, and keep the result on disk where that is possible."""

from __future__ import annotations

from collections.abc import Callable

from numba import njit


def compiled(function: Callable) -> Callable:
    """`numba.njit` whose machine code is cached beside the source, or in memory only if nothing can be written.

    numba refuses `cache=True` with a RuntimeError where neither the package's folder nor the user's cache folder is
    writable (a read-only container, for example); the function then costs its seconds of compilation in every
    process, and works.

    Example:
        >>> @compiled
        ... def double(value):
        ...     return 2 * value
        >>> double(21)
        42
    """
    try:
        return njit(cache=True)(function)
    except RuntimeError:
        return njit(cache=False)(function)
