"""Where a segmentation is wrong, object by object: missed, spurious, split and merged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from emlib.visualization.figures import NotebookFigure, styled
from emlib.visualization.panels import (
    as_array,
    check_same_shape,
    find_voxel_size,
    outline,
    paint,
    panel_grid,
    pick_section,
    shrink,
    take_section,
    to_gray,
)

# Okabe-Ito colours: they differ in brightness as well as in hue.
ERROR_COLORS = {"missed": "#D55E00", "spurious": "#56B4E9", "split": "#F0E442", "merged": "#CC79A7"}
CORRECT_COLOR = "#009E73"


@styled
def show_error_map(
    image: Any,
    segmentation: Any,
    truth: Any,
    errors: Any,
    *,
    section: int | None = None,
    voxel_size: Sequence[float] | None = None,
    title: str = "",
) -> NotebookFigure:
    """One section with its errors in four fixed colours, and how many there are in it and in the whole volume.

    Missed and split objects are painted in the shape that the truth gives them, spurious and merged ones in the shape
    of the segmentation. Where two errors meet, the later of missed, split, spurious, merged is on top. What truth and
    segmentation both call object, and no error covers, is faintly green.

    Args:
        image: (z, y, x) or (y, x) array or Volume.
        segmentation: integer labels of the same shape.
        truth: integer labels of the same shape.
        errors: an object with `missed` and `split` (ids of the truth) and `spurious` and `merged` (ids of the
            segmentation), such as `emlib.evaluation.find_errors` returns.
        section: section number, default the middle.
        voxel_size: nm, default the Volume's.
        title: what to see.

    Raises:
        ValueError: shapes differ or no such section.
        TypeError: `errors` lacks one of the four.

    Example:
        >>> from types import SimpleNamespace
        >>> truth = np.pad(np.ones((4, 4), int), 2)
        >>> errors = SimpleNamespace(missed=[1], split=[], spurious=[], merged=[])
        >>> figure = show_error_map(truth * 0.5, truth * 0, truth, errors)
        >>> figure.legends[0].get_texts()[0].get_text()
        'missed: 1 (1 in this section)'
    """
    image, segmentation, truth = (as_array(array) for array in (image, segmentation, truth))
    check_same_shape(image, segmentation, ("image", "segmentation"))
    check_same_shape(image, truth, ("image", "truth"))
    ids = _error_ids(errors)
    number = pick_section(image.shape[0], section, "image") if len(image.shape) == 3 else None
    found, true = take_section(segmentation, number, "segmentation"), take_section(truth, number, "truth")
    owner = {"missed": true, "split": true, "spurious": found, "merged": found}
    here = {name: np.intersect1d(ids[name], owner[name]).size for name in ERROR_COLORS}

    small = {"true": shrink(true, average=False), "found": shrink(found, average=False)}
    gray = np.rint(shrink(to_gray(take_section(image, number, "image")), average=True)).astype(np.uint8)
    picture = np.repeat(gray[..., None], 3, axis=-1).astype(np.float32)
    _cover(picture, small["true"] * (small["found"] != 0), CORRECT_COLOR, alpha=0.18)
    for name in ("missed", "split", "spurious", "merged"):
        labels = small["true"] if owner[name] is true else small["found"]
        _cover(picture, np.where(np.isin(labels, ids[name]), labels, 0), ERROR_COLORS[name], alpha=0.55)

    voxel_size = find_voxel_size(voxel_size, image, segmentation, truth)
    figure, panels = panel_grid(2, image.shape[-2:], voxel_size, columns=2, widest=3.4, title=title, below=0.45)
    shape = image.shape[-2:]
    where = "" if number is None else f"section {number}"
    paint(panels[0], gray, kind="image", full_shape=shape, voxel_size=voxel_size, title=where, scale_bar=True)
    paint(
        panels[1],
        np.rint(picture).astype(np.uint8),
        kind="rgb",
        full_shape=shape,
        voxel_size=voxel_size,
        title="errors",
    )
    _legend(figure, {name: (ids[name].size, count) for name, count in here.items()})
    return figure


def _error_ids(errors: Any) -> dict[str, np.ndarray]:
    missing = [name for name in ERROR_COLORS if not hasattr(errors, name)]
    if missing:
        raise TypeError(f"errors must have the attributes {', '.join(ERROR_COLORS)}; it lacks {', '.join(missing)}.")
    # uint64 from Python integers, one by one: a mixed list would turn large ids into floats.
    return {name: np.array([int(one) for one in getattr(errors, name)], np.uint64) for name in ERROR_COLORS}


def _cover(picture: np.ndarray, labels: np.ndarray, color: str, *, alpha: float) -> None:
    """Blend a colour into `picture` where `labels` is not 0, with a full-strength border if it is an error."""
    from matplotlib.colors import to_rgb

    paint_color = np.array(to_rgb(color)) * 255
    inside = labels != 0
    picture[inside] = (1 - alpha) * picture[inside] + alpha * paint_color
    picture[outline(labels)] = paint_color if alpha > 0.3 else 0.5 * picture[outline(labels)] + 0.5 * paint_color


def _legend(figure: NotebookFigure, counts: dict[str, tuple[int, int]]) -> None:
    from matplotlib.patches import Patch

    entries = [
        Patch(facecolor=ERROR_COLORS[name], edgecolor="black", label=f"{name}: {total} ({here} in this section)")
        for name, (total, here) in counts.items()
    ]
    entries.append(Patch(facecolor=CORRECT_COLOR, alpha=0.4, edgecolor="black", label="object in both, no error"))
    figure.legend(handles=entries, loc="outside lower center", ncols=3)
