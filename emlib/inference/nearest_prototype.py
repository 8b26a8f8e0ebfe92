"""Nearest-neighbour classification when a network is applied: one probability from its mask and its embedding."""

from __future__ import annotations

import torch
from torch import nn

from emlib.losses import nearest_prototype_probability


class NearestPrototypeMask(nn.Module):
    """The probability that a voxel's vector is nearer to the mean one inside the predicted mask than to that outside.

    The means are those of each window by itself, as in training.

    Args:
        network: from an image to maps (n, c, z, y, x), among them a mask and an embedding.
        mask: the channel of the mask.
        embedding: the channels of the embedding.

    Shape: what the network takes -> (n, 1, z, y, x); see `nearest_prototype_probability`.

    Example:
        >>> class Both(nn.Module):
        ...     def forward(self, image):
        ...         return torch.cat([image / 4, image], dim=1)
        >>> image = torch.tensor([0.0, 0.0, 4.0, 4.0]).view(1, 1, 1, 1, 4)
        >>> NearestPrototypeMask(Both(), mask=0, embedding=slice(1, 2))(image).flatten()
        tensor([0.0180, 0.0180, 0.9820, 0.9820])
    """

    def __init__(self, network: nn.Module, *, mask: int, embedding: slice) -> None:
        super().__init__()
        self.network, self.mask, self.embedding = network, mask, embedding
        self.min_divisor = getattr(network, "min_divisor", (1, 1, 1))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        maps = self.network(image)
        return nearest_prototype_probability(maps[:, self.embedding], maps[:, self.mask : self.mask + 1])

    def extra_repr(self) -> str:
        """What an interrupted prediction has to know beside the weights."""
        return f"mask={self.mask}, embedding={self.embedding}"
