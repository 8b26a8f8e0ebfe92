"""Fresh weights: orthogonal matrices."""

from __future__ import annotations

from torch import nn


def set_orthogonal_weights(network: nn.Module) -> None:
    """Make the weights of all convolutions and linear layers orthogonal and their biases zero.

    Seen as a matrix with one row per output, the weights neither stretch nor shrink what passes (Saxe et al., ICLR
    2014). They are drawn from torch's global generator; normalisation layers keep their scale of 1 and shift of 0.

    Example:
        >>> layer = nn.Linear(4, 2)
        >>> set_orthogonal_weights(layer)
        >>> (layer.weight @ layer.weight.T).round(decimals=4).abs().tolist()
        [[1.0, 0.0], [0.0, 1.0]]
    """
    for layer in network.modules():
        if isinstance(layer, nn.Conv3d | nn.Linear):
            nn.init.orthogonal_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
