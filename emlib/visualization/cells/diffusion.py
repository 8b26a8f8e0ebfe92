"""How a flow field comes about: heat that spreads from the centre of each cell, step by step."""

from __future__ import annotations

from typing import Any

import numpy as np

from emlib.visualization.cells.flow_colors import WHEEL_WIDTH, draw_color_wheel
from emlib.visualization.cells.flow_figures import draw_flow_crop
from emlib.visualization.cells.outlines import check_label_image
from emlib.visualization.cells.picture_rows import picture_rows
from emlib.visualization.cells.pictures import Box, box_shape, checked_box, draw_outlines
from emlib.visualization.figures import NotebookFigure, styled
from emlib.visualization.panels import paint

NEEDED = ("steps", "heat", "flow", "centres")
COLDEST = 1e-4  # what is shown as black; one unit of heat comes in with every step
HEAT_COLORS = "inferno"


@styled
def show_diffusion(
    labels: Any, diffusion: Any, *, cell: int | None = None, box: Box | None = None, title: str = ""
) -> NotebookFigure:
    """Heat around one cell after some steps of diffusion, and the flow that climbs up the heat.

    All panels have one logarithmic scale. The cross marks where heat is added.

    Args:
        labels: (y, x) ids, 0 = background.
        diffusion: what `emlib.diffusion.diffusion_steps` returned for these labels: `steps`, `heat` (n, y, x), `flow`
            (2, y, x) and `centres` (cells, 2).
        cell: id of the one in the middle; default one of middle size that touches another.
        box: what to show instead, ((top, left), (bottom, right)).
        title: what to see.

    Raises:
        TypeError: a diffusion that lacks one of these.
        ValueError: no cell, no such cell, a box outside, or shapes that do not fit.

    Example:
        >>> from emlib.diffusion import diffusion_steps
        >>> labels = np.zeros((12, 16), int)
        >>> labels[2:10, 2:8], labels[2:10, 8:14] = 5, 9
        >>> figure = show_diffusion(labels, diffusion_steps(labels, (1, 10)))
        >>> [axes.get_title() for axes in figure.axes][:3]
        ['1 step', '10 steps', 'flow']
    """
    labels = check_label_image(labels)
    steps, heat, flow, centres = _parts(diffusion, labels.shape)
    if box is not None and cell is not None:
        raise ValueError("cell and box both say what to show; give one of them.")
    box = checked_box(box, labels.shape) if box is not None else _around(labels, typical_cell(labels, cell))
    (top, left), (bottom, right) = box
    shapes = [box_shape(box)] * (len(steps) + 1)
    columns = len(shapes) if len(shapes) <= 5 else -(-len(shapes) // 2)
    figure, grid, beside = picture_rows(shapes, columns=columns, tallest=2.2, title=title, beside=WHEEL_WIDTH)
    warmest = max(float(heat[:, top:bottom, left:right].max()), 10 * COLDEST)
    for axes, number, plane in zip(grid, steps, heat, strict=False):
        words = "1 step" if number == 1 else f"{number} steps"
        _draw_heat(axes, plane[top:bottom, left:right], box, warmest, words)
        draw_outlines(axes, labels, "white", width=0.9, box=box)
        _draw_centres(axes, centres, box)
    draw_flow_crop(grid[-1], flow, box, scale=1.0, dim=0.75)
    draw_outlines(grid[-1], labels, "white", width=0.9, box=box)
    grid[-1].set_title("flow")
    _draw_legends(figure, beside, warmest)
    return figure


def typical_cell(labels: np.ndarray, cell: int | None = None) -> int:
    """The id given, if there is such a cell; otherwise of those that touch another (of all, if none does) the one of
    middle size, and of these rather one that the image's border does not cut.

    Example:
        >>> typical_cell(np.array([[0, 7, 7, 9, 0, 3]]))
        9
    """
    ids, sizes = np.unique(labels[labels != 0], return_counts=True)
    if not ids.size:
        raise ValueError("There is no cell in the labels: all pixels are background.")
    if cell is not None:
        if int(cell) not in ids.tolist():
            raise ValueError(f"There is no cell {cell} in the labels.")
        return int(cell)
    touching = [ids[:0]]
    for one, other in ((labels[1:], labels[:-1]), (labels[:, 1:], labels[:, :-1])):
        meet = (one != other) & (one != 0) & (other != 0)
        touching += [one[meet], other[meet]]
    cut = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    whole = ~np.isin(ids, cut)
    meets = np.isin(ids, np.concatenate(touching))
    for wanted in (meets & whole, meets, whole, np.ones(ids.size, bool)):
        if wanted.any():
            order = np.argsort(sizes[wanted], kind="stable")
            return int(ids[wanted][order[(len(order) - 1) // 2]])
    raise AssertionError("the last of these holds every cell")


def _around(labels: np.ndarray, cell: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """A square of twice the cell's longer side, moved inside the image."""
    y, x = np.nonzero(labels == labels.dtype.type(cell))
    low, high = np.array([y.min(), x.min()]), np.array([y.max(), x.max()]) + 1
    side = max(2 * int((high - low).max()), 16)
    starts, ends = [], []
    for first, last, length in zip(low.tolist(), high.tolist(), labels.shape, strict=True):
        start = max(min((first + last - side) // 2, length - side), 0)
        starts.append(start)
        ends.append(min(start + side, length))
    return (starts[0], starts[1]), (ends[0], ends[1])


def _parts(diffusion: Any, shape: tuple[int, ...]) -> tuple[list[int], np.ndarray, np.ndarray, np.ndarray]:
    missing = [name for name in NEEDED if not hasattr(diffusion, name)]
    if missing:
        raise TypeError(
            f"diffusion must have {', '.join(NEEDED)}, as emlib.diffusion.diffusion_steps returns it; it lacks "
            f"{', '.join(missing)}."
        )
    steps, heat = [int(one) for one in diffusion.steps], np.asarray(diffusion.heat)
    flow, centres = np.asarray(diffusion.flow), np.asarray(diffusion.centres)
    wanted = (len(steps), *shape), (2, *shape)
    if (heat.shape, flow.shape) != wanted or not steps:
        raise ValueError(
            f"For {len(steps)} numbers of steps and labels {shape}, heat {wanted[0]} and a flow {wanted[1]} were "
            f"expected; they are {heat.shape} and {flow.shape}."
        )
    return steps, heat, flow, centres.reshape(-1, 2)


def _draw_heat(axes: Any, plane: np.ndarray, box: Box, warmest: float, words: str) -> None:
    from matplotlib import colormaps
    from matplotlib.colors import LogNorm

    (top, left), (bottom, right) = box
    level = LogNorm(COLDEST, warmest, clip=True)(np.maximum(plane, COLDEST))
    picture = np.rint(colormaps[HEAT_COLORS](np.asarray(level))[..., :3] * 255).astype(np.uint8)
    paint(axes, picture, kind="rgb", full_shape=picture.shape[:2], voxel_size=None, title=words)
    axes.images[-1].set(extent=(left - 0.5, right - 0.5, bottom - 0.5, top - 0.5), interpolation="nearest")
    axes.set(xlim=(left - 0.5, right - 0.5), ylim=(bottom - 0.5, top - 0.5), autoscale_on=False)


def _draw_centres(axes: Any, centres: np.ndarray, box: Box) -> None:
    (top, left), (bottom, right) = box
    inside = (centres >= (top, left)).all(axis=1) & (centres < (bottom, right)).all(axis=1)
    y, x = centres[inside].T
    axes.plot(x, y, "+", color="#56B4E9", markersize=6, markeredgewidth=1.2)


def _draw_legends(figure: NotebookFigure, beside: list[float], warmest: float) -> None:
    """The colour wheel, and below it the scale of the heat."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import LogNorm

    left, bottom, width, height = beside
    draw_color_wheel(figure.add_axes((left, bottom + 0.36 * height, width, 0.64 * height)))
    place = figure.add_axes((left + 0.12 * width, bottom + 0.25 * height, 0.76 * width, 0.05 * height))
    bar = figure.colorbar(ScalarMappable(LogNorm(COLDEST, warmest), HEAT_COLORS), cax=place, orientation="horizontal")
    bar.outline.set_visible(False)
    bar.set_label("heat", labelpad=0)
    bar.set_ticks([COLDEST, 1e-2, 1])
    place.tick_params(labelsize=7, pad=1)
