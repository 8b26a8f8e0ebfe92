"""The form that MONAI's networks take here: checked input, float32 probabilities, a common vocabulary.

MONAI takes seconds to import, so it is imported when one of its networks is built.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from math import prod
from types import ModuleType
from typing import Any

import torch
from torch import nn

from emlib.models.instance_norm import keep_channels_last
from emlib.models.layer_style import GROUPS, check_groups, check_statistics, check_word
from emlib.models.sizes import axis_names, check_input

NORMS: dict[str, Any] = {
    "in_plain": ("INSTANCE", {"affine": False}),
    "in": ("INSTANCE", {"affine": True}),
    "bn": "BATCH",
    "gn": ("GROUP", {"num_groups": GROUPS}),
}
ACTIVATIONS: dict[str, Any] = {
    "leaky_relu": ("LEAKYRELU", {"inplace": True, "negative_slope": 0.01}),
    "relu": ("RELU", {"inplace": True}),
    "elu": ("ELU", {"inplace": True}),
    "prelu": "PRELU",
    "gelu": "GELU",
    "silu": "SWISH",
}

OUTPUTS = ("sigmoid", "softmax")


def monai_networks() -> ModuleType:
    """`monai.networks.nets`.

    Raises:
        ImportError: MONAI is not installed.
    """
    try:
        return import_module("monai.networks.nets")
    except ModuleNotFoundError as error:
        raise ImportError(
            f'MONAI cannot be imported ({error}); install it with pip install "emlib[models]".'
        ) from error


def check_layers(name: str, norm: str, activation: str, widths: Sequence[int]) -> None:
    """Refuse a norm or activation that is not in the tables above, or widths that the norm cannot divide.

    Raises:
        ValueError: in one sentence, which.
    """
    check_word(name, "norm", norm, tuple(NORMS))
    check_word(name, "activation", activation, tuple(ACTIVATIONS))
    check_groups(name, norm, widths)


def check_form(name: str, dimensions: int, output: str, out_channels: int) -> None:
    """Refuse other inputs than images and volumes, and other outputs than those above.

    Raises:
        ValueError: `dimensions` is not 2 or 3, or `output` not a word of `OUTPUTS`, or a softmax is over one channel.
    """
    if not isinstance(dimensions, int) or dimensions not in (2, 3):
        raise ValueError(f"{name}: dimensions is {dimensions!r}, but 2 (images) or 3 (volumes) was expected.")
    check_word(name, "output", output, OUTPUTS)
    if output == "softmax" and out_channels == 1:
        raise ValueError(f"{name}: output 'softmax' of one channel is 1 everywhere; at least two were expected.")


def triples(
    name: str,
    key: str,
    values: Sequence[Sequence[int]],
    count: int,
    expected: str,
    fits: Callable[[int], bool],
    dimensions: int = 3,
) -> list[tuple[int, ...]]:
    """`count` triples (z, y, x) of whole numbers that all fit; pairs (y, x) in two dimensions.

    Raises:
        ValueError: another number of them, another length, or a number that does not fit.

    Example:
        >>> triples("dynunet", "strides", [[1, 2, 2]], 1, "1 or 2", lambda step: step in (1, 2))
        [(1, 2, 2)]
    """
    whole = [tuple(value) for value in values]
    numbers = [number for value in whole for number in value]
    if len(whole) != count or any(len(value) != dimensions for value in whole):
        axes = axis_names(dimensions).lower()
        raise ValueError(f"{name}: {key} is {whole}, but {count} times ({axes}) was expected.")
    if not all(isinstance(number, int) and number > 0 and fits(number) for number in numbers):
        raise ValueError(f"{name}: {key} is {whole}, but each number was expected to be {expected}.")
    return whole


def divisor_of(strides: Sequence[Sequence[int]]) -> tuple[int, ...]:
    """By what (z, y, x), or (y, x), must be divisible so that all strides come out even.

    Example:
        >>> divisor_of([(1, 2, 2), (2, 2, 2)])
        (2, 4, 4)
    """
    return tuple(prod(axis) for axis in zip(*strides, strict=True))


class MonaiNetwork(nn.Module):
    """A network of MONAI that checks its input and returns float32 probabilities.

    Args:
        name: in the table of models.
        network: (N, in_channels, Z, Y, X), or (N, in_channels, Y, X) for images -> values before the sigmoid or
            softmax, of the same size.
        in_channels: channels of the image.
        min_divisor: by what (Z, Y, X), or (Y, X), must be divisible; the lowest level is smaller by just this.
        norm: key of `NORMS`.
        bottom_width: feature maps of the lowest level that is normalised.
        window: the only size that the network takes; None: any size that `min_divisor` divides.
        output: "sigmoid", for channels that are each a question of its own, or "softmax", for channels that are classes
            of which every voxel has one.

    Raises:
        ValueError: an input of another shape, or one that leaves a normalisation a single value.

    Example:
        >>> model = MonaiNetwork("pointwise", nn.Conv3d(1, 2, 1), 1, (1, 2, 2), "bn", 2)
        >>> model(torch.zeros(1, 1, 3, 4, 4)).shape
        torch.Size([1, 2, 3, 4, 4])
    """

    def __init__(
        self,
        name: str,
        network: nn.Module,
        in_channels: int,
        min_divisor: tuple[int, ...],
        norm: str,
        bottom_width: int,
        window: tuple[int, ...] | None = None,
        output: str = "sigmoid",
    ) -> None:
        super().__init__()
        self.name, self.in_channels, self.min_divisor, self.window = name, in_channels, min_divisor, window
        self.norm, self.bottom_width, self.output = norm, bottom_width, output
        self.network = keep_channels_last(network)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        divisor = self.min_divisor
        check_input(self.name, image, self.in_channels, divisor)
        if self.window is not None and tuple(image.shape[2:]) != self.window:
            raise ValueError(
                f"{self.name} was given ({axis_names(len(divisor))}) = {tuple(image.shape[2:])}, but it was built for "
                f"the window {self.window} and has a learned position for each part of it."
            )
        if self.window is None:
            lowest = [size // step for size, step in zip(image.shape[2:], divisor, strict=True)]
            check_statistics(self.name, self.norm, self.training, image.shape[0], self.bottom_width, lowest)
        # In float32 also under mixed precision: near 0 and 1 a half-precision probability has no useful logarithm.
        values = self.network(image).float()
        return torch.sigmoid(values) if self.output == "sigmoid" else torch.softmax(values, dim=1)
