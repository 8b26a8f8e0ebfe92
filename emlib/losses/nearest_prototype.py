"""Nearest-neighbour classification (NNC): a voxel belongs to the class whose mean embedding is nearer."""

from __future__ import annotations

import torch

from emlib.losses.arguments import in_full_precision
from emlib.losses.option_values import check_option
from emlib.losses.voxelwise import cross_entropy_of_voxels

PROTOTYPES = ("prediction", "truth")
INSIDE = 0.5


def nearest_prototype_probability(
    embedding: torch.Tensor, mask: torch.Tensor, *, valid: torch.Tensor | None = None
) -> torch.Tensor:
    """sigmoid(d_b - d_f): d_f and d_b are the distances to the mean embedding inside and outside the mask.

    That is exp(-d_f) / (exp(-d_f) + exp(-d_b)), without its underflow. Applying a network, `mask` is the mask that it
    predicts itself; so it is in the published training too.

    Args:
        embedding: (n, e, z, y, x) or (n, e, y, x).
        mask: (n, 1, z, y, x) or (n, 1, y, x), bool or probabilities; inside is > 0.5. No gradient passes through it.
        valid: voxels (> 0) that prototypes are made of, broadcasting to the mask's shape; None: all.

    Returns:
        Probability of foreground, of the mask's shape, float32 (float64 for float64). A sample whose mask is empty is
        background everywhere, 0, and one whose mask is full is foreground, 1; one without valid voxels is 0.

    Raises:
        ValueError: shapes that do not fit.

    Source: the EM mitochondria pipeline; Snell et al., "Prototypical networks", NeurIPS 2017.

    Example:
        >>> embedding = torch.tensor([0.0, 0.0, 4.0, 4.0]).view(1, 1, 1, 4)
        >>> nearest_prototype_probability(embedding, embedding > 3).flatten()
        tensor([0.0180, 0.0180, 0.9820, 0.9820])
    """
    with torch.autocast(embedding.device.type, enabled=False):
        probability, inside, outside = _probability(embedding, mask, valid)
        return torch.where(inside, torch.where(outside, probability, 1.0), 0.0)


def nearest_prototype_loss(
    prediction: torch.Tensor,
    target: torch.Tensor,
    weight: torch.Tensor | None = None,
    *,
    mask_factor: float = 1.0,
    prototypes: str = "prediction",
) -> torch.Tensor:
    """Weighted binary cross entropy of the nearest-prototype probability, plus that of the mask itself.

    A sample whose prototypes are of one class only has no such probability: it takes part with its mask alone, and the
    first term is the mean over the other samples.

    The published loss is the first term only, and the threshold that makes a mask of a probability passes no gradient,
    so that the mask never learns: `mask_factor=0` does the same.

    Args:
        prediction: (n, 1 + e, z, y, x) or (n, 1 + e, y, x): the probability of the mask, then the embedding, as
            `unetv3_ebd2` puts them out.
        target: (n, 1, z, y, x) or (n, 1, y, x), a mask or labels; foreground is > 0.
        weight: of every voxel, broadcasts to the target's shape; voxels of weight 0 make no prototypes either.
        mask_factor: of the mask's cross entropy.
        prototypes: "prediction", from the predicted mask as published and as when the network is applied; or "truth",
            from the target, which is there from the first iteration.

    Returns:
        Scalar, float32 (float64 for float64).

    Raises:
        ValueError: shapes that do not fit, or an option out of range.

    Example:
        >>> mask = torch.tensor([0.1, 0.1, 0.9, 0.9]).view(1, 1, 1, 4)
        >>> embedding = torch.tensor([0.0, 0.0, 9.0, 9.0]).view(1, 1, 1, 4)
        >>> loss = nearest_prototype_loss(torch.cat([mask, embedding], dim=1), (mask > 0.5).float())
        >>> round(float(loss), 3)  # mask: -log(0.9); embedding: -log(sigmoid(9))
        0.105
    """
    check_option("NearestPrototype", "mask_factor", mask_factor)
    check_option("NearestPrototype", "prototypes", prototypes, PROTOTYPES)
    if prediction.ndim not in (4, 5) or prediction.shape[1] < 2:
        shape = tuple(prediction.shape)
        raise ValueError(f"The prediction has shape {shape}, but (n, 1 + embedding, [z,] y, x) was expected.")
    with torch.autocast(prediction.device.type, enabled=False):
        embedding = prediction[:, 1:]
        mask, truth, weight = in_full_precision(prediction[:, :1], (target > 0).to(prediction.dtype), weight)
        source = mask.detach() if prototypes == "prediction" else truth
        probability, inside, outside = _probability(embedding, source, weight)
        both = (inside & outside).flatten()
        cross_entropy = cross_entropy_of_voxels(probability, truth)
        if weight is not None:
            cross_entropy = cross_entropy * weight
        samples = cross_entropy.flatten(1).mean(dim=1).masked_fill(~both, 0)
        loss = samples.sum() / both.sum().clamp(min=1)
        if mask_factor == 0:
            # Added all the same, so that the mask's weights have a gradient: distributed training waits for it.
            return loss + 0 * mask.sum()
        own = cross_entropy_of_voxels(mask, truth)
        return loss + mask_factor * (own if weight is None else own * weight).mean()


def _probability(
    embedding: torch.Tensor, mask: torch.Tensor, valid: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The probability, finite everywhere, and whether each sample (n, 1, ...) has voxels inside and outside."""
    expected = (embedding.shape[0], 1, *embedding.shape[2:]) if embedding.ndim in (4, 5) else ()
    if tuple(mask.shape) != expected:
        shapes = f"{tuple(embedding.shape)} and the mask {tuple(mask.shape)}"
        raise ValueError(f"The embedding has shape {shapes}; (n, e, [z,] y, x) and (n, 1, [z,] y, x) were expected.")
    embedding = embedding if embedding.dtype == torch.float64 else embedding.float()
    inside = mask > INSIDE
    counted = torch.ones_like(inside)
    if valid is not None:
        try:
            counted = (valid > 0).broadcast_to(inside.shape)
        except RuntimeError as error:
            shapes = f"{tuple(valid.shape)} does not broadcast to the mask's {tuple(mask.shape)}"
            raise ValueError(f"The shape of valid, {shapes}.") from error
    axes = tuple(range(2, embedding.ndim))
    distances, found = [], []
    for part in (inside & counted, ~inside & counted):
        number = part.sum(dim=axes, keepdim=True)
        centre = (embedding * part).sum(dim=axes, keepdim=True) / number.clamp(min=1)
        distances.append(torch.linalg.vector_norm(embedding - centre, dim=1, keepdim=True))
        found.append(number > 0)
    return torch.sigmoid(distances[1] - distances[0]), found[0], found[1]
