"""The sizes of objects against those of anchors, and how well the best anchor of each object fits it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from emlib.visualization.colors import BLUE, GREEN, LINE_COLORS, ORANGE, SKY, VERMILLION
from emlib.visualization.figures import NotebookFigure, new_figure, styled

NEEDED = ("sizes", "best_iou", "anchor_sizes")
# From each IoU on, what becomes of an object whose best anchor has no more.
SHARES = (
    (0.7, "0.7 or more", GREEN),
    (0.5, "0.5 to 0.7", SKY),
    (0.3, "0.3 to 0.5", ORANGE),
    (0.0, "below 0.3", VERMILLION),
)
LEAST_SHARE = 4  # percent of a bar, that have room for their number
ROW = 0.27  # inches of a setting


@styled
def show_anchor_sizes(quality: Any, *, title: str = "") -> NotebookFigure:
    """How many objects there are of each size, the sizes of anchors below, and under that the overlap of best anchors.

    Where anchors leave a gap among the objects, or the bars are not green, the network has to learn from anchors that
    fit badly: an anchor counts as an object from an IoU of 0.7, else only the best one of each object does.

    Args:
        quality: what `emlib.models.anchor_quality` returned, with `sizes`, `best_iou` and `anchor_sizes`; or name ->
            such a result, to compare settings.
        title: what to see.

    Raises:
        TypeError: a result that lacks one of these.
        ValueError: nothing to compare, no object, sizes that are not above 0, or an IoU outside 0 to 1.

    Example:
        >>> from types import SimpleNamespace
        >>> found = SimpleNamespace(sizes=[10.0, 20.0], best_iou=[0.8, 0.55], anchor_sizes=(8, 16, 32))
        >>> [float(bar.get_width()) for bar in show_anchor_sizes(found).axes[2].patches]
        [50.0, 50.0]
    """
    named = dict(quality) if isinstance(quality, Mapping) else {"": quality}
    if not named:
        raise ValueError("show_anchor_sizes needs at least one result of anchor_quality.")
    columns = {name: _columns(name, one) for name, one in named.items()}
    height = 1.9 + 2 * (0.35 + ROW * len(named)) + (0.55 if len(named) == 1 else 0.35)
    figure, axes = new_figure(3, 1, size=(8.5, height + 0.3))
    histogram, anchors, bars = axes[:, 0]
    ratios = [1.9, 0.15 + ROW * len(named), 0.15 + ROW * len(named)]
    histogram.get_gridspec().set_height_ratios(ratios)
    limits = _draw_sizes(histogram, columns)
    _draw_anchors(anchors, columns, limits)
    histogram.set_xlim(*limits)
    histogram.tick_params(labelbottom=False)
    histogram.sharex(anchors)
    _draw_shares(bars, columns)
    if title:
        figure.suptitle(title)
    return figure


def _columns(name: str, quality: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    missing = [one for one in NEEDED if not hasattr(quality, one)]
    if missing:
        raise TypeError(f"A result has {', '.join(NEEDED)}; {name or 'this one'} lacks {', '.join(missing)}.")
    sizes, overlap, anchors = (np.asarray(getattr(quality, one), float).reshape(-1) for one in NEEDED)
    words = name or "The result"
    if not sizes.size or not anchors.size or overlap.shape != sizes.shape:
        raise ValueError(
            f"{words} has {sizes.size} sizes, {overlap.size} overlaps and {anchors.size} anchors, but one overlap for "
            "each of at least one object, and an anchor, were expected."
        )
    if not (np.concatenate([sizes, anchors]) > 0).all() or not np.isfinite(sizes).all():
        raise ValueError(f"{words} has sizes that are not above 0 pixels.")
    if not ((overlap >= 0) & (overlap <= 1)).all():
        raise ValueError(f"{words} has overlaps outside 0 to 1.")
    return sizes, overlap, anchors


def _draw_sizes(ax: Any, columns: Mapping[str, tuple[np.ndarray, ...]]) -> tuple[float, float]:
    """The histogram; settings that see the same sizes share one. Returns the limits of the x axis."""
    from matplotlib.ticker import MaxNLocator

    seen: dict[bytes, list[str]] = {}
    for name, (sizes, _, _) in columns.items():
        seen.setdefault(sizes.tobytes(), []).append(name)
    both = np.concatenate([np.concatenate([sizes, anchors]) for sizes, _, anchors in columns.values()])
    limits = float(both.min() / 1.25), float(both.max() * 1.4)
    every = np.concatenate([sizes for sizes, _, _ in columns.values()])
    # Five bins an octave at most, so that the gap between two anchors, an octave, is seen.
    count = int(np.clip(5 * np.log2(limits[1] / limits[0]), 8, 60))
    bins = np.geomspace(*limits, count + 1)
    for index, names in enumerate(seen.values()):
        sizes = columns[names[0]][0]
        if len(seen) == 1:
            ax.hist(sizes, bins=bins, color=BLUE, edgecolor="white", linewidth=0.5)
        else:
            ax.hist(sizes, bins=bins, color=LINE_COLORS[index], histtype="step", linewidth=1.4, label=", ".join(names))
    middle = f", median {np.median(every):.0f} pixels" if len(seen) == 1 else ""
    ax.set_title(f"{len(next(iter(columns.values()))[0]):,} objects{middle}")
    ax.set_xscale("log")
    ax.set_ylabel("objects")
    ax.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=4))
    for size in np.unique(np.concatenate([anchors for _, _, anchors in columns.values()])):
        ax.axvline(size, color="0.6", linewidth=0.9, linestyle="--", zorder=0)
    if len(seen) > 1:
        ax.legend(loc="upper right")
    return limits


def _draw_anchors(ax: Any, columns: Mapping[str, tuple[np.ndarray, ...]], limits: tuple[float, float]) -> None:
    from matplotlib.ticker import NullFormatter, NullLocator

    for row, (_, _, anchors) in enumerate(columns.values()):
        ax.plot(anchors, np.full(len(anchors), row), linestyle="none", marker="s", markersize=5, color="black")
        last = 0.0
        for size in anchors:
            # Sizes that lie close together are left out: their squares still stand there.
            if size > 1.15 * last:
                ax.annotate(f"{size:g}", (size, row), (5, 0), textcoords="offset points", va="center", fontsize=8)
                last = size
    names = list(columns)
    ax.set_yticks(range(len(names)), [name or "anchors" for name in names])
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.set_xscale("log")
    ax.set_xlim(*limits)
    ax.set_xlabel("size: square root of the box's area (pixels that the network sees)")
    ticks = [tick for power in range(-1, 5) for tick in (10.0**power, 2 * 10.0**power, 5 * 10.0**power)]
    ticks = [tick for tick in ticks if limits[0] <= tick <= limits[1]]
    ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)


def _draw_shares(ax: Any, columns: Mapping[str, tuple[np.ndarray, ...]]) -> None:
    from matplotlib.patches import Patch

    for row, (_, overlap, _) in enumerate(columns.values()):
        start, upper = 0.0, np.inf
        for least, _, color in SHARES:
            share = 100 * float(((overlap >= least) & (overlap < upper)).mean())
            if share:
                ax.barh(row, share, left=start, height=0.7, color=color)
            if share >= LEAST_SHARE:
                ax.text(start + share / 2, row, f"{share:.0f} %", ha="center", va="center", fontsize=8)
            start, upper = start + share, least
    names = list(columns)
    ax.set_yticks(range(len(names)), [name or "best anchor" for name in names])
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.set_xlim(0, 100)
    ax.set_xlabel("share of the objects (%)")
    ax.tick_params(axis="y", length=0)
    patches = [Patch(color=color, label=f"IoU {words}") for _, words, color in SHARES]
    ax.legend(handles=patches, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=len(SHARES), borderaxespad=0.2)
