"""Connected components of a mask, numbered in raster order, in a type that cannot overflow."""

from __future__ import annotations

import math

import cc3d
import numpy as np


def label_components(mask: np.ndarray, connectivity: int) -> tuple[np.ndarray, int]:
    """Number the connected components of a mask 1, 2, 3, ... in raster order.

    Args:
        mask: (Z, Y, X) bool; one plane for an image.
        connectivity: 6, 18 or 26 neighbours; within one plane 6 means 4 and the others 8.

    Returns:
        Labels of the same shape, C-contiguous, uint32, or uint64 where there could be 2**32 components; and how many
        there are.

    Raises:
        ValueError: an unknown connectivity.

    Example:
        >>> label_components(np.array([[[True, False, True]]]), 6)
        (array([[[1, 0, 2]]], dtype=uint32), 2)
    """
    if connectivity not in (6, 18, 26):
        raise ValueError(f"connectivity must be 6, 18 or 26, got {connectivity!r}.")
    most = mask.size if connectivity == 6 else math.prod((length + 1) // 2 for length in mask.shape[-2:]) * len(mask)
    dtype = np.uint32 if most < 2**32 else np.uint64
    labels, objects = cc3d.connected_components(mask, connectivity=connectivity, out_dtype=dtype, return_N=True)
    return np.ascontiguousarray(labels.reshape(mask.shape)), int(objects)
