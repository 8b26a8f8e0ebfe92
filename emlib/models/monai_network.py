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
from emlib.models.isotropy import Triple
from emlib.models.layer_style import GROUPS, check_groups, check_statistics, check_word
from emlib.models.sizes import check_input

NORMS: dict[str, Any] = {
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


def triples(
    name: str, key: str, values: Sequence[Sequence[int]], count: int, expected: str, fits: Callable[[int], bool]
) -> list[Triple]:
    """`count` triples (z, y, x) of whole numbers that all fit.

    Raises:
        ValueError: another number of them, another length, or a number that does not fit.

    Example:
        >>> triples("dynunet", "strides", [[1, 2, 2]], 1, "1 or 2", lambda step: step in (1, 2))
        [(1, 2, 2)]
    """
    whole = [tuple(value) for value in values]
    numbers = [number for value in whole for number in value]
    if len(whole) != count or any(len(value) != 3 for value in whole):
        raise ValueError(f"{name}: {key} is {whole}, but {count} times (z, y, x) was expected.")
    if not all(isinstance(number, int) and number > 0 and fits(number) for number in numbers):
        raise ValueError(f"{name}: {key} is {whole}, but each number was expected to be {expected}.")
    return whole


def divisor_of(strides: Sequence[Triple]) -> Triple:
    """By what (z, y, x) must be divisible so that all strides come out even.

    Example:
        >>> divisor_of([(1, 2, 2), (2, 2, 2)])
        (2, 4, 4)
    """
    z, y, x = (prod(axis) for axis in zip(*strides, strict=True))
    return z, y, x


class MonaiNetwork(nn.Module):
    """A network of MONAI that checks its input and returns float32 probabilities.

    Args:
        name: in the table of models.
        network: (N, in_channels, Z, Y, X) -> values before the sigmoid, of the same size.
        in_channels: channels of the image.
        min_divisor: by what (Z, Y, X) must be divisible; the lowest level is smaller by just this.
        norm: key of `NORMS`.
        bottom_width: feature maps of the lowest level that is normalised.
        window: the only size that the network takes; None: any size that `min_divisor` divides.

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
        min_divisor: Triple,
        norm: str,
        bottom_width: int,
        window: Triple | None = None,
    ) -> None:
        super().__init__()
        self.name, self.in_channels, self.min_divisor, self.window = name, in_channels, min_divisor, window
        self.norm, self.bottom_width = norm, bottom_width
        self.network = keep_channels_last(network)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        divisor = self.min_divisor
        check_input(self.name, image, self.in_channels, divisor)
        if self.window is not None and tuple(image.shape[2:]) != self.window:
            raise ValueError(
                f"{self.name} was given (Z, Y, X) = {tuple(image.shape[2:])}, but it was built for the window "
                f"{self.window} and has a learned position for each part of it."
            )
        if self.window is None:
            lowest = [size // step for size, step in zip(image.shape[2:], divisor, strict=True)]
            check_statistics(self.name, self.norm, self.training, image.shape[0], self.bottom_width, lowest)
        # In float32 also under mixed precision: near 0 and 1 a half-precision probability has no useful logarithm.
        return torch.sigmoid(self.network(image).float())
