"""What `show_neuroglancer` was given, as layers: an array or a list of points for each name, and how to draw it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from emlib.visualization.neuroglancer_state import LayerPlan
from emlib.visualization.panels import as_array, infer_kind
from emlib.visualization.served_array import ServedArray, find_segments, value_range


def plan_layers(
    *,
    image: Any,
    prediction: Any,
    affinities: Any,
    segmentation: Any,
    truth: Any,
    segmentations: Mapping[str, Any],
    extra: Mapping[str, Any],
    points: Mapping[str, Sequence[Any]],
    channel_names: Sequence[str] | None,
    segments: Sequence[int] | None,
    visible: str | None,
) -> tuple[dict[str, Any], dict[str, LayerPlan]]:
    """The arrays and the plans of all layers by name, the lowest layer first; points have a plan only.

    Raises:
        ValueError: nothing to show, two layers of one name, shapes or names that do not fit, or no layer `visible`.
        TypeError: labels that are not integers.
    """
    arrays, kinds = _collect(image, prediction, affinities, segmentation, truth, segmentations, extra, channel_names)
    shape = common_shape(arrays)
    shown = _shown_labels(visible, truth, segmentation, segmentations)
    switched = {*segmentations, *(["truth"] if truth is not None else [])} | {"segmentation"}
    plans = {}
    for name, array in arrays.items():
        source, kind = f"local://{name}", kinds[name]
        if kind == "segmentation":
            chosen = find_segments(array) if segments is None else [int(one) for one in segments]
            hidden = name in switched and name != shown
            plans[name] = LayerPlan(kind, source, segments=chosen, visible=not hidden)
        elif kind == "rgb":
            first = next(other for other in kinds if kinds[other] == "rgb")
            plans[name] = LayerPlan(kind, source, value_range=_affinity_range(array, name), visible=name == first)
        else:
            plans[name] = LayerPlan(kind, source, value_range=value_range(array, kind))
    for name, places in points.items():
        if name in plans:
            raise ValueError(f"Two layers are called {name!r}; give each its own name.")
        plans[name] = LayerPlan("points", points=[_point(place, name, shape) for place in places])
    return arrays, plans


def common_shape(arrays: Mapping[str, Any]) -> tuple[int, int, int]:
    """The (z, y, x) of all layers.

    Raises:
        ValueError: a layer that is not a volume, or that differs from the first.
    """
    first_name, first = next(iter(arrays.items()))
    for name, array in arrays.items():
        # A layer drawn as RGB has three channels before its (z, y, x).
        if len(array.shape) != (4 if is_rgb(array) else 3):
            raise ValueError(f"{name} must be (z, y, x); its shape is {tuple(array.shape)}.")
        if tuple(array.shape[-3:]) != tuple(first.shape[-3:]):
            raise ValueError(
                f"{first_name} and {name} must have the same shape; "
                f"they are {tuple(first.shape[-3:])} and {tuple(array.shape[-3:])}."
            )
    return tuple(int(size) for size in first.shape[-3:])


def is_rgb(array: Any) -> bool:
    """Whether an array of `plan_layers` holds three channels."""
    return isinstance(array, ServedArray) and array.ndim == 4


def _collect(
    image: Any,
    prediction: Any,
    affinities: Any,
    segmentation: Any,
    truth: Any,
    segmentations: Mapping[str, Any],
    extra: Mapping[str, Any],
    names: Sequence[str] | None,
) -> tuple[dict[str, Any], dict[str, str]]:
    """Layers in drawing order, name -> array, and what each is."""
    arrays: dict[str, Any] = {}
    kinds: dict[str, str] = {}

    def add(name: str, array: Any, kind: str) -> None:
        if name in arrays:
            raise ValueError(f"Two layers are called {name!r}; give each its own name.")
        if kind == "segmentation" and not (array.dtype == bool or np.issubdtype(array.dtype, np.integer)):
            raise TypeError(f"{name} must hold integer labels, but it is {array.dtype}.")
        arrays[name], kinds[name] = array, kind

    if image is not None:
        add("image", as_array(image), "image")
    if affinities is not None:
        for name, triple in _triples(as_array(affinities)).items():
            add(name, triple, "rgb")
    if prediction is not None:
        for name, channel in _channels(as_array(prediction), names).items():
            add(name, channel, "channel")
    for name, array in extra.items():
        array = as_array(array)
        labels = len(array.shape) == 3 and infer_kind(np.empty((0, 0), array.dtype)) == "labels"
        add(name, array, "segmentation" if labels else "image")
    if truth is not None:
        add("truth", as_array(truth), "segmentation")
    for name, array in segmentations.items():
        add(name, as_array(array), "segmentation")
    if segmentation is not None:
        add("segmentation", as_array(segmentation), "segmentation")
    if not arrays:
        raise ValueError(
            "show_neuroglancer needs an image, a prediction, affinities, a segmentation, a truth or an extra layer."
        )
    return arrays, kinds


def _channels(prediction: Any, names: Sequence[str] | None) -> dict[str, Any]:
    if len(prediction.shape) == 3:
        return {names[0] if names else "prediction": prediction}
    if len(prediction.shape) != 4:
        raise ValueError(f"prediction must be (c, z, y, x) or (z, y, x); its shape is {tuple(prediction.shape)}.")
    count = prediction.shape[0]
    if names is not None and len(names) != count:
        raise ValueError(f"prediction has {count} channels, but {len(names)} channel names were given.")
    chosen = names or [f"prediction {channel}" for channel in range(count)]
    return {name: ServedArray(prediction, index=channel) for channel, name in enumerate(chosen)}


def _triples(affinities: Any) -> dict[str, ServedArray]:
    """Three channels a layer: "affinities", and "affinities 3-5", "affinities 6-8" ... for those of longer range."""
    shape = tuple(affinities.shape)
    if len(shape) != 4 or shape[0] == 0 or shape[0] % 3:
        raise ValueError(f"affinities must be (c, z, y, x) with 3, 6, 9 ... channels; their shape is {shape}.")
    names = ["affinities", *(f"affinities {first}-{first + 2}" for first in range(3, shape[0], 3))]
    return {name: ServedArray(affinities, index=slice(3 * at, 3 * at + 3)) for at, name in enumerate(names)}


def _affinity_range(affinities: ServedArray, name: str) -> tuple[float, float]:
    """0 and what 1 is as a fraction of the brightest value of the type, seen on the middle section."""
    if affinities.source_dtype.kind == "b":
        return 0.0, 1 / 255
    if affinities.dtype == np.uint8:
        return 0.0, 1.0
    if affinities.source_dtype.kind != "f":
        raise ValueError(
            f"{name} must be uint8 from 0 to 255 or floats from 0 to 1, but the type is {affinities.dtype}."
        )
    section = affinities[:, affinities.shape[1] // 2 : affinities.shape[1] // 2 + 1]
    if section.size and not (section.min() >= 0 and section.max() <= 1):
        raise ValueError(
            f"{name} must be floats from 0 to 1; here they reach from {section.min():g} to {section.max():g}."
        )
    return 0.0, 1.0


def _shown_labels(visible: str | None, truth: Any, segmentation: Any, segmentations: Mapping[str, Any]) -> str | None:
    """The one of the switchable label layers that is seen first."""
    given = [*(["truth"] if truth is not None else []), *segmentations]
    given += ["segmentation"] if segmentation is not None else []
    if visible is None:
        return given[-1] if given else None
    if visible not in given:
        raise ValueError(f"There is no label layer {visible!r} to be visible; there are: {', '.join(given) or 'none'}.")
    return visible


def _point(place: Any, name: str, shape: tuple[int, int, int]) -> tuple[tuple[float, ...], str]:
    """Position (z, y, x) in voxels and description of one point."""
    position = tuple(float(at) for at in getattr(place, "position", place))
    if len(position) != 3 or not all(math.isfinite(at) for at in position):
        raise ValueError(f"Each of the points {name!r} must be (z, y, x) in voxels; one is {position}.")
    if not all(0 <= at < size for at, size in zip(position, shape, strict=True)):
        raise ValueError(f"The point {position} of {name!r} lies outside the volume of shape {shape}.")
    return position, str(getattr(place, "description", ""))
