"""`unet2d_ebd`: the plain 2-D U-Net of the EM mitochondria pipeline, applied to each section on its own."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional

from emlib.models.sizes import check_input, check_settings

PUBLISHED_WIDTHS = (64, 128, 256, 512)


class UNet2DEmbedding(nn.Module):
    """U-Net of Ronneberger et al. 2015 with padding: no section of a volume sees another.

    Every level is two 3x3 convolutions (zero padding, biases) with ReLUs. Max-pooling by 2 leads down; bilinear
    enlargement with aligned corners leads up, where the skip is concatenated. A 1x1 convolution predicts. Nothing is
    normalised; weights are Kaiming-normal, biases zero.

    Source: the EM mitochondria pipeline. It has the published 7,781,761 parameters. There it takes a prior of the mask
    too and does not look at it; here it takes the image only.

    Args:
        in_channels: channels of the image.
        out_channels: channels of the prediction.
        widths: feature maps of each level; its length minus one is the number of times y and x are halved.

    Shape: (N, in_channels, Z, Y, X) -> float32 probabilities (N, out_channels, Z, Y, X); Y and X must be divisible by
    2 ** (len(widths) - 1).

    Raises:
        ValueError: bad settings or an input of another shape.

    Example:
        >>> UNet2DEmbedding(widths=(4, 6))(torch.zeros(1, 1, 3, 8, 6)).shape
        torch.Size([1, 1, 3, 8, 6])
    """

    name = "unet2d_ebd"

    def __init__(self, in_channels: int = 1, out_channels: int = 1, widths: Sequence[int] = PUBLISHED_WIDTHS) -> None:
        super().__init__()
        widths = check_settings(self.name, in_channels, out_channels, widths)
        self.in_channels = in_channels
        self.min_divisor = (1, 2 ** (len(widths) - 1), 2 ** (len(widths) - 1))
        self.encoder = nn.ModuleList(_double(a, b) for a, b in zip((in_channels, *widths), widths, strict=False))
        self.decoder = nn.ModuleList(_double(a + b, a) for a, b in pairwise(widths))
        self.head = nn.Conv3d(widths[0], out_channels, 1)
        self.apply(_initialise)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        check_input(self.name, image, self.in_channels, self.min_divisor)
        features, levels = image, []
        for index, level in enumerate(self.encoder):
            features = level(functional.max_pool3d(features, (1, 2, 2)) if index else features)
            levels.append(features)
        for index in reversed(range(len(self.decoder))):
            features = self.decoder[index](torch.cat([_doubled(features), levels[index]], dim=1))
        # In float32 also under mixed precision: near 0 and 1 a half-precision probability has no useful logarithm.
        return torch.sigmoid(self.head(features).float())


def _double(before: int, width: int) -> nn.Sequential:
    # Flat kernels in three axes: so 2-D and 3-D networks share shapes, memory order and sliding windows.
    first, second = (nn.Conv3d(a, width, (1, 3, 3), padding=(0, 1, 1)) for a in (before, width))
    return nn.Sequential(first, nn.ReLU(inplace=True), second, nn.ReLU(inplace=True))


def _doubled(features: torch.Tensor) -> torch.Tensor:
    n, c, z, y, x = features.shape
    sections = features.transpose(1, 2).reshape(n * z, c, y, x)
    larger = functional.interpolate(sections, (2 * y, 2 * x), mode="bilinear", align_corners=True)
    return larger.view(n, z, c, 2 * y, 2 * x).transpose(1, 2)


def _initialise(layer: nn.Module) -> None:
    if isinstance(layer, nn.Conv3d):
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        nn.init.zeros_(layer.bias)
