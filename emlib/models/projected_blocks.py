"""The residual block of the EM mitochondria pipeline, which has a projection for its identity path."""

from __future__ import annotations

import torch

from emlib.models.isotropy import Triple
from emlib.models.layer_style import LayerStyle
from emlib.models.residual_blocks import ResidualBlock


class ProjectedResidualBlock(ResidualBlock):
    """act(i + norm(conv(act(norm(conv(x)))))) where the identity i is x, or norm(conv 1x1x1(x)) with `project`.

    The published blocks declare the projection whether they use it or not. `published_unused` keeps one that is not
    used, frozen, so that no optimizer or distributed run waits for its gradient.

    Args:
        width: feature maps.
        kernel: (z, y, x), odd.
        style: norm, activation and padding.
        project: project the identity.
        published_unused: declare the projection although `project` is false.

    Shape: (N, width, Z, Y, X) -> the same.

    Example:
        >>> block = ProjectedResidualBlock(4, (1, 3, 3), LayerStyle(), project=False, published_unused=True)
        >>> sum(p.numel() for p in block.parameters()), sum(p.numel() for p in block.parameters() if p.requires_grad)
        (328, 304)
    """

    def __init__(self, width: int, kernel: Triple, style: LayerStyle, *, project: bool, published_unused: bool) -> None:
        super().__init__("residual", width, kernel, style)
        self.project = project
        if project or published_unused:
            self.projection = style.conv_norm(width, width, (1, 1, 1)).requires_grad_(project)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        identity = self.projection(features) if self.project else features
        return self.after(identity + self.change(features))
