"""Instance normalisation that keeps the channels last."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional


class InstanceNorm(nn.InstanceNorm3d):
    """Each feature map of each input to mean 0 and variance 1 over its voxels, then a learned scale and shift.

    torch's own layer moves a channels-last tensor to channels-first and leaves the rest of the network to move it back:
    on a CPU that takes longer than the convolutions between. Batch normalisation of a batch of one is the same sum.

    Args:
        width: feature maps.

    Shape: (N, width, Z, Y, X) -> the same, in the same memory order.

    Example:
        >>> InstanceNorm(1)(torch.tensor([1.0, 3.0]).view(1, 1, 1, 1, 2)).flatten().round(decimals=3)
        tensor([-1.,  1.], grad_fn=...)
    """

    def __init__(self, width: int) -> None:
        super().__init__(width, affine=True)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        if features.device.type != "cpu":
            return super().forward(features)
        each = [
            functional.batch_norm(one, None, None, self.weight, self.bias, training=True, eps=self.eps)
            for one in features.split(1)
        ]
        return each[0] if len(each) == 1 else torch.cat(each)


def keep_channels_last(network: nn.Module) -> nn.Module:
    """Put an `InstanceNorm` in place of every `torch.nn.InstanceNorm3d` with scale and shift; returns the network.

    Example:
        >>> type(keep_channels_last(nn.Sequential(nn.InstanceNorm3d(4, affine=True)))[0]).__name__
        'InstanceNorm'
    """
    for layer in list(network.modules()):
        for name, child in layer.named_children():
            if type(child) is nn.InstanceNorm3d and child.affine and not child.track_running_stats:
                replacement = InstanceNorm(child.num_features)
                replacement.eps = child.eps
                replacement.weight, replacement.bias = child.weight, child.bias
                setattr(layer, name, replacement)
    return network
