"""What is in the data: how large its objects are and how much of it belongs to each class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from emlib.visualization.colors import BLUE, ORANGE, VERMILLION
from emlib.visualization.figures import NotebookFigure, new_figure, styled
from emlib.visualization.panels import as_array, find_voxel_size


@styled
def show_object_sizes(
    sizes: Any,
    *,
    extents: Any = None,
    window: Sequence[int] | None = None,
    voxel_size: Sequence[float] | None = None,
    limits: Sequence[float] | None = None,
    title: str = "",
) -> NotebookFigure:
    """A histogram of object sizes, and the extents of the objects' bounding boxes against the training window.

    An object that is larger than the window is never seen whole by the network.

    Args:
        sizes: n voxel counts; or a (z, y, x) label array or Volume, which is read whole and measured.
        extents: (n, 3) or (n, 2) bounding-box sides in voxels (z, y, x); measured if `sizes` are labels.
        window: (z, y, x) of the network's window in voxels.
        voxel_size: nm (z, y, x); adds an axis in cubic micrometres.
        limits: sizes in voxels that separate small from medium from large, drawn as lines.
        title: what to see.

    Raises:
        ValueError: no objects, sizes below 1, or extents and window that do not fit.

    Example:
        >>> labels = np.zeros((4, 16, 16), int)
        >>> labels[1:3, 2:6, 2:10] = 7
        >>> show_object_sizes(labels, window=(4, 8, 8)).axes[1].get_xticklabels()[1].get_text()
        'y'
    """
    measured = as_array(sizes, "sizes")
    voxel_size = find_voxel_size(voxel_size, sizes)
    if len(measured.shape) > 1:
        measured, extents = measure_objects(measured)
    counts = np.asarray(measured, float)
    if counts.size == 0:
        raise ValueError("There is no object to measure: the list of sizes is empty or all labels are background.")
    if not np.isfinite(counts).all() or counts.min() < 1:
        raise ValueError(f"Object sizes are voxel counts of at least 1; the smallest here is {counts.min():g}.")
    boxes = None if extents is None else np.asarray(extents, float)
    if boxes is not None and (boxes.ndim != 2 or len(boxes) != len(counts)):
        raise ValueError(f"extents must have one row for each of the {len(counts)} objects; shape is {boxes.shape}.")
    if window is not None and boxes is not None and len(window) != boxes.shape[1]:
        raise ValueError(f"window has {len(window)} sides, but the extents have {boxes.shape[1]}.")
    figure, axes = new_figure(1, 1 if boxes is None else 2, size=(5.2 if boxes is None else 9.5, 3.2))
    unit = "pixels" if boxes is not None and boxes.shape[1] == 2 else "voxels"
    _draw_histogram(axes[0, 0], counts, voxel_size, limits, unit)
    if boxes is not None:
        _draw_extents(axes[0, 1], boxes, window, unit)
    if title:
        figure.suptitle(title)
    return figure


@styled
def show_class_balance(fractions: Mapping[str, float], *, title: str = "") -> NotebookFigure:
    """Horizontal bars: which fraction of the voxels belongs to each class.

    Args:
        fractions: class -> fraction from 0 to 1.
        title: what to see.

    Raises:
        ValueError: no class, or a fraction outside 0 to 1.

    Example:
        >>> figure = show_class_balance({"mask": 0.12, "contour": 0.04})
        >>> [text.get_text() for text in figure.axes[0].texts]
        ['12.0 %', '4.0 %']
    """
    if not fractions:
        raise ValueError("show_class_balance needs at least one class.")
    for name, fraction in fractions.items():
        if not 0 <= fraction <= 1:
            raise ValueError(f"The fraction of {name!r} must be between 0 and 1, not {fraction}.")
    names, values = list(fractions), np.array(list(fractions.values()), float)
    figure, axes = new_figure(size=(6.0, 0.9 + 0.34 * len(names)))
    ax = axes[0, 0]
    ax.barh(names, values * 100, color=BLUE, height=0.65)
    for row, value in enumerate(values):
        # Digits that keep a rare class from being written as 0.0 %.
        words = f"{value * 100:.1f} %" if value == 0 or value >= 0.001 else f"{value * 100:.2g} %"
        ax.text(value * 100 + 0.8, row, words, va="center", fontsize=8)
    ax.invert_yaxis()
    ax.set_xlim(0, min(float(values.max()) * 100 * 1.25 + 2, 112))
    ax.set_xlabel("fraction of all voxels (%)")
    if title:
        ax.set_title(title)
    return figure


def measure_objects(labels: Any) -> tuple[np.ndarray, np.ndarray]:
    """Voxel counts (n,) and bounding-box sides (n, ndim) of the objects of a label array, in the order of their ids.

    Example:
        >>> counts, sides = measure_objects(np.array([[0, 5, 5], [0, 0, 5]]))
        >>> counts.tolist(), sides.tolist()
        ([3], [[2, 2]])
    """
    from scipy.ndimage import find_objects

    values = np.asarray(labels[...])
    if not np.issubdtype(values.dtype, np.integer):
        raise ValueError(f"Object sizes are measured on integer labels, not on {values.dtype}.")
    ids, index, counts = np.unique(values, return_inverse=True, return_counts=True)
    index = index.reshape(values.shape)
    start = 1 if ids.size and ids[0] == 0 else 0
    boxes = find_objects((index + 1 - start).astype(np.int32))
    sides = [[side.stop - side.start for side in box] for box in boxes]
    return counts[start:], np.array(sides, int).reshape(-1, values.ndim)


def _draw_histogram(
    ax: Any, counts: np.ndarray, voxel_size: Sequence[float] | None, limits: Sequence[float] | None, unit: str
) -> None:
    from matplotlib.ticker import MaxNLocator, NullFormatter

    low, high = np.log10(counts.min()), np.log10(counts.max())
    bins = np.logspace(np.floor(low * 4) / 4, np.ceil(high * 4 + 0.01) / 4, int(np.clip(counts.size, 8, 24)))
    ax.hist(counts, bins=bins, color=BLUE, edgecolor="white", linewidth=0.5)
    ax.set_xscale("log")
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.set_xlabel(f"object size ({unit})")
    ax.set_ylabel("objects")
    ax.yaxis.set_major_locator(MaxNLocator(integer=True))
    median = float(np.median(counts))
    ax.axvline(median, color="black", linewidth=1.2, linestyle="--", label=f"median: {median:,.0f}")
    for index, limit in enumerate(limits or ()):
        words = f"size limits: {', '.join(f'{one:,.0f}' for one in limits)}" if index == 0 else None
        ax.axvline(limit, color=VERMILLION, linewidth=1.4, linestyle=":", label=words)
    ax.set_title(f"{counts.size:,} objects")
    ax.set_ylim(top=ax.get_ylim()[1] * 1.35)
    ax.legend(loc="upper right")
    if voxel_size and len(voxel_size) == 3:
        cubic = float(np.prod(voxel_size)) / 1e9
        upper = ax.secondary_xaxis("top", functions=(lambda size: size * cubic, lambda size: size / cubic))
        upper.xaxis.set_minor_formatter(NullFormatter())
        upper.set_xlabel("µm³")


def _draw_extents(ax: Any, boxes: np.ndarray, window: Sequence[int] | None, unit: str) -> None:
    names = "zyx"[-boxes.shape[1] :]
    jitter = np.random.default_rng(0).uniform(-0.18, 0.18, len(boxes))
    for index in range(len(names)):
        ax.plot(index + jitter, boxes[:, index], ".", color=BLUE, alpha=0.5, markersize=5)
        if window is None:
            continue
        larger = int((boxes[:, index] > window[index]).sum())
        ax.plot([index - 0.36, index + 0.36], [window[index]] * 2, color=ORANGE, linewidth=3)
        ax.annotate(
            f"{larger} larger", (index, 0.98), xycoords=("data", "axes fraction"), ha="center", va="top", fontsize=8
        )
    ax.set_xticks(range(len(names)), list(names))
    ax.set_xlim(-0.6, len(names) - 0.4)
    top = max(float(boxes.max()), *(window or (0,)), 1.0)
    ax.set_ylim(0, top * 1.18)
    ax.set_ylabel(f"bounding box ({unit})")
    ax.set_title("extent of each object" + ("; orange: the window" if window is not None else ""))
