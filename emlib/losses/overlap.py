"""Losses that compare the overlap of predicted and true objects, sample by sample."""

from __future__ import annotations

import torch

from emlib.losses.arguments import in_full_precision


def dice_loss(
    prediction: torch.Tensor,
    target: torch.Tensor,
    weight: torch.Tensor | None = None,
    *,
    smooth: float = 100.0,
    power: int = 1,
) -> torch.Tensor:
    """1 - (2 sum(p t) + s) / (sum(p^k) + sum(t^k) + s) for each sample (all its channels), mean over the batch.

    Args:
        prediction: probabilities in [0, 1], (n, c, z, y, x).
        target: 0 ... 1, of the same shape.
        weight: factor of every voxel in all three sums; weight 0 leaves a voxel out.
        smooth: s; keeps the loss of empty samples defined.
        power: k, 1 or 2.

    Returns:
        Scalar, float32 (float64 for float64).

    Raises:
        ValueError: shapes that do not fit.

    Example:
        >>> truth = torch.ones(1, 1, 1, 10, 10)
        >>> float(dice_loss(torch.zeros_like(truth), truth))
        0.5
    """
    with torch.autocast(prediction.device.type, enabled=False):
        both, one, other = _sums(prediction, target, weight, power)
        return (1 - (2 * both + smooth) / (one + other + smooth)).mean()


def jaccard_loss(
    prediction: torch.Tensor, target: torch.Tensor, weight: torch.Tensor | None = None, *, smooth: float = 1.0
) -> torch.Tensor:
    """1 - (sum(p t) + s) / (sum(p) + sum(t) - sum(p t) + s) for each sample, mean over the batch.

    Arguments and result as for `dice_loss`.
    """
    with torch.autocast(prediction.device.type, enabled=False):
        both, one, other = _sums(prediction, target, weight, 1)
        return (1 - (both + smooth) / (one + other - both + smooth)).mean()


def _sums(
    prediction: torch.Tensor, target: torch.Tensor, weight: torch.Tensor | None, power: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    prediction, target, weight = in_full_precision(prediction, target, weight)
    terms = [prediction * target, prediction, target]
    if power != 1:
        terms[1:] = [prediction**power, target**power]
    if weight is not None:
        terms = [term * weight for term in terms]
    return tuple(term.flatten(1).sum(1) for term in terms)
