"""Non-local block: every voxel looks at all others."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from emlib.models.layer_style import LayerStyle


class NonLocalBlock(nn.Module):
    """x + out(softmax(query(x) . key(x)) value(x)): attention of all voxels to all voxels (embedded Gaussian).

    Source: Wang et al., "Non-local neural networks", CVPR 2018. The three 1x1x1 convolutions lead to half the feature
    maps; the last one with its normalisation starts at zero, so that the block starts as the identity. The products
    are not divided by the root of their length, as published. A bias of `key` adds the same to all products of a voxel
    and cancels in the softmax; it is there for the published number of parameters.

    Time grows with the square of the number of voxels: it belongs at the lowest level.

    Args:
        width: feature maps.
        style: its norm follows the last convolution.

    Shape: (N, width, Z, Y, X) -> the same.

    Example:
        >>> features = torch.rand(2, 8, 1, 2, 2)
        >>> torch.equal(NonLocalBlock(8, LayerStyle())(features), features)
        True
    """

    def __init__(self, width: int, style: LayerStyle) -> None:
        super().__init__()
        half = max(1, width // 2)
        self.query, self.key, self.value = (nn.Conv3d(width, half, 1) for _ in range(3))
        self.out = nn.Sequential(nn.Conv3d(half, width, 1), style.normalisation(width))
        self.start_as_identity()

    def start_as_identity(self) -> None:
        """Set the last layer to zero: the scale and shift of the normalisation, or the convolution without one."""
        last = self.out[0] if isinstance(self.out[1], nn.Identity) else self.out[1]
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        query, key, value = (
            layer(features).flatten(2).transpose(1, 2)[:, None] for layer in (self.query, self.key, self.value)
        )
        # One head, and never the whole matrix of voxels x voxels in memory.
        seen = functional.scaled_dot_product_attention(query, key, value, scale=1.0)
        seen = seen[:, 0].transpose(1, 2).reshape(features.shape[0], -1, *features.shape[2:])
        return features + self.out(seen)
