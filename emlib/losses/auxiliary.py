"""Losses of networks with an auxiliary output: that of the prediction and half that of a coarser one."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch.nn import functional

from emlib.losses.hard_examples import KEPT, ohem_bce, ohem_mse
from emlib.losses.option_values import check_option
from emlib.losses.voxelwise import weighted_bce, weighted_mse

FACTOR = 0.5
RESIZES = ("nearest", "published")
# A prediction (n, c, z, y, x), or (auxiliary, prediction) with the first of a coarser grid.
Prediction = torch.Tensor | tuple[torch.Tensor, torch.Tensor]


def with_auxiliary(
    prediction: Prediction,
    target: torch.Tensor,
    weight: torch.Tensor | None,
    loss: Callable[..., torch.Tensor],
    auxiliary_loss: Callable[..., torch.Tensor],
    *,
    factor: float = FACTOR,
    resize: str = "nearest",
) -> torch.Tensor:
    """L(prediction) + factor x L(auxiliary), the latter against the target on the coarser grid.

    Args:
        prediction: the pair (auxiliary, prediction), (n, c, z', y', x') and (n, c, z, y, x), for example an
            `emlib.models.AuxiliaryOutput`; or the prediction alone, which has no second term: networks in evaluation
            mode put out no more.
        target: of the prediction's shape.
        weight: broadcasts to it, or None; resized like the target.
        loss, auxiliary_loss: functions of (prediction, target, weight).
        factor: of the second term, 0.5 as published; at least 0.
        resize: "nearest" gives every coarse voxel the target at its centre, so that classes stay classes and distances
            those of some voxel. "published" is trilinear with aligned corners: it makes fractions of classes, and its
            grid is stretched against the coarse one.

    Raises:
        ValueError: something else than one or two predictions, other samples or channels, or an option out of range.

    Example:
        >>> coarse, fine = torch.full((1, 1, 1, 1, 1), 0.5), torch.ones(1, 1, 1, 2, 2)
        >>> value = with_auxiliary((coarse, fine), torch.ones(1, 1, 1, 2, 2), None, weighted_mse, weighted_mse)
        >>> float(value)
        0.125
    """
    check_option("An auxiliary loss", "factor", factor)
    check_option("An auxiliary loss", "resize", resize, RESIZES)
    if isinstance(prediction, torch.Tensor):
        return loss(prediction, target, weight)
    if len(prediction) != 2:
        raise ValueError(
            f"The network put out {len(prediction)} predictions, but (auxiliary, prediction) was expected."
        )
    auxiliary, output = prediction
    total = loss(output, target, weight)
    if auxiliary.ndim != target.ndim or auxiliary.shape[:2] != target.shape[:2]:
        shapes = f"{tuple(auxiliary.shape)} and the target {tuple(target.shape)}"
        raise ValueError(f"The auxiliary output has shape {shapes}, but samples and channels must be the same.")
    if weight is not None:
        weight = resized(weight.broadcast_to(target.shape), auxiliary.shape[2:], resize=resize)
    return total + factor * auxiliary_loss(auxiliary, resized(target, auxiliary.shape[2:], resize=resize), weight)


def resized(volume: torch.Tensor, size: tuple[int, ...], *, resize: str = "nearest") -> torch.Tensor:
    """A target or weight on a coarser grid, (n, c, z, y, x) or (n, c, y, x); rules as in `with_auxiliary`.

    Example:
        >>> resized(torch.tensor([0.0, 0, 0, 1, 1, 1]).view(1, 1, 1, 6), (1, 2)).tolist()
        [[[[0.0, 1.0]]]]
    """
    volume = volume if volume.is_floating_point() else volume.float()
    if tuple(volume.shape[2:]) == tuple(size):
        return volume
    if resize == "nearest":
        return functional.interpolate(volume, size, mode="nearest-exact")
    mode = "trilinear" if volume.ndim == 5 else "bilinear"
    return functional.interpolate(volume, size, mode=mode, align_corners=True)


def auxiliary_bce(
    prediction: Prediction,
    target: torch.Tensor,
    weight: torch.Tensor | None = None,
    *,
    factor: float = FACTOR,
    resize: str = "nearest",
) -> torch.Tensor:
    """`weighted_bce` of the prediction and of the auxiliary output; see `with_auxiliary`."""
    return with_auxiliary(prediction, target, weight, weighted_bce, weighted_bce, factor=factor, resize=resize)


def auxiliary_mse(
    prediction: Prediction,
    target: torch.Tensor,
    weight: torch.Tensor | None = None,
    *,
    factor: float = FACTOR,
    resize: str = "nearest",
) -> torch.Tensor:
    """`weighted_mse` of the prediction and of the auxiliary output; see `with_auxiliary`."""
    return with_auxiliary(prediction, target, weight, weighted_mse, weighted_mse, factor=factor, resize=resize)


def auxiliary_ohem_bce(
    prediction: Prediction,
    target: torch.Tensor,
    weight: torch.Tensor | None = None,
    *,
    kept: int = KEPT,
    threshold: float = 0.5,
    rule: str = "true_class",
    factor: float = FACTOR,
    resize: str = "nearest",
) -> torch.Tensor:
    """`ohem_bce` of the prediction and `weighted_bce` of the auxiliary output; see `with_auxiliary`."""
    mined = partial(ohem_bce, kept=kept, threshold=threshold, rule=rule)
    return with_auxiliary(prediction, target, weight, mined, weighted_bce, factor=factor, resize=resize)


def auxiliary_ohem_mse(
    prediction: Prediction,
    target: torch.Tensor,
    weight: torch.Tensor | None = None,
    *,
    kept: int = KEPT,
    rule: str = "error",
    factor: float = FACTOR,
    resize: str = "nearest",
) -> torch.Tensor:
    """`ohem_mse` of the prediction and `weighted_mse` of the auxiliary output; see `with_auxiliary`."""
    mined = partial(ohem_mse, kept=kept, rule=rule)
    return with_auxiliary(prediction, target, weight, mined, weighted_mse, factor=factor, resize=resize)


def auxiliary_ohem_mse_2(
    prediction: Prediction,
    target: torch.Tensor,
    weight: torch.Tensor | None = None,
    *,
    kept: int = KEPT,
    rule: str = "error",
    factor: float = FACTOR,
    resize: str = "nearest",
) -> torch.Tensor:
    """`weighted_mse` of the prediction and `ohem_mse` of the auxiliary output; see `with_auxiliary`."""
    mined = partial(ohem_mse, kept=kept, rule=rule)
    return with_auxiliary(prediction, target, weight, weighted_mse, mined, factor=factor, resize=resize)
