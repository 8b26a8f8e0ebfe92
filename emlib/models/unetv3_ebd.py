"""`unetv3_ebd`: a guess of the mask gives two prototypes, and every voxel joins the nearer one."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from emlib.models.layer_style import check_word
from emlib.models.orthogonal_weights import set_orthogonal_weights
from emlib.models.sizes import check_whole
from emlib.models.unetv3 import CUBE, PUBLISHED_WIDTHS, UNetV3

FEATURES = 12
EMBEDDING = 24
PROTOTYPE_SUMS = ("sample", "published")


def noisy_prior(mask: torch.Tensor, *, share: float = 0.05, generator: torch.Generator | None = None) -> torch.Tensor:
    """The prior of a training: the true mask with a share of its voxels turned to the other class.

    Args:
        mask: any shape; foreground is > 0.
        share: probability of each voxel to be turned, 0.05 as published.
        generator: of the CPU, so that every device sees the same prior; None: torch's global one.

    Returns:
        float32 of 0 and 1, the mask's shape and device.

    Raises:
        ValueError: a share outside 0 ... 1.

    Example:
        >>> noisy_prior(torch.tensor([0, 1, 7]), share=1.0)
        tensor([1., 0., 0.])
    """
    if not 0 <= share <= 1:
        raise ValueError(f"The share of turned voxels is {share}, but a number from 0 to 1 was expected.")
    turned = torch.rand(mask.shape, generator=generator) < share
    return ((mask > 0) ^ turned.to(mask.device)).float()


class UNetV3Prototypes(UNetV3):
    """`UNetV3` whose prediction is made of distances to the mean features of a prior's foreground and background.

    The last stage gives 12 feature maps. Two 3x3x3 convolutions turn them into features f and prototype features P of
    24 channels. With the prior m, c_fg = sum(P m) / sum(m) and c_bg = sum(P (1 - m)) / sum(1 - m), and the prediction
    is sigmoid(|f - c_bg| - |f - c_fg|).

    The published sums run over z and y and leave x, so that every column of voxels has prototypes of its own, and they
    are divided by the prior's sum over the whole batch. Here they run over z, y and x of each sample;
    `prototype_sums="published"` does the former. In a sample whose prior has no foreground everything is background,
    0, and without background 1; the published rule gives NaN if that is so in the whole batch.

    Source: the EM mitochondria pipeline. It has the published 160,784 parameters.

    Args:
        in_channels: channels of the image.
        out_channels: 1.
        widths, padding, published_unused: as in `UNetV3`.
        prototype_sums: "sample", or "published".

    Shape: image (N, in_channels, Z, Y, X) and prior (N, 1, Z, Y, X), from 0 to 1 -> float32 probabilities
    (N, 1, Z, Y, X); Y and X must be divisible by 2 ** (len(widths) - 1).

    Raises:
        ValueError: bad settings, an input of another shape, or no prior.

    Example:
        >>> image = torch.rand(1, 1, 2, 16, 16)
        >>> UNetV3Prototypes()(image, noisy_prior(image > 0.5)).shape
        torch.Size([1, 1, 2, 16, 16])
    """

    name = "unetv3_ebd"
    needs_prior = True

    def __init__(
        self,
        in_channels: int = 1,
        out_channels: int = 1,
        widths: Sequence[int] = PUBLISHED_WIDTHS,
        padding: str = "replicate",
        published_unused: bool = True,
        prototype_sums: str = "sample",
    ) -> None:
        check_whole(self.name, "out_channels", out_channels, 1)
        if out_channels != 1:
            raise ValueError(f"{self.name}: out_channels is {out_channels}, but it tells one class from the rest: 1.")
        super().__init__(in_channels, FEATURES, widths, padding=padding, published_unused=published_unused)
        check_word(self.name, "prototype_sums", prototype_sums, PROTOTYPE_SUMS)
        self.prototype_sums = prototype_sums
        self.features = self.style.conv(FEATURES, EMBEDDING, CUBE, bias=True)
        self.prototype_features = self.style.conv(FEATURES, EMBEDDING, CUBE, bias=True)
        set_orthogonal_weights(self.features)
        set_orthogonal_weights(self.prototype_features)

    def forward(self, image: torch.Tensor, prior: torch.Tensor | None = None) -> torch.Tensor:
        if prior is None:
            raise ValueError(f"{self.name} was given no prior; call it with (image, prior), a first guess of the mask.")
        expected = (image.shape[0], 1, *image.shape[2:])
        if tuple(prior.shape) != expected:
            raise ValueError(
                f"{self.name} was given a prior of shape {tuple(prior.shape)}, but {expected} was expected."
            )
        entrance, _ = self.decode(image)
        values = self.head(self.decoder[0](entrance))
        features, prototypes = self.features(values).float(), self.prototype_features(values).float()
        with torch.autocast(image.device.type, enabled=False):
            return self._nearer(features, prototypes, prior.float())

    def _nearer(self, features: torch.Tensor, prototypes: torch.Tensor, prior: torch.Tensor) -> torch.Tensor:
        near, counts = [], []
        for share in (prior, 1 - prior):
            if self.prototype_sums == "published":
                centre = (prototypes * share).sum(dim=(2, 3), keepdim=True) / share.sum()
            else:
                counts.append(share.sum(dim=(1, 2, 3, 4)).view(-1, 1, 1, 1, 1))
                total = (prototypes * share).sum(dim=(2, 3, 4), keepdim=True)
                centre = total / torch.where(counts[-1] > 0, counts[-1], 1)
            near.append(torch.linalg.vector_norm(features - centre, dim=1, keepdim=True))
        probability = torch.sigmoid(near[1] - near[0])
        if self.prototype_sums == "published":
            return probability
        probability = torch.where(counts[0] > 0, probability, 0.0)
        return torch.where(counts[1] > 0, probability, 1.0)
