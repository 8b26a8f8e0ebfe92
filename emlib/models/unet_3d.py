"""The 3-D U-Net of PyTorch Connectomics (`unet_3d`): residual, with a choice of blocks and of anisotropic levels."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn

from emlib.models.enlargement import enlarge
from emlib.models.isotropy import halving, kernel_size, level_isotropy
from emlib.models.layer_style import check_statistics, check_word, layer_style
from emlib.models.orthogonal_weights import set_orthogonal_weights
from emlib.models.residual_blocks import BLOCKS, ResidualBlock
from emlib.models.sizes import check_input, check_settings

PUBLISHED_WIDTHS = (28, 36, 48, 64, 80)


class UNet3D(nn.Module):
    """Residual 3-D U-Net for neurons and mitochondria in serial sections.

    A convolution of 1x5x5 leads in and one leads out. Each level is a convolution, strided below the first, and a
    residual block. On the way up a convolution narrows the features to the width of the level above, they are enlarged
    linearly to the size of the skip and added to it, and a residual block follows. A level whose `isotropy` flag is
    set has 3x3x3 kernels and is halved along z too; the others have 1x3x3 kernels and keep z. Convolutions have no
    biases (a normalisation follows) but the last; weights are orthogonal.

    Source: PyTorch Connectomics v1.0. There the residual blocks have 1x3x3 kernels in all levels, although isotropic
    ones were meant; `published_kernels=True` does the same, and then the numbers of parameters are the published ones:
    924,603 with three outputs, 936,283 with block "residual_se_pa"; with widths (32, 64, 96, 128, 160) and norm "gn"
    3,500,931, and 3,543,650 with "residual_se" and two outputs; 1,041,409 with `isotropy=True` and one output.

    Args:
        in_channels: channels of the image.
        out_channels: channels of the prediction.
        widths: feature maps of each level.
        block: "residual", "residual_pa" (pre-activated), "residual_se" (squeeze and excitation) or "residual_se_pa".
        isotropy: a flag per level, or one for all; None: levels from the fourth on, (F, F, F, T, T) for five. The first
            flag also makes the first and last kernels 5x5x5.
        norm: "bn", "gn" (8 groups), "in" or "none".
        activation: "elu", "relu", "leaky_relu", "silu", "gelu" or "prelu".
        padding: "replicate" as published, or "zeros", which is faster.
        pooling: halve by max-pooling, not by strided convolutions.
        published_kernels: 1x3x3 kernels in the residual blocks of isotropic levels too.

    Shape: (N, in_channels, Z, Y, X) -> float32 probabilities (N, out_channels, Z, Y, X). Any size will do as long as
    the norm has two values at the lowest level. Sizes of 2 ** k n + 1 (17, 257) are the published ones: there every
    coarse voxel lies on a fine one up to both borders.

    Raises:
        ValueError: bad settings or an input of another shape.

    Example:
        >>> model = UNet3D(widths=(4, 6, 8), out_channels=3, isotropy=(False, False, True))
        >>> model(torch.zeros(1, 1, 3, 9, 8)).shape
        torch.Size([1, 3, 3, 9, 8])
    """

    name = "unet_3d"

    def __init__(
        self,
        in_channels: int = 1,
        out_channels: int = 2,
        widths: Sequence[int] = PUBLISHED_WIDTHS,
        block: str = "residual",
        isotropy: bool | Sequence[bool] | None = None,
        norm: str = "bn",
        activation: str = "elu",
        padding: str = "replicate",
        pooling: bool = False,
        published_kernels: bool = False,
    ) -> None:
        super().__init__()
        widths = check_settings(self.name, in_channels, out_channels, widths)
        style = layer_style(self.name, norm, activation, padding, widths)
        check_word(self.name, "block", block, BLOCKS)
        flags = level_isotropy(self.name, isotropy, len(widths))
        self.in_channels, self.widths, self.style, self.pooling = in_channels, widths, style, pooling
        # The fewest feature maps that are normalised at the lowest level: what narrows works there too.
        self.least_width = min(widths[-2:])
        self.min_divisor = (1, 1, 1)
        self.halvings = (sum(flags[1:]), len(widths) - 1, len(widths) - 1)

        def level(a: int, b: int, index: int) -> nn.Sequential:
            step = halving(flags[index]) if index else (1, 1, 1)
            layers = [residual(b, index)]
            if pooling and index:
                # Windows that reach over the border count what lies inside, so that no size is too small.
                layers.insert(0, nn.MaxPool3d(step, step, ceil_mode=True))
                step = (1, 1, 1)
            layers.insert(len(layers) - 1, style.conv_norm_act(a, b, kernel_size(flags[index]), step))
            return nn.Sequential(*layers)

        def residual(width: int, index: int) -> ResidualBlock:
            return ResidualBlock(block, width, kernel_size(flags[index] and not published_kernels), style)

        self.first = style.conv_norm_act(in_channels, widths[0], kernel_size(flags[0], 5))
        inputs = (widths[0], *widths[:-1])
        self.encoder = nn.ModuleList(level(a, b, i) for i, (a, b) in enumerate(zip(inputs, widths, strict=True)))
        self.narrow = nn.ModuleList(
            style.conv_norm_act(b, a, kernel_size(flags[i])) for i, (a, b) in enumerate(pairwise(widths), start=1)
        )
        self.decoder = nn.ModuleList(residual(width, index) for index, width in enumerate(widths[:-1]))
        self.head = style.conv(widths[0], out_channels, kernel_size(flags[0], 5), bias=True)
        set_orthogonal_weights(self)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        check_input(self.name, image, self.in_channels, self.min_divisor)
        # In float32 also under mixed precision: near 0 and 1 a half-precision probability has no useful logarithm.
        return torch.sigmoid(self.logits(image).float())

    def logits(self, image: torch.Tensor) -> torch.Tensor:
        """What the sigmoid turns into probabilities."""
        features, skips = self.encode(image)
        for index in reversed(range(len(skips))):
            features = enlarge(self.narrow[index](features), skips[index].shape[2:], pooled=self.pooling)
            features = self.decoder[index](features + skips[index])
        return self.head(features)

    def encode(self, image: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """The features of the lowest level, and those of the levels above it from the finest on."""
        lowest = [-(-size // 2**steps) for size, steps in zip(image.shape[2:], self.halvings, strict=True)]
        check_statistics(self.name, self.style.norm, self.training, image.shape[0], self.least_width, lowest)
        features, levels = self.first(image), []
        for level in self.encoder:
            features = level(features)
            levels.append(features)
        return features, levels[:-1]
