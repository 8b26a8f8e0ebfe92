"""A flow field beside its image: colours for the whole of it, arrows for a crop."""

from __future__ import annotations

from typing import Any

import numpy as np

from emlib.visualization.cells.flow_colors import (
    WHEEL_WIDTH,
    checked_section_flow,
    draw_arrows,
    draw_color_wheel,
    flow_colors,
)
from emlib.visualization.cells.picture_rows import picture_rows
from emlib.visualization.cells.pictures import (
    Box,
    box_shape,
    cell_picture,
    check_pair_of_labels,
    checked_box,
    draw_box,
    draw_outlines,
    draw_picture,
)
from emlib.visualization.colors import YELLOW
from emlib.visualization.figures import NotebookFigure, styled
from emlib.visualization.panels import check_same_shape

ARROWS = 13  # along a side of the crop
SMALLEST_CROP, LARGEST_CROP = 24, 64


@styled
def show_flow(
    flow: Any,
    image: Any = None,
    probability: Any = None,
    *,
    truth: Any = None,
    labels: Any = None,
    scale: float = 1.0,
    arrows: bool = True,
    box: Box | None = None,
    title: str = "",
) -> NotebookFigure:
    """The image, the cell probability, the flow as colours with their wheel, and arrows in a crop.

    Args:
        flow: (2, y, x), float, as `gradient_flow` makes it or a network predicts it.
        image: (y, x), (y, x, 1) or (y, x, 3), any numbers.
        probability: (y, x), uint8 0-255 or float 0-1, that a pixel belongs to a cell.
        truth: the flow of the labels, of the same shape, in a panel of its own.
        labels: (y, x) ids, outlined in the image and in the crop.
        scale: which length of the flow is fully bright: 1 for unit vectors, 5 for what networks of MEDIAR and Cellpose
            predict.
        arrows: False leaves the crop out.
        box: of the crop, ((top, left), (bottom, right)); default where the most flow is.
        title: what to see.

    Raises:
        TypeError, ValueError: arrays of other kinds or shapes, values that are no probabilities, a box outside.

    Example:
        >>> flow = np.zeros((2, 40, 40), np.float32)
        >>> flow[1, 10:30, 10:20], flow[1, 10:30, 20:30] = 1, -1
        >>> figure = show_flow(flow, box=((5, 5), (35, 35)))
        >>> [axes.get_title() for axes in figure.axes]
        ['flow', 'arrows in the frame', '']
    """
    flow = checked_section_flow(flow)
    shape = flow.shape[1:]
    panels: list[tuple[str, np.ndarray]] = []
    if image is not None:
        picture = cell_picture(image)
        check_same_shape(picture[..., 0], flow[0], ("image", "each component of the flow"))
        panels.append(("image", picture))
    if probability is not None:
        panels.append(("cell probability\n(black 0, white 1)", _as_picture(probability, shape)))
    panels.append(("flow", flow_colors(flow, scale=scale)))
    if truth is not None:
        truth = checked_section_flow(truth, "truth")
        check_same_shape(flow, truth, ("flow", "truth"))
        panels.append(("flow of the labels", flow_colors(truth, scale=scale)))
    labels = None if labels is None else check_pair_of_labels(labels, shape, "labels")
    crop = None
    if arrows:
        crop = checked_box(box, shape) if box is not None else strongest_box(flow)
    count = len(panels) + arrows
    shapes = [shape] * len(panels) + ([box_shape(crop)] if crop is not None else [])
    lines = 1 if probability is None else 2
    figure, grid, beside = picture_rows(shapes, columns=count, title_lines=lines, title=title, beside=WHEEL_WIDTH)
    for axes, (name, picture) in zip(grid, panels, strict=False):
        draw_picture(axes, picture, title=name, panels=count)
        if name == "image" and labels is not None:
            draw_outlines(axes, labels, YELLOW, width=0.9)
        if crop is not None:
            draw_box(axes, crop)
    if crop is not None:
        _draw_crop(grid[-1], flow, crop, labels, scale)
    draw_color_wheel(figure.add_axes(beside))
    return figure


def strongest_box(flow: np.ndarray) -> tuple[tuple[int, int], tuple[int, int]]:
    """The square with the most flow: a quarter of the image's longer side, 24 to 64 pixels; the first of equal ones.

    Example:
        >>> flow = np.zeros((2, 100, 100), np.float32)
        >>> flow[0, 60:80, 40:60] = 1
        >>> strongest_box(flow)
        ((55, 35), (80, 60))
    """
    length = np.hypot(*flow.astype(np.float64))
    side = int(np.clip(max(length.shape) // 4, SMALLEST_CROP, LARGEST_CROP))
    rows, columns = (min(side, size) for size in length.shape)
    sums = np.pad(length.cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
    inside = sums[rows:, columns:] - sums[:-rows, columns:] - sums[rows:, :-columns] + sums[:-rows, :-columns]
    # Sums of the same flow differ by their rounding.
    top, left = np.unravel_index(np.round(inside, 6).argmax(), inside.shape)
    return (int(top), int(left)), (int(top) + rows, int(left) + columns)


def draw_flow_crop(axes: Any, flow: np.ndarray, box: Box, *, scale: float, dim: float = 0.6) -> None:
    """The colours of a part of a flow, darkened, with arrows on top."""
    (top, left), (bottom, right) = box
    part = flow[:, top:bottom, left:right]
    draw_picture(axes, flow_colors(part, scale=scale), dim=dim, corner=(top, left))
    draw_arrows(axes, part, corner=(top, left), step=max(round(max(part.shape[1:]) / ARROWS), 1))


def _draw_crop(axes: Any, flow: np.ndarray, box: Box, labels: np.ndarray | None, scale: float) -> None:
    draw_flow_crop(axes, flow, box, scale=scale)
    if labels is not None:
        draw_outlines(axes, labels, "white", width=1.2, box=box)
    axes.set_title("arrows in the frame")


def _as_picture(probability: Any, shape: tuple[int, ...]) -> np.ndarray:
    values = np.asarray(probability)
    if values.shape != tuple(shape):
        raise ValueError(
            f"The probability has shape {values.shape}, but that of the flow, {tuple(shape)}, was expected."
        )
    if values.dtype == bool:
        values = values.astype(np.float32)
    elif values.dtype == np.uint8:
        values = values / np.float32(255)
    elif values.dtype.kind != "f":
        raise TypeError(f"The probability is {values.dtype}, but uint8 0-255 or float 0-1 was expected.")
    if not (values.min() >= 0 and values.max() <= 1):
        raise ValueError(
            f"The probability must lie between 0 and 1; it reaches from {values.min():g} to {values.max():g}."
        )
    return np.repeat(np.rint(values * 255).astype(np.uint8)[..., None], 3, axis=-1)
