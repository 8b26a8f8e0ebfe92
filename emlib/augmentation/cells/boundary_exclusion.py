"""Labels without the outermost pixels of the cells, where annotations of public data sets cannot be trusted."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from emlib.augmentation.cells.cell_arrays import check_labels, tensor_of

SMALL_AREA = 14 * 14


def exclude_boundaries(labels: Any, *, small_area: int = SMALL_AREA, published: bool = False) -> Any:
    """Set to 0 every pixel of a cell that has another id above, below, left or right of it; small cells stay whole.

    A step of MEDIAR's pre-training (Lee et al. 2022). The edge of the picture is no boundary.

    Args:
        labels: (y, x) ids, 0 = background; any integer type; a tensor on any device, or a numpy array. Not changed.
        small_area: cells of fewer pixels stay whole.
        published: count every pixel three times, as the published program does on labels that it has repeated into
            three channels, so that only cells below a third of `small_area` stay whole.

    Returns:
        Labels of the same kind, shape and type.

    Raises:
        TypeError: labels that are not integers.
        ValueError: a shape that is not (y, x), negative ids, or a negative area.

    Example:
        >>> exclude_boundaries(np.array([[0, 1, 1, 1, 2, 2]]), small_area=3).tolist()
        [[0, 0, 1, 0, 2, 2]]
    """
    if isinstance(labels, np.ndarray):
        if labels.dtype.kind not in "iu":
            raise TypeError(f"The labels are {labels.dtype}, but whole numbers (one id a cell) were expected.")
        return exclude_boundaries(tensor_of(labels), small_area=small_area, published=published).numpy().astype(
            labels.dtype, copy=False)  # fmt: skip
    check_labels(labels)
    if small_area < 0:
        raise ValueError(f"small_area is {small_area} pixels, but 0 or more was expected.")
    wide = labels.to(torch.int64)
    boundary = torch.zeros(labels.shape, dtype=torch.bool, device=labels.device)
    for axis in (0, 1):
        length = labels.shape[axis] - 1
        differs = wide.narrow(axis, 0, length) != wide.narrow(axis, 1, length)
        boundary.narrow(axis, 0, length).logical_or_(differs)
        boundary.narrow(axis, 1, length).logical_or_(differs)
    _, places, areas = torch.unique(wide, return_inverse=True, return_counts=True)
    small = (areas * (3 if published else 1) < small_area)[places]
    return torch.where(boundary & ~small, torch.zeros((), dtype=torch.int64, device=labels.device), wide).to(
        labels.dtype
    )
