"""Widen the gap between touching instances."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import torch

from emlib.targets.label_arrays import as_label_tensor, like, narrowed
from emlib.targets.windows import holds_two_ids

LabelArray = TypeVar("LabelArray", np.ndarray, torch.Tensor)


def erode_labels(labels: LabelArray, k: int) -> LabelArray:
    """Clear every voxel whose (2k + 1) x (2k + 1) window in its section holds two different instances.

    Only borders between instances open; an instance keeps its outline towards the background. This is the
    `LABEL_EROSION` of VIDAR and PyTorch Connectomics.

    Args:
        labels: (z, y, x), any integer type, 0 = background; not changed.
        k: half width of the window in voxels; 0 returns a copy.

    Returns:
        Labels of the same shape, type and device.

    Raises:
        TypeError: labels are not whole numbers.
        ValueError: labels do not have three axes, or k is negative.

    Example:
        >>> erode_labels(np.array([[[1, 1, 2, 2, 0]]]), 1)
        array([[[1, 0, 0, 2, 0]]])
    """
    if isinstance(k, bool) or not isinstance(k, int) or k < 0:
        raise ValueError(f"The erosion k is {k!r}, but a whole number of voxels from 0 was expected.")
    tensor = as_label_tensor(labels)
    if k == 0:
        return labels.copy() if isinstance(labels, np.ndarray) else labels.clone()
    border = holds_two_ids(narrowed(tensor), k)
    if isinstance(labels, torch.Tensor):
        return tensor.masked_fill(border, 0).view(labels.dtype)
    # ascontiguousarray: a result in the caller's byte order would be slow and is never needed.
    return like(labels)(tensor.masked_fill(border, 0)).view(labels.dtype.newbyteorder("="))
