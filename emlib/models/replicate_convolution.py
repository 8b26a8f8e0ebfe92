"""A convolution whose surroundings repeat the border, fast under mixed precision too."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional


class ReplicateConv3d(nn.Conv3d):
    """`torch.nn.Conv3d` with replication padding: the same weights, and the same result.

    On a CPU autocast pads in float32: the input is widened, padded and narrowed again, which takes longer than the
    convolution. Padding copies values and is exact in any precision, so here it is done in that of the input.

    Example:
        >>> layer = ReplicateConv3d(1, 1, (1, 1, 3), padding=(0, 0, 1), bias=False)
        >>> _ = nn.init.constant_(layer.weight, 1.0)
        >>> layer(torch.tensor([1.0, 2.0, 4.0]).view(1, 1, 1, 1, 3)).flatten().tolist()
        [4.0, 7.0, 10.0]
    """

    def __init__(self, *arguments, **options) -> None:
        super().__init__(*arguments, **options, padding_mode="replicate")

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        with torch.autocast(image.device.type, enabled=False):
            padded = functional.pad(image, self._reversed_padding_repeated_twice, mode="replicate")
        return functional.conv3d(padded, self.weight, self.bias, self.stride, 0, self.dilation, self.groups)
