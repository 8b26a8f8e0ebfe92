"""A generated set of cell images as files, laid out as the readers and the recipe expect data of one's own."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import imageio.v3 as imageio
import tifffile

from emlib.atomic import atomic_path
from emlib.data.cell_phantom import CellPhantom

TABLE_NAME = "modalities.csv"


def save_cell_set(phantoms: Sequence[CellPhantom], root: str | Path, *, overwrite: bool = False) -> Path:
    """Write `images/cell_00000.png`, `labels/cell_00000_label.tiff`, ... and `modalities.csv`, all or nothing.

    Args:
        phantoms: at least one.
        root: the folder to make.
        overwrite: replace a folder that is there.

    Returns:
        `root`; `find_image_pairs`, `write_mapping` and `open_cell_set` read it.

    Raises:
        ValueError: nothing to write.
        FileExistsError: `root` is there and `overwrite` is False.
        OSError: it cannot be written.

    Example:
        >>> import tempfile
        >>> from emlib.data.cell_phantom import make_cell_set
        >>> root = save_cell_set(make_cell_set(2, shapes=((64, 64), (64, 64))), Path(tempfile.mkdtemp()) / "cells")
        >>> sorted(path.name for path in root.rglob("*.*"))[:2]
        ['cell_00000.png', 'cell_00000_label.tiff']
    """
    if not len(phantoms):
        raise ValueError("There is no picture to save.")
    root = Path(root)
    with atomic_path(root, overwrite=overwrite) as folder:
        for name in ("images", "labels"):
            (folder / name).mkdir(parents=True)
        rows = [("name", "modality", "cells")]
        for number, phantom in enumerate(phantoms):
            name = f"cell_{number:05d}"
            imageio.imwrite(folder / "images" / f"{name}.png", phantom.image)
            tifffile.imwrite(folder / "labels" / f"{name}_label.tiff", phantom.labels, compression="zlib")
            rows.append((name, phantom.modality, int(phantom.labels.max())))
        with open(folder / TABLE_NAME, "w", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerows(rows)
    return root
