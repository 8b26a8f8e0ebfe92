"""The failures of many images, one of each kind in turn: a crop around each, with truth and prediction outlined."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from emlib.visualization.cells.picture_rows import picture_rows
from emlib.visualization.cells.pictures import (
    DARK,
    PREDICTION_COLOR,
    PREDICTION_WIDTH,
    TRUTH_COLOR,
    TRUTH_WIDTH,
    Box,
    box_shape,
    cell_picture,
    check_pair_of_labels,
    checked_box,
    draw_outlines,
    draw_picture,
    outline_legend,
)
from emlib.visualization.figures import NotebookFigure, styled

NEEDED = ("kind", "box", "truth_ids", "segmentation_ids", "iou")
SMALLEST_CROP = 40
CONTEXT = 0.5  # of an error's longer side, shown on each side of it
BESIDE_WIDTH, BESIDE_OPACITY = 0.8, 0.55  # of the lines of cells that have no part in the error


@styled
def show_cell_failures(
    images: Sequence[Any],
    truths: Sequence[Any],
    segmentations: Sequence[Any],
    errors: Sequence[Sequence[Any]],
    *,
    count: int = 6,
    columns: int = 6,
    names: Sequence[str] | None = None,
    title: str = "",
) -> NotebookFigure:
    """The worst errors over all images: those of lowest IoU, of equal ones the largest, the kinds taking turns.

    Bold lines are the cells that the error is about, thin ones their neighbours. The title counts all errors by kind.

    Args:
        images: each (y, x), (y, x, 1) or (y, x, 3), any numbers.
        truths: for each image (y, x) ids, 0 = background.
        segmentations: for each image the ids that were found.
        errors: for each image what `emlib.evaluation.cell_errors` returned: objects with `kind`, `box`, `truth_ids`,
            `segmentation_ids` and `iou`.
        count: how many to show.
        columns: crops in a row, at most.
        names: of the images; default their numbers from 0.
        title: what to see.

    Raises:
        TypeError: an error that lacks one of these.
        ValueError: lists of unequal length, nothing to show, images or labels that do not fit, or a box outside.

    Example:
        >>> import numpy as np
        >>> from emlib.evaluation.cell_errors import cell_errors
        >>> truth = np.zeros((40, 40), int)
        >>> truth[10:20, 10:20], truth[24:34, 10:20] = 1, 2
        >>> found = np.where(truth == 1, 7, 0)
        >>> figure = show_cell_failures([truth], [truth], [found], [cell_errors(found, truth)], names=["phase 3"])
        >>> print(figure.axes[0].get_title())
        missed
        no segment for this cell
        phase 3
    """
    images = list(images)
    for name, values in {"truths": truths, "segmentations": segmentations, "errors": errors, "names": names}.items():
        if values is not None and len(values) != len(images):
            raise ValueError(f"There are {len(images)} images, but {len(values)} {name}.")
    if count < 1:
        raise ValueError(f"count is {count}, but at least 1 was expected.")
    chosen = worst_errors(errors, count)
    if not chosen:
        raise ValueError("There is no error to show in these images: every cell has a partner.")
    names = [f"image {place}" for place in range(len(images))] if names is None else list(names)
    pictures = {place: cell_picture(images[place], f"Image {place}") for place, _ in chosen}
    labels = {
        place: [
            check_pair_of_labels(values[place], picture.shape, f"The {words} of image {place}")
            for values, words in ((truths, "truth"), (segmentations, "segmentation"))
        ]
        for place, picture in pictures.items()
    }
    boxes = [_crop(error.box, pictures[place].shape) for place, error in chosen]
    heading = ": ".join(words for words in (title, _totals(errors)) if words)
    figure, grid, _ = picture_rows(
        [box_shape(box) for box in boxes],
        columns=columns,
        tallest=2.4,
        narrowest=1.45,
        title_lines=3,
        title=heading,
        below=0.25,
    )
    for axes, (place, error), box in zip(grid, chosen, boxes, strict=True):
        (top, left), (bottom, right) = box
        part = pictures[place][top:bottom, left:right]
        words = f"{error.kind}\n{describe_error(error)}\n{names[place]}"
        draw_picture(axes, part, title=words, dim=DARK, corner=(top, left), panels=len(chosen))
        lines = (
            (labels[place][0], error.truth_ids, TRUTH_COLOR, TRUTH_WIDTH),
            (labels[place][1], error.segmentation_ids, PREDICTION_COLOR, PREDICTION_WIDTH),
        )
        for ids, _, color, _ in lines:
            draw_outlines(axes, ids, color, width=BESIDE_WIDTH, box=box, opacity=BESIDE_OPACITY)
        for ids, own, color, width in lines:
            draw_outlines(axes, ids, color, width=1.1 * width, box=box, ids=own)
    entries = {"truth": (TRUTH_COLOR, TRUTH_WIDTH), "prediction": (PREDICTION_COLOR, PREDICTION_WIDTH)}
    outline_legend(figure, entries)
    return figure


def worst_errors(errors: Sequence[Sequence[Any]], count: int) -> list[tuple[int, Any]]:
    """(image, error) of at most `count` errors, the kinds taking turns in the order in which they first occur.

    Raises:
        TypeError: an error without the attributes needed.
    """
    by_kind: dict[str, list[tuple[int, Any]]] = {}
    for place, one_image in enumerate(errors):
        for error in one_image:
            missing = [name for name in NEEDED if not hasattr(error, name)]
            if missing:
                raise TypeError(
                    f"Each error must have {', '.join(NEEDED)}, as emlib.evaluation.cell_errors returns them; one of "
                    f"image {place} lacks {', '.join(missing)}."
                )
            by_kind.setdefault(str(error.kind), []).append((place, error))
    for found in by_kind.values():
        found.sort(key=lambda one: (one[1].iou, -_pixels(one[1].box)))
    chosen: list[tuple[int, Any]] = []
    while len(chosen) < count and any(by_kind.values()):
        for found in by_kind.values():
            if found and len(chosen) < count:
                chosen.append(found.pop(0))
    return chosen


def describe_error(error: Any) -> str:
    """One line that says what happened.

    Example:
        >>> from types import SimpleNamespace
        >>> describe_error(SimpleNamespace(kind="merged", truth_ids=(1, 2, 5), segmentation_ids=(9,), iou=0.4))
        '3 cells in 1 segment'
    """
    words = {
        "missed": "no segment for this cell",
        "spurious": "no cell for this segment",
        "split": f"1 cell in {len(error.segmentation_ids)} segments",
        "merged": f"{len(error.truth_ids)} cells in 1 segment",
        "poor outline": f"IoU only {error.iou:.2f}",
    }
    return words.get(error.kind, f"IoU {error.iou:.2f}")


def _pixels(box: Box) -> int:
    height, width = box_shape(box)
    return height * width


def _totals(errors: Sequence[Sequence[Any]]) -> str:
    totals: dict[str, int] = {}
    for one_image in errors:
        for error in one_image:
            totals[error.kind] = totals.get(error.kind, 0) + 1
    return ", ".join(f"{number} {kind}" for kind, number in totals.items())


def _crop(box: Box, shape: tuple[int, ...]) -> tuple[tuple[int, int], tuple[int, int]]:
    """A square around an error with its surroundings, moved inside the image."""
    (top, left), (bottom, right) = checked_box(box, shape)
    side = max(int((1 + 2 * CONTEXT) * max(bottom - top, right - left)), SMALLEST_CROP)
    starts = [
        max(min((first + last - side) // 2, length - side), 0)
        for first, last, length in ((top, bottom, shape[0]), (left, right, shape[1]))
    ]
    ends = [min(start + side, length) for start, length in zip(starts, shape[:2], strict=True)]
    return (starts[0], starts[1]), (ends[0], ends[1])
