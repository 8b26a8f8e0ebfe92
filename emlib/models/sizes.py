"""Checks at a network's door: its arguments, and the size of what it is given."""

from __future__ import annotations

from collections.abc import Sequence

import torch


def check_settings(name: str, in_channels: int, out_channels: int, widths: Sequence[int]) -> tuple[int, ...]:
    """The widths as a tuple of ints, after a look at all three settings.

    Raises:
        ValueError: a channel number below 1, or widths that are not at least two whole numbers above 0.
    """
    check_channels(name, in_channels, out_channels)
    widths = tuple(widths)
    whole = all(isinstance(width, int) and not isinstance(width, bool) and width > 0 for width in widths)
    if len(widths) < 2 or not whole:
        raise ValueError(f"{name}: widths is {list(widths)}, but at least two whole numbers above 0 were expected.")
    return widths


def check_channels(name: str, in_channels: int, out_channels: int) -> None:
    """Refuse numbers of channels that are none.

    Raises:
        ValueError: not a whole number of at least 1.
    """
    check_whole(name, "in_channels", in_channels, 1)
    check_whole(name, "out_channels", out_channels, 1)


def check_whole(name: str, key: str, value: object, minimum: int) -> None:
    """Refuse what is not a whole number of at least `minimum`.

    Raises:
        ValueError: it is not.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < minimum:
        raise ValueError(f"{name}: {key} is {value!r}, but a whole number of at least {minimum} was expected.")


def check_input(name: str, image: torch.Tensor, in_channels: int, divisor: Sequence[int]) -> None:
    """Refuse an image that the network cannot take.

    Args:
        name: of the network.
        image: (N, C, Z, Y, X), or (N, C, Y, X) for a divisor of two numbers.
        in_channels: that the network was built for.
        divisor: by what (Z, Y, X), or (Y, X), must be divisible.

    Raises:
        ValueError: another number of axes, an empty one, another number of channels, or a size that the divisor does
            not divide.
    """
    shape, axes = tuple(image.shape), axis_names(len(divisor))
    if image.ndim != 2 + len(divisor) or 0 in shape:
        raise ValueError(f"{name} was given an input of shape {shape}, but (N, C, {axes}) was expected.")
    if shape[1] != in_channels:
        raise ValueError(f"{name} was given {shape[1]} channels, but it was built for {in_channels}.")
    if any(size % step for size, step in zip(shape[2:], divisor, strict=True)):
        raise ValueError(f"{name} was given ({axes}) = {shape[2:]}, but they must be divisible by {tuple(divisor)}.")


def axis_names(dimensions: int) -> str:
    """The spatial axes of a volume or an image, in order.

    Example:
        >>> axis_names(3), axis_names(2)
        ('Z, Y, X', 'Y, X')
    """
    return ", ".join("ZYX"[3 - dimensions :])
