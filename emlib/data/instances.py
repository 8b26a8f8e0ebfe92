"""From a mask to instances: connected components."""

from __future__ import annotations

import cc3d
import numpy as np
from numpy.typing import ArrayLike

CONNECTIVITIES = {2: (4, 8), 3: (6, 18, 26)}


def instances_from_mask(mask: ArrayLike, *, min_size: int = 0, connectivity: int | None = None) -> np.ndarray:
    """Number the connected components of a mask 1..n.

    Args:
        mask: (Z, Y, X) or (Y, X), bool or whole numbers; anything but 0 is foreground.
        min_size: components with fewer voxels become background.
        connectivity: 6, 18 or 26 for a volume (26 if None), 4 or 8 for an image (8 if None).

    Returns:
        uint32 of the same shape, numbered in the order in which cc3d meets them, without gaps.

    Raises:
        TypeError: the mask holds fractions.
        ValueError: wrong number of axes, unknown connectivity or negative size.

    Example:
        >>> instances_from_mask(np.array([[1, 1, 0, 1]]), min_size=2)
        array([[1, 1, 0, 0]], dtype=uint32)
    """
    array = np.asarray(mask)
    if array.dtype.kind not in "bui":
        raise TypeError(f"The mask is {array.dtype}, but bool or whole numbers were expected; threshold it first.")
    if array.ndim not in CONNECTIVITIES:
        raise ValueError(f"The mask has shape {array.shape}, but (Z, Y, X) or (Y, X) was expected.")
    allowed = CONNECTIVITIES[array.ndim]
    connectivity = allowed[-1] if connectivity is None else connectivity
    if connectivity not in allowed:
        names = " or ".join(map(str, allowed))
        raise ValueError(f"connectivity is {connectivity!r}, but {names} was expected for {array.ndim} axes.")
    if min_size < 0:
        raise ValueError(f"min_size is {min_size}, but a number of voxels from 0 was expected.")
    if array.size == 0:
        return np.zeros(array.shape, np.uint32)
    labels, count = cc3d.connected_components(
        np.ascontiguousarray(array != 0), connectivity=connectivity, return_N=True, out_dtype=np.uint32
    )
    if min_size <= 1 or count == 0:
        return labels
    kept = np.bincount(labels.ravel(), minlength=count + 1) >= min_size
    kept[0] = False
    numbers = np.zeros(count + 1, np.uint32)
    numbers[kept] = np.arange(1, int(kept.sum()) + 1, dtype=np.uint32)
    return numbers[labels]
