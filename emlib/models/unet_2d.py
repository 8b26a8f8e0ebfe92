"""The 2-D U-Net of PyTorch Connectomics (`unet_2d`), applied to each section on its own."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from emlib.models.unet_3d import UNet3D

PUBLISHED_WIDTHS = (32, 64, 128, 256, 512)


class UNet2D(UNet3D):
    """`UNet3D` with flat kernels and strides only; every section is an image of its own.

    Sections are moved into the batch, so that normalisations and squeeze-and-excitation take their means within one
    section (batch normalisation: over all sections of the batch), and no section sees another. Inputs and outputs keep
    the form of the other networks.

    Source: PyTorch Connectomics v1.0. With three outputs and norm "gn" it has the published 11,006,787 parameters.

    Args:
        in_channels: channels of the image.
        out_channels: channels of the prediction.
        widths: feature maps of each level.
        block, norm, activation, padding, pooling: as in `UNet3D`.

    Shape: (N, in_channels, Z, Y, X) -> float32 probabilities (N, out_channels, Z, Y, X); any size, as in `UNet3D`.

    Raises:
        ValueError: bad settings or an input of another shape.

    Example:
        >>> model = UNet2D(widths=(4, 6))
        >>> model(torch.zeros(1, 1, 3, 9, 8)).shape
        torch.Size([1, 2, 3, 9, 8])
    """

    name = "unet_2d"

    def __init__(
        self,
        in_channels: int = 1,
        out_channels: int = 2,
        widths: Sequence[int] = PUBLISHED_WIDTHS,
        block: str = "residual",
        norm: str = "bn",
        activation: str = "elu",
        padding: str = "replicate",
        pooling: bool = False,
    ) -> None:
        super().__init__(in_channels, out_channels, widths, block, False, norm, activation, padding, pooling)

    def logits(self, image: torch.Tensor) -> torch.Tensor:
        """What the sigmoid turns into probabilities."""
        n, c, z, y, x = image.shape
        sections = image.transpose(1, 2).reshape(n * z, c, 1, y, x)
        return super().logits(sections).view(n, z, -1, y, x).transpose(1, 2)
