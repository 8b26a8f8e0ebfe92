"""A map of images: what an encoder sees of each, laid out in a plane, with their clusters and some of the images."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from emlib.visualization.cells.pictures import cell_picture
from emlib.visualization.colors import LINE_COLORS, label_colors
from emlib.visualization.curves import MARKERS
from emlib.visualization.figures import WIDTH, NotebookFigure, new_figure, styled
from emlib.visualization.panels import shrink
from emlib.visualization.principal_components import principal_components

NAMED_CLUSTERS = 14  # more of them are not listed in the legend
THUMBNAIL = 60  # screen pixels of a thumbnail's longer side; more where there are few
RING = 0.30  # of the plot's width and height, for the thumbnails around the points


@styled
def show_modality_map(
    embeddings: Any,
    groups: Sequence[int] | Sequence[str],
    *,
    thumbnails: Sequence[Any] | None = None,
    modalities: Sequence[str] | None = None,
    count: int = 12,
    title: str = "",
) -> NotebookFigure:
    """Embeddings in the plane of their two largest principal components, coloured by cluster.

    Args:
        embeddings: (images, features), numbers.
        groups: each image's cluster, as `discover_modalities` finds them.
        thumbnails: the images, each (y, x), (y, x, 1) or (y, x, 3); the middle ones of the clusters are shown around
            the map, tied to their points.
        modalities: each image's modality where it is known, drawn as the marker's shape.
        count: how many thumbnails, at most.
        title: what to see.

    Raises:
        TypeError, ValueError: embeddings that are not finite numbers (images, features), no image, or lists of
            unequal length.

    Example:
        >>> embeddings = np.array([[0, 0, 0], [0, 1, 0], [9, 0, 0], [9, 1, 0.0]])
        >>> figure = show_modality_map(embeddings, [0, 0, 1, 1])
        >>> figure.axes[0].get_xlabel()
        'first component (99 % of the variance)'
    """
    places, shares = principal_components(embeddings, 2)
    lists = {"groups": groups, "thumbnails": thumbnails, "modalities": modalities}
    for name, values in lists.items():
        if values is not None and len(values) != len(places):
            raise ValueError(f"There are embeddings of {len(places)} images, but {len(values)} {name}.")
    if count < 0:
        raise ValueError(f"count is {count}, but 0 or more was expected.")
    names = [str(group) for group in groups]
    kinds = sorted(set(names), key=lambda name: (len(name), name))
    colors = cluster_colors(len(kinds))
    figure, axes = new_figure(size=(WIDTH, 5.2 if thumbnails is not None else 4.0))
    ax = axes[0, 0]
    shapes = sorted(set(modalities)) if modalities is not None else [""]
    for index, shape in enumerate(shapes):
        own = [place for place in range(len(places)) if modalities is None or modalities[place] == shape]
        ax.scatter(
            *places[own].T,
            c=[colors[kinds.index(names[place])] for place in own],
            marker=MARKERS[index % len(MARKERS)],
            # Beyond the seven markers the same ones come back, larger.
            s=34 if index < len(MARKERS) else 90,
            edgecolors="black",
            linewidths=0.5,
            alpha=0.9,
        )
    ax.set_xlabel(f"first component ({100 * shares[0]:.0f} % of the variance)")
    ax.set_ylabel(f"second component ({100 * shares[1]:.0f} %)")
    ax.set(xticks=[], yticks=[])
    if thumbnails is not None and count:
        chosen = typical_images(places, names, modalities)[:count]
        side = THUMBNAIL if len(chosen) > 10 else round(1.3 * THUMBNAIL)
        _make_room(ax, places)
        for place, spot in zip(chosen, _around(ax, places[chosen], side), strict=True):
            _draw_thumbnail(ax, thumbnails[place], places[place], spot, colors[kinds.index(names[place])], side)
    _legend(ax, kinds, names, colors, shapes if modalities is not None else [])
    if title:
        ax.set_title(title)
    return figure


def typical_images(places: np.ndarray, groups: Sequence[str], modalities: Sequence[str] | None = None) -> list[int]:
    """Images worth a thumbnail: the one nearest to the middle of each cluster, large clusters first, and then, where a
    cluster mixes modalities, the one nearest to the middle of each of the others.

    Example:
        >>> typical_images(np.array([[0, 0], [1, 0], [5, 0], [9, 9]]), ["a", "a", "a", "b"])
        [1, 3]
    """

    def nearest(members: list[int]) -> int:
        return members[int(((places[members] - places[members].mean(axis=0)) ** 2).sum(axis=1).argmin())]

    keys = [list(groups)]
    if modalities is not None:
        keys.append([(group, kind) for group, kind in zip(groups, modalities, strict=True)])
    chosen: list[int] = []
    for key in keys:
        members: dict[Any, list[int]] = {}
        for place, name in enumerate(key):
            members.setdefault(name, []).append(place)
        for name, own in sorted(members.items(), key=lambda item: -len(item[1])):
            known = {key[place] for place in chosen}
            if name not in known:
                chosen.append(nearest(own))
    return chosen


def cluster_colors(count: int) -> np.ndarray:
    """A colour for each cluster, float (count, 3): the colours of lines as long as they last, then those of labels."""
    from matplotlib.colors import to_rgb

    if count <= len(LINE_COLORS):
        return np.array([to_rgb(color) for color in LINE_COLORS[:count]]).reshape(count, 3)
    return label_colors(np.arange(1, count + 1)) / 255


def _make_room(ax: Any, places: np.ndarray) -> None:
    """Limits that leave a ring for thumbnails around the points."""
    for low, high, set_limits in zip(places.min(axis=0), places.max(axis=0), (ax.set_xlim, ax.set_ylim), strict=True):
        reach = max(float(high - low), 1e-9)
        free = reach * RING / (1 - 2 * RING)
        set_limits(low - free, high + free)


def _around(ax: Any, points: np.ndarray, side: int) -> np.ndarray:
    """A place near the frame for each point, in parts of the axes (n, 2): by direction, evenly spread."""
    # The layout comes later; the axes will take about these parts of the figure.
    inset = (side / 2 + 8) / (ax.figure.get_size_inches() * ax.figure.dpi * (0.8, 0.9))
    (left, right), (low, high) = ax.get_xlim(), ax.get_ylim()
    parts = (points - (left, low)) / (right - left, high - low)
    middle = parts - 0.5
    order = np.argsort(np.arctan2(middle[:, 1], middle[:, 0]), kind="stable")
    count = len(points)
    spots = np.empty((count, 2))
    # The frame as a path of length 4 from the middle of its right side, turned so that the lines are short.
    start = np.arange(count) / count * 4
    best, shortest = spots, np.inf
    for turn in np.linspace(0, 4 / count, 8, endpoint=False):
        for shift in range(count):
            at = np.roll(start, shift) + turn
            spots = np.empty((count, 2))
            spots[order] = [_on_frame(one % 4, inset) for one in at]
            length = float(np.hypot(*(spots - parts).T).sum())
            if length < shortest - 1e-12:
                best, shortest = spots, length
    return best


def _on_frame(at: float, inset: np.ndarray) -> tuple[float, float]:
    """Point of a path around the frame, 4 long, counter-clockwise from the middle of the right side."""
    inset_x, inset_y = inset.tolist()
    corners = [(1, 0.5), (1, 1), (0, 1), (0, 0), (1, 0), (1, 0.5)]
    lengths = [0.5, 1, 1, 1, 0.5]
    for (one, other), length in zip(pairwise(corners), lengths, strict=True):
        if at <= length:
            x, y = (a + (b - a) * at / length for a, b in zip(one, other, strict=True))
            return inset_x + x * (1 - 2 * inset_x), inset_y + y * (1 - 2 * inset_y)
        at -= length
    return 1 - inset_x, 0.5


def _draw_thumbnail(ax: Any, image: Any, point: np.ndarray, spot: np.ndarray, color: np.ndarray, side: int) -> None:
    from matplotlib.offsetbox import AnnotationBbox, OffsetImage

    picture = cell_picture(image, "A thumbnail")
    small = np.stack([shrink(picture[..., channel], average=True, pixels=side) for channel in range(3)], axis=-1)
    # The size of an OffsetImage is in points of 1/72 inch, whatever the figure's resolution.
    zoom = side / max(small.shape[:2]) * 72 / ax.figure.dpi
    shown = OffsetImage(np.rint(small).astype(np.uint8), zoom=zoom, interpolation="nearest")
    box = AnnotationBbox(
        shown,
        tuple(point),
        xybox=tuple(spot),
        boxcoords="axes fraction",
        pad=0.12,
        bboxprops={"edgecolor": color, "linewidth": 2},
        arrowprops={"arrowstyle": "-", "color": "0.45", "linewidth": 0.8, "shrinkB": 2},
    )
    ax.add_artist(box)


def _legend(ax: Any, kinds: list[str], names: list[str], colors: np.ndarray, shapes: list[str]) -> None:
    from matplotlib.lines import Line2D

    point = {"linestyle": "none", "markersize": 6, "markeredgecolor": "black", "markeredgewidth": 0.5}
    clusters = []
    if len(kinds) <= NAMED_CLUSTERS:
        for kind, color in zip(kinds, colors, strict=True):
            label = f"{kind}: {names.count(kind)} image{'s' if names.count(kind) != 1 else ''}"
            clusters.append(Line2D([], [], marker="o", markerfacecolor=color, label=label, **point))
    else:
        clusters.append(Line2D([], [], marker="o", markerfacecolor="0.8", label=f"{len(kinds)} clusters", **point))
    markers = []
    for index, shape in enumerate(shapes):
        size = {**point, "markersize": 6 if index < len(MARKERS) else 9}
        marker = MARKERS[index % len(MARKERS)]
        markers.append(Line2D([], [], marker=marker, markerfacecolor="white", label=shape, **size))
    # Two legends would stand side by side and take the map's room: one, with headings.
    heads = [Line2D([], [], linestyle="none", label=words) for words in ("colour: cluster", "shape: modality")]
    handles = [heads[0], *clusters, *([heads[1], *markers] if markers else [])]
    legend = ax.figure.legend(handles=handles, loc="outside right upper")
    for text in legend.get_texts():
        if text.get_text() in ("colour: cluster", "shape: modality"):
            text.set_fontweight("bold")
