"""Bars of a score for several settings, with a dot for every image behind them: what an ablation is worth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from emlib.visualization.colors import BLUE, ORANGE
from emlib.visualization.figures import NotebookFigure, new_figure, styled


@styled
def show_ablation(
    results: Mapping[str, Sequence[float]],
    *,
    name: str = "F1",
    baseline: str | None = None,
    statistic: str = "mean",
    title: str = "",
) -> NotebookFigure:
    """Horizontal bars of each setting's mean score, with the score of every image as a dot.

    Args:
        results: setting -> one score from 0 to 1 for each image, the images in the same order for all.
        name: of the score.
        baseline: the setting that the others are compared with, default the first.
        statistic: "mean" or "median" over the images.
        title: what to see.

    Raises:
        ValueError: no setting, settings with different numbers of images or none, scores outside 0 to 1, an unknown
            baseline or statistic.

    Example:
        >>> figure = show_ablation({"plain": [0.5, 0.7], "flips": [0.6, 0.8]})
        >>> [text.get_text() for text in figure.axes[0].texts]
        ['0.600', '0.700 (+0.100, better on 2 of 2)']
    """
    if not results:
        raise ValueError("show_ablation needs at least one setting.")
    if statistic not in ("mean", "median"):
        raise ValueError(f"statistic is {statistic!r}, but 'mean' or 'median' was expected.")
    names = list(results)
    baseline = names[0] if baseline is None else baseline
    if baseline not in results:
        raise ValueError(f"There is no setting {baseline!r} to compare with; there are {', '.join(names)}.")
    scores = {setting: _checked(setting, values) for setting, values in results.items()}
    count = len(scores[baseline])
    for setting, values in scores.items():
        if len(values) != count:
            raise ValueError(f"{setting!r} has scores of {len(values)} images, but {baseline!r} of {count}.")
    figure, axes = new_figure(size=(7.5, 1.1 + 0.42 * len(names)))
    ax = axes[0, 0]
    middles = [float(getattr(np, statistic)(scores[setting])) for setting in names]
    colors = ["0.6" if setting == baseline else BLUE for setting in names]
    ax.barh(names, middles, color=colors, height=0.62, alpha=0.55)
    # Each image has its own height in every bar, so that it can be followed from bar to bar.
    spread = np.linspace(-0.22, 0.22, count) if count > 1 else np.zeros(1)
    for row, setting in enumerate(names):
        ax.plot(scores[setting], row + spread, ".", color="black", markersize=4, alpha=0.7)
        ax.plot([middles[row]] * 2, [row - 0.31, row + 0.31], color=ORANGE, linewidth=2.5, solid_capstyle="butt")
        ax.text(1.02, row, _words(setting, baseline, scores, middles[row], middles[names.index(baseline)]), va="center")
    ax.invert_yaxis()
    ax.set_xlim(0, 1.005)
    ax.set_xlabel(f"{name}: {statistic} over {count} image{'s' if count != 1 else ''} (orange), each image (dots)")
    ax.grid(axis="x", color="0.9", linewidth=0.8)
    ax.set_axisbelow(True)
    if title:
        ax.set_title(title)
    return figure


def _checked(setting: str, values: Sequence[float]) -> np.ndarray:
    scores = np.asarray(values, float)
    if scores.ndim != 1 or scores.size == 0:
        raise ValueError(f"{setting!r} must have one score for each image; its shape is {scores.shape}.")
    if not ((scores >= 0) & (scores <= 1)).all():
        raise ValueError(f"The scores of {setting!r} must lie between 0 and 1.")
    return scores


def _words(setting: str, baseline: str, scores: Mapping[str, np.ndarray], middle: float, reference: float) -> str:
    if setting == baseline:
        return f"{middle:.3f}"
    better = int((scores[setting] > scores[baseline]).sum())
    return f"{middle:.3f} ({middle - reference:+.3f}, better on {better} of {len(scores[setting])})"
