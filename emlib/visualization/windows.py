"""How a volume is cut into overlapping windows, and how their predictions are weighted where they meet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from emlib.visualization.colors import BLUE, ORANGE
from emlib.visualization.figures import NotebookFigure, new_figure, styled
from emlib.visualization.panels import find_voxel_size, paint

AXIS_NUMBERS = {"z": 0, "y": 1, "x": 2}


@styled
def show_window_plan(
    shape: Sequence[int],
    window: Sequence[int],
    positions: Sequence[Sequence[int]],
    *,
    axis: str = "yx",
    voxel_size: Sequence[float] | None = None,
    title: str = "",
) -> NotebookFigure:
    """The outline of a volume with its windows, seen along one axis: the darker, the more windows overlap there.

    Args:
        shape: (z, y, x) of the volume in voxels.
        window: (z, y, x) of a window.
        positions: first voxel (z, y, x) of each window.
        axis: the two axes to draw, vertical then horizontal: "yx", "zy" or "zx" (or swapped).
        voxel_size: nm (z, y, x), for the true aspect.
        title: what to see.

    Raises:
        ValueError: unknown axes, or shape, window or positions that are not (z, y, x).

    Example:
        >>> figure = show_window_plan((8, 64, 64), (8, 32, 32), [(0, 0, 0), (0, 16, 0)])
        >>> len(figure.axes[0].patches)  # two windows, one of them outlined, and the volume
        4
    """
    from matplotlib.patches import Rectangle

    if len(axis) != 2 or axis[0] == axis[1] or any(letter not in AXIS_NUMBERS for letter in axis):
        raise ValueError(f"axis must name two of z, y and x, such as 'yx'; not {axis!r}.")
    corners = np.asarray(positions, int)
    if len(shape) != 3 or len(window) != 3 or corners.ndim != 2 or corners.shape[1] != 3:
        raise ValueError("shape, window and each position must be (z, y, x).")
    down, across = AXIS_NUMBERS[axis[0]], AXIS_NUMBERS[axis[1]]
    voxel_size = find_voxel_size(voxel_size)
    aspect = voxel_size[down] / voxel_size[across] if voxel_size else 1.0
    seen = np.unique(corners[:, [down, across]], axis=0)
    reach = [max(shape[number], int(corners[:, number].max()) + window[number]) for number in (down, across)]
    height = min(max(4.6 * reach[0] * aspect / reach[1], 1.0), 5.0)
    figure, axes = new_figure(size=(6.0, height + 0.9))
    ax = axes[0, 0]
    for top, left in seen:
        ax.add_patch(Rectangle((left, top), window[across], window[down], facecolor=BLUE, alpha=0.16, edgecolor="none"))
    top, left = seen[0]
    ax.add_patch(
        Rectangle((left, top), window[across], window[down], fill=False, edgecolor=ORANGE, linewidth=2, zorder=3)
    )
    ax.add_patch(Rectangle((0, 0), shape[across], shape[down], fill=False, edgecolor="black", linewidth=1.5))
    low = np.minimum(seen.min(axis=0), 0)
    margin = 0.03 * np.array(reach)
    ax.set_xlim(low[1] - margin[1], reach[1] + margin[1])
    ax.set_ylim(reach[0] + margin[0], low[0] - margin[0])
    ax.set_aspect(aspect)
    ax.spines[["left", "bottom"]].set_visible(False)
    ax.set_xlabel(f"{axis[1]} (voxels)")
    ax.set_ylabel(f"{axis[0]} (voxels)")
    size = " x ".join(str(int(side)) for side in window)
    words = f"{len(corners)} windows of {size} voxels, {len(seen)} places in {axis}; orange: one window"
    ax.set_title(f"{title}\n{words}" if title else words)
    return figure


@styled
def show_blending(weights_3d: Any, *, voxel_size: Sequence[float] | None = None, title: str = "") -> NotebookFigure:
    """The weight of each voxel of a window, in the three central planes.

    Args:
        weights_3d: (z, y, x) weights, zero or larger.
        voxel_size: nm (z, y, x), for the true aspect.
        title: what to see.

    Raises:
        ValueError: not 3-D.

    Example:
        >>> [axes.get_title() for axes in show_blending(np.ones((4, 6, 8))).axes[:3]]
        ['central yx plane', 'central zx plane', 'central zy plane']
    """
    weights = np.asarray(weights_3d, np.float32)
    if weights.ndim != 3:
        raise ValueError(f"weights must be (z, y, x); their shape is {weights.shape}.")
    steps = find_voxel_size(voxel_size, weights_3d) or (1.0, 1.0, 1.0)
    if len(steps) != 3:
        raise ValueError(f"The voxel size of a volume is (z, y, x); this one is {steps}.")
    z, y, x = (size // 2 for size in weights.shape)
    planes = {
        "central yx plane": (weights[z], steps[1:]),
        "central zx plane": (weights[:, y], (steps[0], steps[2])),
        "central zy plane": (weights[:, :, x], steps[:2]),
    }
    extents = [plane.shape[1] * size[1] for plane, size in planes.values()]
    figure, axes = new_figure(1, 4, size=(9.0, 2.9), ratios=[*extents, 0.04 * sum(extents)])
    top = float(weights.max()) or 1.0
    for ax, (name, (plane, size)) in zip(axes[0], planes.items(), strict=False):
        paint(ax, plane / top, kind="probability", full_shape=plane.shape, voxel_size=size, title=name, colorbar=False)
    bar = figure.colorbar(axes[0, 0].images[0], cax=axes[0, 3])
    bar.set_label("weight / largest weight")
    figure.suptitle(title or f"Weights from {weights.min():.3g} to {weights.max():.3g}")
    return figure
