"""Class weights: how much each voxel counts in a loss, so that a rare class is not drowned."""

from __future__ import annotations

import numpy as np
import torch

from emlib.targets.label_arrays import like
from emlib.targets.windows import window_maximum

OPTIONS = {
    "0": "no weighting",
    "1": "the rarer class is weighted up",
    "1-1": "the rarer class, dilated by one voxel in y and x, is weighted up",
}


def class_weights(
    target: np.ndarray | torch.Tensor,
    option: str = "1",
    mask: np.ndarray | torch.Tensor | None = None,
    *,
    limits: tuple[float, float] = (0.05, 0.99),
) -> np.ndarray | torch.Tensor:
    """Weight of each voxel, by the options of VIDAR and PyTorch Connectomics.

    With f the foreground share of a sample (all its channels together), clipped to `limits`, option "1" gives the
    rarer class the weight max(f, 1 - f) / min(f, 1 - f) and the other 1. A sample of one class only gets 1 everywhere.

    Args:
        target: (c, z, y, x), or (n, c, z, y, x) where each sample is balanced on its own; foreground is > 0.
        option: "0" no weighting, "1" as above, "1-1" with the rarer class first dilated by 3 x 3 in each section.
        mask: voxels that count (> 0), of a shape that broadcasts to the target's; elsewhere the weight is 0 and f
            does not look.
        limits: f is clipped to these. VIDAR (0.05, 0.99); PyTorch Connectomics (0.05, 0.95).

    Returns:
        float32, the target's shape and device.

    Raises:
        TypeError: the target is not an array.
        ValueError: unknown option, a target of another number of axes, a mask that does not fit, or wrong limits.

    Example:
        >>> class_weights(np.array([[[[0, 0, 0, 1]]]], np.float32), "1")
        array([[[[1., 1., 1., 3.]]]], dtype=float32)
    """
    if option not in OPTIONS:
        known = ", ".join(f"'{name}' ({meaning})" for name, meaning in OPTIONS.items())
        raise ValueError(f"There is no class weight option {option!r}; choose one of {known}.")
    low, high = limits
    if not 0 < low <= high < 1:
        raise ValueError(f"The limits of the foreground share are {limits}, but 0 < low <= high < 1 was expected.")
    tensor = _as_tensor(target, "target")
    if tensor.ndim not in (4, 5):
        shape = tuple(tensor.shape)
        raise ValueError(f"The target has shape {shape}, but (c, z, y, x) or (n, c, z, y, x) was expected.")
    valid = None if mask is None else _fitting_mask(mask, tensor)
    if option == "0":
        weights = torch.ones(tensor.shape, dtype=torch.float32, device=tensor.device)
    else:
        samples = tensor if tensor.ndim == 5 else tensor[None]
        masks = [None] * len(samples) if valid is None else (valid if tensor.ndim == 5 else valid[None])
        dilate = option == "1-1"
        balanced = [_balanced(s > 0, m, limits, dilate) for s, m in zip(samples, masks, strict=True)]
        weights = torch.stack(balanced) if tensor.ndim == 5 else balanced[0]
    return like(target)(weights if valid is None else weights * valid)


def _balanced(
    foreground: torch.Tensor, valid: torch.Tensor | None, limits: tuple[float, float], dilate: bool
) -> torch.Tensor:
    counted = foreground.numel() if valid is None else int(valid.sum())
    positive = int((foreground if valid is None else foreground & valid).sum())
    weights = torch.ones(foreground.shape, dtype=torch.float32, device=foreground.device)
    if positive in (0, counted):
        return weights
    share = min(max(positive / counted, limits[0]), limits[1])
    rarer = ~foreground if share > 0.5 else foreground
    if dilate:
        flat = rarer.reshape(-1, *rarer.shape[-2:]).view(torch.uint8)
        rarer = window_maximum(flat, 1).view(torch.bool).reshape(foreground.shape)
    return weights.masked_fill_(rarer, max(share, 1 - share) / min(share, 1 - share))


def _fitting_mask(mask: np.ndarray | torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    valid = _as_tensor(mask, "mask").to(target.device) > 0
    try:
        return valid.broadcast_to(target.shape)
    except RuntimeError as error:
        shapes = f"{tuple(valid.shape)} does not broadcast to the target's {tuple(target.shape)}"
        raise ValueError(f"The mask's shape {shapes}.") from error


def _as_tensor(array: np.ndarray | torch.Tensor, name: str) -> torch.Tensor:
    if isinstance(array, torch.Tensor):
        return array
    if isinstance(array, np.ndarray):
        return torch.from_numpy(np.array(array))
    raise TypeError(f"The {name} is a {type(array).__name__}, but a numpy array or a torch tensor was expected.")
