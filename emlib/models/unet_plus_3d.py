"""The 3-D U-Net with attention at the bottom (`unet_plus_3d`), PyTorch Connectomics' network for mitochondria."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from emlib.models.enlargement import enlarge
from emlib.models.non_local import NonLocalBlock
from emlib.models.orthogonal_weights import set_orthogonal_weights
from emlib.models.unet_3d import PUBLISHED_WIDTHS, UNet3D


class UNetPlus3D(UNet3D):
    """`UNet3D` whose lowest level sees the whole window and is passed on to every level of the decoder.

    A non-local block follows the encoder. Its output, narrowed by a 1x1x1 convolution and enlarged, is added at each
    level of the decoder beside the skip. The rest, the arguments and the shapes are those of `UNet3D`.

    Source: PyTorch Connectomics v1.0. With widths (32, 64, 96, 128, 160), block "residual_se", two outputs and
    `published_kernels=True` it has the published 3,647,410 parameters.

    Raises:
        ValueError: bad settings or an input of another shape.

    Example:
        >>> model = UNetPlus3D(widths=(4, 6, 8), block="residual_se")
        >>> model(torch.zeros(1, 1, 3, 9, 8)).shape
        torch.Size([1, 2, 3, 9, 8])
    """

    name = "unet_plus_3d"

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
        super().__init__(
            in_channels, out_channels, widths, block, isotropy, norm, activation, padding, pooling, published_kernels
        )
        *upper, bottom = self.widths
        self.least_width = min(self.widths)
        self.attention = NonLocalBlock(bottom, self.style)
        self.context = nn.ModuleList(self.style.conv_norm_act(bottom, width, (1, 1, 1)) for width in upper)
        set_orthogonal_weights(self.attention)
        self.attention.start_as_identity()
        set_orthogonal_weights(self.context)

    def logits(self, image: torch.Tensor) -> torch.Tensor:
        """What the sigmoid turns into probabilities."""
        features, skips = self.encode(image)
        context = features = self.attention(features)
        for index in reversed(range(len(skips))):
            size = skips[index].shape[2:]
            above = enlarge(self.narrow[index](features), size, pooled=self.pooling)
            seen = enlarge(self.context[index](context), size, pooled=self.pooling)
            features = self.decoder[index](above + skips[index] + seen)
        return self.head(features)
