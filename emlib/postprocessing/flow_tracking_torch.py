"""The walk along a flow field for torch tensors, on the device that holds them; bit for bit that of the arrays.

The only file of this room that needs torch; it is imported when a tensor comes in.
"""

from __future__ import annotations

import torch

from emlib.postprocessing.flow_fields import LONGEST_STEP


def tracked_tensor(
    flow: torch.Tensor, foreground: torch.Tensor, steps: int, *, flow_scale: float = 1.0
) -> tuple[torch.Tensor, torch.Tensor]:
    """Final places of the foreground pixels as whole pixels, int64 (d, n), and fractions, float32 (d, n).

    Raises:
        TypeError: a flow that is not floating point, a foreground that is not a bool tensor.
        ValueError: shapes that do not fit, tensors on different devices, NaN or infinite flow.
    """
    check_flow_tensor(flow)
    if not isinstance(foreground, torch.Tensor) or foreground.dtype != torch.bool:
        kind = foreground.dtype if isinstance(foreground, torch.Tensor) else type(foreground).__name__
        raise TypeError(f"The foreground must be a bool tensor, as the flow is a tensor; got {kind}.")
    if foreground.shape != flow.shape[1:] or foreground.device != flow.device:
        raise ValueError(
            f"The foreground has shape {tuple(foreground.shape)} on {foreground.device}, but the flow is one of shape "
            f"{tuple(flow.shape[1:])} on {flow.device}."
        )
    longest = float(LONGEST_STEP)
    scale = torch.tensor(flow_scale, dtype=torch.float32, device=flow.device)
    field = ((flow.to(torch.float32) / scale).clamp(-longest, longest) * foreground).flatten(1)
    whole = foreground.nonzero().T.contiguous()
    fraction = torch.zeros(whole.shape, dtype=torch.float32, device=flow.device)
    sizes = foreground.shape
    strides = [1] * len(sizes)
    for axis in range(len(sizes) - 2, -1, -1):
        strides[axis] = strides[axis + 1] * sizes[axis + 1]
    for _ in range(steps):
        step = _interpolated(field, whole, fraction, sizes, strides)
        for axis, size in enumerate(sizes):
            place = fraction[axis] + step[axis]
            carry = torch.floor(place)
            pixel = whole[axis] + carry.to(torch.int64)
            fraction[axis] = (place - carry).masked_fill((pixel < 0) | (pixel >= size - 1), 0)
            whole[axis] = pixel.clamp(0, size - 1)
    return whole, fraction


def check_flow_tensor(flow: torch.Tensor) -> None:
    """Refuse what is not a flow field, as `checked_flow` does for arrays."""
    if not flow.is_floating_point():
        raise TypeError(f"The flow must be floating point (pixels per step), got {flow.dtype}.")
    if flow.ndim not in (3, 4) or flow.shape[0] != flow.ndim - 1:
        raise ValueError(f"The flow must have the shape (2, y, x) or (3, z, y, x), got {tuple(flow.shape)}.")
    if flow.numel() == 0:
        raise ValueError(f"The flow is empty: its shape is {tuple(flow.shape)}.")
    if not torch.isfinite(flow).all():
        raise ValueError("The flow holds NaN or infinite values.")


def _interpolated(field, whole, fraction, sizes, strides):
    """The flow (d, n) at the places, from the last axis to the first, in the order of the compiled walk."""
    index = sum(whole[axis] * stride for axis, stride in enumerate(strides))
    # Behind the last pixel there is nothing; its fraction is 0, so whatever is read there does not count.
    offsets = [
        torch.where(whole[axis] < size - 1, stride, 0)
        for axis, (size, stride) in enumerate(zip(sizes, strides, strict=True))
    ]

    def at(axis: int, start: torch.Tensor) -> torch.Tensor:
        if axis == len(sizes):
            return field[:, start]
        before = at(axis + 1, start)
        return before + fraction[axis] * (at(axis + 1, start + offsets[axis]) - before)

    return at(0, index)
