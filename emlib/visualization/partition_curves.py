"""Splits against merges over a threshold, and the adapted Rand error beside them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from emlib.visualization.colors import LINE_COLORS
from emlib.visualization.curves import LINE_STYLES, MARKERS
from emlib.visualization.figures import NotebookFigure, new_figure, styled

NEEDED = ("thresholds", "adapted_rand_error", "voi_split", "voi_merge")
MOST_WORDS = 9  # thresholds written at the points of a curve; more would cover each other


@styled
def show_partition_curve(
    curves: Any,
    *,
    references: Mapping[str, tuple[float, float, float]] | None = None,
    title: str = "",
) -> NotebookFigure:
    """VOI split and merge with the threshold at each point, and the adapted Rand error over the threshold.

    Good segmentations lie near the origin on the left and low on the right. The ring is the threshold of the lowest
    adapted Rand error of each curve.

    Args:
        curves: what `emlib.evaluation.partition_curve` returned, or name -> such a curve, to compare methods.
        references: name -> (VOI split, VOI merge, adapted Rand error) of segmentations without a threshold, such as
            the fragments alone.
        title: what to see.

    Raises:
        TypeError: a curve that lacks thresholds or scores.
        ValueError: no curve, or scores that are not as many as the thresholds.

    Example:
        >>> from types import SimpleNamespace
        >>> curve = SimpleNamespace(
        ...     thresholds=[0.1, 0.5], adapted_rand_error=[0.4, 0.2], voi_split=[2.0, 0.5], voi_merge=[0.1, 0.3]
        ... )
        >>> [axes.get_xlabel() for axes in show_partition_curve(curve).axes]
        ['VOI split (bits)', 'threshold']
    """
    named = dict(curves) if isinstance(curves, Mapping) else {"": curves}
    if not named:
        raise ValueError("show_partition_curve needs at least one curve.")
    figure, axes = new_figure(1, 2, size=(9.0, 3.9))
    plane, errors = axes[0]
    for index, (name, curve) in enumerate(named.items()):
        thresholds, error, split, merge = _columns(name, curve)
        best = int(np.nanargmin(error))
        color, marker = LINE_COLORS[index % len(LINE_COLORS)], MARKERS[index % len(MARKERS)]
        style = {"color": color, "linestyle": LINE_STYLES[index % len(LINE_STYLES)], "marker": marker, "markersize": 4}
        label = f"{name}: best at {thresholds[best]:g}, {error[best]:.3f}" if name else ""
        plane.plot(split, merge, **style, label=name)
        errors.plot(thresholds, error, **style, label=label)
        for ax, x, y in ((plane, split, merge), (errors, thresholds, error)):
            ring = {"markerfacecolor": "none", "markeredgewidth": 1.6, "markersize": 11}
            ax.plot(x[best], y[best], marker="o", linestyle="none", color=color, **ring)
        _write_thresholds(plane, thresholds, split, merge, best, color, above=index % 2 == 0)
        if not name:
            words = f"lowest: {error[best]:.3f} at {thresholds[best]:g}"
            errors.set_title(words)
    for index, (name, (split, merge, error)) in enumerate((references or {}).items()):
        marker = MARKERS[-1 - index % len(MARKERS)]
        plane.plot(split, merge, marker=marker, color="0.35", markersize=8, linestyle="none", label=name)
        errors.axhline(
            error, color="0.35", linewidth=1.2, linestyle=LINE_STYLES[1 + index % 3], label=f"{name}: {error:.3f}"
        )
    for ax, x, y in ((plane, "VOI split (bits)", "VOI merge (bits)"), (errors, "threshold", "adapted Rand error")):
        ax.set_xlabel(x)
        ax.set_ylabel(y)
        ax.grid(color="0.9", linewidth=0.8)
        ax.set_axisbelow(True)
        # Scores start at 0, with room for a ring there and for the threshold written at the last point.
        for low_high, set_limits in ((ax.dataLim.intervaly, ax.set_ylim), (ax.dataLim.intervalx, ax.set_xlim)):
            top = max(float(low_high[1]), 1e-3)
            if ax is plane or set_limits == ax.set_ylim:
                set_limits(-0.07 * top, 1.1 * top)
        if ax.get_legend_handles_labels()[1]:
            ax.legend(loc="best", frameon=True, framealpha=0.85, edgecolor="none")
    plane.set_title("fewer splits to the left, fewer merges below")
    if title:
        figure.suptitle(title)
    return figure


def _columns(name: str, curve: Any) -> list[np.ndarray]:
    missing = [one for one in NEEDED if not hasattr(curve, one)]
    if missing:
        raise TypeError(f"A partition curve has {', '.join(NEEDED)}; {name or 'this one'} lacks {', '.join(missing)}.")
    columns = [np.asarray(getattr(curve, one), float) for one in NEEDED]
    if columns[0].ndim != 1 or columns[0].size == 0 or any(column.shape != columns[0].shape for column in columns):
        raise ValueError(
            f"{name or 'The curve'} must have as many scores as thresholds; the lengths are "
            f"{', '.join(str(column.size) for column in columns)}."
        )
    return columns


def _write_thresholds(
    ax: Any, thresholds: np.ndarray, x: np.ndarray, y: np.ndarray, best: int, color: str, *, above: bool
) -> None:
    step = -(-len(thresholds) // MOST_WORDS)
    for index in sorted({*range(0, len(thresholds), step), len(thresholds) - 1, best}):
        words = ax.annotate(
            f"{thresholds[index]:g}", (x[index], y[index]), (5, 4 if above else -11), textcoords="offset points"
        )
        words.set(color=color, fontsize=8, fontweight="bold" if index == best else "normal")
