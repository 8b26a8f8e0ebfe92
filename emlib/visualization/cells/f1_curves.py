"""F1 over the IoU from which a cell counts as found: how good the outlines are, not only how many there are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from emlib.visualization.curves import show_metric_curve
from emlib.visualization.figures import NotebookFigure, styled

THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.9)


@styled
def show_f1_curves(
    curves: Mapping[str, Any],
    *,
    thresholds: Sequence[float] | None = None,
    statistic: str = "mean",
    title: str = "",
) -> NotebookFigure:
    """One line a method or modality; of several images the mean or median F1 at each threshold.

    Args:
        curves: name -> the F1 at each threshold, or a list of them, one for each image. Numbers, or what
            `emlib.evaluation.cell_f1_curve` returned.
        thresholds: IoUs; default those of the scores, or 0.5 to 0.9 for numbers.
        statistic: "mean" or "median" over the images.
        title: what to see.

    Raises:
        ValueError: no curve, curves of other thresholds, or an unknown statistic.

    Example:
        >>> figure = show_f1_curves({"phase": [[0.9, 0.8, 0.5], [0.7, 0.6, 0.3]]}, thresholds=(0.5, 0.7, 0.9))
        >>> figure.axes[0].lines[0].get_ydata().round(6).tolist(), figure.axes[0].get_ylabel()
        ([0.8, 0.7, 0.4], 'mean F1')
    """
    if not curves:
        raise ValueError("show_f1_curves needs at least one curve.")
    if statistic not in ("mean", "median"):
        raise ValueError(f"statistic is {statistic!r}, but 'mean' or 'median' was expected.")
    if thresholds is None:
        thresholds = next((found for found in map(_thresholds, curves.values()) if found is not None), THRESHOLDS)
    lines = {}
    for name, curve in curves.items():
        own = _thresholds(curve)
        if own is not None and tuple(own) != tuple(thresholds):
            raise ValueError(f"The scores of {name!r} are at {list(own)}, but {list(thresholds)} was expected.")
        values = np.array(_numbers(curve), float)
        images = values.shape[0] if values.ndim == 2 else None
        if values.ndim not in (1, 2) or values.shape[-1] != len(thresholds) or images == 0:
            raise ValueError(
                f"{name!r} has the shape {values.shape}, but {len(thresholds)} figures, or a row of them for each "
                "image, were expected."
            )
        label = name if images is None else f"{name} ({images} image{'s' if images != 1 else ''})"
        lines[label] = values if images is None else getattr(np, statistic)(values, axis=0)
    figure = show_metric_curve(
        list(thresholds), lines, xlabel="IoU threshold", ylabel=f"{statistic} F1", ylim=(0, 1.02), title=title
    )
    axes = figure.axes[0]
    axes.set_xticks(list(thresholds))
    if len(lines) == 1:
        axes.set_title(title or next(iter(lines)))
    else:
        axes.get_legend().remove()
        figure.set_size_inches(8.5, 3.2)
        figure.legend(*axes.get_legend_handles_labels(), loc="outside right upper")
    return figure


def _thresholds(curve: Any) -> tuple[float, ...] | None:
    """Those of score objects, of the first image if there are several; None for numbers."""
    first = curve[0] if len(curve) else None
    scores = first if isinstance(first, Sequence) and not isinstance(first, str) else curve
    if not len(scores) or not all(hasattr(score, "threshold") for score in scores):
        return None
    return tuple(float(score.threshold) for score in scores)


def _numbers(curve: Any) -> Any:
    if hasattr(curve, "f1"):
        return curve.f1
    return [_numbers(one) for one in curve] if isinstance(curve, Sequence | np.ndarray) else curve
