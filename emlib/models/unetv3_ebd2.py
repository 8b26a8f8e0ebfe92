"""`unetv3_ebd2`: a mask, and for every voxel a vector in which objects lie apart."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from emlib.models.orthogonal_weights import set_orthogonal_weights
from emlib.models.sizes import check_whole
from emlib.models.unetv3 import CUBE, PUBLISHED_WIDTHS, UNetV3

EMBEDDING = 36


class UNetV3Embedding(UNetV3):
    """`UNetV3` with one mask, and an embedding from a 3x3x3 convolution after the first one of the last stage.

    Source: the EM mitochondria pipeline, for nearest-neighbour classification and the discriminative loss. With the
    default 37 channels it has the published 150,774 parameters.

    Args:
        in_channels: channels of the image.
        out_channels: 1 for the mask, and those of the embedding (36 as published).
        widths, padding, published_unused: as in `UNetV3`.

    Shape: (N, in_channels, Z, Y, X) -> float32 (N, out_channels, Z, Y, X): channel 0 the probability of the mask, the
    others the embedding, without bounds. `heads` returns the two apart, as the published network does. Y and X must be
    divisible by 2 ** (len(widths) - 1).

    Raises:
        ValueError: bad settings or an input of another shape.

    Example:
        >>> mask, embedding = UNetV3Embedding().heads(torch.zeros(1, 1, 2, 16, 16))
        >>> mask.shape, embedding.shape
        (torch.Size([1, 1, 2, 16, 16]), torch.Size([1, 36, 2, 16, 16]))
    """

    name = "unetv3_ebd2"

    def __init__(
        self,
        in_channels: int = 1,
        out_channels: int = 1 + EMBEDDING,
        widths: Sequence[int] = PUBLISHED_WIDTHS,
        padding: str = "replicate",
        published_unused: bool = True,
    ) -> None:
        # One channel is the mask, so that two are the least.
        check_whole(self.name, "out_channels", out_channels, 2)
        super().__init__(in_channels, 1, widths, padding=padding, published_unused=published_unused)
        self.embedding = self.style.conv(self.widths[0], out_channels - 1, CUBE, bias=True)
        set_orthogonal_weights(self.embedding)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return torch.cat(self.heads(image), dim=1)

    def heads(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Mask (N, 1, Z, Y, X) and embedding (N, out_channels - 1, Z, Y, X), both float32."""
        entrance, _ = self.decode(image)
        convolution, block = self.decoder[0]
        early = convolution(entrance)
        return self.activate(self.head(block(early))), self.embedding(early).float()
