"""The loss of classes of which every pixel has one: overlap of each class, and cross entropy."""

from __future__ import annotations

import torch

from emlib.losses.arguments import in_full_precision
from emlib.losses.overlap import dice_loss
from emlib.losses.voxelwise import bounded_log


def dice_ce_loss(
    prediction: torch.Tensor, target: torch.Tensor, weight: torch.Tensor | None = None, *, smooth: float = 1e-5
) -> torch.Tensor:
    """Dice loss, mean over samples and classes, plus cross entropy of the classes, mean over pixels.

    Every class of every sample has a Dice loss of its own, so that thin and rare classes count as much as others. Of
    the softmax of logits this is MONAI's `DiceCELoss(softmax=True)`. A pixel whose true class has probability 0 costs
    100, not infinity.

    Args:
        prediction: probabilities that add up to 1 over the channels, (n, c, y, x) or (n, c, z, y, x).
        target: 0 ... 1, of the same shape; one channel 1 and the others 0 in every pixel.
        weight: factor of every pixel and channel in all sums; broadcasts to that shape. None counts each once.
        smooth: as in `dice_loss`; a class that is neither there nor predicted has no loss.

    Returns:
        Scalar, float32 (float64 for float64).

    Raises:
        ValueError: shapes that do not fit.

    Source: Milletari et al., "V-Net", 3DV 2016; Isensee et al., "nnU-Net", Nature Methods 2021.

    Example:
        >>> target = torch.tensor([[[[1.0, 0.0]], [[0.0, 1.0]]]])  # one row of two pixels, two classes
        >>> float(dice_ce_loss(target, target)), round(float(dice_ce_loss(torch.full_like(target, 0.5), target)), 4)
        (0.0, 1.1931)
    """
    with torch.autocast(prediction.device.type, enabled=False):
        prediction, target, weight = in_full_precision(prediction, target, weight)
        each = None if weight is None else weight.flatten(0, 1)
        overlap = dice_loss(prediction.flatten(0, 1), target.flatten(0, 1), each, smooth=smooth)
        entropy = -target * bounded_log(prediction)
        return overlap + (entropy if weight is None else entropy * weight).mean() * prediction.shape[1]
