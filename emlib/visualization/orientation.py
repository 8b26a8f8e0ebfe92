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
    title: str = "Which labels belong to this image?",
) -> NotebookFigure:
    """The image, the labels on it as they are stored, and the labels transposed and flipped: which one fits?

    Labels with swapped axes train without an error and teach the network noise, so look before training. Under each
    overlay stands the share of the grey values' variance that the labels explain: objects have a brightness of their
    own, so the orientation that fits explains the most. A section that is not square is cut to its central square.

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
        ['as stored\\nexplains ... %', 'transposed\\nexplains ... %']
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
        words = f"{name}\nexplains {100 * explained_variance(gray, candidate):.1f} %"
        paint(axes, plane, kind="rgb", full_shape=gray.shape, voxel_size=voxel_size, title=words)
    return figure


def explained_variance(image: np.ndarray, labels: np.ndarray) -> float:
    """Variance of the objects' mean grey values (background is one of them) over that of all pixels, from 0 to 1.

    Example:
        >>> labels = np.pad(np.ones((4, 4), int), 4)
        >>> explained_variance(labels * 100, labels), explained_variance(labels * 100, np.roll(labels, 4, axis=0)) < 0.1
        (1.0, True)
    """
    values = image.astype(np.float64).ravel()
    _, object_of = np.unique(labels, return_inverse=True)
    counts = np.bincount(object_of.ravel())
    means = np.bincount(object_of.ravel(), values) / counts
    total = np.square(values - values.mean()).sum()
    return float((counts * np.square(means - values.mean())).sum() / total) if total > 0 else float("nan")


def _central_square(plane: np.ndarray) -> np.ndarray:
    side = min(plane.shape)
    top, left = ((size - side) // 2 for size in plane.shape)
    return plane[top : top + side, left : left + side]
