"""Online hard example mining (OHEM): the mean loss of the voxels that a network finds hardest."""

from __future__ import annotations

from math import inf, log, nan

import torch

from emlib.losses.arguments import in_full_precision
from emlib.losses.option_values import check_option
from emlib.losses.voxelwise import cross_entropy_of_voxels

KEPT = 10_000
BCE_RULES = ("true_class", "published")
MSE_RULES = ("error", "published", "published_2")


def ohem_bce(
    prediction: torch.Tensor,
    target: torch.Tensor,
    weight: torch.Tensor | None = None,
    *,
    kept: int = KEPT,
    threshold: float = 0.5,
    rule: str = "true_class",
) -> torch.Tensor:
    """Weighted binary cross entropy, mean over the hard voxels of the whole batch.

    A voxel is hard if the probability of its true class is below `threshold`, or if its (unweighted) cross entropy is
    one of the `kept` largest; all that tie with the last of these are. Easy background drops out, false positives stay.
    With at least as many `kept` as voxels this is `weighted_bce`.

    The published rule sorts by the probability p of foreground instead, whatever the true class: T is the larger of
    `threshold` and the p of rank `kept` (0 is the lowest), and voxels with p < T count. So it keeps easy background
    and drops false positives; where p is the same everywhere no voxel is left, and the loss is NaN.

    Args:
        prediction: probabilities in [0, 1], (n, c, z, y, x).
        target: 0 ... 1, of the same shape; between 0 and 1 a probability of the true class is exp(-cross entropy).
        weight: factor of every voxel's loss, broadcasts to that shape; it has no say in what is hard, but voxels of
            weight 0 are neither ranked nor counted (the published rule ranks and counts them). None: 1.
        kept: the least number of hard voxels.
        threshold: 0 ... 1; with 0 the number of hard voxels is `kept` but for ties.
        rule: "true_class", or "published".

    Returns:
        Scalar, float32 (float64 for float64); 0 if all weights are 0.

    Raises:
        ValueError: shapes that do not fit, or an option out of range.

    Source: Shrivastava et al., "Training region-based object detectors with online hard example mining", CVPR 2016;
    the published rule: the EM mitochondria pipeline.

    Example:
        >>> p, t = torch.tensor([[[[0.9, 0.8, 0.1, 0.7]]]]), torch.tensor([[[[1.0, 1.0, 0.0, 0.0]]]])
        >>> round(float(ohem_bce(p, t, kept=1)), 4)  # the false positive alone: -log(0.3)
        1.204
        >>> round(float(ohem_bce(p, t, kept=1, rule="published")), 4)  # easy background alone: -log(0.9)
        0.1054
    """
    for key, value in (("kept", kept), ("threshold", threshold)):
        check_option("OhemBCE", key, value)
    check_option("OhemBCE", "rule", rule, BCE_RULES)
    with torch.autocast(prediction.device.type, enabled=False):
        prediction, target, weight = in_full_precision(prediction, target, weight)
        loss = cross_entropy_of_voxels(prediction, target)
        if rule == "true_class":
            hard = _hardest(loss, weight, kept) | (_counted(loss, weight) & (loss > _loss_of(threshold)))
            return _mean(loss, weight, hard)
        rank = min(kept, prediction.numel() - 1) + 1
        limit = prediction.detach().flatten().kthvalue(rank).values.clamp(min=threshold)
        # What is not a number compares as false and would vanish.
        return _mean(loss, weight, (prediction < limit) | prediction.isnan(), of_none=nan)


def ohem_mse(
    prediction: torch.Tensor,
    target: torch.Tensor,
    weight: torch.Tensor | None = None,
    *,
    kept: int = KEPT,
    rule: str = "error",
) -> torch.Tensor:
    """Weighted squared error, mean over the voxels of the whole batch with the largest unweighted errors.

    Those that tie with the last of the `kept` count too. As in `weighted_mse` channels add up: the mean is multiplied
    by their number, and with at least as many `kept` as voxels this is `weighted_mse`.

    The published rules: "published" takes the `kept` largest of w (p - t)^2 / (n z y x) and their mean, which divides
    by the number of voxels once too often. "published_2" takes the weighted errors of voxels whose unweighted error is
    strictly above that of rank N - `kept` (0 is the lowest): `kept` - 1 of them without ties, and NaN if none is.

    Args:
        prediction: any range, (n, c, z, y, x).
        target: of the same shape.
        weight: as in `ohem_bce`.
        kept: the number of voxels.
        rule: "error", "published" or "published_2".

    Returns:
        Scalar, float32 (float64 for float64); 0 if all weights are 0.

    Raises:
        ValueError: shapes that do not fit, or an option out of range.

    Source: as of `ohem_bce`; the published rules are two losses of the EM mitochondria pipeline.

    Example:
        >>> p, t = torch.tensor([[[[0.0, 1.0, 2.0, 3.0]]]]), torch.zeros(1, 1, 1, 4)
        >>> [float(ohem_mse(p, t, kept=2, rule=rule)) for rule in ("error", "published", "published_2")]
        [6.5, 1.625, 9.0]
    """
    check_option("OhemMSE", "kept", kept)
    check_option("OhemMSE", "rule", rule, MSE_RULES)
    with torch.autocast(prediction.device.type, enabled=False):
        prediction, target, weight = in_full_precision(prediction, target, weight)
        loss, count = (prediction - target) ** 2, prediction.numel()
        channels = prediction.shape[1] if prediction.ndim > 1 else 1
        if rule == "error":
            return _mean(loss, weight, _hardest(loss, weight, kept)) * channels
        if rule == "published":
            weighted = (loss if weight is None else loss * weight) / (count // channels)
            return weighted.flatten().topk(min(kept, count)).values.mean()
        limit = loss.detach().flatten().kthvalue(max(count - kept, 0) + 1).values
        return _mean(loss, weight, (loss > limit) | loss.isnan(), of_none=nan)


def _counted(loss: torch.Tensor, weight: torch.Tensor | None) -> torch.Tensor:
    return torch.ones_like(loss, dtype=torch.bool) if weight is None else weight > 0


def _hardest(loss: torch.Tensor, weight: torch.Tensor | None, kept: int) -> torch.Tensor:
    """Voxels with the `kept` largest losses among those that count, and what ties with the last of them."""
    counted = _counted(loss, weight)
    values = loss.detach()[counted]
    if values.numel() <= kept:
        return counted
    limit = values.kthvalue(values.numel() - kept + 1).values
    return counted & ((loss >= limit) | loss.isnan())


def _mean(loss: torch.Tensor, weight: torch.Tensor | None, hard: torch.Tensor, *, of_none: float = 0.0) -> torch.Tensor:
    number = hard.sum()
    total = (loss if weight is None else loss * weight).masked_fill(~hard, 0).sum() / number.clamp(min=1)
    return total if of_none == 0 else torch.where(number > 0, total, of_none)


def _loss_of(probability: float) -> float:
    return inf if probability == 0 else -log(probability)
