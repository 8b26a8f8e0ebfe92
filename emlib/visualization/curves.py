"""Lines over iterations, thresholds and recall."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from emlib.visualization.colors import LINE_COLORS
from emlib.visualization.figures import NotebookFigure, new_figure, styled

LINE_STYLES = ("-", "--", "-.", ":")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")


@styled
def show_metric_curve(
    x: Sequence[float],
    curves: Mapping[str, Sequence[float]],
    *,
    xlabel: str = "",
    ylabel: str = "",
    ylim: tuple[float, float] | None = None,
    log_x: bool = False,
    title: str = "",
) -> NotebookFigure:
    """One or more named curves over the same x; each has its own colour, dash and marker.

    Args:
        x: positions, n numbers.
        curves: name -> n numbers; NaN leaves a gap.
        xlabel: what x is, with its unit.
        ylabel: what y is; default the name of the only curve.
        ylim: lower and upper end of the y axis.
        log_x: logarithmic x axis.
        title: what to see.

    Raises:
        ValueError: no curve, or a curve that is not as long as x.

    Example:
        >>> figure = show_metric_curve([0, 1, 2], {"AP-50": [0.1, 0.4, 0.5]}, xlabel="epoch")
        >>> figure.axes[0].get_ylabel()
        'AP-50'
    """
    _check_curves(x, curves)
    figure, axes = new_figure(size=(6.5, 3.2))
    _draw_curves(axes[0, 0], x, curves)
    _finish(axes[0, 0], xlabel, ylabel, title, curves)
    if log_x:
        axes[0, 0].set_xscale("log")
    if ylim is not None:
        axes[0, 0].set_ylim(*ylim)
    return figure


@styled
def show_threshold_sweep(
    rows: Sequence[Mapping[str, Any]],
    *,
    x: str,
    y: Sequence[str] | str,
    chosen: float | None = None,
    title: str = "",
) -> NotebookFigure:
    """How figures change with a threshold, and which threshold was chosen.

    Args:
        rows: one mapping a threshold, with the columns `x` and `y`.
        x: name of the threshold's column.
        y: names of the columns to draw.
        chosen: threshold to mark with a vertical line.
        title: what to see.

    Raises:
        ValueError: no rows, or a column that a row lacks.

    Example:
        >>> figure = show_threshold_sweep([{"t": 0.1, "AP": 0.5}, {"t": 0.2, "AP": 0.7}], x="t", y=["AP"], chosen=0.2)
        >>> [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
        ['AP', 'chosen: 0.2']
    """
    names = [y] if isinstance(y, str) else list(y)
    if not rows:
        raise ValueError("show_threshold_sweep needs at least one row.")
    for name in [x, *names]:
        lacking = [index for index, row in enumerate(rows) if name not in row]
        if lacking:
            raise ValueError(
                f"Row {lacking[0]} has no column {name!r}; it has {', '.join(map(str, rows[lacking[0]]))}."
            )
    ordered = sorted(rows, key=lambda row: row[x])
    figure, axes = new_figure(size=(6.5, 3.2))
    ax = axes[0, 0]
    curves = {name: [row[name] for row in ordered] for name in names}
    _draw_curves(ax, [row[x] for row in ordered], curves)
    if chosen is not None:
        ax.axvline(chosen, color="black", linewidth=1.2, linestyle=(0, (1, 1)), label=f"chosen: {chosen:g}")
    _finish(ax, x, "", title, curves, legend=True)
    return figure


@styled
def show_precision_recall(
    curves: Mapping[str, tuple[Sequence[float], Sequence[float]]], *, title: str = ""
) -> NotebookFigure:
    """Precision over recall, both from 0 to 1, one curve a name.

    Args:
        curves: name -> (recall, precision), two sequences of one length.
        title: what to see.

    Raises:
        ValueError: no curve, or recall and precision differ in length or leave [0, 1].

    Example:
        >>> show_precision_recall({"IoU 0.5": ([0.0, 0.5, 1.0], [1.0, 0.9, 0.4])}).axes[0].get_xlabel()
        'recall'
    """
    if not curves:
        raise ValueError("show_precision_recall needs at least one curve.")
    figure, axes = new_figure(size=(4.4, 3.9))
    ax = axes[0, 0]
    for index, (name, (recall, precision)) in enumerate(curves.items()):
        recall, precision = np.asarray(recall, float), np.asarray(precision, float)
        if recall.shape != precision.shape or recall.ndim != 1:
            raise ValueError(f"{name}: recall and precision must be as long as each other.")
        values = np.concatenate([recall, precision])
        if not ((values >= 0) & (values <= 1)).all():
            raise ValueError(f"{name}: recall and precision must lie between 0 and 1.")
        style = LINE_STYLES[index % len(LINE_STYLES)]
        ax.step(recall, precision, where="post", color=_color(index), linestyle=style, label=name)
    ax.set_xlim(0, 1.02)
    ax.set_ylim(0, 1.04)
    ax.set_aspect("equal")
    ax.legend(loc="lower left")
    _finish(ax, "recall", "precision", title, {})
    return figure


@styled
def show_scores_by_size(
    scores: Mapping[str, float] | Mapping[str, Mapping[str, float]], *, name: str = "AP", title: str = ""
) -> NotebookFigure:
    """Bars of a score for each class of object sizes, for one method or several beside each other.

    Args:
        scores: size class -> score, or method -> {size class -> score}; NaN (no such object) leaves the bar out and
            says so.
        name: what the score is called.
        title: what to see.

    Raises:
        ValueError: nothing to draw, or methods with different size classes.

    Example:
        >>> figure = show_scores_by_size({"small": 0.3, "medium": 0.6, "large": 0.8})
        >>> [text.get_text() for text in figure.axes[0].texts]
        ['0.30', '0.60', '0.80']
    """
    if not scores:
        raise ValueError("show_scores_by_size needs at least one score.")
    nested = all(isinstance(value, Mapping) for value in scores.values())
    methods = dict(scores) if nested else {"": scores}
    classes = list(next(iter(methods.values())))
    for method, values in methods.items():
        if list(values) != classes:
            raise ValueError(f"{method} has the size classes {list(values)}, not {classes} like the first.")
    figure, axes = new_figure(size=(min(2.0 + 0.7 * len(classes) * len(methods), 9.0), 3.0))
    ax, width = axes[0, 0], 0.8 / len(methods)
    for index, (method, values) in enumerate(methods.items()):
        places = np.arange(len(classes)) + (index - (len(methods) - 1) / 2) * width
        heights = np.array([values[one] for one in classes], float)
        ax.bar(places, np.nan_to_num(heights), 0.92 * width, color=_color(index), label=method)
        for place, height in zip(places, heights, strict=True):
            words = "none" if np.isnan(height) else f"{height:.2f}"
            ax.text(place, np.nan_to_num(height) + 0.01, words, ha="center", va="bottom", fontsize=8)
    ax.set_xticks(range(len(classes)), classes)
    tallest = np.nanmax([[*values.values(), 0.0] for values in methods.values()])
    ax.set_ylim(0, max(1.0, float(tallest)) * 1.08)
    if nested:
        ax.legend(loc="upper left", ncols=len(methods))
        ax.set_ylim(0, ax.get_ylim()[1] * 1.12)
    _finish(ax, "object size", name, title, {})
    return figure


def _check_curves(x: Sequence[float], curves: Mapping[str, Sequence[float]]) -> None:
    if not curves:
        raise ValueError("There is no curve to draw.")
    for name, values in curves.items():
        if len(values) != len(x):
            raise ValueError(f"The curve {name!r} has {len(values)} points, but x has {len(x)}.")


def _draw_curves(ax: Any, x: Sequence[float], curves: Mapping[str, Sequence[float]]) -> None:
    few = len(x) <= 40
    for index, (name, values) in enumerate(curves.items()):
        style = LINE_STYLES[index % len(LINE_STYLES)]
        marker = MARKERS[index % len(MARKERS)] if few else None
        ax.plot(x, values, color=_color(index), linestyle=style, marker=marker, markersize=4, label=name)


def _finish(
    ax: Any, xlabel: str, ylabel: str, title: str, curves: Mapping[str, Any], *, legend: bool | None = None
) -> None:
    ax.set_xlabel(xlabel)
    ax.set_ylabel(ylabel or (next(iter(curves)) if len(curves) == 1 else ""))
    ax.grid(axis="y", color="0.9", linewidth=0.8)
    ax.set_axisbelow(True)
    if legend or (legend is None and len(curves) > 1):
        ax.legend(loc="best")
    if title:
        ax.set_title(title)


def _color(index: int) -> str:
    return LINE_COLORS[index % len(LINE_COLORS)]
