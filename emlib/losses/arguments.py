"""The door of this room: shapes are compared once, and everything is computed in full precision."""

from __future__ import annotations

import torch


def in_full_precision(
    prediction: torch.Tensor, target: torch.Tensor, weight: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
    """The arguments of a loss in float32 (float64 stays), after a check of their shapes.

    Raises:
        ValueError: prediction and target differ in shape, or the weight does not broadcast to them.
    """
    if prediction.shape != target.shape:
        shapes = f"{tuple(prediction.shape)} and its target {tuple(target.shape)}"
        raise ValueError(f"The prediction has shape {shapes}, but they must be equal.")
    dtype = torch.float64 if prediction.dtype == torch.float64 else torch.float32
    prediction, target = prediction.to(dtype), target.to(dtype)
    if weight is None:
        return prediction, target, None
    try:
        return prediction, target, weight.to(dtype).broadcast_to(target.shape)
    except RuntimeError as error:
        shapes = f"{tuple(weight.shape)} does not broadcast to the target's {tuple(target.shape)}"
        raise ValueError(f"The weight's shape {shapes}.") from error
