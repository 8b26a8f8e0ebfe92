"""The network of the EM mitochondria pipeline (`unetv3`): small, residual, with an auxiliary output if wanted."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional

from emlib.models.enlargement import enlarge
from emlib.models.isotropy import Triple
from emlib.models.layer_style import check_statistics, check_word, layer_style
from emlib.models.orthogonal_weights import set_orthogonal_weights
from emlib.models.projected_blocks import ProjectedResidualBlock
from emlib.models.sizes import check_input, check_settings

PUBLISHED_WIDTHS = (8, 12, 16, 20, 24)
AUXILIARY_LEVEL = 2  # the level that the auxiliary output reads: y and x halved twice
AUXILIARY_DROPOUT = 0.1
OUTPUTS = {"sigmoid": torch.sigmoid, "tanh": torch.tanh}
FLAT, CUBE = (1, 3, 3), (3, 3, 3)


class AuxiliaryOutput(NamedTuple):
    """What a network with an auxiliary output returns in training.

    Attributes:
        auxiliary: (N, C, Z, Y / 4, X / 4), the prediction from the decoder's level at a quarter of the resolution.
        output: (N, C, Z, Y, X), the prediction itself.
    """

    auxiliary: torch.Tensor
    output: torch.Tensor


class UNetV3(nn.Module):
    """Residual 3-D U-Net of few and narrow levels, normalised by batch.

    A 1x5x5 convolution, a 1x3x3 one and a flat residual block make the first level; the others are a 1x3x3 convolution
    and a residual block of 3x3x3 kernels. Max-pooling by (1, 2, 2) leads down; a 1x1x1 convolution and linear
    enlargement by (1, 2, 2) lead up, where the skip is added and a 1x3x3 convolution and a residual block follow. The
    last convolution, 1x5x5, is normalised too. ELU, replication padding, no biases; the lowest block projects its
    identity. The other blocks declare such a projection and do not use it: 1,952 parameters, kept frozen for the
    published count unless `published_unused` is false.

    Source: the EM mitochondria pipeline. It has the published 142,962 parameters with one output, 143,366 with three,
    and 144,139 with one and its auxiliary. Batch norm is torch's own: it divides by sqrt(variance + eps), the published
    one by sqrt(max(variance, eps)), the same unless a feature map is all but constant. Training exchanges it for
    `SyncBatchNorm` over several GPUs. Fresh weights are orthogonal.

    Args:
        in_channels: channels of the image.
        out_channels: channels of the prediction.
        widths: feature maps of each level; its length minus one is the number of times y and x are halved.
        auxiliary: predict from a coarse level of the decoder too, for a loss that reaches it directly.
        output: "sigmoid" for probabilities, or "tanh" for values from -1 to 1 such as distances to a skeleton.
        padding: "replicate" as published, or "zeros", which is faster.
        published_unused: keep the layers that the published network declares and does not use.

    Shape: (N, in_channels, Z, Y, X) -> float32 (N, out_channels, Z, Y, X); Y and X must be divisible by
    2 ** (len(widths) - 1). With `auxiliary` and in training mode an `AuxiliaryOutput`, the published pair (auxiliary,
    output); in evaluation mode the output alone, so that what applies the network need not know.

    Raises:
        ValueError: bad settings or an input of another shape.

    Example:
        >>> model = UNetV3(auxiliary=True)
        >>> both = model(torch.zeros(1, 1, 2, 32, 32))
        >>> both.auxiliary.shape, both.output.shape, model.eval()(torch.zeros(1, 1, 2, 32, 32)).shape
        (torch.Size([1, 1, 2, 8, 8]), torch.Size([1, 1, 2, 32, 32]), torch.Size([1, 1, 2, 32, 32]))
    """

    name = "unetv3"

    def __init__(
        self,
        in_channels: int = 1,
        out_channels: int = 1,
        widths: Sequence[int] = PUBLISHED_WIDTHS,
        auxiliary: bool = False,
        output: str = "sigmoid",
        padding: str = "replicate",
        published_unused: bool = True,
    ) -> None:
        super().__init__()
        widths = check_settings(self.name, in_channels, out_channels, widths)
        check_word(self.name, "output", output, tuple(OUTPUTS))
        if auxiliary and len(widths) <= AUXILIARY_LEVEL:
            needed = AUXILIARY_LEVEL + 1
            raise ValueError(f"{self.name}: auxiliary needs at least {needed} widths, but {list(widths)} were given.")
        style = layer_style(self.name, "bn", "elu", padding, widths)
        self.in_channels, self.widths, self.style = in_channels, widths, style
        self.auxiliary, self.output = auxiliary, output
        self.halvings = len(widths) - 1
        self.min_divisor = (1, 2**self.halvings, 2**self.halvings)

        def block(width: int, kernel: Triple, *, project: bool = False) -> ProjectedResidualBlock:
            return ProjectedResidualBlock(width, kernel, style, project=project, published_unused=published_unused)

        def level(before: int, width: int, kernel: Triple, *, project: bool = False) -> nn.Sequential:
            return nn.Sequential(style.conv_norm_act(before, width, FLAT), block(width, kernel, project=project))

        first, bottom = widths[0], len(widths) - 1
        self.first = style.conv_norm_act(in_channels, first, (1, 5, 5))
        self.encoder = nn.ModuleList([level(first, first, FLAT)])
        self.encoder.extend(level(a, b, CUBE, project=i == bottom) for i, (a, b) in enumerate(pairwise(widths), 1))
        self.narrow = nn.ModuleList(style.conv_norm_act(b, a, (1, 1, 1)) for a, b in pairwise(widths))
        self.decoder = nn.ModuleList(level(w, w, CUBE if i else FLAT) for i, w in enumerate(widths[:-1]))
        self.head = style.conv_norm(first, out_channels, (1, 5, 5))
        if auxiliary:
            self.auxiliary_head = nn.Sequential(
                style.conv_norm_act(widths[AUXILIARY_LEVEL], first, FLAT),
                nn.Dropout3d(AUXILIARY_DROPOUT),
                style.conv(first, out_channels, (1, 1, 1), bias=True),
            )
        set_orthogonal_weights(self)

    def forward(self, image: torch.Tensor) -> torch.Tensor | AuxiliaryOutput:
        entrance, coarse = self.decode(image)
        prediction = self.activate(self.head(self.decoder[0](entrance)))
        if not (self.auxiliary and self.training):
            return prediction
        return AuxiliaryOutput(self.activate(self.auxiliary_head(coarse)), prediction)

    def activate(self, values: torch.Tensor) -> torch.Tensor:
        """The prediction from the values of a head."""
        # In float32 also under mixed precision: near 0 and 1 a half-precision probability has no useful logarithm.
        return OUTPUTS[self.output](values.float())

    def decode(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """What enters the last stage of the decoder, and the features of the level that the auxiliary output reads.

        Returns:
            (N, widths[0], Z, Y, X) and (N, widths[2], Z, Y / 4, X / 4), or None if there is no such level.
        """
        check_input(self.name, image, self.in_channels, self.min_divisor)
        lowest = [image.shape[2], *(size // 2**self.halvings for size in image.shape[3:])]
        check_statistics(self.name, self.style.norm, self.training, image.shape[0], min(self.widths), lowest)
        features, levels = self.first(image), []
        for index, level in enumerate(self.encoder):
            features = level(functional.max_pool3d(features, (1, 2, 2)) if index else features)
            levels.append(features)
        coarse = features if self.halvings == AUXILIARY_LEVEL else None
        for index in reversed(range(self.halvings)):
            skip = levels[index]
            features = enlarge(self.narrow[index](features), skip.shape[2:], pooled=True) + skip
            if index:
                features = self.decoder[index](features)
            if index == AUXILIARY_LEVEL:
                coarse = features
        return features, coarse
