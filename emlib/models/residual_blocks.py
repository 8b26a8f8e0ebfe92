"""Residual blocks: plain, pre-activated, with squeeze and excitation, and inverted."""

from __future__ import annotations

import torch
from torch import nn

from emlib.models.isotropy import Triple
from emlib.models.layer_style import LayerStyle
from emlib.models.squeeze_excitation import REDUCTION, SqueezeExcitation

BLOCKS = ("residual", "residual_pa", "residual_se", "residual_se_pa")


class ResidualBlock(nn.Module):
    """act(x + norm(conv(act(norm(conv(x)))))), or one of its variants; the number of feature maps stays.

    Sources: He et al., "Deep residual learning", CVPR 2016; "Identity mappings in deep residual networks", ECCV 2016
    (pre-activation); Hu et al. 2018 (squeeze and excitation of the change before it is added).

    Args:
        kind: "residual"; "residual_pa": x + conv(act(norm(conv(act(norm(x)))))), nothing after the sum;
            "residual_se" and "residual_se_pa": the same two with squeeze and excitation.
        width: feature maps.
        kernel: (z, y, x), odd.
        style: norm, activation and padding.

    Shape: (N, width, Z, Y, X) -> the same.

    Example:
        >>> ResidualBlock("residual_se", 8, (1, 3, 3), LayerStyle())(torch.zeros(2, 8, 1, 2, 2)).shape
        torch.Size([2, 8, 1, 2, 2])
    """

    def __init__(self, kind: str, width: int, kernel: Triple, style: LayerStyle) -> None:
        super().__init__()
        if kind.endswith("_pa"):
            layers = [style.norm_act_conv(width, width, kernel), style.norm_act_conv(width, width, kernel)]
            self.after: nn.Module = nn.Identity()
        else:
            layers = [style.conv_norm_act(width, width, kernel), style.conv_norm(width, width, kernel)]
            self.after = style.act()
        if "_se" in kind:
            layers.append(SqueezeExcitation(width, style.act()))
        self.change = nn.Sequential(*layers)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.after(features + self.change(features))


class InvertedResidualBlock(nn.Module):
    """x + project(excite(depthwise(expand(x)))): the mobile block of EfficientNet with three axes.

    A 1x1x1 convolution makes `expansion` times as many feature maps, each is filtered on its own (depthwise), squeeze
    and excitation weighs them, and a 1x1x1 convolution leads back.

    Source: Tan and Le, "EfficientNet", ICML 2019, after Sandler et al., "MobileNetV2", CVPR 2018.

    Args:
        width: feature maps.
        kernel: (z, y, x) of the depthwise filter, odd.
        style: norm, activation and padding.
        expansion: feature maps inside, as a multiple of `width`.

    Shape: (N, width, Z, Y, X) -> the same.

    Example:
        >>> InvertedResidualBlock(8, (1, 3, 3), LayerStyle())(torch.zeros(2, 8, 1, 2, 2)).shape
        torch.Size([2, 8, 1, 2, 2])
    """

    def __init__(self, width: int, kernel: Triple, style: LayerStyle, expansion: int = 4) -> None:
        super().__init__()
        inside = expansion * width
        self.change = nn.Sequential(
            style.conv_norm_act(width, inside, (1, 1, 1)),
            style.conv_norm_act(inside, inside, kernel, groups=inside),
            SqueezeExcitation(inside, style.act(), hidden=max(1, width // REDUCTION)),
            style.conv_norm(inside, width, (1, 1, 1)),
        )

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return features + self.change(features)
