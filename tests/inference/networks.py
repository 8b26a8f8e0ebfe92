"""Small networks with known answers."""

import torch
from torch import nn


class Identity(nn.Module):
    """Returns its input."""

    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        return windows


class Complement(nn.Module):
    """Two channels: the input and one minus the input."""

    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        return torch.cat([windows, 1 - windows], 1)


class PlaceDependent(nn.Module):
    """Mixes the input with a ramp along z and x, so that windows disagree where they overlap and symmetries matter."""

    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        depth, _, width = windows.shape[2:]
        ramp = torch.linspace(0, 1, depth)[:, None, None] * torch.linspace(0.2, 1, width)
        return torch.cat([windows * ramp, (windows + ramp) / 2], 1)


class StopsAt(nn.Module):
    """PlaceDependent that calls `stop` in forward pass number `count`."""

    def __init__(self, count: int, stop) -> None:
        super().__init__()
        self.inner = PlaceDependent()
        self.left = count
        self.stop = stop

    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        self.left -= 1
        if self.left == 0:
            self.stop()
        return self.inner(windows)


def small_convolution(seed: int = 0) -> nn.Module:
    """One random 3x3x3 convolution and a sigmoid."""
    network = nn.Sequential(nn.Conv3d(1, 2, 3, padding=1), nn.Sigmoid())
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) / 3)
    return network
