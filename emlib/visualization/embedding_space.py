"""What an embedding looks like: vectors of voxels in the plane, and as colours in their place."""

from __future__ import annotations

from typing import Any

import numpy as np

from emlib.visualization.colors import label_colors
from emlib.visualization.figures import NotebookFigure, styled
from emlib.visualization.panels import as_array, check_same_shape, paint, panel_grid, pick_section
from emlib.visualization.principal_components import principal_components

POINTS = 4000  # in the scatter plot
SPREAD = (2, 98)  # percentiles of a component that become 0 and full brightness
LEAST_SPREAD = 0.2  # of that of the component that varies most


@styled
def show_embedding_space(
    embedding: Any,
    labels: Any,
    *,
    image: Any = None,
    section: int | None = None,
    seed: int = 0,
    title: str = "",
) -> NotebookFigure:
    """One section's embedding: its first three principal components as red, green and blue, its objects, and the
    vectors in the plane of the first two components, each in the colour of its object.

    Args:
        embedding: (c, z, y, x) array or Volume of numbers; only the section is read.
        labels: (z, y, x) integers, the objects that the vectors are to tell apart, 0 = background (drawn grey).
        image: (z, y, x), shown first.
        section: its number, default the middle.
        seed: of the choice of points, where a section has more than can be drawn.
        title: what to see.

    Raises:
        TypeError, ValueError: not (c, z, y, x), other shapes, not finite numbers, or no such section.

    Example:
        >>> vectors = np.stack(np.meshgrid(*[np.arange(8.0)] * 3, indexing="ij"))
        >>> figure = show_embedding_space(vectors, np.ones((8, 8, 8), np.uint16))
        >>> [axes.get_title() for axes in figure.axes][:2]
        ['components as red, green, blue', 'objects']
    """
    embedding, labels = as_array(embedding, "embedding"), as_array(labels, "labels")
    if len(embedding.shape) != 4:
        raise ValueError(f"embedding must be (c, z, y, x); its shape is {tuple(embedding.shape)}.")
    check_same_shape(embedding[0], labels, ("The embedding's maps", "labels"))
    z = pick_section(embedding.shape[1], section, "embedding")
    vectors, objects = np.asarray(embedding[:, z]), np.asarray(labels[z])
    places, shares = principal_components(np.moveaxis(vectors, 0, -1).reshape(-1, len(vectors)), 3)
    low, high = np.percentile(places, SPREAD, axis=0)
    # A component that hardly varies would show its noise at full strength.
    width = np.maximum(high - low, max(LEAST_SPREAD * (high - low).max(), 1e-12))
    colours = np.clip(0.5 + (places - (low + high) / 2) / width, 0, 1).reshape(*objects.shape, 3)
    panels = {} if image is None else {"image": np.asarray(as_array(image, "image")[z])}
    figure, grid = panel_grid(len(panels) + 3, objects.shape, None, columns=len(panels) + 3, title=title)
    for axes, (name, plane) in zip(grid, panels.items(), strict=False):
        paint(axes, plane, kind="image", full_shape=plane.shape, voxel_size=None, title=name, scale_bar=False)
    mosaic, painted, cloud = grid[len(panels) :]
    mosaic.imshow(colours, interpolation="nearest")
    mosaic.set_title("components as red, green, blue")
    mosaic.set_axis_off()
    paint(painted, objects, kind="labels", full_shape=objects.shape, voxel_size=None, title="objects", scale_bar=False)
    ids = objects.ravel()
    chosen = np.arange(ids.size)
    if ids.size > POINTS:
        chosen = np.random.default_rng(seed).choice(ids.size, POINTS, replace=False)
    # Objects over background, which would cover them.
    chosen = chosen[np.argsort(ids[chosen] > 0, kind="stable")]
    paints = np.where(ids[chosen, None] > 0, label_colors(ids[chosen]), 190) / 255
    cloud.scatter(*places[chosen, :2].T, c=paints, s=4, linewidths=0)
    cloud.set_axis_on()
    cloud.set(xticks=[], yticks=[], xlabel=f"first component ({100 * shares[0]:.0f} % of the variance)")
    cloud.set_ylabel(f"second ({100 * shares[1]:.0f} %)")
    cloud.set_title("voxels")
    return figure
