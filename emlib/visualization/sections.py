"""Sections of a volume: in a row, with labels on top, and beside each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from emlib.visualization.figures import NotebookFigure, styled
from emlib.visualization.panels import (
    as_array,
    blend,
    check_kind,
    check_same_shape,
    find_voxel_size,
    infer_kind,
    paint,
    panel_grid,
    pick_section,
    take_section,
    to_gray,
)


@styled
def show_sections(
    image: Any,
    labels: Any = None,
    *,
    sections: Sequence[int] | None = None,
    count: int = 4,
    alpha: float = 0.4,
    voxel_size: Sequence[float] | None = None,
    title: str = "",
) -> NotebookFigure:
    """A row of sections of an image volume, with its labels on top if given.

    Args:
        image: (z, y, x) array or Volume; only the sections shown are read.
        labels: integer labels of the same shape.
        sections: section numbers; default `count` sections spread over the volume.
        count: how many sections, at most the depth of the volume.
        alpha: 0 to 1, how strongly the labels cover the image.
        voxel_size: nm (z, y, x), for the scale bar; default the Volume's.
        title: what to see.

    Raises:
        ValueError: not 3-D, shapes differ, or a section does not exist.

    Example:
        >>> figure = show_sections(np.zeros((8, 16, 16), np.uint8), count=3)
        >>> [axes.get_title() for axes in figure.axes]
        ['section 1', 'section 4', 'section 6']
    """
    image = as_array(image, "image")
    if len(image.shape) != 3:
        raise ValueError(f"image must be (z, y, x); its shape is {tuple(image.shape)}.")
    if labels is not None:
        labels = as_array(labels, "labels")
        check_same_shape(image, labels, ("image", "labels"))
    if sections is None:
        if count < 1:
            raise ValueError(f"count must be at least 1, not {count}.")
        count = min(count, image.shape[0])
        sections = [int((index + 0.5) * image.shape[0] / count) for index in range(count)]
    voxel_size = find_voxel_size(voxel_size, image, labels)
    figure, panels = panel_grid(len(sections), image.shape[1:], voxel_size, title=title)
    for index, (axes, section) in enumerate(zip(panels, sections, strict=True)):
        number = pick_section(image.shape[0], section, "image")
        plane, kind = take_section(image, number, "image"), "image"
        if labels is not None:
            plane, kind = blend(plane, take_section(labels, number, "labels"), alpha=alpha, edges=True), "rgb"
        paint(
            axes,
            plane,
            kind=kind,
            full_shape=image.shape[1:],
            voxel_size=voxel_size,
            title=f"section {number}",
            scale_bar=index == 0,
        )
    return figure


@styled
def show_overlay(
    image: Any,
    labels: Any,
    *,
    section: int | None = None,
    ax: Any = None,
    alpha: float = 0.4,
    outline: bool = True,
    voxel_size: Sequence[float] | None = None,
    title: str = "",
) -> Any:
    """One section of the image with its objects in their colours.

    Args:
        image: (z, y, x) or (y, x) array or Volume.
        labels: integer labels of the same shape.
        section: section number, default the middle.
        ax: draw on this matplotlib axes instead of a new figure.
        alpha: 0 (image only) to 1 (labels only).
        outline: draw the objects' borders in full colour.
        voxel_size: nm, default the Volume's.
        title: what to see.

    Returns:
        The figure drawn on.

    Raises:
        ValueError: shapes differ, alpha outside 0 to 1, or no such section.

    Example:
        >>> show_overlay(np.zeros((4, 8, 8)), np.eye(8, dtype=int)[None].repeat(4, 0), section=1)
        <Figure of ...>
    """
    image, labels = as_array(image, "image"), as_array(labels, "labels")
    check_same_shape(image, labels, ("image", "labels"))
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha must be between 0 and 1, not {alpha}.")
    voxel_size = find_voxel_size(voxel_size, image, labels)
    plane = blend(
        take_section(image, section, "image"), take_section(labels, section, "labels"), alpha=alpha, edges=outline
    )
    if ax is None:
        _, (ax,) = panel_grid(1, image.shape[-2:], voxel_size, columns=1, widest=4.0, title_lines=1 if title else 0)
    paint(ax, plane, kind="rgb", full_shape=image.shape[-2:], voxel_size=voxel_size, title=title, scale_bar=True)
    return ax.figure


@styled
def show_side_by_side(
    panels: Mapping[str, Any],
    *,
    section: int | None = None,
    labels: Sequence[str] = (),
    kinds: Mapping[str, str] | None = None,
    columns: int = 4,
    voxel_size: Sequence[float] | None = None,
    title: str = "",
) -> NotebookFigure:
    """The same section of several volumes, beside each other, each painted as what it is.

    Args:
        panels: title -> (z, y, x) or (y, x) array or Volume.
        section: section number of the 3-D ones, default the middle.
        labels: titles of panels that are label images (for labels stored as uint8).
        kinds: title -> "image", "labels", "probability", "signed" or "values"; default by dtype, as `infer_kind` says.
        columns: panels in a row, at most.
        voxel_size: nm, default the first Volume's that knows it.
        title: what to see.

    Raises:
        ValueError: no panel, different section shapes, an unknown kind or title, or no such section.

    Example:
        >>> figure = show_side_by_side({"image": np.zeros((9, 9), np.uint8), "truth": np.eye(9, dtype=np.uint16)})
        >>> [axes.get_title() for axes in figure.axes]
        ['image', 'truth']
    """
    if not panels:
        raise ValueError("show_side_by_side needs at least one panel.")
    chosen = {**dict.fromkeys(labels, "labels"), **(kinds or {})}
    for name, kind in chosen.items():
        check_kind(kind)
        if name not in panels:
            raise ValueError(f"There is no panel {name!r}; the panels are {', '.join(panels)}.")
    planes = {name: take_section(panel, section, name) for name, panel in panels.items()}
    first_name, first = next(iter(planes.items()))
    for name, plane in planes.items():
        check_same_shape(first, plane, (f"The sections of {first_name}", name))
    chosen = {name: chosen.get(name) or infer_kind(plane) for name, plane in planes.items()}
    voxel_size = find_voxel_size(voxel_size, *panels.values())
    bars = any(kind not in ("image", "labels") for kind in chosen.values())
    figure, grid = panel_grid(
        len(planes), first.shape, voxel_size, columns=columns, extra_width=0.35 if bars else 0.0, title=title
    )
    for index, (axes, (name, plane)) in enumerate(zip(grid, planes.items(), strict=True)):
        paint(
            axes,
            plane,
            kind=chosen[name],
            full_shape=plane.shape,
            voxel_size=voxel_size,
            title=name,
            scale_bar=index == 0,
        )
    return figure


@styled
def show_targets(
    image: Any,
    target: Any,
    names: Sequence[str],
    *,
    section: int | None = None,
    voxel_size: Sequence[float] | None = None,
    title: str = "",
) -> NotebookFigure:
    """The image and each channel of what the network learns, in one section.

    Args:
        image: (z, y, x) or (y, x) array or Volume.
        target: (c, z, y, x) or (c, y, x) array, as `build_target` makes it.
        names: one name a channel.
        section: section number, default the middle.
        voxel_size: nm, default the Volume's.
        title: what to see.

    Raises:
        ValueError: the number of names or the shapes do not fit.

    Example:
        >>> figure = show_targets(np.zeros((4, 8, 8), np.uint8), np.zeros((2, 4, 8, 8)), ["mask", "contour"])
        >>> len(figure.axes) >= 3
        True
    """
    image, target = as_array(image, "image"), as_array(target, "target")
    if len(target.shape) != len(image.shape) + 1:
        raise ValueError(
            f"target must have a channel axis before the image's {len(image.shape)} axes; "
            f"its shape is {tuple(target.shape)}."
        )
    if len(names) != target.shape[0]:
        raise ValueError(f"target has {target.shape[0]} channels, but {len(names)} names were given.")
    if tuple(target.shape[1:]) != tuple(image.shape):
        raise ValueError(
            f"Each target channel must have the image's shape {tuple(image.shape)}; it is {tuple(target.shape[1:])}."
        )
    number = pick_section(image.shape[0], section, "image") if len(image.shape) == 3 else None
    at = () if number is None else (number,)
    channels = {name: np.asarray(target[(channel, *at)]) for channel, name in enumerate(names)}
    panels = {"image": take_section(image, number, "image"), **channels}
    return show_side_by_side(
        panels, voxel_size=find_voxel_size(voxel_size, image, target), title=title, kinds={"image": "image"}
    )


@styled
def show_augmentations(
    pairs: Sequence[tuple[str, Any, Any]],
    *,
    alpha: float = 0.35,
    columns: int = 5,
    voxel_size: Sequence[float] | None = None,
    title: str = "",
) -> NotebookFigure:
    """Sections before and after augmentation, each with its name and, if given, its labels on top.

    Args:
        pairs: (name, image section (y, x), label section (y, x) or None) for each panel.
        alpha: how strongly labels cover the image.
        columns: panels in a row, at most.
        voxel_size: nm.
        title: what to see.

    Raises:
        ValueError: no panel, or an image and its labels differ in shape.

    Example:
        >>> len(show_augmentations([("before", np.zeros((8, 8)), None), ("flipped", np.ones((8, 8)), None)]).axes)
        2
    """
    if not pairs:
        raise ValueError("show_augmentations needs at least one (name, image, labels).")
    voxel_size = find_voxel_size(voxel_size)
    shapes = [np.shape(image) for _, image, _ in pairs]
    figure, grid = panel_grid(len(pairs), tuple(np.max(shapes, axis=0)[-2:]), voxel_size, columns=columns, title=title)
    # One grey scale for all panels, so that a change of brightness or contrast is seen as one.
    limits = _common_limits([np.asarray(image) for _, image, _ in pairs])
    for axes, (name, image, labels) in zip(grid, pairs, strict=True):
        plane, kind = to_gray(take_section(image, None, name), limits), "image"
        shape = plane.shape
        if labels is not None:
            labels = take_section(labels, None, name)
            check_same_shape(plane, labels, (f"The image of {name!r}", "its labels"))
            plane, kind = blend(plane, labels, alpha=alpha, edges=True), "rgb"
        paint(axes, plane, kind=kind, full_shape=shape, voxel_size=voxel_size, title=name)
    return figure


def _common_limits(images: Sequence[np.ndarray]) -> tuple[float, float]:
    if all(image.dtype == np.uint8 for image in images):
        return 0.0, 255.0
    low, high = np.percentile(np.concatenate([image.ravel() for image in images]), (0.5, 99.5))
    return float(low), float(high)
