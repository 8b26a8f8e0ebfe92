"""What of a target and a prediction is shown: maps as they are, instances and embeddings in shades of grey."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from emlib.recipe_schema import TargetOutput
from emlib.targets import VoxelPair, channel_pairs, output_channel_count, target_channel_count


def shown_maps(
    outputs: Sequence[TargetOutput], target: torch.Tensor, prediction: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """A target and a prediction with as many channels, all of which can be looked at.

    Maps stay as they are. Of an embedding, the instances become shades of grey, and the vectors their first principal
    component, from 0 to 1; its mask, if it has one, is shown before them.

    Args:
        outputs: the recipe's targets.
        target: (c, z, y, x), its channels.
        prediction: (p, z, y, x), those of the network.

    Returns:
        Two tensors of one shape; `shown_pairs` says what their channels are.
    """
    shown: list[tuple[torch.Tensor, torch.Tensor]] = []
    for output in outputs:
        truth, target = target.split([target_channel_count(output), len(target) - target_channel_count(output)])
        said, prediction = prediction.split(
            [output_channel_count(output), len(prediction) - output_channel_count(output)]
        )
        if getattr(output, "embedding", None) is None:
            shown.append((truth, said))
            continue
        if output.mask is not None:
            shown.append(((truth > 0).to(said.dtype), said[:1]))
        shown.append((shades(truth), principal_component(said[-output.embedding :])))
    return torch.cat([truth for truth, _ in shown]), torch.cat([said.float() for _, said in shown])


def shown_pairs(outputs: Sequence[TargetOutput]) -> list[VoxelPair | None]:
    """For each channel of `shown_maps` the voxel pair that it compares, or None."""
    pairs: list[VoxelPair | None] = []
    for output in outputs:
        is_embedding = getattr(output, "embedding", None) is not None
        pairs += [None] * (1 + (output.mask is not None)) if is_embedding else channel_pairs([output])
    return pairs


def shades(labels: torch.Tensor) -> torch.Tensor:
    """0 for background, else 0.4 to 1, far apart for numbers that follow each other (the golden ratio).

    Example:
        >>> shades(torch.tensor([0, 1, 2])).round(decimals=2)
        tensor([0.0000, 0.7700, 0.5400])
    """
    return torch.where(labels > 0, 0.4 + 0.6 * (labels * 0.618034 % 1), 0.0)


def principal_component(vectors: torch.Tensor) -> torch.Tensor:
    """The direction in which vectors (e, ...) differ most, as one channel (1, ...) from 0 to 1.

    Example:
        >>> principal_component(torch.tensor([[0.0, 1.0, 4.0], [5.0, 5.0, 5.0]]))
        tensor([[0.0000, 0.2500, 1.0000]])
    """
    flat = vectors.detach().flatten(1).cpu().double()
    flat = flat - flat.mean(dim=1, keepdim=True)
    _, directions = torch.linalg.eigh(flat @ flat.T)
    direction = directions[:, -1]
    # Either sign is right; the larger part decides, so that pictures of one training can be compared.
    values = (direction * torch.sign(direction[direction.abs().argmax()])) @ flat
    low, high = values.aminmax()
    scaled = (values - low) / (high - low) if high > low else torch.zeros_like(values)
    return scaled.float().view(1, *vectors.shape[1:]).to(vectors.device)
