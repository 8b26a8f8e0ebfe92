"""Squeeze and excitation: a factor between 0 and 1 for every feature map, computed from the means of all of them."""

from __future__ import annotations

import torch
from torch import nn

REDUCTION = 4


class SqueezeExcitation(nn.Module):
    """Multiply each feature map by sigmoid(W2 act(W1 means)), where `means` are the averages over the volume.

    Source: Hu, Shen and Sun, "Squeeze-and-excitation networks", CVPR 2018; here without biases, as published for
    neurons.

    Args:
        width: feature maps.
        activation: between the two matrices.
        hidden: rows of the first matrix; None: a quarter of `width`.

    Shape: (N, width, Z, Y, X) -> the same.

    Example:
        >>> layer = SqueezeExcitation(8, nn.ELU())
        >>> layer(torch.zeros(1, 8, 1, 2, 2)).shape, sum(p.numel() for p in layer.parameters())
        (torch.Size([1, 8, 1, 2, 2]), 32)
    """

    def __init__(self, width: int, activation: nn.Module, hidden: int | None = None) -> None:
        super().__init__()
        hidden = max(1, width // REDUCTION) if hidden is None else hidden
        self.squeeze = nn.Linear(width, hidden, bias=False)
        self.activation = activation
        self.excite = nn.Linear(hidden, width, bias=False)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        factors = torch.sigmoid(self.excite(self.activation(self.squeeze(features.mean((2, 3, 4))))))
        return features * factors[:, :, None, None, None]
