"""A picture of cells on one axes: any image as colours, and outlines that stay one line thin at any size."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from emlib.visualization.cells.outlines import cell_outlines, check_label_image
from emlib.visualization.colors import GREEN, VERMILLION
from emlib.visualization.figures import NotebookFigure
from emlib.visualization.panels import PANEL_PIXELS, paint, shrink, to_gray

# Green against red-orange: Okabe-Ito colours, which differ in brightness as well as in hue.
TRUTH_COLOR, PREDICTION_COLOR = GREEN, VERMILLION
TRUTH_WIDTH, PREDICTION_WIDTH = 2.4, 1.1  # the wide line is seen on both sides of the narrow one where they coincide
DARK = 0.72  # of an image's brightness under coloured lines, which white would swallow

Box = Sequence[Sequence[int]]


def cell_picture(image: Any, name: str = "The image") -> np.ndarray:
    """An image of any microscope as colours.

    uint8 is taken as it is; other numbers are stretched between the 0.5 and 99.5 percentiles of all channels together.

    Args:
        image: (y, x), (y, x, 1) or (y, x, 3), bool, whole numbers or floats.
        name: what errors call it.

    Returns:
        uint8 (y, x, 3).

    Raises:
        TypeError: values that are no numbers.
        ValueError: another shape, no pixels, NaN or infinite values.

    Example:
        >>> cell_picture(np.array([[0, 1000], [1000, 0]], np.uint16))[1].tolist()
        [[255, 255, 255], [0, 0, 0]]
    """
    pixels = np.asarray(image)
    if pixels.dtype.kind not in "buif":
        raise TypeError(f"{name} is {pixels.dtype}, but whole numbers or floats were expected.")
    if pixels.ndim not in (2, 3) or pixels.size == 0 or (pixels.ndim == 3 and pixels.shape[2] not in (1, 3)):
        raise ValueError(f"{name} has shape {pixels.shape}, but pixels (y, x), (y, x, 1) or (y, x, 3) were expected.")
    if pixels.dtype.kind == "f" and not np.isfinite(pixels).all():
        raise ValueError(f"{name} has values that are NaN or infinite, but finite numbers were expected.")
    if pixels.dtype == bool:
        pixels = pixels.astype(np.uint8) * 255
    if pixels.dtype.kind == "f":
        pixels = pixels.astype(np.float64)
    gray = to_gray(pixels)
    return np.repeat(gray.reshape((*gray.shape[:2], -1)), 1 if gray.ndim == 3 and gray.shape[2] == 3 else 3, axis=-1)


def draw_picture(
    axes: Any,
    picture: np.ndarray,
    *,
    title: str = "",
    dim: float = 1.0,
    corner: Sequence[int] = (0, 0),
    panels: int = 1,
) -> None:
    """Draw colours (y, x, 3) on an axes whose coordinates are pixels.

    Args:
        axes: of matplotlib.
        picture: uint8, of any size; reduced to what a panel shows.
        title: above it.
        dim: factor on the brightness.
        corner: which pixel (y, x) of a larger image the first one is.
        panels: how many such pictures the figure has; the more, the fewer pixels each may cost.
    """
    # A PNG pays for the noise of each pixel, in colour more than in grey, and again for pixels made between them.
    colored = bool((picture[..., 0] != picture[..., 1]).any() or (picture[..., 0] != picture[..., 2]).any())
    pixels = int(np.clip((290 if colored else 440) / np.sqrt(panels), 96, PANEL_PIXELS))
    small = np.stack([shrink(picture[..., channel], average=True, pixels=pixels) for channel in range(3)], axis=-1)
    small = np.clip(np.rint(small * dim), 0, 255).astype(np.uint8)
    rows, columns = picture.shape[:2]
    paint(axes, small, kind="rgb", full_shape=(rows, columns), voxel_size=None, title=title)
    top, left = corner
    axes.images[-1].set(extent=(left - 0.5, left + columns - 0.5, top + rows - 0.5, top - 0.5), interpolation="nearest")
    axes.set(xlim=(left - 0.5, left + columns - 0.5), ylim=(top + rows - 0.5, top - 0.5), autoscale_on=False)


def draw_outlines(
    axes: Any,
    labels: np.ndarray,
    color: str | Mapping[int, Any],
    *,
    width: float = 1.0,
    box: Box | None = None,
    ids: Collection[int] | None = None,
    opacity: float = 1.0,
) -> None:
    """Draw the edges of cells as lines, in pixels of the label image; an axes' limits stay as they are.

    Args:
        axes: of matplotlib.
        labels: (y, x), ids, 0 = background.
        color: of all lines, or of each id.
        width: of the lines in points.
        box: first pixel and one past the last, (y, x): only cells in it are traced.
        ids: trace these only.
        opacity: 0 to 1.
    """
    from matplotlib.collections import LineCollection

    corner, scale = np.zeros(2), np.ones(2)
    if box is not None:
        # One pixel more, so that no line runs where the box cuts a cell.
        (top, left), (bottom, right) = box
        corner = np.array([max(top - 1, 0), max(left - 1, 0)])
        labels = labels[corner[0] : bottom + 1, corner[1] : right + 1]
    elif max(labels.shape) > 2 * PANEL_PIXELS:
        whole = np.array(labels.shape)
        labels = shrink(labels, average=False, pixels=2 * PANEL_PIXELS)
        scale = whole / labels.shape
    if ids is not None:
        chosen = np.array([int(one) for one in ids], np.uint64)
        labels = np.where(np.isin(labels.astype(np.uint64), chosen), labels, 0)
    lines, colors = [], []
    for one in cell_outlines(labels):
        rings = [ring for piece in one.pieces for ring in piece]
        # Corners lie between pixels, the whole numbers of an axes in their middle.
        lines += [(np.concatenate([ring, ring[:1]]) * scale + corner)[:, ::-1] - 0.5 for ring in rings]
        colors += [color if isinstance(color, str) else color[one.id]] * len(rings)
    drawn = LineCollection(lines, colors=colors, linewidths=width, alpha=opacity, capstyle="round", joinstyle="round")
    axes.add_collection(drawn, autolim=False)


def draw_box(axes: Any, box: Box, color: str = "white") -> None:
    """A frame around the pixels of a box."""
    from matplotlib.patches import Rectangle
    from matplotlib.patheffects import withStroke

    (top, left), (bottom, right) = box
    frame = Rectangle((left - 0.5, top - 0.5), right - left, bottom - top, fill=False, edgecolor=color, linewidth=1.2)
    frame.set_path_effects([withStroke(linewidth=2.4, foreground="black")])
    axes.add_patch(frame)


def outline_legend(figure: NotebookFigure, entries: Mapping[str, tuple[str, float]]) -> None:
    """Name -> (colour, width) of lines, at the bottom of a figure that has room for it."""
    from matplotlib.lines import Line2D

    lines = [Line2D([], [], color=color, linewidth=1.6 * width, label=name) for name, (color, width) in entries.items()]
    figure.legend(handles=lines, loc="lower center", ncols=len(lines), borderaxespad=0.2)


def check_pair_of_labels(labels: Any, shape: tuple[int, ...], name: str) -> np.ndarray:
    """Ids (y, x) of an image of this (y, x).

    Raises:
        TypeError, ValueError: they are not.
    """
    try:
        found = check_label_image(labels)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{name}: {error}") from None
    if found.shape != tuple(shape[:2]):
        raise ValueError(f"{name} has shape {found.shape}, but that of the image, {tuple(shape[:2])}, was expected.")
    return found


def checked_box(box: Box, shape: tuple[int, ...]) -> tuple[tuple[int, int], tuple[int, int]]:
    """A box ((top, left), (bottom, right)) inside an image.

    Raises:
        ValueError: it is none, is empty, or reaches beyond the image.

    Example:
        >>> checked_box([[0, 2], [4, 6]], (8, 8))
        ((0, 2), (4, 6))
    """
    corners = np.asarray(box)
    if corners.shape != (2, 2) or corners.dtype.kind not in "iu":
        raise ValueError(f"box is {box!r}, but the pixels ((top, left), (bottom, right)) were expected.")
    (top, left), (bottom, right) = corners.tolist()
    if not (0 <= top < bottom <= shape[0] and 0 <= left < right <= shape[1]):
        raise ValueError(f"The box {((top, left), (bottom, right))} is empty or not inside the image {shape[:2]}.")
    return (top, left), (bottom, right)


def box_shape(box: Box) -> tuple[int, int]:
    """Height and width of ((top, left), (bottom, right))."""
    (top, left), (bottom, right) = box
    return bottom - top, right - left
