"""Rows of pictures of different shapes: all as tall as each other, each as wide as its shape asks for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from emlib.visualization.figures import DOTS_PER_INCH, WIDTH, NotebookFigure

GAP, MARGIN = 0.12, 0.08  # inches
LINE = 0.165  # inches of a line of a title


def picture_rows(
    shapes: Sequence[tuple[int, int]],
    *,
    columns: int = 4,
    tallest: float = 2.6,
    narrowest: float = 1.1,
    title_lines: int = 1,
    title: str = "",
    below: float = 0.0,
    beside: float = 0.0,
) -> tuple[NotebookFigure, list[Any], list[float]]:
    """A figure with an axes of the right shape for each picture; nothing has to be moved to make room.

    Args:
        shapes: (y, x) of each picture.
        columns: pictures in a row, at most.
        tallest: largest height of a picture, in inches.
        narrowest: inches that each picture gets at least, for its title.
        title_lines: lines of text above each picture.
        title: of the whole figure.
        below: inches to leave for a legend.
        beside: inches to leave at the right side.

    Returns:
        The figure, its axes, and the (left, bottom, width, height) of the space at the right, in parts of the figure.

    Raises:
        ValueError: no picture, or fewer than one column.

    Example:
        >>> figure, axes, _ = picture_rows([(100, 100), (100, 200)])
        >>> one, other = (ax.get_position() for ax in axes)
        >>> f"{other.width / one.width:.3f} {other.height / one.height:.3f}"
        '2.000 1.000'
    """
    if not len(shapes):
        raise ValueError("There is no picture to show.")
    if columns < 1:
        raise ValueError(f"columns is {columns}, but at least 1 was expected.")
    ratios = [width / height for height, width in shapes]
    rows = [ratios[start : start + columns] for start in range(0, len(ratios), columns)]
    room = WIDTH - beside - 2 * MARGIN
    tall = min([tallest, *(_height(row, room, narrowest) for row in rows)])
    slots = [[max(tall * ratio, narrowest) for ratio in row] for row in rows]
    widths = [sum(row) + GAP * (len(row) - 1) for row in slots]
    # A very narrow figure would cut its own title.
    inner = min(max(*widths, 3.0, 0.075 * len(title)), room)
    above = 0.32 if title else 0.0
    step = tall + LINE * title_lines + GAP
    size = inner + beside + 2 * MARGIN, step * len(rows) + above + below + MARGIN
    figure = NotebookFigure(figsize=size, dpi=DOTS_PER_INCH)
    axes = []
    for number, (row, slot, width) in enumerate(zip(rows, slots, widths, strict=True)):
        left = MARGIN + (inner - width) / 2
        bottom = size[1] - above - step * (number + 1) + GAP / 2
        for ratio, room_here in zip(row, slot, strict=True):
            own = min(tall * ratio, room_here)
            place = (left + (room_here - own) / 2) / size[0], bottom / size[1], own / size[0], own / ratio / size[1]
            axes.append(figure.add_axes(place))
            left += room_here + GAP
    if title:
        figure.suptitle(title, x=(MARGIN + inner / 2) / size[0], y=1 - 0.08 / size[1], va="top")
    free = [1 - beside / size[0], below / size[1], beside / size[0], (step * len(rows) - LINE) / size[1]]
    return figure, axes, free


def _height(ratios: Sequence[float], room: float, narrowest: float) -> float:
    """The largest height with which a row fits into the room: those at their least width do not shrink."""
    room -= GAP * (len(ratios) - 1)
    fixed: list[float] = []
    flexible = sorted(ratios)
    while flexible:
        height = (room - narrowest * len(fixed)) / sum(flexible)
        if height * flexible[0] >= narrowest or height <= 0:
            return max(height, 0.3)
        fixed.append(flexible.pop(0))
    return room / max(ratios)
