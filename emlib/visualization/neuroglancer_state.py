"""The state of a Neuroglancer view as plain JSON: layers, voxel size, position and layout."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from emlib.visualization.colors import LINE_COLORS, ORANGE, SKY, VERMILLION

LAYER_KINDS = ("image", "channel", "rgb", "segmentation", "points")
LAYOUTS = ("4panel", "xy", "xz", "yz", "3d", "xy-3d", "xz-3d", "yz-3d")
POINT_COLORS = {"splits": "#ff3030", "merges": "#ffe119"}
CHANNEL_COLORS = (ORANGE, SKY, VERMILLION, *LINE_COLORS[2:4])
COLOR_SEED = 0  # the seed of `label_colors`, so that ids have the same colours here and in figures
PANEL_PIXELS = (280, 280, 400)  # (z, y, x) that the data should fill in a panel of a usual browser window
GRAY_SHADER = "#uicontrol invlerp normalized\nvoid main() {\n  emitGrayscale(normalized());\n}\n"
CHANNEL_SHADER = (
    '#uicontrol vec3 color color(default="{color}")\n'
    "#uicontrol invlerp normalized\n"
    "void main() {{\n  emitRGB(color * normalized());\n}}\n"
)
RGB_SHADER = (
    "void main() {{\n"
    "  vec3 rgb = vec3(toNormalized(getDataValue(0)), toNormalized(getDataValue(1)), toNormalized(getDataValue(2)));\n"
    "  emitRGB(rgb * {gain});\n"
    "}}\n"
)
POINT_SHADER = "void main() {\n  setColor(defaultColor());\n  setPointMarkerSize(9.0);\n}\n"


@dataclass(frozen=True)
class LayerPlan:
    """One layer of a view.

    Attributes:
        kind: "image" (grey), "channel" (one colour, added to what lies below), "rgb" (three channels as red, green and
            blue), "segmentation" or "points" (annotations to click through).
        source: address that Neuroglancer reads, such as "precomputed://https://..." or "zarr://https://..."; points
            need none, they are part of the state.
        value_range: values drawn as black and as full brightness; None lets Neuroglancer choose 0 and the type's
            largest value. For "rgb" only the second counts, as a fraction of the type's largest value.
        segments: ids that are selected (strong colour and a mesh in 3-D).
        visible: False keeps the layer in the list but hidden.
        points: position (z, y, x) in voxels and description of each point. Layers called "splits" are red, "merges"
            yellow.
    """

    kind: str
    source: Any = None
    value_range: tuple[float, float] | None = None
    segments: Sequence[int] = ()
    visible: bool = True
    points: Sequence[tuple[Sequence[float], str]] = ()


def neuroglancer_state(
    layers: Mapping[str, LayerPlan],
    *,
    shape: Sequence[int],
    voxel_size: Sequence[float] | None = None,
    position: Sequence[float] | None = None,
    layout: str = "4panel",
    title: str = "",
) -> dict[str, Any]:
    """The JSON state that shows `layers`; paste it into any Neuroglancer, or save it beside the results.

    Args:
        layers: name -> LayerPlan, bottom layer first.
        shape: (z, y, x) of the data in voxels.
        voxel_size: nm (z, y, x); None shows voxels as cubes without a unit.
        position: (z, y, x) in voxels to look at, default the first point, or the centre if there is none.
        layout: "4panel" (three sections and 3-D), "xy", "xz", "yz", "3d", "xy-3d", "xz-3d" or "yz-3d".
        title: of the browser's tab.

    Returns:
        A dict of plain JSON types. Axes are listed x, y, z, as Neuroglancer's own views are. The list of the first
        layer of points is open, so that one can click through it.

    Raises:
        ValueError: an unknown kind or layout, or a shape, voxel size or position that is not (z, y, x).

    Example:
        >>> plan = LayerPlan("segmentation", "precomputed://https://example.org/cells", segments=[2**40])
        >>> state = neuroglancer_state({"cells": plan}, shape=(100, 512, 512), voxel_size=(30, 8, 8))
        >>> state["dimensions"]["z"], state["position"]
        ([3e-08, 'm'], [256.0, 256.0, 50.0])
    """
    _check_choice(layout, LAYOUTS, "layout")
    for name, numbers in {"shape": shape, "voxel_size": voxel_size, "position": position}.items():
        if numbers is not None and len(numbers) != 3:
            raise ValueError(f"{name} must be three numbers (z, y, x), not {tuple(numbers)}.")
    if voxel_size is not None and not all(step > 0 for step in voxel_size):
        raise ValueError(f"A voxel size is three positive numbers in nm; this one is {tuple(voxel_size)}.")
    listed = [name for name, plan in layers.items() if plan.kind == "points" and plan.points]
    if position is None and listed:
        position = layers[listed[0]].points[0][0]
    steps = [float(step) for step in voxel_size] if voxel_size is not None else [1.0, 1.0, 1.0]
    center = [size / 2 for size in shape] if position is None else [float(at) + 0.5 for at in position]
    extents = [size * step / min(steps) for size, step in zip(shape, steps, strict=True)]
    state: dict[str, Any] = {
        "dimensions": dimensions(voxel_size, "xyz"),
        "position": center[::-1],
        "crossSectionScale": max(extent / pixels for extent, pixels in zip(extents, PANEL_PIXELS, strict=True)),
        "projectionScale": 0.85 * math.hypot(*extents),
        "layers": [_layer_json(name, plan, index, voxel_size) for index, (name, plan) in enumerate(layers.items())],
        "layout": layout,
        "showSlices": False,
    }
    if listed:
        state["selectedLayer"] = {"layer": listed[0], "visible": True}
    if title:
        state["title"] = title
    return state


def dimensions(voxel_size: Sequence[float] | None, order: str) -> dict[str, list[Any]]:
    """Neuroglancer's coordinate space for a (z, y, x) voxel size in nm, with its axes listed in `order`.

    Example:
        >>> dimensions((40, 4, 4), "zyx")
        {'z': [4e-08, 'm'], 'y': [4e-09, 'm'], 'x': [4e-09, 'm']}
    """
    if voxel_size is None:
        return {axis: [1, ""] for axis in order}
    steps = dict(zip("zyx", voxel_size, strict=True))
    # Rounded to 15 digits because 40 * 1e-9 is 4.0000000000000004e-08.
    return {axis: [float(f"{steps[axis] * 1e-9:.15g}"), "m"] for axis in order}


def _layer_json(name: str, plan: LayerPlan, index: int, voxel_size: Sequence[float] | None) -> dict[str, Any]:
    _check_choice(plan.kind, LAYER_KINDS, "layer kind")
    if plan.kind == "points":
        return _points_json(name, plan, index, voxel_size)
    if plan.source is None:
        raise ValueError(f"The layer {name!r} needs a source, the address where Neuroglancer reads it.")
    layer: dict[str, Any] = {"name": name, "source": plan.source, "visible": plan.visible}
    if plan.kind == "segmentation":
        # Ids as strings: a JSON number holds no integer above 2**53 exactly.
        return {
            **layer,
            "type": "segmentation",
            "colorSeed": COLOR_SEED,
            "segments": [str(int(one)) for one in plan.segments],
            "selectedAlpha": 0.45,
            "notSelectedAlpha": 0.3,
        }
    if plan.kind == "rgb":
        gain = repr(1 / float(plan.value_range[1])) if plan.value_range else "1.0"
        return {**layer, "type": "image", "opacity": 0.6, "shader": RGB_SHADER.format(gain=gain)}
    controls = {"normalized": {"range": [float(end) for end in plan.value_range]}} if plan.value_range else {}
    if plan.kind == "image":
        return {**layer, "type": "image", "opacity": 1.0, "shader": GRAY_SHADER, "shaderControls": controls}
    color = CHANNEL_COLORS[index % len(CHANNEL_COLORS)]
    shader = CHANNEL_SHADER.format(color=color)
    return {**layer, "type": "image", "opacity": 0.6, "blend": "additive", "shader": shader, "shaderControls": controls}


def _points_json(name: str, plan: LayerPlan, index: int, voxel_size: Sequence[float] | None) -> dict[str, Any]:
    annotations = []
    for number, (position, description) in enumerate(plan.points):
        # A voxel's middle lies half a voxel after its index.
        point = {"type": "point", "id": str(number), "point": [float(at) + 0.5 for at in reversed(position)]}
        annotations.append({**point, "description": description} if description else point)
    return {
        "name": name,
        "source": {
            "url": "local://annotations",
            "transform": {"outputDimensions": dimensions(voxel_size, "xyz")},
        },
        "visible": plan.visible,
        "type": "annotation",
        "tab": "annotations",
        "annotationColor": POINT_COLORS.get(name, CHANNEL_COLORS[index % len(CHANNEL_COLORS)]),
        "shader": POINT_SHADER,
        "annotations": annotations,
    }


def _check_choice(value: str, choices: Iterable[str], what: str) -> None:
    choices = list(choices)
    if value not in choices:
        near = difflib.get_close_matches(str(value), choices, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"There is no {what} {value!r}; use one of {', '.join(choices)}.{hint}")
