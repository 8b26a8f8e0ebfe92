"""Boxes on a picture, as many as one likes, drawn as one collection of lines."""

from __future__ import annotations

from typing import Any

import numpy as np

from emlib.visualization.cells.pictures import Box, box_shape, checked_box

MOST_PIXELS, SHOWN_PIXELS = 400, 320  # along a side


def draw_boxes(
    axes: Any,
    boxes: np.ndarray,
    color: Any,
    *,
    width: float = 1.0,
    opacity: float | None = None,
    dashed: bool = False,
    name: str = "",
) -> None:
    """Draw the edges of boxes; an axes' limits stay as they are.

    Args:
        axes: of matplotlib, whose whole numbers are the middles of pixels.
        boxes: (n, 4), x0, y0, x1, y1.
        color: of all, or of each.
        width: of the lines in points.
        opacity: 0 to 1; None is that of the colours.
        dashed: broken lines.
        name: by which the collection can be found.
    """
    from matplotlib.collections import PolyCollection

    corners = boxes[:, [0, 1, 2, 1, 2, 3, 0, 3]].reshape(-1, 4, 2) - 0.5
    lines = PolyCollection(
        corners,
        facecolors="none",
        edgecolors=color,
        linewidths=width,
        alpha=opacity,
        linestyles=(0, (2, 1.5)) if dashed else "solid",
    )
    lines.set_gid(name or None)
    axes.add_collection(lines, autolim=False)


def shown_part(box: Box | None, shape: tuple[int, ...], title: str) -> tuple[Box, str]:
    """The part of an image to draw, in which boxes can be told apart, and the figure's title, which says so.

    Args:
        box: ((top, left), (bottom, right)); None: all of the image, or the middle of one that is large.
        shape: (y, x) of the image.
        title: of the figure.

    Raises:
        ValueError: a box that is empty or not inside the image.

    Example:
        >>> shown_part(None, (1000, 300), "nuclei")
        (((340, 0), (660, 300)), 'nuclei (320 x 300 pixels; numbers are of the whole image)')
    """
    if box is None:
        sides = [side if max(shape[:2]) <= MOST_PIXELS else min(side, SHOWN_PIXELS) for side in shape[:2]]
        corner = [(whole - side) // 2 for whole, side in zip(shape, sides, strict=False)]
        box = (corner[0], corner[1]), (corner[0] + sides[0], corner[1] + sides[1])
    box = checked_box(box, shape)
    height, width = box_shape(box)
    if (height, width) == tuple(shape[:2]):
        return box, title
    words = f"{height} x {width} pixels; numbers are of the whole image"
    return box, f"{title} ({words})" if title else words


def checked_boxes(boxes: Any, name: str) -> np.ndarray:
    """Boxes as float64 (n, 4).

    Raises:
        ValueError: another shape, NaN or infinity.

    Example:
        >>> checked_boxes([], "boxes").shape
        (0, 4)
    """
    array = np.asarray(boxes, float)
    array = array.reshape(0, 4) if array.size == 0 else array
    if array.ndim != 2 or array.shape[1] != 4 or not np.isfinite(array).all():
        raise ValueError(f"{name} has shape {array.shape}, but finite numbers (n, 4) were expected.")
    return array
