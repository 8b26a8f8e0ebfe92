"""Pixels that walk along a flow field: where they are after some steps, each in the colour of the cell it ends in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from emlib.visualization.cells.outlines import check_label_image
from emlib.visualization.cells.picture_rows import picture_rows
from emlib.visualization.cells.pictures import Box, box_shape, checked_box, draw_outlines
from emlib.visualization.colors import label_colors
from emlib.visualization.figures import NotebookFigure, styled

GROUND, NOWHERE = "0.08", (150, 150, 150)  # the ground, and pixels that end in no cell
SMALLEST_MARK = 1.0  # points
CROWD, CROWD_MARK = 4, 3.6  # where so many pixels stand on one, a mark of so many points says so


@styled
def show_tracking(
    labels: Any,
    places: Mapping[int, Any],
    *,
    foreground: Any = None,
    truth: Any = None,
    box: Box | None = None,
    title: str = "",
) -> NotebookFigure:
    """Foreground pixels after some steps along the flow, coloured by the cell that each ends in; grey: in none.

    Args:
        labels: (y, x) ids of the result, as `masks_from_flows` makes it: the cell in which each pixel's walk ends.
        places: steps -> where the foreground pixels are then, (2, n) y and x, as `follow_flows(..., steps=steps)`
            returns them.
        foreground: (y, x) bool, which pixels these are, in raster order; default `labels != 0`. Give it where the
            walk of some pixels ends in no cell.
        truth: (y, x) ids, outlined in white.
        box: what to show, ((top, left), (bottom, right)); default the whole image.
        title: what to see.

    Raises:
        TypeError, ValueError: no steps, arrays of other kinds or shapes, a box outside.

    Example:
        >>> from emlib.diffusion import diffusion_flow
        >>> from emlib.postprocessing import follow_flows
        >>> labels = np.zeros((12, 16), int)
        >>> labels[2:10, 2:8], labels[2:10, 8:14] = 5, 9
        >>> flow, inside = diffusion_flow(labels), labels != 0
        >>> figure = show_tracking(labels, {steps: follow_flows(flow, inside, steps=steps) for steps in (0, 4)})
        >>> [axes.get_title() for axes in figure.axes]
        ['0 steps', '4 steps']
    """
    labels = check_label_image(labels)
    inside = labels != 0 if foreground is None else np.asarray(foreground)
    if inside.dtype != bool or inside.shape != labels.shape:
        raise ValueError(
            f"foreground is {inside.dtype} of shape {inside.shape}, but bool of the labels' shape {labels.shape} was "
            "expected."
        )
    if truth is not None:
        truth = check_label_image(truth)
        if truth.shape != labels.shape:
            raise ValueError(f"truth has shape {truth.shape}, but that of the labels, {labels.shape}, was expected.")
    if not places:
        raise ValueError("places is empty, but the places after at least one number of steps were expected.")
    walks = {int(steps): _checked_places(walk, int(inside.sum()), steps) for steps, walk in places.items()}
    box = checked_box(box, labels.shape) if box is not None else ((0, 0), labels.shape)
    colors = label_colors(labels[inside]) if inside.any() else np.zeros((0, 3), np.uint8)
    colors[labels[inside] == 0] = NOWHERE
    columns = len(walks) if len(walks) <= 5 else -(-len(walks) // 2)
    shapes = [box_shape(box)] * len(walks)
    figure, grid, _ = picture_rows(shapes, columns=columns, tallest=2.6, title=title, below=0.25)
    for axes, (steps, walk) in zip(grid, walks.items(), strict=True):
        _draw_ground(axes, box, "1 step" if steps == 1 else f"{steps} steps")
        if truth is not None:
            draw_outlines(axes, truth, "white", width=0.7, box=box, opacity=0.8)
        _draw_pixels(axes, walk, colors, box)
    _legend(figure, lost=bool((labels[inside] == 0).any()), outlined=truth is not None)
    return figure


def _checked_places(walk: Any, count: int, steps: Any) -> np.ndarray:
    walk = np.asarray(walk)
    if walk.shape != (2, count):
        raise ValueError(
            f"The places after {steps} steps have shape {walk.shape}, but (2, {count}) was expected: y and x of each "
            "foreground pixel."
        )
    if walk.dtype.kind not in "iuf" or not np.isfinite(walk).all():
        raise ValueError(f"The places after {steps} steps are no finite numbers.")
    return walk


def _draw_ground(axes: Any, box: Box, title: str) -> None:
    (top, left), (bottom, right) = box
    axes.set_facecolor(GROUND)
    axes.set(xlim=(left - 0.5, right - 0.5), ylim=(bottom - 0.5, top - 0.5), xticks=[], yticks=[])
    axes.set_aspect("equal")
    axes.set_title(title)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _draw_pixels(axes: Any, walk: np.ndarray, colors: np.ndarray, box: Box) -> None:
    """Squares of a pixel's size, and larger ones where many pixels stand on one."""
    (top, left), (bottom, right) = box
    shown = (walk[0] > top - 1) & (walk[0] < bottom) & (walk[1] > left - 1) & (walk[1] < right)
    if not shown.any():
        return
    _, pixel, count = np.unique(np.rint(walk[:, shown]), axis=1, return_inverse=True, return_counts=True)
    # Points an axes has for each pixel: 72 in an inch.
    per_pixel = axes.get_position().height * axes.figure.get_size_inches()[1] * 72 / (bottom - top)
    side = np.where(count[pixel.reshape(-1)] >= CROWD, max(per_pixel, CROWD_MARK), max(per_pixel, SMALLEST_MARK))
    axes.scatter(
        walk[1, shown], walk[0, shown], s=side**2, c=colors[shown] / 255, marker="s", linewidths=0, antialiased=False
    )


def _legend(figure: NotebookFigure, *, lost: bool, outlined: bool) -> None:
    from matplotlib.lines import Line2D

    square = {"marker": "s", "linestyle": "none", "markersize": 6}
    entries = [Line2D([], [], color="#D55E00", label="pixels, in the colour of the cell that they end in", **square)]
    if lost:
        entries.append(Line2D([], [], color=np.array(NOWHERE) / 255, label="end in no cell", **square))
    if outlined:
        entries.append(Line2D([], [], color="0.5", linewidth=1, label="outlines of the truth"))
    figure.legend(handles=entries, loc="lower center", ncols=len(entries), borderaxespad=0.2)
