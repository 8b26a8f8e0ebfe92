"""Feature pyramid network (`fpn_3d`): predictions from all levels of a residual 3-D encoder together."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import nn

from emlib.models.enlargement import enlarge
from emlib.models.isotropy import halving, kernel_size, level_isotropy
from emlib.models.layer_style import check_statistics, check_word, layer_style
from emlib.models.orthogonal_weights import set_orthogonal_weights
from emlib.models.residual_blocks import InvertedResidualBlock, ResidualBlock
from emlib.models.sizes import check_input, check_settings, check_whole

PUBLISHED_WIDTHS = (32, 64, 96, 128, 192)
BACKBONES = {"resnet": partial(ResidualBlock, "residual"), "efficientnet": InvertedResidualBlock}


class FPN3D(nn.Module):
    """A bottom-up encoder, a top-down path of one width, and one prediction from the sum of its levels.

    Each level of the encoder is a convolution, strided below the first, and residual blocks. A 1x1x1 convolution brings
    it to the width of the pyramid, where the level below it is enlarged and added; one convolution smooths each sum.
    The smoothed levels are enlarged to full resolution and added, and the last convolution predicts from that.

    Sources: Lin et al., "Feature pyramid networks for object detection", CVPR 2017; Kirillov et al., "Panoptic feature
    pyramid networks", CVPR 2019 (the sum of levels). The widths are those of PyTorch Connectomics v1.0's neurons; the
    numbers of blocks are ours, so its weights do not fit.

    Args:
        in_channels: channels of the image.
        out_channels: channels of the prediction.
        widths: feature maps of each level of the encoder.
        backbone: "resnet", or "efficientnet" for inverted residual blocks with depthwise filters.
        blocks: residual blocks in each level.
        pyramid_width: feature maps of the top-down path; None: those of the first level.
        isotropy, norm, activation, padding: as in `UNet3D`.

    Shape: (N, in_channels, Z, Y, X) -> float32 probabilities (N, out_channels, Z, Y, X); any size, as in `UNet3D`.

    Raises:
        ValueError: bad settings or an input of another shape.

    Example:
        >>> model = FPN3D(widths=(4, 6, 8), blocks=1)
        >>> model(torch.zeros(1, 1, 3, 9, 8)).shape
        torch.Size([1, 2, 3, 9, 8])
    """

    def __init__(
        self,
        in_channels: int = 1,
        out_channels: int = 2,
        widths: Sequence[int] = PUBLISHED_WIDTHS,
        backbone: str = "resnet",
        blocks: int = 2,
        pyramid_width: int | None = None,
        isotropy: bool | Sequence[bool] | None = None,
        norm: str = "bn",
        activation: str = "elu",
        padding: str = "replicate",
    ) -> None:
        super().__init__()
        widths = check_settings("fpn_3d", in_channels, out_channels, widths)
        check_word("fpn_3d", "backbone", backbone, tuple(BACKBONES))
        common = widths[0] if pyramid_width is None else pyramid_width
        for key, value in (("blocks", blocks), ("pyramid_width", common)):
            check_whole("fpn_3d", key, value, 1)
        style = layer_style("fpn_3d", norm, activation, padding, (*widths, common))
        flags = level_isotropy("fpn_3d", isotropy, len(widths))
        self.in_channels, self.norm, self.least_width = in_channels, norm, min(widths[-1], common)
        self.min_divisor = (1, 1, 1)
        self.halvings = (sum(flags[1:]), len(widths) - 1, len(widths) - 1)

        kernels = [kernel_size(flag) for flag in flags]
        steps = [(1, 1, 1), *(halving(flag) for flag in flags[1:])]
        self.first = style.conv_norm_act(in_channels, widths[0], kernel_size(flags[0], 5))
        self.encoder = nn.ModuleList(
            nn.Sequential(
                style.conv_norm_act(before, width, kernel, step),
                *(BACKBONES[backbone](width, kernel, style) for _ in range(blocks)),
            )
            for before, width, kernel, step in zip((widths[0], *widths), widths, kernels, steps, strict=False)
        )
        self.lateral = nn.ModuleList(style.conv(width, common, (1, 1, 1), bias=True) for width in widths)
        self.smooth = nn.ModuleList(style.conv_norm_act(common, common, kernel) for kernel in kernels)
        self.head = style.conv(common, out_channels, kernel_size(flags[0], 5), bias=True)
        set_orthogonal_weights(self)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        check_input("fpn_3d", image, self.in_channels, self.min_divisor)
        lowest = [-(-size // 2**steps) for size, steps in zip(image.shape[2:], self.halvings, strict=True)]
        check_statistics("fpn_3d", self.norm, self.training, image.shape[0], self.least_width, lowest)
        features, levels = self.first(image), []
        for level in self.encoder:
            features = level(features)
            levels.append(features)
        path = self.lateral[-1](levels[-1])
        total = self.smooth[-1](path)
        for index in reversed(range(len(levels) - 1)):
            size = levels[index].shape[2:]
            path = self.lateral[index](levels[index]) + enlarge(path, size)
            # Enlarging is linear: adding level by level on the way up is enlarging each to full size and adding.
            total = self.smooth[index](path) + enlarge(total, size)
        # In float32 also under mixed precision: near 0 and 1 a half-precision probability has no useful logarithm.
        return torch.sigmoid(self.head(total).float())
