"""Partial convolution for an image without holes: a zero-padded convolution whose borders are re-normalised."""

from __future__ import annotations

import torch
from torch import nn


class PartialConv3d(nn.Conv3d):
    """A "same" convolution that is not darkened at the border by the zeros outside.

    Partial convolution (Liu et al., "Image inpainting for irregular holes using partial convolutions", ECCV 2018)
    multiplies the bias-free result by (weights in the window) / (valid inputs in the window) and then adds the bias.
    Every voxel of an EM volume is valid, so only windows that reach over the border change: a face of a 3 x 3 x 3
    window by 27 / 18, an edge by 27 / 12, a corner by 27 / 8.

    Args:
        in_channels, out_channels: channels.
        kernel_size: odd, one for all axes.

    Shape: (N, in_channels, Z, Y, X) -> (N, out_channels, Z, Y, X).

    Example:
        >>> layer = PartialConv3d(1, 1, 3)
        >>> _ = nn.init.constant_(layer.weight, 1 / 27), nn.init.zeros_(layer.bias)
        >>> layer(torch.ones(1, 1, 3, 3, 3)).detach().round(decimals=4).unique()
        tensor([1.])
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int = 3) -> None:
        super().__init__(in_channels, out_channels, kernel_size, padding=kernel_size // 2)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        output = self._conv_forward(image, self.weight, None)
        z, y, x = (
            _border_factor(size, window, output.device)
            for size, window in zip(output.shape[2:], self.kernel_size, strict=True)
        )
        # Products of 1, 3/2 and 3 have few binary digits: for kernel 3 they are exact in bfloat16 and float16 too.
        factor = z[:, None, None] * y[:, None] * x
        return output * factor.to(output.dtype) + self.bias.to(output.dtype)[:, None, None, None]


def _border_factor(size: int, window: int, device: torch.device) -> torch.Tensor:
    """Window length / number of positions of the window that lie inside, for each position of one axis."""
    position = torch.arange(size, device=device)
    first = (position - window // 2).clamp(min=0)
    last = (position + window // 2).clamp(max=size - 1)
    return window / (last - first + 1).to(torch.float32)
