"""Res-UNet-H (`rsunet`): VIDAR's network for human tissue, one encoder and one decoder per output."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional

from emlib.models.bilinear_upsampling import BilinearUpsampling
from emlib.models.partial_convolution import PartialConv3d
from emlib.models.sizes import check_input, check_settings

PUBLISHED_WIDTHS = (16, 32, 48, 64, 80)


class RSUNet(nn.Module):
    """Residual 3-D U-Net with a decoder of its own for every output channel, and no normalisation layers.

    z is never down-sampled. Two partial 3x3x3 convolutions embed the image; each level is a ConvMod (see there);
    max-pooling by (1, 2, 2) leads down, fixed bilinear up-sampling and a 1x1x1 convolution lead up, where the skip is
    added. Weights are Kaiming-normal, biases zero. Source: the MitoEM 2021 winning system VIDAR.

    Args:
        in_channels: channels of the image.
        out_channels: number of outputs and of decoders; with 2 they are called "object" and "contour".
        widths: feature maps of each level; its length minus one is the number of times y and x are halved.

    Shape: (N, in_channels, Z, Y, X) -> float32 probabilities (N, out_channels, Z, Y, X); Y and X must be divisible
    by 2 ** (len(widths) - 1). With the published widths and two outputs it has 1,852,610 parameters, all in use.

    Raises:
        ValueError: bad settings or an input of another shape.

    Example:
        >>> model = RSUNet(widths=(4, 6))
        >>> model(torch.zeros(1, 1, 3, 8, 8)).shape
        torch.Size([1, 2, 3, 8, 8])
    """

    def __init__(self, in_channels: int = 1, out_channels: int = 2, widths: Sequence[int] = PUBLISHED_WIDTHS) -> None:
        super().__init__()
        widths = check_settings("rsunet", in_channels, out_channels, widths)
        self.in_channels = in_channels
        self.min_divisor = (1, 2 ** (len(widths) - 1), 2 ** (len(widths) - 1))
        self.embedding = nn.Sequential(
            PartialConv3d(in_channels, widths[0]), nn.ELU(), PartialConv3d(widths[0], widths[0]), nn.ELU()
        )
        # The first level keeps the width of the embedding; every level below comes from the one above it.
        inputs = (widths[0], *widths[:-2])
        self.encoder = nn.ModuleList(ConvMod(a, b) for a, b in zip(inputs, widths[:-1], strict=True))
        self.bridge = ConvMod(widths[-2], widths[-1])
        self.decoders = nn.ModuleDict({name: Decoder(widths) for name in _output_names(out_channels)})
        self.apply(_initialise)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        check_input("rsunet", image, self.in_channels, self.min_divisor)
        features = self.embedding(image)
        skips = []
        for level in self.encoder:
            features = level(features)
            skips.append(features)
            features = functional.max_pool3d(features, (1, 2, 2))
        features = self.bridge(features)
        logits = torch.cat([decoder(features, skips) for decoder in self.decoders.values()], dim=1)
        # In float32 also under mixed precision: near 0 and 1 a half-precision probability has no useful logarithm.
        return torch.sigmoid(logits.float())


class ConvMod(nn.Module):
    """u = ELU(conv 1x3x3), then ELU(u + conv 3x3x3(ELU(conv 3x3x3(u)))): the residual block of `RSUNet`."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.flat = nn.Conv3d(in_channels, out_channels, (1, 3, 3), padding=(0, 1, 1))
        self.first = nn.Conv3d(out_channels, out_channels, 3, padding=1)
        self.second = nn.Conv3d(out_channels, out_channels, 3, padding=1)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        flat = functional.elu(self.flat(features))
        return functional.elu(self.second(functional.elu(self.first(flat))) + flat)


class Rise(nn.Module):
    """Fixed bilinear up-sampling and a 1x1x1 convolution to the width of the level above.

    The published order is up-sampling first. Both are linear and act on different axes, so they commute as long as the
    bias is added last; narrowing first does a quarter of the work.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.narrow = nn.Conv3d(in_channels, out_channels, 1, bias=False)
        self.upsampling = BilinearUpsampling()
        self.bias = nn.Parameter(torch.zeros(out_channels))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        larger = self.upsampling(self.narrow(features))
        return larger + self.bias.to(larger.dtype)[:, None, None, None]


class Decoder(nn.Module):
    """From the bridge back to full resolution, with a head of one channel (before the sigmoid)."""

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        pairs = list(zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.rise = nn.ModuleList(Rise(deep, shallow) for deep, shallow in pairs)
        self.levels = nn.ModuleList(ConvMod(shallow, shallow) for _, shallow in pairs)
        self.head = nn.Conv3d(widths[0], 1, (1, 3, 3), padding=(0, 1, 1))

    def forward(self, features: torch.Tensor, skips: Sequence[torch.Tensor]) -> torch.Tensor:
        for rise, level, skip in zip(self.rise, self.levels, reversed(skips), strict=True):
            features = level(functional.elu(rise(features) + skip))
        return self.head(features)


def _output_names(out_channels: int) -> list[str]:
    return ["object", "contour"] if out_channels == 2 else [f"output{index}" for index in range(out_channels)]


def _initialise(layer: nn.Module) -> None:
    if isinstance(layer, nn.Conv3d):
        nn.init.kaiming_normal_(layer.weight)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
