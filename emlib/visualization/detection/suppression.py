"""Non-maximum suppression on an image: all candidates, and what several thresholds leave of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from emlib.visualization.cells.picture_rows import picture_rows
from emlib.visualization.cells.pictures import (
    DARK,
    Box,
    box_shape,
    cell_picture,
    draw_picture,
    outline_legend,
)
from emlib.visualization.colors import GREEN, ORANGE, SKY, VERMILLION
from emlib.visualization.detection.boxes import checked_boxes, draw_boxes, shown_part
from emlib.visualization.figures import NotebookFigure, styled

KINDS = {"found": GREEN, "duplicate": SKY, "spurious": VERMILLION}
WIDTH_OF_BOX, WIDTH_OF_CANDIDATE = 1.4, 0.8
FAINTEST = 0.25  # opacity of a candidate of score 0


@styled
def show_suppression(
    image: Any,
    boxes: Any,
    scores: Any,
    kept: Mapping[float, Any],
    *,
    matches: Mapping[float, Any] | None = None,
    truth: Any = None,
    box: Box | None = None,
    title: str = "",
) -> NotebookFigure:
    """The candidates before suppression, the surer the stronger, and what each threshold leaves.

    Low thresholds lose objects that touch a surer one, high ones leave several boxes on an object.

    Args:
        image: (y, x), (y, x, 1) or (y, x, 3), any numbers.
        boxes: (n, 4) candidates.
        scores: (n,), from 0 to 1.
        kept: threshold -> places of the boxes that stay, what `emlib.postprocessing.suppress_boxes` returned.
        matches: threshold -> what `emlib.evaluation.match_detected_boxes` returned for these boxes, in their order:
            colours tell boxes that found an object from those that found it once more and those on nothing.
        truth: (m, 4) boxes of the objects that `matches` is about: missed ones are drawn, too.
        box: ((top, left), (bottom, right)), the part to show; None: all of it, or the middle of a large image.
            Numbers are of the whole image.
        title: what to see.

    Raises:
        ValueError: an image, boxes, scores, places or matches that do not fit, or no threshold.

    Example:
        >>> boxes, scores = [[2, 2, 12, 12], [3, 2, 13, 12]], [0.9, 0.8]
        >>> figure = show_suppression(np.zeros((24, 24), np.uint8), boxes, scores, {0.5: [0], 0.9: [0, 1]})
        >>> [axes.get_title() for axes in figure.axes]
        ['before: 2 boxes', 'IoU 0.5: 1 stays', 'IoU 0.9: 2 stay']
    """
    picture, boxes = cell_picture(image), checked_boxes(boxes, "boxes")
    box, title = shown_part(box, picture.shape, title)
    scores = np.asarray(scores, float)
    if scores.shape != boxes.shape[:1] or not ((scores >= 0) & (scores <= 1)).all():
        raise ValueError(f"scores has shape {scores.shape}, but {len(boxes)} numbers from 0 to 1 were expected.")
    if not kept:
        raise ValueError("kept holds no threshold, but threshold -> places of the boxes that stay was expected.")
    places = {threshold: _places(threshold, one, len(boxes)) for threshold, one in kept.items()}
    truth = None if truth is None else checked_boxes(truth, "truth")
    if matches is not None:
        for threshold, one in places.items():
            _check_matches(threshold, matches, len(one), truth)
    figure, axes, _ = picture_rows(
        [box_shape(box)] * (1 + len(places)),
        columns=3 if len(places) > 1 else 2,
        tallest=3.2,
        narrowest=2.2,
        title_lines=1 if matches is None else 2,
        title=title,
        below=0.0 if matches is None else 0.3,
    )
    (top, left), (bottom, right) = box
    part = picture[top:bottom, left:right]
    for ax in axes:
        draw_picture(ax, part, dim=DARK, corner=(top, left), panels=len(axes))
    axes[0].set_title(f"before: {len(boxes):,} box{'es' if len(boxes) != 1 else ''}")
    order = np.argsort(scores, kind="stable")
    faint = FAINTEST + (1 - FAINTEST) * scores[order]
    draw_boxes(axes[0], boxes[order], _with_opacity(ORANGE, faint), width=WIDTH_OF_CANDIDATE, name="candidates")
    for ax, (threshold, one) in zip(axes[1:], places.items(), strict=True):
        words = f"IoU {threshold:g}: {len(one):,} {'stay' if len(one) != 1 else 'stays'}"
        if matches is None:
            draw_boxes(ax, boxes[one[::-1]], ORANGE, width=WIDTH_OF_BOX, name="kept")
            ax.set_title(words)
            continue
        match = matches[threshold]
        kinds = np.asarray(match.kinds)
        for kind, color in reversed(KINDS.items()):
            draw_boxes(ax, boxes[one[kinds == kind]], color, width=WIDTH_OF_BOX, name=kind)
        if truth is not None:
            draw_boxes(ax, truth[match.missed], "white", width=1.2, dashed=True, name="missed")
        found, again, spurious = (int((kinds == kind).sum()) for kind in KINDS)
        words += f"\n{found:,} found, {again:,} again, {spurious:,} spurious, {len(match.missed):,} missed"
        ax.set_title(words)
    if matches is not None:
        words = ("found", "found once more", "on no object")
        entries = {name: (color, WIDTH_OF_BOX) for name, color in zip(words, KINDS.values(), strict=True)}
        if truth is not None:
            entries["missed (white, broken lines)"] = ("0.7", 1.2)
        outline_legend(figure, entries)
    return figure


def _places(threshold: float, places: Any, count: int) -> np.ndarray:
    array = np.asarray(places)
    array = array.astype(np.int64) if array.size == 0 else array
    if array.ndim != 1 or array.dtype.kind not in "iu" or (array.size and (array.min() < 0 or array.max() >= count)):
        raise ValueError(f"kept[{threshold:g}] must hold places of the {count} boxes, whole numbers from 0.")
    return array


def _check_matches(threshold: float, matches: Mapping[float, Any], count: int, truth: np.ndarray | None) -> None:
    match = matches.get(threshold)
    kinds = np.asarray(getattr(match, "kinds", []))
    if match is None or kinds.shape != (count,) or not np.isin(kinds, list(KINDS)).all():
        raise ValueError(
            f"matches[{threshold:g}] must be the result of match_detected_boxes for the {count} boxes that stay."
        )
    if truth is not None and len(match.missed) and np.max(match.missed) >= len(truth):
        raise ValueError(f"matches[{threshold:g}] misses object {np.max(match.missed)}, but truth has {len(truth)}.")


def _with_opacity(color: str, opacity: np.ndarray) -> np.ndarray:
    from matplotlib.colors import to_rgb

    return np.column_stack([np.tile(to_rgb(color), (len(opacity), 1)), opacity])
