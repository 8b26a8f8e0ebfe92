"""Backbones of Mask R-CNN: a residual network in four stages, and the feature pyramid on it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib import import_module
from types import ModuleType

import torch
from torch import nn
from torch.nn import functional

STRIDES = (4, 8, 16, 32, 64)
RESNETS = {"resnet50": "resnet50", "resnet101": "resnet101", "resnext101_32x8d": "resnext101_32x8d"}
ARCHITECTURES = (*RESNETS, "tiny")
NORMS = ("frozen", "batch", "group")
PYRAMID_WIDTH, TINY_PYRAMID_WIDTH = 256, 64
TINY_WIDTHS = (32, 64, 96, 128)
GROUPS = {PYRAMID_WIDTH: 32, TINY_PYRAMID_WIDTH: 8}
# From the last to the first, as they are released for training.
STAGES = (("layer4",), ("layer3",), ("layer2",), ("layer1",), ("conv1", "bn1"))


def torchvision() -> ModuleType:
    """`torchvision`, which takes seconds to import and is so only when a network needs it.

    Raises:
        ImportError: it is not installed.
    """
    try:
        return import_module("torchvision")
    except ModuleNotFoundError as error:
        raise ImportError(
            f'torchvision cannot be imported ({error}); install it with pip install "emlib[models]".'
        ) from error


def build_backbone(architecture: str, in_channels: int, norm: str, trainable_layers: int) -> PyramidBackbone:
    """A backbone with fresh weights.

    Args:
        architecture: "resnet50", "resnet101", "resnext101_32x8d" (torchvision's, which halve the size in their 3 x 3
            convolutions) or "tiny".
        in_channels: channels of the image.
        norm: "frozen" (batch normalisation with the stored statistics, never trained), "batch" or "group".
        trainable_layers: stages that are trained, from the last: 3 leaves the stem and the first stage as they are.
    """
    width = TINY_PYRAMID_WIDTH if architecture == "tiny" else PYRAMID_WIDTH
    layer = _norm_layer(norm, GROUPS[width])
    if architecture == "tiny":
        body: nn.Module = TinyStages(in_channels, layer)
    else:
        models = torchvision().models
        network = getattr(models, RESNETS[architecture])(weights=None, norm_layer=layer)
        if in_channels != 3:
            network.conv1 = nn.Conv2d(in_channels, 64, 7, stride=2, padding=3, bias=False)
            nn.init.kaiming_normal_(network.conv1.weight, mode="fan_out", nonlinearity="relu")
        body = ResNetStages(network)
    trained = tuple(f"{name}." for stage in STAGES[:trainable_layers] for name in stage)
    for name, parameter in body.named_parameters():
        parameter.requires_grad_(name.startswith(trained) if trained else False)
    return PyramidBackbone(body, width)


def _norm_layer(norm: str, groups: int) -> Callable[[int], nn.Module]:
    if norm == "frozen":
        return torchvision().ops.FrozenBatchNorm2d
    return nn.BatchNorm2d if norm == "batch" else partial(nn.GroupNorm, groups)


class ResNetStages(nn.Module):
    """The four stages of a ResNet of torchvision, without its head; the layers keep their names.

    Shape: (N, C, Y, X) -> four feature maps of 256, 512, 1024 and 2048 channels at strides 4, 8, 16 and 32.
    """

    widths = (256, 512, 1024, 2048)

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.conv1, self.bn1, self.relu, self.maxpool = network.conv1, network.bn1, network.relu, network.maxpool
        self.layer1, self.layer2 = network.layer1, network.layer2
        self.layer3, self.layer4 = network.layer3, network.layer4

    def forward(self, image: torch.Tensor) -> list[torch.Tensor]:
        """The maps, finest first."""
        features, maps = self.maxpool(self.relu(self.bn1(self.conv1(image)))), []
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            features = stage(features)
            maps.append(features)
        return maps


class TinyStages(nn.Module):
    """Four stages of one residual block each, for a CPU: (N, C, Y, X) -> 32, 64, 96, 128 channels, strides 4 to 32."""

    widths = TINY_WIDTHS

    def __init__(self, in_channels: int, norm: Callable[[int], nn.Module]) -> None:
        super().__init__()
        first, second, third, fourth = TINY_WIDTHS
        self.conv1 = nn.Conv2d(in_channels, first, 3, stride=2, padding=1, bias=False)
        self.bn1, self.relu = norm(first), nn.ReLU(inplace=True)
        self.layer1, self.layer2 = ResidualBlock(first, first, norm), ResidualBlock(first, second, norm)
        self.layer3, self.layer4 = ResidualBlock(second, third, norm), ResidualBlock(third, fourth, norm)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, image: torch.Tensor) -> list[torch.Tensor]:
        """The maps, finest first."""
        features, maps = self.relu(self.bn1(self.conv1(image))), []
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            features = stage(features)
            maps.append(features)
        return maps


class ResidualBlock(nn.Module):
    """Two 3 x 3 convolutions, of which the first halves the size, added to a 1 x 1 convolution that halves it too."""

    def __init__(self, in_channels: int, out_channels: int, norm: Callable[[int], nn.Module]) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride=2, padding=1, bias=False)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.shortcut = nn.Conv2d(in_channels, out_channels, 1, stride=2, bias=False)
        self.bn1, self.bn2, self.bn3 = norm(out_channels), norm(out_channels), norm(out_channels)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """(N, C, Y, X) -> (N, C', Y / 2, X / 2)."""
        new = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(features)))))
        return self.relu(new + self.bn3(self.shortcut(features)))


class PyramidBackbone(nn.Module):
    """A body of four stages and a feature pyramid (Lin et al., CVPR 2017) on them; its coarsest map is taken again at
    every second point, for the largest anchors.

    Shape: (N, C, Y, X), multiples of 32, -> five maps of `out_channels` at strides 4, 8, 16, 32 and 64.
    """

    def __init__(self, body: nn.Module, width: int) -> None:
        super().__init__()
        self.body, self.out_channels = body, width
        self.fpn = torchvision().ops.FeaturePyramidNetwork(list(body.widths), width)

    def forward(self, image: torch.Tensor) -> list[torch.Tensor]:
        """The maps, finest first."""
        maps = list(self.fpn(dict(enumerate(self.body(image)))).values())
        return [*maps, functional.max_pool2d(maps[-1], 1, stride=2)]
