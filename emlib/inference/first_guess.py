"""A network that wants a first guess of the mask, joined with one that makes it."""

from __future__ import annotations

import math

import torch
from torch import nn


class PriorFrom(nn.Module):
    """`network(image, prior)`, with the prior from what `first` says of the same window.

    Args:
        network: from an image (n, c, z, y, x) and a prior (n, 1, z, y, x) to a prediction, such as `unetv3_ebd`.
        first: from the image to maps.
        channel: the map that the prior is made of.
        threshold: the prior is 1 where the map is above it, else 0, as in training.

    Raises:
        ValueError: what `first` says has no such channel.

    Example:
        >>> class Masked(nn.Module):
        ...     def forward(self, image, prior):
        ...         return image * prior
        >>> PriorFrom(Masked(), nn.Identity())(torch.tensor([0.2, 0.8]).view(1, 1, 1, 1, 2)).flatten()
        tensor([0.0000, 0.8000])
    """

    def __init__(self, network: nn.Module, first: nn.Module, *, channel: int = 0, threshold: float = 0.5) -> None:
        super().__init__()
        self.network, self.first, self.channel, self.threshold = network, first, channel, threshold
        divisors = (getattr(part, "min_divisor", (1, 1, 1)) for part in (network, first))
        self.min_divisor = tuple(math.lcm(*steps) for steps in zip(*divisors, strict=True))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        maps = self.first(image)
        if not 0 <= self.channel < maps.shape[1]:
            raise ValueError(
                f"The prior is channel {self.channel} of the first network, which puts out {maps.shape[1]}."
            )
        return self.network(image, (maps[:, self.channel : self.channel + 1] > self.threshold).float())

    def extra_repr(self) -> str:
        """What an interrupted prediction has to know beside the weights."""
        return f"channel={self.channel}, threshold={self.threshold}"
