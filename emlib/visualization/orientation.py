"""Are image and labels stored in the same orientation? A picture and a number, to be looked at before training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from emlib.visualization.figures import NotebookFigure, styled
from emlib.visualization.panels import (
    as_array,
    blend,
    check_same_shape,
    find_voxel_size,
    outline,
    paint,
    panel_grid,
    take_section,
    to_gray,
)


@styled
def show_orientation_check(
    image: Any,
    labels: Any,
    *,
    section: int | None = None,
    alpha: float = 0.25,
    voxel_size: Sequence[float] | None = None,
    title: str = "Do the borders of the labels lie on borders in the image?",
) -> NotebookFigure:
    """The image, the labels on it as they are stored, and the labels transposed and flipped: which one fits?

    Labels with swapped axes train without an error and teach the network noise, so look before training. Under each
    overlay stands its edge contrast: the mean image gradient on label borders, divided by the mean over the section.
    The orientation that fits should have the largest one. A section that is not square is cut to its central square.

    Args:
        image: (z, y, x) or (y, x) array or Volume.
        labels: integer labels of the same shape.
        section: section number, default the middle.
        alpha: how strongly labels cover the image.
        voxel_size: nm, default the Volume's.
        title: what to ask the reader.

    Raises:
        ValueError: shapes differ or no such section.

    Example:
        >>> labels = np.triu(np.ones((16, 16), int))
        >>> [axes.get_title() for axes in show_orientation_check(labels * 100.0, labels).axes][1:3]
        ['as stored\\nedge contrast ...', 'transposed\\nedge contrast ...']
    """
    image, labels = as_array(image, "image"), as_array(labels, "labels")
    check_same_shape(image, labels, ("image", "labels"))
    voxel_size = find_voxel_size(voxel_size, image, labels)
    gray = _central_square(to_gray(take_section(image, section, "image")))
    stored = _central_square(take_section(labels, section, "labels"))
    turned = {
        "as stored": stored,
        "transposed": stored.T,
        "flipped in y": stored[::-1],
        "flipped in x": stored[:, ::-1],
    }
    figure, grid = panel_grid(5, gray.shape, voxel_size, columns=5, title_lines=2, title=title)
    paint(grid[0], gray, kind="image", full_shape=gray.shape, voxel_size=voxel_size, title="image\n", scale_bar=True)
    for axes, (name, candidate) in zip(grid[1:], turned.items(), strict=True):
        plane = blend(gray, candidate, alpha=alpha, edges=True)
        words = f"{name}\nedge contrast {edge_contrast(gray, candidate):.2f}"
        paint(axes, plane, kind="rgb", full_shape=gray.shape, voxel_size=voxel_size, title=words)
    return figure


def edge_contrast(image: np.ndarray, labels: np.ndarray) -> float:
    """Mean image gradient on the borders of the labels over its mean everywhere; 1 says that they have no relation.

    Example:
        >>> labels = np.pad(np.ones((4, 4), int), 4)
        >>> edge_contrast(labels * 100, labels) > edge_contrast(labels * 100, np.roll(labels, 4, axis=0))
        True
    """
    slope = np.hypot(*np.gradient(image.astype(np.float32)))
    border = outline(labels)
    everywhere = float(slope.mean())
    return float(slope[border].mean()) / everywhere if border.any() and everywhere > 0 else float("nan")


def _central_square(plane: np.ndarray) -> np.ndarray:
    side = min(plane.shape)
    top, left = ((size - side) // 2 for size in plane.shape)
    return plane[top : top + side, left : left + side]
