"""Write the cells of an image in the forms that other programs open."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from emlib.atomic import atomic_path
from emlib.visualization.cells.geojson import cells_as_geojson
from emlib.visualization.cells.imagej_rois import roi_bytes
from emlib.visualization.cells.measurements import measure_cells
from emlib.visualization.cells.outlines import CellOutline, cell_outlines, check_label_image
from emlib.visualization.cells.overlay import outline_overlay

# Zip files hold dates; without a date of its own each run would write other bytes.
DATE = (1980, 1, 1, 0, 0, 0)


def save_cell_results(
    labels: Any,
    folder: str | Path,
    name: str,
    *,
    image: Any = None,
    formats: Sequence[str] = ("tif", "png", "rois", "geojson", "csv"),
    pixel_size: float | None = None,
    overwrite: bool = True,
) -> dict[str, Path]:
    """Write the cells of one image; each file appears whole or not at all.

    | format | file | what |
    |---|---|---|
    | tif | NAME_label.tiff | ids, compressed, uint32 (uint64 where ids need it), as in the NeurIPS 2022 challenge |
    | png | NAME_overlay.png | the image with outlines; left out without an image |
    | rois | NAME_rois.zip | regions of interest for ImageJ and Fiji, one a piece; holes are not part of this format |
    | geojson | NAME.geojson | polygons for QuPath |
    | csv | NAME_cells.csv | measurements, see `measure_cells` |

    Args:
        labels: (y, x), any integer type, 0 = background.
        folder: made if missing.
        name: of the image, without suffix.
        image: (y, x) or (y, x, 3), uint8, for the overlay and for brightness in the table.
        formats: which files.
        pixel_size: in micrometres, for the table.
        overwrite: replace files that are there.

    Returns:
        format -> the file written.

    Raises:
        FileExistsError: a file is there and `overwrite` is False.
        TypeError, ValueError: an unknown format, a name that is no file name, labels or an image that do not fit.
        OSError: the folder cannot be written.

    Example:
        >>> import tempfile
        >>> files = save_cell_results(np.eye(4, dtype=int), tempfile.mkdtemp(), "a.b", formats=("tif", "csv"))
        >>> [path.name for path in files.values()]
        ['a.b_label.tiff', 'a.b_cells.csv']
    """
    unknown = [one for one in formats if one not in CELL_FORMATS]
    if isinstance(formats, str) or unknown:
        raise ValueError(f"formats is {formats!r}, but some of {', '.join(CELL_FORMATS)} were expected.")
    if not name or Path(name).name != name:
        raise ValueError(f"name is {name!r}, but a file name without folder was expected.")
    results = _CellResults(check_label_image(labels), None if image is None else np.asarray(image), pixel_size)
    written = {}
    for one in formats:
        if one == "png" and image is None:
            continue
        suffix, make = CELL_FORMATS[one]
        with atomic_path(Path(folder) / f"{name}{suffix}", overwrite=overwrite) as temporary:
            temporary.write_bytes(make(results))
        written[one] = Path(folder) / f"{name}{suffix}"
    return written


class _CellResults:
    """What the files are made of; outlines are traced once."""

    def __init__(self, labels: np.ndarray, image: np.ndarray | None, pixel_size: float | None) -> None:
        self.labels, self.image, self.pixel_size = labels, image, pixel_size

    @cached_property
    def outlines(self) -> list[CellOutline]:
        return cell_outlines(self.labels)


def _label_tiff(results: _CellResults) -> bytes:
    import tifffile

    labels, stream = results.labels, io.BytesIO()
    wide = int(labels.max()) >= 2**32
    pixels = np.ascontiguousarray(labels, np.uint64 if wide else np.uint32)
    tifffile.imwrite(stream, pixels, compression="zlib", photometric="minisblack", metadata=None)
    return stream.getvalue()


def _overlay_png(results: _CellResults) -> bytes:
    import imageio.v3 as imageio

    return imageio.imwrite("<bytes>", outline_overlay(results.image, results.labels), extension=".png")


def _rois_zip(results: _CellResults) -> bytes:
    stream, digits = io.BytesIO(), len(str(int(results.labels.max())))
    with zipfile.ZipFile(stream, "w") as archive:
        for outline in results.outlines:
            for number, (ring, *_holes) in enumerate(outline.pieces):
                name = f"{outline.id:0{digits}d}" + (f"-{number + 1}" if number else "")
                entry = zipfile.ZipInfo(f"{name}.roi", DATE)
                entry.compress_type = zipfile.ZIP_DEFLATED
                archive.writestr(entry, roi_bytes(ring, name))
    return stream.getvalue()


def _geojson(results: _CellResults) -> bytes:
    return json.dumps(cells_as_geojson(results.outlines)).encode()


def _table(results: _CellResults) -> bytes:
    return measure_cells(results.labels, results.image, pixel_size=results.pixel_size).to_csv().encode()


CELL_FORMATS: dict[str, tuple[str, Callable[[_CellResults], bytes]]] = {
    "tif": ("_label.tiff", _label_tiff),
    "png": ("_overlay.png", _overlay_png),
    "rois": ("_rois.zip", _rois_zip),
    "geojson": (".geojson", _geojson),
    "csv": ("_cells.csv", _table),
}
