"""A contact sheet: images of all sizes and microscopes side by side, with their cells outlined."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from emlib.visualization.cells.picture_rows import picture_rows
from emlib.visualization.cells.pictures import (
    DARK,
    PREDICTION_COLOR,
    PREDICTION_WIDTH,
    TRUTH_COLOR,
    TRUTH_WIDTH,
    box_shape,
    cell_picture,
    check_pair_of_labels,
    draw_outlines,
    draw_picture,
    outline_legend,
)
from emlib.visualization.colors import label_colors
from emlib.visualization.figures import NotebookFigure, styled

AREA = 24.0  # square inches for all panels of a sheet, so that its PNG stays small


@styled
def show_cell_images(
    images: Sequence[Any],
    labels: Sequence[Any] | None = None,
    names: Sequence[str] | None = None,
    *,
    predictions: Sequence[Any] | None = None,
    columns: int = 4,
    crop: int | None = None,
    title: str = "",
) -> NotebookFigure:
    """Images of different sizes, each in a panel of its own with its size and its number of cells.

    With labels alone each cell is outlined in its own colour; with predictions the cells of the labels are green and
    those found red, on an image a little darker.

    Args:
        images: each (y, x), (y, x, 1) or (y, x, 3), any numbers; see `cell_picture`.
        labels: for each image (y, x) ids, 0 = background, or None.
        names: of the images.
        predictions: for each image the ids that a method found, or None.
        columns: panels in a row, at most.
        crop: side in pixels of the middle part shown of larger images; default all of them.
        title: what to see.

    Raises:
        TypeError, ValueError: no image; lists of unequal length; images or labels that are none or do not fit.

    Example:
        >>> cell = np.pad(np.ones((8, 9), int), 3)
        >>> figure = show_cell_images([cell * 90, cell[2:] * 50], [cell, cell[2:]], ["phase", "fluorescence"])
        >>> print(figure.axes[1].get_title())
        fluorescence
        12 x 15
        1 cell
    """
    images = list(images)
    if not images:
        raise ValueError("show_cell_images needs at least one image; this list is empty.")
    if crop is not None and crop < 1:
        raise ValueError(f"crop is {crop}, but a side of at least 1 pixel was expected.")
    lists = {"labels": labels, "names": names, "predictions": predictions}
    for name, values in lists.items():
        if values is not None and len(values) != len(images):
            raise ValueError(f"There are {len(images)} images, but {len(values)} {name}.")
    pictures = [cell_picture(image, f"Image {place}") for place, image in enumerate(images)]
    truths, found = (
        _all_checked(values, pictures, name) for name, values in (("labels", labels), ("predictions", predictions))
    )
    shown = [_middle(picture.shape, crop) for picture in pictures]
    compared = any(one is not None for one in found)
    counted = any(one is not None for one in (*truths, *found))
    figure, panels, _ = picture_rows(
        [box_shape(box) for box in shown],
        columns=columns,
        tallest=min(2.6, np.sqrt(AREA / len(images))),
        title_lines=1 + (names is not None) + counted,
        title=title,
        below=0.25 if compared else 0.0,
    )
    for place, (axes, picture, box) in enumerate(zip(panels, pictures, shown, strict=True)):
        (top, left), (bottom, right) = box
        part = picture[top:bottom, left:right]
        words = _describe(picture.shape, box, truths[place], found[place])
        words = words if names is None else f"{names[place]}\n{words}"
        dim = DARK if found[place] is not None else 1.0
        draw_picture(axes, part, title=words, dim=dim, corner=(top, left), panels=len(images))
        cut = None if part.shape == picture.shape else box
        if truths[place] is not None:
            own = label_lookup(truths[place]) if found[place] is None else TRUTH_COLOR
            draw_outlines(axes, truths[place], own, width=TRUTH_WIDTH if found[place] is not None else 1.2, box=cut)
        if found[place] is not None:
            draw_outlines(axes, found[place], PREDICTION_COLOR, width=PREDICTION_WIDTH, box=cut)
    if compared:
        entries = {"prediction": (PREDICTION_COLOR, PREDICTION_WIDTH)}
        if any(one is not None for one in truths):
            entries = {"truth": (TRUTH_COLOR, TRUTH_WIDTH), **entries}
        outline_legend(figure, entries)
    return figure


def label_lookup(labels: np.ndarray) -> dict[int, tuple[float, ...]]:
    """Id -> its colour in every figure, for matplotlib."""
    ids = np.unique(labels)
    return dict(zip(ids.tolist(), map(tuple, (label_colors(ids) / 255).tolist()), strict=True))


def _all_checked(values: Sequence[Any] | None, pictures: list[np.ndarray], name: str) -> list[np.ndarray | None]:
    if values is None:
        return [None] * len(pictures)
    words = {"labels": "The label image", "predictions": "The prediction"}[name]
    return [
        None if one is None else check_pair_of_labels(one, picture.shape, f"{words} of image {place}")
        for place, (one, picture) in enumerate(zip(values, pictures, strict=True))
    ]


def _middle(shape: tuple[int, ...], crop: int | None) -> tuple[tuple[int, int], tuple[int, int]]:
    starts = [0 if crop is None else max((side - crop) // 2, 0) for side in shape[:2]]
    ends = [side if crop is None else start + min(crop, side) for start, side in zip(starts, shape[:2], strict=True)]
    return (starts[0], starts[1]), (ends[0], ends[1])


def _describe(shape: tuple[int, ...], box: Any, truth: np.ndarray | None, found: np.ndarray | None) -> str:
    (top, left), (bottom, right) = box
    part = (bottom - top, right - left)
    size = f"{part[0]} x {part[1]}" + (f" of {shape[0]} x {shape[1]}" if part != tuple(shape[:2]) else "")
    counts = [
        int(np.count_nonzero(np.unique(one[top:bottom, left:right]))) for one in (truth, found) if one is not None
    ]
    words = [f"{counts[0]} cell{'s' if counts[0] != 1 else ''}"] if truth is not None else []
    words += [f"{counts[-1]} found"] if found is not None else []
    return "\n".join([size, ", ".join(words)]) if words else size
