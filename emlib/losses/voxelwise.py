"""Losses that compare voxel with voxel and take a weighted mean."""

from __future__ import annotations

import torch

from emlib.losses.arguments import in_full_precision

# The bound of torch's own binary cross entropy: a wrong certainty costs this, not infinity.
MOST = 100.0


def weighted_bce(prediction: torch.Tensor, target: torch.Tensor, weight: torch.Tensor | None = None) -> torch.Tensor:
    """Weighted binary cross entropy of probabilities: mean over all voxels of w * BCE, not divided by the sum of w.

    A prediction of exactly 0 or 1 that is wrong costs 100 and has gradient 0; NaN gives NaN.

    Args:
        prediction: probabilities in [0, 1], (n, c, z, y, x).
        target: 0 ... 1, of the same shape.
        weight: broadcasts to that shape; None counts every voxel once.

    Returns:
        Scalar, float32 (float64 for float64).

    Raises:
        ValueError: shapes that do not fit.

    Example:
        >>> half, ones = torch.full((1, 1, 1, 1, 2), 0.5), torch.ones(1, 1, 1, 1, 2)
        >>> round(float(weighted_bce(half, ones)), 4)
        0.6931
    """
    with torch.autocast(prediction.device.type, enabled=False):
        prediction, target, weight = in_full_precision(prediction, target, weight)
        loss = cross_entropy_of_voxels(prediction, target)
        return (loss if weight is None else loss * weight).mean()


def weighted_mse(prediction: torch.Tensor, target: torch.Tensor, weight: torch.Tensor | None = None) -> torch.Tensor:
    """Weighted squared error as published: sum of w (p - t)^2 over n z y x; channels add up and are not averaged.

    Arguments and result as for `weighted_bce`; predictions of any range.
    """
    with torch.autocast(prediction.device.type, enabled=False):
        prediction, target, weight = in_full_precision(prediction, target, weight)
        loss = (prediction - target) ** 2
        channels = prediction.shape[1] if prediction.ndim > 1 else 1
        return (loss if weight is None else loss * weight).mean() * channels


def cross_entropy_of_voxels(prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Binary cross entropy of every voxel, at most 100; both in one floating-point type and shape."""
    return torch.lerp(bounded_log(1 - prediction), bounded_log(prediction), target).neg()


def bounded_log(probability: torch.Tensor) -> torch.Tensor:
    """Natural logarithm, at least -100, with gradient 0 where the probability is 0."""
    # log(0) alone would be bounded by a clamp behind it, but its gradient would be 0 * infinity.
    smallest = torch.finfo(probability.dtype).tiny
    return torch.log(probability.clamp(min=smallest)).masked_fill(probability <= 0, -MOST)
