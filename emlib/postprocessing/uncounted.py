"""Compile small functions that are called for every boundary, without numba's reference counts."""

from __future__ import annotations

from collections.abc import Callable

from numba import njit


def uncounted(function: Callable) -> Callable:
    """`emlib.compilation.compiled` for a function that makes no array.

    numba counts references to every array that it takes out of a tuple, with locked instructions. For functions of a
    few steps over many arrays this is more than half of the time (measured on the merging of regions); functions that
    allocate nothing can do without.

    Example:
        >>> @uncounted
        ... def first(values):
        ...     return values[0]
        >>> import numpy as np
        >>> int(first(np.array([42])))
        42
    """
    try:
        return njit(cache=True, _nrt=False)(function)
    except RuntimeError:
        return njit(cache=False, _nrt=False)(function)
