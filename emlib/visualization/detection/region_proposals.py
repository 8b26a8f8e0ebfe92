"""What Mask R-CNN learns from in one step: the anchors of its first stage and the regions of its second."""

from __future__ import annotations

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
from emlib.visualization.colors import ORANGE, SKY
from emlib.visualization.detection.boxes import checked_boxes, draw_boxes, shown_part
from emlib.visualization.figures import NotebookFigure, styled

NEEDED = ("objects", "anchors", "anchor_labels", "proposals", "proposal_labels", "anchor_pool", "proposal_pool")
OBJECT = "#FFFFFF"
FOREGROUND_WIDTH, BACKGROUND_WIDTH, OBJECT_WIDTH = 1.5, 0.7, 1.0
BACKGROUND_OPACITY = 0.8


@styled
def show_region_proposals(image: Any, regions: Any, *, box: Box | None = None, title: str = "") -> NotebookFigure:
    """The anchors that the proposal network learns from, beside them the regions that the heads learn from.

    The titles say how many were drawn, and of how many: of the foreground there is little, so that without the balanced
    draw nearly all would be background.

    Args:
        image: (y, x), (y, x, 1) or (y, x, 3), any numbers.
        regions: what `emlib.models.sampled_regions` returned for it.
        box: ((top, left), (bottom, right)), the part to show; None: all of it, or the middle of a large image.
            Numbers are of the whole image.
        title: what to see.

    Raises:
        TypeError: regions that lack one of the attributes needed.
        ValueError: an image, boxes or labels that do not fit, or a box outside the image.

    Example:
        >>> from types import SimpleNamespace
        >>> boxes = [[2, 2, 10, 10], [12, 4, 20, 12]]
        >>> regions = SimpleNamespace(
        ...     objects=boxes[:1], anchors=boxes, anchor_labels=[1, 0], proposals=boxes[:1], proposal_labels=[1],
        ...     anchor_pool=(1, 300, 20), proposal_pool=(1, 0),
        ... )
        >>> print(show_region_proposals(np.zeros((24, 24), np.uint8), regions).axes[0].get_title())
        anchors: 1 foreground of 1,
        1 background of 300; 20 are neither
    """
    missing = [name for name in NEEDED if not hasattr(regions, name)]
    if missing:
        raise TypeError(f"The regions need {', '.join(NEEDED)}; they lack {', '.join(missing)}.")
    picture = cell_picture(image)
    box, title = shown_part(box, picture.shape, title)
    objects = checked_boxes(regions.objects, "objects")
    panels = []
    for name, word in (("anchor", "anchors"), ("proposal", "regions")):
        boxes = checked_boxes(getattr(regions, f"{name}s"), f"{name}s")
        labels = np.asarray(getattr(regions, f"{name}_labels"))
        if labels.shape != boxes.shape[:1]:
            raise ValueError(f"{name}_labels has shape {labels.shape}, but {len(boxes)} labels were expected.")
        front, back, *neither = getattr(regions, f"{name}_pool")
        chosen = labels > 0
        words = f"{word}: {chosen.sum():,} foreground of {front:,},\n{(~chosen).sum():,} background of {back:,}"
        words += f"; {neither[0]:,} are neither" if neither else ""
        panels.append((words, boxes, chosen))
    figure, axes, _ = picture_rows([box_shape(box)] * 2, columns=2, tallest=3.8, title_lines=2, title=title, below=0.3)
    (top, left), (bottom, right) = box
    for ax, (words, boxes, chosen) in zip(axes, panels, strict=True):
        draw_picture(ax, picture[top:bottom, left:right], title=words, dim=DARK, corner=(top, left), panels=2)
        draw_boxes(ax, boxes[~chosen], SKY, width=BACKGROUND_WIDTH, opacity=BACKGROUND_OPACITY, name="background")
        draw_boxes(ax, boxes[chosen], ORANGE, width=FOREGROUND_WIDTH, name="foreground")
        draw_boxes(ax, objects, OBJECT, width=OBJECT_WIDTH, dashed=True, name="objects")
    entries = {
        "foreground": (ORANGE, FOREGROUND_WIDTH),
        "background": (SKY, 1.2),
        "objects (white, broken lines)": ("0.7", OBJECT_WIDTH),
    }
    outline_legend(figure, entries)
    return figure
