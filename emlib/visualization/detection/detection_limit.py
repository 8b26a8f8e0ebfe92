"""AP over the number of detections that may count in an image, and the AP that a perfect answer would have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from emlib.visualization.colors import LINE_COLORS
from emlib.visualization.curves import MARKERS
from emlib.visualization.figures import NotebookFigure, new_figure, styled


@styled
def show_detection_limit(
    max_dets: Sequence[int | None],
    scores: Sequence[float] | Mapping[str, Sequence[float]],
    ceilings: Sequence[float],
    *,
    objects_per_image: Sequence[int] | None = None,
    name: str = "AP",
    title: str = "",
) -> NotebookFigure:
    """The score at each limit under the ceiling that the limit sets; what lies above nobody can reach.

    Args:
        max_dets: limits, increasing; the last may be None, all detections.
        scores: the score at each limit, such as `CocoCurves.average_precision(max_dets=limit)`; or name -> scores.
        ceilings: at each limit, what `emlib.evaluation.ceiling_of_limit` returned.
        objects_per_image: numbers of objects; marks the mean and the fullest image.
        name: of the score.
        title: what to see.

    Raises:
        ValueError: limits that do not increase, lists of other lengths, or figures outside 0 to 1.

    Example:
        >>> figure = show_detection_limit([100, None], [0.2, 0.6], [0.257426, 1.0])
        >>> [words.get_text() for words in figure.axes[0].texts]
        ['0.257', '1.000', '0.200', '0.600']
    """
    limits = list(max_dets)
    numbers = [limit for limit in limits if limit is not None]
    if not limits or None in limits[:-1] or min(numbers, default=1) < 1 or sorted(set(numbers)) != numbers:
        raise ValueError(f"max_dets is {limits}, but increasing numbers from 1, at the end None or not, were expected.")
    named = dict(scores) if isinstance(scores, Mapping) else {"": scores}
    if not named:
        raise ValueError("show_detection_limit needs at least one list of scores.")
    lines = {words: _checked(words or "scores", values, len(limits)) for words, values in named.items()}
    ceiling = _checked("ceilings", ceilings, len(limits))
    counts = np.asarray([] if objects_per_image is None else objects_per_image, float)
    if counts.size and (counts.min() < 0 or not np.isfinite(counts).all()):
        raise ValueError("objects_per_image holds numbers that are negative or not finite.")
    x = np.array([limit or _beyond(numbers, counts) for limit in limits], float)

    figure, axes = new_figure(size=(8.0, 3.5))
    ax = axes[0, 0]
    ax.set_xscale("log")
    ax.fill_between(x, ceiling, 1.12, color="0.9", linewidth=0, label="out of reach")
    ax.plot(x, ceiling, color="black", linestyle="--", marker="_", label="ceiling: a perfect answer")
    for place, value in zip(x, ceiling, strict=True):
        _write(ax, place, value, "black", above=True)
    for index, (words, values) in enumerate(lines.items()):
        color = LINE_COLORS[index % len(LINE_COLORS)]
        ax.plot(x, values, color=color, marker=MARKERS[index % len(MARKERS)], markersize=4, label=words or "measured")
        # Of several lines the numbers would cover each other.
        for place, value in zip(x, values, strict=True) if len(lines) == 1 else ():
            _write(ax, place, value, color, above=False)
    if counts.size:
        for value, words, style in ((counts.mean(), "mean", ":"), (counts.max(), "fullest", "-.")):
            if x[0] / 1.2 <= value <= x[-1] * 1.2 and value > 0:
                label = f"{words} image: {value:,.0f} objects"
                ax.axvline(value, color="0.45", linewidth=1.2, linestyle=style, label=label)
    ax.set_xticks(x, ["all" if limit is None else f"{limit:,}" for limit in limits])
    ax.minorticks_off()
    # Room for the first number at the left of its point.
    ax.set_xlim(x[0] / max((x[-1] / x[0]) ** 0.1, 1.1), x[-1] * max((x[-1] / x[0]) ** 0.05, 1.1))
    ax.set_ylim(-0.08, 1.12)
    ax.set_yticks(np.linspace(0, 1, 6))
    ax.set_xlabel("detections of an image that count (max_dets)")
    ax.set_ylabel(name)
    figure.legend(*ax.get_legend_handles_labels(), loc="outside right upper")
    if title:
        ax.set_title(title)
    return figure


def _write(ax: Any, x: float, y: float, color: str, *, above: bool) -> None:
    """The number of a point where the rising line is not, readable on other lines."""
    from matplotlib.patheffects import withStroke

    words = ax.annotate(f"{y:.3f}", (x, y), (-3, 4) if above else (3, -12), textcoords="offset points", fontsize=8)
    words.set(color=color, ha="right" if above else "left", path_effects=[withStroke(linewidth=2, foreground="white")])


def _beyond(numbers: Sequence[int], counts: np.ndarray) -> float:
    """Where "all" stands: right of all limits and all images."""
    return 2.0 * max([*numbers, *counts.tolist(), 1])


def _checked(words: str, values: Any, count: int) -> np.ndarray:
    array = np.asarray(values, float)
    if array.shape != (count,) or not ((array >= 0) & (array <= 1)).all():
        raise ValueError(f"{words} has shape {array.shape}, but {count} numbers from 0 to 1 were expected.")
    return array
