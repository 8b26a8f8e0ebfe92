"""Instance contours, in each section on its own."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch

from emlib.targets.label_arrays import as_label_tensor, like, narrowed
from emlib.targets.windows import holds_two_ids, spread, window_maximum

Rule = Literal["vidar", "pytc"]


def instance_contour(
    labels: np.ndarray | torch.Tensor, size: int = 5, *, rule: Rule = "vidar", background: bool = True
) -> np.ndarray | torch.Tensor:
    """Mark the voxels near a border between instances, or between an instance and the background.

    Rules:
        "vidar": the size x size window in the voxel's section holds more than one id (VIDAR, PyTorch Connectomics
            before 1.0).
        "pytc": the two neighbours in y, or the two in x, differ; then dilated by a size x size square (PyTorch
            Connectomics 1.0). About two voxels wider than "vidar" at the same size; size 1 is allowed.

    Without background both rules are the same: the window holds two different instances.

    Args:
        labels: (z, y, x), any integer type, 0 = background.
        size: side of the window in voxels, odd. The options `4-B-g` name the half width: size = 2 B + 1.
        rule: see above.
        background: also mark borders towards the background (`g` of the option).

    Returns:
        float32 (z, y, x), 1 on the contour, on the labels' device.

    Raises:
        TypeError: labels are not whole numbers.
        ValueError: labels do not have three axes, an even or too small size, or an unknown rule.

    Example:
        >>> instance_contour(np.array([[[0, 0, 0, 7, 7, 7]]]), 3)
        array([[[0., 0., 1., 1., 0., 0.]]], dtype=float32)
    """
    if rule not in ("vidar", "pytc"):
        raise ValueError(f"There is no contour rule {rule!r}; choose 'vidar' or 'pytc'.")
    smallest = 1 if rule == "pytc" and background else 3
    if isinstance(size, bool) or not isinstance(size, int) or size % 2 == 0 or size < smallest:
        raise ValueError(f"The contour window is {size!r}, but an odd number of voxels from {smallest} was expected.")
    tensor, half = as_label_tensor(labels), size // 2
    if not background:
        contour = holds_two_ids(narrowed(tensor), half)
    else:
        contour = _changing_windows(tensor, half) if rule == "vidar" else _dilated_gradient(tensor, half)
    return like(labels)(contour.to(torch.float32))


def _changing_windows(labels: torch.Tensor, half: int) -> torch.Tensor:
    """A window is not constant exactly if two neighbours in it differ; bytes are quicker to spread than ids."""
    in_y, in_x = (torch.zeros(labels.shape, dtype=torch.uint8, device=labels.device) for _ in range(2))
    torch.ne(labels[:, 1:], labels[:, :-1], out=in_y[:, :-1].view(torch.bool))
    torch.ne(labels[:, :, 1:], labels[:, :, :-1], out=in_x[:, :, :-1].view(torch.bool))
    # The difference between y and y + 1 is stored at y: the windows that hold both voxels lie `half` before it and
    # `half - 1` behind it, seen from the window's centre.
    rows = spread(in_y, 1, half, half - 1)
    columns = spread(in_x, 1, half, half)
    return (spread(rows, 2, half, half) | spread(columns, 2, half, half - 1)).view(torch.bool)


def _dilated_gradient(labels: torch.Tensor, half: int) -> torch.Tensor:
    edges = torch.zeros(labels.shape, dtype=torch.uint8, device=labels.device)
    for axis in (1, 2):
        length = labels.shape[axis]
        before = torch.arange(-1, length - 1, device=labels.device).clamp(min=0)
        behind = torch.arange(1, length + 1, device=labels.device).clamp(max=length - 1)
        edges |= (labels.index_select(axis, before) != labels.index_select(axis, behind)).view(torch.uint8)
    return window_maximum(edges, half).view(torch.bool)
