"""Precision over recall by COCO's rules: several overlaps, and several limits on the detections of an image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from emlib.visualization.colors import LINE_COLORS
from emlib.visualization.curves import LINE_STYLES
from emlib.visualization.figures import NotebookFigure, new_figure, styled

NEEDED = ("precision", "recall_grid", "areas", "max_dets", "average_precision", "iou_thresholds")
MOST_LIMITS = len(LINE_COLORS)
BELOW = 0.5  # inches from an axis to its legend


@styled
def show_coco_curves(
    curves: Any,
    *,
    ious: Sequence[float] = (0.5, 0.6, 0.7, 0.8, 0.9),
    limit_iou: float = 0.5,
    area: str = "all",
    title: str = "",
) -> NotebookFigure:
    """Precision over recall at several IoU thresholds, and beside it for each limit on the detections of an image.

    The area under a line is its AP. Where a limit cuts detections off, the line falls to 0 at the recall that it
    leaves, however good the detections are.

    Args:
        curves: what `emlib.evaluation.coco_curves` returned; or name -> such a result, to compare limits that do not
            go into one (100 and None) or methods. The left side is that of the largest limit of the last result.
        ious: thresholds of the left side.
        limit_iou: threshold of the right side, which is there if there are several limits or results.
        area: "all", "small", "medium" or "large".
        title: what to see.

    Raises:
        TypeError: a result that lacks what is needed.
        ValueError: nothing to draw, a threshold or area that the result does not know, or no truth object.

    Example:
        >>> from emlib.evaluation.coco_scores import coco_curves
        >>> truth = {"images": [{"id": 3}], "categories": [{"id": 1}],
        ...          "annotations": [{"image_id": 3, "category_id": 1, "bbox": [0, 0, 4, 4]}]}
        >>> results = [{"image_id": 3, "category_id": 1, "bbox": [0, 0, 4, 3], "score": 0.9}]
        >>> figure = show_coco_curves(coco_curves(truth, results, kind="bbox", max_dets=None), ious=(0.5, 0.9))
        >>> [words.get_text() for words in figure.axes[0].get_legend().get_texts()]
        ['IoU 0.5: AP 1.000', 'IoU 0.9: AP 0.000', 'mean of ten: AP 0.600']
    """
    named = dict(curves) if isinstance(curves, Mapping) else {"": curves}
    if not named:
        raise ValueError("show_coco_curves needs at least one result of coco_curves.")
    if not ious:
        raise ValueError("ious is empty, but at least one IoU threshold was expected.")
    for name, one in named.items():
        missing = [word for word in NEEDED if not hasattr(one, word)]
        if missing:
            raise TypeError(f"A result has {', '.join(NEEDED)}; {name or 'this one'} lacks {', '.join(missing)}.")
    lines = [(_words(name, limit, one), one, limit) for name, one in named.items() for limit in one.max_dets]
    if len(lines) > MOST_LIMITS:
        raise ValueError(f"There are {len(lines)} limits and results to compare, but at most {MOST_LIMITS} have room.")
    words, last, largest = lines[-1]
    # As tall as the longer legend asks for.
    height = 3.3 + 0.18 * max(len(ious) + 1, len(lines))
    figure, axes = new_figure(1, 1 if len(lines) == 1 else 2, size=(4.2 if len(lines) == 1 else 8.0, height))
    left = axes[0, 0]
    for index, iou in enumerate(ious):
        score = last.average_precision(iou=iou, area=area, max_dets=largest)
        _draw(left, index, last, iou, area, largest, f"IoU {iou:g}: AP {score:.3f}")
    mean = last.average_precision(area=area, max_dets=largest)
    left.plot([], [], linestyle="none", label=f"mean of ten: AP {mean:.3f}")
    left.set_title(f"{words}: several overlaps")
    _finish(left)
    if len(lines) > 1:
        right = axes[0, 1]
        for index, (name, one, limit) in enumerate(lines):
            score = one.average_precision(iou=limit_iou, area=area, max_dets=limit)
            mean = one.average_precision(area=area, max_dets=limit)
            label = f"{name}: AP{round(100 * limit_iou)} {score:.3f}, AP {mean:.3f}"
            _draw(right, index, one, limit_iou, area, limit, label)
        right.set_title(f"IoU {limit_iou:g}: limits" if list(named) == [""] else f"IoU {limit_iou:g}")
        _finish(right)
    if title:
        figure.suptitle(title)
    return figure


def _words(name: str, limit: int | None, curves: Any) -> str:
    if name and len(curves.max_dets) == 1:
        return name
    words = "all detections" if limit is None else f"best {limit:,} an image"
    return f"{name}, {words}" if name else words


def _draw(ax: Any, index: int, curves: Any, iou: float, area: str, limit: int | None, label: str) -> None:
    if curves.average_precision(iou=iou, area=area, max_dets=limit) < 0:
        raise ValueError(f"There is no truth object of area {area!r}, of which precision and recall could be said.")
    level = int(np.flatnonzero(np.isclose(curves.iou_thresholds, iou))[0])
    precision = curves.precision[level, :, :, curves.areas.index(area), curves.max_dets.index(limit)]
    # Categories without an object are -1.
    precision = precision[:, (precision >= 0).all(0)].mean(1)
    style = LINE_STYLES[index % len(LINE_STYLES)]
    color = LINE_COLORS[index % len(LINE_COLORS)]
    ax.plot(curves.recall_grid, precision, color=color, linestyle=style, drawstyle="steps-pre", label=label)


def _finish(ax: Any) -> None:
    from matplotlib.transforms import ScaledTranslation

    ax.set_xlim(0, 1.02)
    ax.set_ylim(0, 1.04)
    ax.set_xlabel("recall")
    ax.set_ylabel("precision")
    ax.grid(color="0.9", linewidth=0.8)
    ax.set_axisbelow(True)
    # Below, since lines may run anywhere inside; so far below that the name of the axis has room.
    below = ax.transAxes + ScaledTranslation(0, -BELOW, ax.figure.dpi_scale_trans)
    ax.legend(loc="upper left", bbox_to_anchor=(0.0, 0.0), bbox_transform=below, borderaxespad=0)
