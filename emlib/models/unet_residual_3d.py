"""Res-UNet-R (`unet_residual_3d`): VIDAR's network for rat tissue, one decoder for all outputs."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional

from emlib.models.bilinear_upsampling import BilinearUpsampling
from emlib.models.sizes import check_input, check_settings

PUBLISHED_WIDTHS = (28, 36, 48, 64, 80)


class ResidualUNet3D(nn.Module):
    """Residual 3-D U-Net after Lee et al. 2017 ("Superhuman accuracy on the SNEMI3D challenge"), VIDAR's variant.

    z is never down-sampled; y and x are halved by strided 1x3x3 convolutions and doubled by fixed bilinear
    up-sampling, where the skip is added. Replication padding; an ELU follows every convolution except the second of a
    residual block (where it follows the sum), the 1x1x1 ones and the last. No normalisation layers. Weights are
    orthogonal, biases zero.

    The published network has 1,634,482 parameters with two outputs, of which 86,724 take part in nothing: 1x3x3
    convolutions for the skips below full resolution, and a 1x1x1 projection in every residual block but the centre's.
    They are kept so that the count (and the place of every weight) is the published one, frozen so that no optimizer
    or distributed run waits for their gradient, and never computed. `published_unused=False` leaves them out.

    Args:
        in_channels: channels of the image.
        out_channels: channels of the prediction.
        widths: feature maps of each level; its length minus one is the number of times y and x are halved.
        padding: "replicate" as published, or "zeros", which is faster.
        published_unused: keep the layers that the published network declares and does not use.

    Shape: (N, in_channels, Z, Y, X) -> float32 probabilities (N, out_channels, Z, Y, X); Y and X must be divisible
    by 2 ** (len(widths) - 1).

    Raises:
        ValueError: bad settings or an input of another shape.

    Example:
        >>> model = ResidualUNet3D(widths=(4, 6), out_channels=3)
        >>> model(torch.zeros(1, 1, 3, 8, 8)).shape
        torch.Size([1, 3, 3, 8, 8])
    """

    def __init__(
        self,
        in_channels: int = 1,
        out_channels: int = 2,
        widths: Sequence[int] = PUBLISHED_WIDTHS,
        padding: str = "replicate",
        published_unused: bool = True,
    ) -> None:
        super().__init__()
        widths = check_settings("unet_residual_3d", in_channels, out_channels, widths)
        if padding not in ("replicate", "zeros"):
            raise ValueError(f"unet_residual_3d: padding is {padding!r}, but 'replicate' or 'zeros' was expected.")
        self.in_channels = in_channels
        self.min_divisor = (1, 2 ** (len(widths) - 1), 2 ** (len(widths) - 1))

        def flat(a: int, b: int, size: int = 3, step: int = 1) -> nn.Conv3d:
            edge = (0, size // 2, size // 2)
            return nn.Conv3d(a, b, (1, size, size), (1, step, step), edge, padding_mode=padding)

        def block(a: int, b: int, *, project: bool = False) -> nn.Sequential:
            return nn.Sequential(flat(a, b), nn.ELU(), ResidualBlock(b, padding, project, published_unused))

        upper, bottom = widths[:-1], widths[-1]
        first = widths[0]
        self.encoder = nn.ModuleList([nn.Sequential(flat(in_channels, first, 5), nn.ELU(), block(first, first))])
        self.encoder.extend(block(a, b) for a, b in pairwise(upper))
        self.halving = nn.ModuleList(nn.Sequential(flat(width, width, step=2), nn.ELU()) for width in upper)
        self.centre = block(upper[-1], bottom, project=True)
        self.narrow = nn.ModuleList(nn.Conv3d(b, a, 1) for a, b in pairwise(widths))
        self.upsampling = BilinearUpsampling()
        self.decoder = nn.ModuleList(block(width, width) for width in upper)
        self.skip = nn.Sequential(flat(first, first), nn.ELU())
        if published_unused:
            self.unused_skips = nn.ModuleList(flat(width, width) for width in upper[1:]).requires_grad_(False)
        self.head = flat(first, out_channels, 5)
        self.apply(_initialise)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        check_input("unet_residual_3d", image, self.in_channels, self.min_divisor)
        features, skips = image, []
        for level, halve in zip(self.encoder, self.halving, strict=True):
            features = level(features)
            skips.append(features)
            features = halve(features)
        features = self.centre(features)
        skips[0] = self.skip(skips[0])
        for index in reversed(range(len(skips))):
            features = self.upsampling(self.narrow[index](features))
            features = self.decoder[index](features + skips[index])
        # In float32 also under mixed precision: near 0 and 1 a half-precision probability has no useful logarithm.
        return torch.sigmoid(self.head(features).float())


class ResidualBlock(nn.Module):
    """ELU(identity + conv 3x3x3(ELU(conv 3x3x3))); with `project` the identity is a 1x1x1 convolution."""

    def __init__(self, channels: int, padding: str, project: bool, published_unused: bool) -> None:
        super().__init__()
        self.first = nn.Conv3d(channels, channels, 3, padding=1, padding_mode=padding)
        self.second = nn.Conv3d(channels, channels, 3, padding=1, padding_mode=padding)
        self.project = project
        if project or published_unused:
            self.projection = nn.Conv3d(channels, channels, 1).requires_grad_(project)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        change = self.second(functional.elu(self.first(features)))
        return functional.elu(change + (self.projection(features) if self.project else features))


def _initialise(layer: nn.Module) -> None:
    if isinstance(layer, nn.Conv3d):
        nn.init.orthogonal_(layer.weight)
        nn.init.zeros_(layer.bias)
