"""A table of the cells of an image: size, place, brightness."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from emlib.visualization.cells.outlines import check_label_image

ROWS_AT_A_TIME = 1024


def measure_cells(labels: Any, image: Any = None, *, pixel_size: float | None = None) -> CellTable:
    """Area, centre, box, equivalent diameter, contact with the image's border, and mean brightness of every cell.

    Args:
        labels: (y, x), any integer type, 0 = background.
        image: (y, x) or (y, x, c), numbers; None leaves the brightness out.
        pixel_size: in micrometres; adds area_um2 and diameter_um.

    Returns:
        CellTable, one row a cell by increasing id.

    Raises:
        TypeError, ValueError: labels or an image of another kind or shape, or a pixel size that is not above 0.

    Example:
        >>> table = measure_cells(np.array([[0, 7, 7], [0, 0, 7]]), np.arange(6).reshape(2, 3))
        >>> dict(zip(table.columns, table.rows[0]))["mean_0"]
        2.6666666666666665
        >>> table.columns[:4], table.rows[0][:2]
        (('id', 'area', 'centre_y', 'centre_x'), (7, 3))
    """
    labels = check_label_image(labels)
    pixels = None if image is None else np.asarray(image)
    if pixels is not None:
        pixels = pixels[..., None] if pixels.ndim == 2 else pixels
        if pixels.ndim != 3 or pixels.shape[:2] != labels.shape or pixels.dtype.kind not in "buif":
            raise ValueError(
                f"The image is {pixels.dtype} of shape {np.shape(image)}, but numbers (y, x) or (y, x, c) of the "
                f"labels' shape {labels.shape} were expected."
            )
    if pixel_size is not None and not 0 < pixel_size < math.inf:
        raise ValueError(f"pixel_size is {pixel_size!r}, but micrometres above 0 were expected.")
    ids = np.unique(labels)
    ids = ids[ids != 0]
    channels = 0 if pixels is None else pixels.shape[2]
    sums = np.zeros((len(ids) + 1, 3 + channels))
    boxes = np.tile(np.array([*labels.shape, 0, 0]), (len(ids) + 1, 1))
    for start in range(0, labels.shape[0], ROWS_AT_A_TIME):
        part = labels[start : start + ROWS_AT_A_TIME]
        y, x = np.nonzero(part)
        place = np.searchsorted(ids, part[y, x])
        brightness = [] if pixels is None else list(pixels[start : start + ROWS_AT_A_TIME][y, x].T)
        for column, values in enumerate([None, y + start, x, *brightness]):
            sums[:, column] += np.bincount(place, values, minlength=len(sums))
        np.minimum.at(boxes, (place, 0), y + start)
        np.minimum.at(boxes, (place, 1), x)
        np.maximum.at(boxes, (place, 2), y + start + 1)
        np.maximum.at(boxes, (place, 3), x + 1)
    columns = ["id", "area", "centre_y", "centre_x", "top", "left", "bottom", "right", "diameter", "at_border"]
    columns += ["area_um2", "diameter_um"] * (pixel_size is not None) + [
        f"mean_{channel}" for channel in range(channels)
    ]
    rows = []
    for one, own, box in zip(ids.tolist(), sums[:-1].tolist(), boxes[:-1].tolist(), strict=True):
        area = own[0]
        diameter = 2 * math.sqrt(area / math.pi)
        border = min(box[:2]) == 0 or box[2] == labels.shape[0] or box[3] == labels.shape[1]
        physical = [] if pixel_size is None else [area * pixel_size**2, diameter * pixel_size]
        means = [value / area for value in own[1:]]
        rows.append((one, int(area), *means[:2], *box, diameter, int(border), *physical, *means[2:]))
    return CellTable(tuple(columns), tuple(rows))


@dataclass(frozen=True)
class CellTable:
    """Measurements of cells.

    Attributes:
        columns: names; lengths are in pixels unless they end in _um, `right` and `bottom` one past the last pixel,
            `diameter` that of a disc of the same area, `at_border` 1 or 0.
        rows: one tuple a cell.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[float, ...], ...]

    def to_csv(self) -> str:
        """The table as text, decimals with five digits."""
        stream = io.StringIO()
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(self.columns)
        for row in self.rows:
            writer.writerow(f"{value:.5g}" if isinstance(value, float) else value for value in row)
        return stream.getvalue()
