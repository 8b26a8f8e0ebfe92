"""Take a 2-D section out of an array or Volume, decide how to paint it, and paint it on one axes."""

from __future__ import annotations

import difflib
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from emlib.visualization.colors import colorize
from emlib.visualization.figures import WIDTH, NotebookFigure, new_figure

KINDS = ("image", "labels", "probability", "signed", "values")
PANEL_PIXELS = 280  # more pixels than this in a panel are averaged away: a reader cannot see them, a PNG pays for them
COLORMAPS = {"image": "gray", "probability": "viridis", "signed": "PuOr", "values": "viridis"}


def take_section(volume: Any, section: int | None, name: str = "volume") -> np.ndarray:
    """The (y, x) section number `section` of a (z, y, x) array or Volume, or a 2-D array as it is.

    Only that section is read. `section=None` takes the middle one; negative numbers count from the end.

    Raises:
        ValueError: neither 2-D nor 3-D, or no such section.

    Example:
        >>> take_section(np.arange(24).reshape(2, 3, 4), -1)[0].tolist()
        [12, 13, 14, 15]
    """
    volume = as_array(volume, name)
    if len(volume.shape) == 2:
        return np.asarray(volume[...])
    if len(volume.shape) != 3:
        raise ValueError(f"{name} must be (z, y, x) or (y, x); its shape is {tuple(volume.shape)}.")
    return np.asarray(volume[pick_section(volume.shape[0], section, name)])


def pick_section(depth: int, section: int | None, name: str = "volume") -> int:
    """A section number within 0 .. depth - 1; None is the middle."""
    if section is None:
        return depth // 2
    if not -depth <= section < depth:
        raise ValueError(f"{name} has sections 0 to {depth - 1}; there is no section {section}.")
    return int(section) % depth


def as_array(volume: Any, name: str = "volume") -> Any:
    """Arrays and Volumes as they are, nested lists as arrays."""
    return volume if hasattr(volume, "shape") and hasattr(volume, "dtype") else np.asarray(volume)


def check_same_shape(first: Any, second: Any, names: tuple[str, str]) -> None:
    """Raise ValueError in one sentence unless both have the same shape."""
    if tuple(first.shape) != tuple(second.shape):
        raise ValueError(
            f"{names[0]} and {names[1]} must have the same shape; "
            f"they are {tuple(first.shape)} and {tuple(second.shape)}."
        )


def find_voxel_size(voxel_size: Sequence[float] | None, *volumes: Any) -> tuple[float, ...] | None:
    """The voxel size given, or that of the first volume that knows one; nm, the last two are y and x.

    Raises:
        ValueError: a voxel size that is not two or three positive numbers.
    """
    if voxel_size is None:
        known = [volume.voxel_size for volume in volumes if getattr(volume, "voxel_size", None) is not None]
        voxel_size = known[0] if known else None
    if voxel_size is None:
        return None
    size = tuple(float(step) for step in voxel_size)
    if len(size) not in (2, 3) or not all(step > 0 and math.isfinite(step) for step in size):
        raise ValueError(f"A voxel size is two or three positive numbers in nm; this one is {tuple(voxel_size)}.")
    return size


def infer_kind(array: np.ndarray) -> str:
    """How to paint an array: "image", "labels", "probability", "signed" or "values".

    uint8 is an image; other integers and booleans are labels; floats within [0, 1] are probabilities, with negative
    values signed, otherwise plain values.

    Example:
        >>> infer_kind(np.zeros((2, 2), np.uint8)), infer_kind(np.zeros((2, 2), np.uint64))
        ('image', 'labels')
    """
    if array.dtype == np.uint8:
        return "image"
    if array.dtype == bool or np.issubdtype(array.dtype, np.integer):
        return "labels"
    if not np.issubdtype(array.dtype, np.floating):
        raise TypeError(f"An array of {array.dtype} cannot be shown; give integers, booleans or floats.")
    if array.size and np.nanmin(array) < 0:
        return "signed"
    return "probability" if not array.size or np.nanmax(array) <= 1 else "values"


def check_kind(kind: str) -> str:
    """Raise ValueError for a kind that does not exist, with the nearest one that does."""
    if kind not in KINDS:
        near = difflib.get_close_matches(str(kind), KINDS, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"There is no kind {kind!r}; use one of {', '.join(KINDS)}.{hint}")
    return kind


def shrink(section: np.ndarray, *, average: bool, pixels: int = PANEL_PIXELS) -> np.ndarray:
    """Resample a (y, x) section to at most `pixels` on its longer side: area average, or the nearest voxel."""
    factor = max(section.shape) / pixels
    if factor <= 1:
        return section
    rows, columns = (max(round(size / factor), 1) for size in section.shape)
    if average:
        from PIL import Image

        whole = Image.fromarray(np.ascontiguousarray(section, np.float32))
        return np.asarray(whole.resize((columns, rows), Image.Resampling.BOX))
    at = [((np.arange(n) + 0.5) * size / n).astype(int) for n, size in zip((rows, columns), section.shape, strict=True)]
    return section[np.ix_(*at)]


def outline(labels: np.ndarray) -> np.ndarray:
    """Bool mask of the object pixels with another label, or background, above, below, left or right of them.

    Example:
        >>> outline(np.pad(np.ones((3, 3), int), 1)).sum()
        np.int64(8)
    """
    edge = np.zeros(labels.shape, bool)
    for axis in (0, 1):
        change = np.diff(labels, axis=axis) != 0 if labels.dtype != bool else np.diff(labels, axis=axis)
        before = [(0, 1) if index == axis else (0, 0) for index in (0, 1)]
        after = [(1, 0) if index == axis else (0, 0) for index in (0, 1)]
        edge |= np.pad(change, before) | np.pad(change, after)
    return edge & (labels != 0)


def to_gray(image: np.ndarray, limits: tuple[float, float] | None = None) -> np.ndarray:
    """A section as uint8 grey: uint8 stays as it is, the rest is stretched between its 0.5 and 99.5 percentiles."""
    if image.dtype == np.uint8 and limits is None:
        return image
    low, high = limits if limits is not None else np.percentile(image, (0.5, 99.5)) if image.size else (0, 1)
    scale = 255 / (high - low) if high > low else 1.0
    return np.clip((image.astype(np.float32) - low) * scale, 0, 255).astype(np.uint8)


def blend(image: np.ndarray, labels: np.ndarray, *, alpha: float, edges: bool) -> np.ndarray:
    """Grey image with its objects in their colours; uint8 (y, x, 3), already reduced to a panel's pixels."""
    gray = shrink(to_gray(image), average=True).astype(np.float32)
    labels = shrink(labels, average=False)
    painted = colorize(labels)
    mixed = np.repeat(gray[..., None], 3, axis=-1)
    inside = labels != 0
    mixed[inside] = (1 - alpha) * mixed[inside] + alpha * painted[inside]
    if edges:
        edge = outline(labels)
        mixed[edge] = painted[edge]
    return np.rint(mixed).astype(np.uint8)


def paint(
    axes: Any,
    section: np.ndarray,
    *,
    kind: str,
    full_shape: tuple[int, int],
    voxel_size: Sequence[float] | None,
    title: str = "",
    colorbar: bool = True,
    scale_bar: bool = False,
) -> None:
    """Draw one section on one axes, in coordinates of the full section, with the voxels' true aspect.

    `kind` "rgb" takes a painted (y, x, 3) picture. Anything else is reduced to a panel's pixels here.
    """
    rows, columns = full_shape
    options: dict[str, Any] = {
        "extent": (-0.5, columns - 0.5, rows - 0.5, -0.5),
        "aspect": voxel_size[-2] / voxel_size[-1] if voxel_size else 1.0,
    }
    if kind == "labels":
        # Colours of two ids must not be mixed into that of a third.
        axes.imshow(colorize(shrink(section, average=False)), interpolation="nearest", **options)
    elif kind == "rgb":
        axes.imshow(section, **options)
    elif kind == "image":
        gray = shrink(to_gray(section), average=True)
        axes.imshow(gray, cmap="gray", vmin=0, vmax=255, **options)
    else:
        values = section / 255 if kind == "probability" and section.dtype == np.uint8 else section
        values = shrink(np.asarray(values, np.float32), average=True)
        limits = value_limits(values, kind)
        drawn = axes.imshow(values, cmap=COLORMAPS[kind], vmin=limits[0], vmax=limits[1], **options)
        if colorbar:
            bar = axes.figure.colorbar(drawn, ax=axes, shrink=0.85, pad=0.02, aspect=18)
            bar.outline.set_visible(False)
    axes.set_title(title)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
    if scale_bar and voxel_size:
        draw_scale_bar(axes, full_shape, voxel_size)


def value_limits(values: np.ndarray, kind: str) -> tuple[float, float]:
    """Colour limits: [0, 1] for probabilities, symmetric for signed values, else from the smallest to the largest."""
    if kind == "probability":
        return 0.0, 1.0
    if kind == "signed":
        reach = float(np.nanmax(np.abs(values))) if values.size else 1.0
        return -(reach or 1.0), reach or 1.0
    low, high = (float(np.nanmin(values)), float(np.nanmax(values))) if values.size else (0.0, 1.0)
    return low, high if high > low else low + 1.0


def draw_scale_bar(axes: Any, shape: tuple[int, int], voxel_size: Sequence[float]) -> None:
    """A bar of a round length, about a quarter of the width, with that length written above it."""
    from matplotlib.patches import Rectangle
    from matplotlib.patheffects import withStroke

    length = round_length(shape[1] * voxel_size[-1] / 4)
    width, height = length / voxel_size[-1], shape[0]
    left, thickness = 0.04 * shape[1], 0.018 * height
    top = 0.95 * height - thickness
    axes.add_patch(Rectangle((left, top), width, thickness, facecolor="white", edgecolor="black", linewidth=0.6))
    text = axes.text(left, top - 0.015 * height, format_length(length), color="white", fontsize=8, va="bottom")
    text.set_path_effects([withStroke(linewidth=2, foreground="black")])


def round_length(nanometres: float) -> float:
    """The largest of 1, 2, 5, 10, 20, 50, ... nm that is not longer than `nanometres`."""
    power = 10.0 ** math.floor(math.log10(nanometres))
    return max(step * power for step in (1, 2, 5) if step * power <= nanometres * (1 + 1e-9))


def format_length(nanometres: float) -> str:
    """Example:
    >>> format_length(500), format_length(2000)
    ('500 nm', '2 µm')
    """
    return f"{nanometres:g} nm" if nanometres < 1000 else f"{nanometres / 1000:g} µm"


def panel_grid(
    count: int,
    shape: tuple[int, int],
    voxel_size: Sequence[float] | None,
    *,
    columns: int = 4,
    widest: float = 2.7,
    extra_width: float = 0.0,
    title_lines: int = 1,
    title: str = "",
    below: float = 0.0,
) -> tuple[NotebookFigure, list[Any]]:
    """A figure for `count` panels of (y, x) `shape`; unused axes are removed.

    Args:
        count: number of panels.
        shape: height and width of a section in voxels.
        voxel_size: for the panels' true aspect.
        columns: panels in a row, at most.
        widest: largest width of a panel in inches.
        extra_width: inches that a colour bar needs in each panel.
        title_lines: lines of text above each panel.
        title: of the whole figure.
        below: inches to leave for a legend.
    """
    columns = min(count, columns)
    rows = math.ceil(count / columns)
    ratio = shape[0] / shape[1] * (voxel_size[-2] / voxel_size[-1] if voxel_size else 1.0)
    wide = min(WIDTH / columns, widest)
    tall = min(max((wide - extra_width) * ratio, 0.6), 4.0)
    # A very tall section is limited by its height: narrow the panels so that no white gaps open between them.
    wide = max(min(wide, tall / ratio + extra_width), 1.4)
    height = (tall + 0.08 + 0.18 * title_lines) * rows + (0.28 if title else 0.0) + below
    figure, axes = new_figure(rows, columns, size=(wide * columns, height), layout="compressed")
    if title:
        figure.suptitle(title)
    flat = list(axes.ravel())
    for spare in flat[count:]:
        spare.remove()
    return figure, flat[:count]
