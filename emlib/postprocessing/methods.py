"""The table of segmentation methods, and one call that applies any of them to a prediction with named channels."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import numpy as np

from emlib.postprocessing.agglomerated_segmentation import affinity_agglomeration
from emlib.postprocessing.contour_watershed import (
    contour_components,
    contour_watershed,
    mask_components,
    mask_watershed,
)
from emlib.postprocessing.distance_watershed import distance_watershed
from emlib.postprocessing.embedding_clusters import embedding_instances
from emlib.postprocessing.mutex_watershed import mutex_watershed
from emlib.postprocessing.zwatershed import zwatershed


@dataclass(frozen=True)
class SegmentationMethod:
    """A function from probability maps to labels, and the names of the maps in the order of its arguments.

    With `grouped`, the first name stands for all channels name_0, name_1, ... in this order, which the function takes
    as one array (C, Z, Y, X); maps of further names follow.
    """

    function: Callable[..., np.ndarray]
    channels: tuple[str, ...]
    grouped: bool = False

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
    "distance_watershed": SegmentationMethod(distance_watershed, ("heatmap",)),
    "embedding_clusters": SegmentationMethod(embedding_instances, ("embedding", "mask"), grouped=True),
    "affinity_agglomeration": SegmentationMethod(affinity_agglomeration, ("affinity",), grouped=True),
    "mutex_watershed": SegmentationMethod(mutex_watershed, ("affinity",), grouped=True),
    "zwatershed": SegmentationMethod(zwatershed, ("affinity",), grouped=True),
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
        prediction: (C, Z, Y, X) or (C, Y, X), uint8 0-255 or float 0-1; with four axes for methods on affinities.
            Embeddings are float of any size.
            Only the channels that the method needs are read, so a lazy volume may have more.
        method: a key of `SEGMENTATION_METHODS`.
        channels: the names of the C channels. If None, a prediction with just as many channels as the method needs
            is taken to be in the method's order. Methods on affinities take the channels affinity_0, affinity_1, ...
            in the order of their numbers, or without names all channels; their argument `offsets` has one offset
            for each of these. In the same way `embedding_clusters` takes embedding_0, embedding_1, ... and mask;
            without names the mask is the last channel.
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
        >>> prediction = np.zeros((4, 1, 1, 5), dtype=np.uint8)
        >>> prediction[2] = [0, 250, 0, 250, 250]
        >>> names = ["affinity_0", "affinity_1", "affinity_2", "mask"]
        >>> segment(prediction, "zwatershed", channels=names, size_threshold=0, dust_size=0)
        array([[[1, 1, 2, 2, 2]]], dtype=uint32)
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
    count = int(prediction.shape[0])
    single = chosen.channels[1:] if chosen.grouped else chosen.channels
    group: list[Any] = []
    if chosen.grouped and channels is None:
        if count <= len(single):
            needed = " and ".join((f"{chosen.channels[0]}_0, {chosen.channels[0]}_1, ...", *single))
            raise ValueError(f"{method} needs the channels {needed}, but the prediction has {count} channels.")
        group, indices = [_group(prediction, range(count - len(single)))], range(count - len(single), count)
    elif chosen.grouped:
        group = [_group(prediction, _group_indices(method, chosen.channels[0], channels, count))]
        indices = _channel_indices(method, single, channels, count)
    else:
        indices = _channel_indices(method, single, channels, count)
    return chosen.function(*group, *(prediction[index] for index in indices), **parameters)


def _channel_indices(name: str, wanted: Sequence[str], channels: Sequence[str] | None, count: int) -> Sequence[int]:
    needed = " and ".join(wanted)
    if channels is None:
        if count != len(wanted):
            raise ValueError(
                f"{name} needs the channels {needed}, but the prediction has {count} channels and no names; "
                "pass channels=[...]."
            )
        return range(count)
    channels = _check_names(channels, count)
    for channel in wanted:
        if channels.count(channel) != 1:
            problem = "is not among" if channel not in channels else "is there twice in"
            raise ValueError(
                f"{name} needs the channels {needed}; {channel!r} {problem} {', '.join(channels)}"
                f"{_nearest(channel, channels) if channel not in channels else '.'}"
            )
    return [channels.index(channel) for channel in wanted]


def _group_indices(name: str, group: str, channels: Sequence[str], count: int) -> Sequence[int]:
    channels = _check_names(channels, count)
    numbered = re.compile(re.escape(group) + r"(?:_(\d+))?")
    found = {}
    for index, channel in enumerate(channels):
        if match := numbered.fullmatch(channel):
            found.setdefault(int(match[1] or 0), []).append(index)
    if not found:
        raise ValueError(
            f"{name} needs the channels {group}_0, {group}_1, ..., none of which is among {', '.join(channels)}"
            f"{_nearest(group, channels)}"
        )
    if sorted(found) != list(range(len(found))) or any(len(indices) > 1 for indices in found.values()):
        raise ValueError(
            f"{name} needs the channels {group}_0, {group}_1, ... once each and without a gap, got "
            f"{', '.join(channels)}."
        )
    return [found[number][0] for number in range(len(found))]


def _group(prediction: Any, indices: Sequence[int]) -> Any:
    """These channels as one array (C, Z, Y, X): a view of an array in memory where that is possible, else lazily."""
    indices = list(indices)
    if indices == list(range(int(prediction.shape[0]))):
        return prediction
    if isinstance(prediction, np.ndarray) and indices == list(range(indices[0], indices[-1] + 1)):
        return prediction[indices[0] : indices[-1] + 1]
    return _ChannelGroup(prediction, indices)


class _ChannelGroup:
    """Some channels of a prediction, in some order; a channel is read when it is indexed."""

    def __init__(self, prediction: Any, indices: Sequence[int]):
        self.prediction, self.indices = prediction, indices
        self.shape, self.dtype = (len(indices), *prediction.shape[1:]), np.dtype(prediction.dtype)
        # Where it lies, if in a file: what tells readers of boxes that not everything has to be read.
        self.path = getattr(prediction, "path", None) or getattr(prediction, "store", None)

    def __getitem__(self, key: Any) -> np.ndarray:
        channel, *box = key if isinstance(key, tuple) else (key,)
        wanted = self.indices[channel]
        if isinstance(wanted, list):
            return np.stack([np.asarray(self.prediction[(one, *box)]) for one in wanted])
        return np.asarray(self.prediction[(wanted, *box)])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if copy is False:
            raise ValueError("A group of channels can only be read into a new array.")
        return np.stack([self[channel] for channel in range(len(self.indices))]).astype(dtype or self.dtype, copy=False)


def _check_names(channels: Sequence[str], count: int) -> list[str]:
    channels = [channels] if isinstance(channels, str) else list(channels)
    if len(channels) != count:
        raise ValueError(f"The prediction has {count} channels but {len(channels)} names: {', '.join(channels)}.")
    return channels


def _nearest(name: str, known: Any) -> str:
    near = get_close_matches(str(name), list(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else "."
