"""The table of segmentation methods, and one call that applies any of them to a prediction with named channels."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import numpy as np

from emlib.postprocessing.contour_watershed import (
    contour_components,
    contour_watershed,
    mask_components,
    mask_watershed,
)


@dataclass(frozen=True)
class SegmentationMethod:
    """A function from probability maps to labels, and the names of the maps in the order of its arguments."""

    function: Callable[..., np.ndarray]
    channels: tuple[str, ...]

    @property
    def parameters(self) -> dict[str, Any]:
        """The function's keyword parameters and their defaults."""
        signature = inspect.signature(self.function).parameters.values()
        return {item.name: item.default for item in signature if item.kind is inspect.Parameter.KEYWORD_ONLY}


SEGMENTATION_METHODS: dict[str, SegmentationMethod] = {
    "contour_watershed": SegmentationMethod(contour_watershed, ("mask", "contour")),
    "contour_components": SegmentationMethod(contour_components, ("mask", "contour")),
    "mask_watershed": SegmentationMethod(mask_watershed, ("mask",)),
    "mask_components": SegmentationMethod(mask_components, ("mask",)),
}


def segment(
    prediction: Any,
    method: str = "contour_watershed",
    *,
    channels: Sequence[str] | None = None,
    **parameters: Any,
) -> np.ndarray:
    """Turn a prediction into instances with the method of that name.

    Args:
        prediction: (C, Z, Y, X) or (C, Y, X), uint8 0-255 or float 0-1. Only the channels that the method needs are
            read, so a lazy volume may have more.
        method: a key of `SEGMENTATION_METHODS`.
        channels: the names of the C channels. If None, a prediction with just as many channels as the method needs
            is taken to be in the method's order.
        parameters: keyword parameters of the method's function.

    Returns:
        Labels (Z, Y, X) or (Y, X).

    Raises:
        ValueError: an unknown method or channel, a channel count that does not fit.
        TypeError: a parameter that the method does not have.

    Example:
        >>> prediction = np.zeros((2, 1, 1, 8), dtype=np.uint8)
        >>> prediction[0, 0, 0, 2:5] = 255
        >>> segment(prediction, "contour_watershed", channels=["mask", "contour"], min_size=1)
        array([[[0, 0, 1, 1, 1, 0, 0, 0]]], dtype=uint32)
    """
    if method not in SEGMENTATION_METHODS:
        known = ", ".join(SEGMENTATION_METHODS)
        raise ValueError(f"There is no method {method!r} among {known}{_nearest(method, SEGMENTATION_METHODS)}")
    chosen = SEGMENTATION_METHODS[method]
    for name in parameters:
        if name not in chosen.parameters:
            known = ", ".join(chosen.parameters)
            raise TypeError(f"{method} has no parameter {name!r}, only {known}{_nearest(name, chosen.parameters)}")
    if not hasattr(prediction, "shape"):
        prediction = np.asarray(prediction)
    if len(prediction.shape) not in (3, 4):
        raise ValueError(f"prediction must have the axes (c, z, y, x) or (c, y, x), got the shape {prediction.shape}.")
    maps = [prediction[index] for index in _channel_indices(method, chosen, channels, prediction.shape[0])]
    return chosen.function(*maps, **parameters)


def _channel_indices(
    name: str, method: SegmentationMethod, channels: Sequence[str] | None, count: int
) -> Sequence[int]:
    needed = " and ".join(method.channels)
    if channels is None:
        if count != len(method.channels):
            raise ValueError(
                f"{name} needs the channels {needed}, but the prediction has {count} channels and no names; "
                "pass channels=[...]."
            )
        return range(count)
    channels = [channels] if isinstance(channels, str) else list(channels)
    if len(channels) != count:
        raise ValueError(f"The prediction has {count} channels but {len(channels)} names: {', '.join(channels)}.")
    for channel in method.channels:
        if channels.count(channel) != 1:
            problem = "is not among" if channel not in channels else "is there twice in"
            raise ValueError(
                f"{name} needs the channels {needed}; {channel!r} {problem} {', '.join(channels)}"
                f"{_nearest(channel, channels) if channel not in channels else '.'}"
            )
    return [channels.index(channel) for channel in method.channels]


def _nearest(name: str, known: Any) -> str:
    near = get_close_matches(str(name), list(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else "."
