"""Fixed bilinear up-sampling by (1, 2, 2): a transposed convolution with weights that are never trained."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

TAPS = (0.25, 0.75, 0.75, 0.25)


class BilinearUpsampling(nn.Module):
    """Double y and x of every channel with the separable weights [1/4, 3/4, 3/4, 1/4].

    It is the grouped transposed convolution with kernel (1, 4, 4), stride (1, 2, 2) and padding (0, 1, 1) of the
    published networks: outside the image lie zeros, so the outermost row and column come out at 3/4 of their value
    (`torch.nn.functional.interpolate` would repeat them). The weights are a buffer that is not stored in checkpoints.

    Shape: (N, C, Z, Y, X) -> (N, C, Z, 2 Y, 2 X).

    Example:
        >>> BilinearUpsampling()(torch.ones(1, 1, 1, 1, 2))[0, 0, 0, 0]
        tensor([0.5625, 0.7500, 0.7500, 0.5625])
    """

    def __init__(self) -> None:
        super().__init__()
        taps = torch.tensor(TAPS)
        self.register_buffer("weight", taps[:, None] * taps, persistent=False)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        n, c, z, y, x = image.shape
        # Sections are independent, so this runs as a 2-D layer: 2 to 3 times faster on a CPU than the 3-D one.
        sections = image.transpose(1, 2).reshape(n * z, c, y, x)
        weight = self.weight.to(image.dtype).expand(c, 1, 4, 4)
        doubled = functional.conv_transpose2d(sections, weight, stride=2, padding=1, groups=c)
        return doubled.view(n, z, c, 2 * y, 2 * x).transpose(1, 2)
