"""Flow fields as colours: the hue says which way, the brightness how far."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any

import numpy as np

WHEEL_WIDTH = 1.2


def flow_colors(flow: Any, *, scale: float = 1.0) -> np.ndarray:
    """Hue for the direction, brightness for the length.

    To the right is red, down (the direction of increasing y) yellow-green, to the left cyan, up violet, and so around
    the circle: hue = angle / 360 degrees, where the angle grows from x to y. No flow is black; `scale` and longer are
    fully bright.

    Args:
        flow: (2, y, x), float: y and x components.
        scale: which length is fully bright: 1 for unit vectors as `gradient_flow` makes them.

    Returns:
        uint8 (y, x, 3).

    Raises:
        TypeError: a flow that is not floating point.
        ValueError: another shape, no pixels, NaN or infinite values, a scale that is not above 0.

    Source: the colour code of optical flow, Baker et al., IJCV 2011.

    Example:
        >>> flow = np.zeros((2, 1, 3))
        >>> flow[1, 0] = 1, -0.5, 0
        >>> flow_colors(flow).tolist()
        [[[255, 0, 0], [0, 128, 128], [0, 0, 0]]]
    """
    from matplotlib.colors import hsv_to_rgb

    vectors = checked_section_flow(flow)
    if isinstance(scale, bool) or not isinstance(scale, Real) or not 0 < scale < math.inf:
        raise ValueError(f"scale is {scale!r}, but a length above 0 was expected.")
    down, right = vectors.astype(np.float64)
    hue = np.arctan2(down, right) / (2 * np.pi) % 1.0
    bright = np.minimum(np.hypot(down, right) / scale, 1.0)
    return np.rint(hsv_to_rgb(np.stack([hue, np.ones_like(hue), bright], axis=-1)) * 255).astype(np.uint8)


def color_wheel(side: int = 81) -> np.ndarray:
    """The colours of all directions around a middle, white outside the circle; uint8 (side, side, 3).

    Example:
        >>> color_wheel(3)[1].tolist()
        [[0, 255, 255], [0, 0, 0], [255, 0, 0]]
    """
    y, x = np.indices((side, side)) - (side - 1) / 2
    reach = (side - 1) / 2
    wheel = flow_colors(np.stack([y, x]), scale=reach)
    wheel[np.hypot(y, x) > reach + 0.3] = 255
    return wheel


def draw_color_wheel(axes: Any) -> None:
    """The legend of `flow_colors`, on an axes of its own, which should be `WHEEL_WIDTH` inches wide."""
    axes.imshow(color_wheel(), extent=(-1, 1, 1, -1), interpolation="bilinear")
    for words, place in {"right": (1.12, 0), "left": (-1.12, 0), "up": (0, -1.12), "down": (0, 1.12)}.items():
        across = {"right": "left", "left": "right"}.get(words, "center")
        along = {"up": "bottom", "down": "top"}.get(words, "center")
        axes.text(*place, words, ha=across, va=along, fontsize=8, in_layout=False)
    words = "colour: direction\nbrightness: length"
    axes.text(0, 1.75, words, ha="center", va="top", fontsize=8, in_layout=False)
    axes.set_xlim(-2.1, 2.1)
    axes.set_ylim(2.9, -1.7)
    axes.set_aspect("equal")
    axes.set_axis_off()


def draw_arrows(axes: Any, flow: np.ndarray, *, corner: Any, step: int, least: float = 0.3) -> None:
    """An arrow at every `step`-th pixel whose flow is longer than `least` of the longest typical one.

    Args:
        axes: of matplotlib, in pixels.
        flow: float (2, y, x), a part of an image.
        corner: which pixel (y, x) of the image its first one is.
        step: pixels between arrows, which have about that length.
        least: no arrow for shorter flow, as a part of the 99th percentile of the lengths.
    """
    from matplotlib.patheffects import withStroke

    first = step // 2
    y, x = (grid.ravel() for grid in np.mgrid[first : flow.shape[1] : step, first : flow.shape[2] : step])
    vectors = flow[:, y, x].astype(np.float64)
    length = np.hypot(*vectors)
    typical = float(np.percentile(np.hypot(*flow.astype(np.float64)), 99)) or 1.0
    kept = length > least * typical
    if not kept.any():
        return
    y, x, vectors = y[kept], x[kept], vectors[:, kept] / typical
    arrows = axes.quiver(
        x + corner[1], y + corner[0], vectors[1], vectors[0], angles="xy", scale_units="xy", scale=1 / (0.95 * step),
        pivot="mid", color="white", width=0.009, headwidth=3.6, headlength=4.0, headaxislength=3.6,
    )  # fmt: skip
    arrows.set_path_effects([withStroke(linewidth=1.0, foreground="black")])


def checked_section_flow(flow: Any, name: str = "The flow") -> np.ndarray:
    """A flow (2, y, x) of finite floating-point numbers.

    Raises:
        TypeError, ValueError: it is none.
    """
    vectors = np.asarray(flow)
    if vectors.dtype.kind != "f":
        raise TypeError(f"{name} is {vectors.dtype}, but floating point was expected.")
    if vectors.ndim != 3 or vectors.shape[0] != 2 or vectors.size == 0:
        raise ValueError(f"{name} has shape {vectors.shape}, but (2, y, x) was expected; volumes are not drawn.")
    if not np.isfinite(vectors).all():
        raise ValueError(f"{name} holds NaN or infinite values.")
    return vectors
