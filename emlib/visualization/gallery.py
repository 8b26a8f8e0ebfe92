"""The worst objects, one by one: a crop around each with the outlines of truth and segmentation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from emlib.visualization.figures import NotebookFigure, styled
from emlib.visualization.panels import as_array, check_same_shape, find_voxel_size, outline, paint, panel_grid, to_gray

TRUTH_COLOR, SEGMENTATION_COLOR, BOTH_COLOR = (0, 158, 115), (213, 94, 0), (240, 228, 66)


@styled
def show_gallery(
    image: Any,
    truth: Any,
    segmentation: Any,
    objects: Sequence[Mapping[str, Any]],
    *,
    count: int = 6,
    crop: int | None = None,
    voxel_size: Sequence[float] | None = None,
    title: str = "",
) -> NotebookFigure:
    """The objects with the lowest IoU, each in the section of its centroid (white cross), outlined.

    Args:
        image: (z, y, x) array or Volume; only the crops are read.
        truth: integer labels of the same shape.
        segmentation: integer labels of the same shape.
        objects: mappings with `id`, `centroid` (z, y, x in voxels), and, where known, `iou`, `size` (voxels) and
            `kind` ("missed", "split", ...).
        count: how many to show; those without an IoU come first.
        crop: side of a crop in voxels; default about three object diameters, between 48 and 160.
        voxel_size: nm (z, y, x), default the Volume's.
        title: what to see.

    Raises:
        ValueError: shapes differ, or an object has no id, no centroid or one outside the volume.

    Example:
        >>> truth = np.pad(np.ones((3, 9, 9), int), 4)
        >>> worst = [{"id": 1, "centroid": (5, 8, 8), "iou": 0.25, "size": 243, "kind": "missed"}]
        >>> figure = show_gallery(truth * 99.0, truth, np.roll(truth, 3, axis=2), worst)
        >>> print(figure.axes[0].get_title())
        id 1
        missed, IoU 0.25
        243 voxels
    """
    image, truth, segmentation = as_array(image), as_array(truth), as_array(segmentation)
    if len(image.shape) != 3:
        raise ValueError(f"image must be (z, y, x); its shape is {tuple(image.shape)}.")
    check_same_shape(image, truth, ("image", "truth"))
    check_same_shape(image, segmentation, ("image", "segmentation"))
    for one in objects:
        _check_object(one, image.shape)
    worst = sorted(objects, key=lambda one: one.get("iou") if one.get("iou") is not None else -1.0)[:count]
    if not worst:
        raise ValueError("show_gallery needs at least one object; this list is empty or count is 0.")
    voxel_size = find_voxel_size(voxel_size, image, truth, segmentation)
    figure, panels = panel_grid(len(worst), (1, 1), voxel_size, columns=6, title_lines=3, title=title, below=0.25)
    for axes, one in zip(panels, worst, strict=True):
        box = _crop_box(one, image.shape, crop or _crop_side(one, voxel_size))
        picture = _outlined(image[box], truth[box], segmentation[box])
        paint(
            axes,
            picture,
            kind="rgb",
            full_shape=picture.shape[:2],
            voxel_size=voxel_size,
            title=_describe(one),
            scale_bar=True,
        )
        _, rows, columns = box
        at = one["centroid"][2] - columns.start, one["centroid"][1] - rows.start
        axes.plot(*at, marker="+", markersize=7, markeredgewidth=1.2, color="white")
    _legend(figure)
    return figure


def _check_object(one: Mapping[str, Any], shape: tuple[int, ...]) -> None:
    if "id" not in one or "centroid" not in one:
        raise ValueError(f"Each object needs an 'id' and a 'centroid'; this one has {', '.join(map(str, one))}.")
    centroid = tuple(one["centroid"])
    if len(centroid) != 3 or not all(0 <= at < size for at, size in zip(centroid, shape, strict=True)):
        raise ValueError(f"The centroid {centroid} of object {one['id']} is not a (z, y, x) inside {tuple(shape)}.")


def _crop_side(one: Mapping[str, Any], voxel_size: Sequence[float] | None) -> int:
    """Three diameters of the sphere that has the object's volume, in in-plane voxels."""
    stretch = voxel_size[0] / voxel_size[-1] if voxel_size and len(voxel_size) == 3 else 1.0
    diameter = (float(one.get("size") or 0) * stretch * 6 / np.pi) ** (1 / 3)
    return int(np.clip(3 * diameter, 48, 160))


def _crop_box(one: Mapping[str, Any], shape: tuple[int, ...], side: int) -> tuple[int, slice, slice]:
    z, *plane = (int(at) for at in one["centroid"])
    slices = []
    for at, size in zip(plane, shape[1:], strict=True):
        # Shifted inwards at the volume's border, so that all crops have one size and one magnification.
        start = max(min(at - side // 2, size - side), 0)
        slices.append(slice(start, min(start + side, size)))
    return z, slices[0], slices[1]


def _outlined(image: np.ndarray, truth: np.ndarray, segmentation: np.ndarray) -> np.ndarray:
    picture = np.repeat(to_gray(np.asarray(image))[..., None], 3, axis=-1)
    by_truth, by_segmentation = outline(np.asarray(truth)), outline(np.asarray(segmentation))
    picture[by_truth] = TRUTH_COLOR
    picture[by_segmentation] = SEGMENTATION_COLOR
    picture[by_truth & by_segmentation] = BOTH_COLOR
    return picture


def _describe(one: Mapping[str, Any]) -> str:
    verdict = [str(one["kind"])] if one.get("kind") else []
    verdict += [f"IoU {one['iou']:.2f}"] if one.get("iou") is not None else []
    size = f"{int(one['size']):,} voxels" if one.get("size") is not None else ""
    return "\n".join(line for line in (f"id {one['id']}", ", ".join(verdict), size) if line)


def _legend(figure: NotebookFigure) -> None:
    from matplotlib.lines import Line2D

    names = {"truth": TRUTH_COLOR, "segmentation": SEGMENTATION_COLOR, "both": BOTH_COLOR}
    lines = [Line2D([], [], color=np.array(color) / 255, linewidth=3, label=name) for name, color in names.items()]
    figure.legend(handles=lines, loc="outside lower center", ncols=3)
