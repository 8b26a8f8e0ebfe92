"""Cells for the tests of their figures: four in one image, two of which touch, with ids of up to 64 bits."""

import numpy as np

IDS = (3, 70_000, 2**40 + 1, 2**63 + 5)


def make_cells(shape=(60, 80)):
    """image uint8 (y, x), labels uint64 (y, x)."""
    y, x = np.indices(shape)
    labels = np.zeros(shape, np.uint64)
    for one, (cy, cx, ry, rx) in zip(
        IDS, ((15, 18, 9, 10), (15, 37, 8, 10), (42, 20, 10, 7), (40, 60, 12, 11)), strict=True
    ):
        labels[((y - cy) / ry) ** 2 + ((x - cx) / rx) ** 2 <= 1] = one
    noise = np.random.default_rng(0).integers(0, 30, shape)
    return (40 + 120 * (labels > 0) + noise).astype(np.uint8), labels


def lines_of(axes):
    """(colours, width, corners (x, y) of each line) of the lines drawn by each call."""
    from matplotlib.collections import LineCollection

    return [
        (
            [tuple(np.round(c[:3], 3)) for c in found.get_colors()],
            float(found.get_linewidths()[0]),
            found.get_segments(),
        )
        for found in axes.collections
        if isinstance(found, LineCollection)
    ]
