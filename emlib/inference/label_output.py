"""Files to which the labels of an image are written, whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from emlib.atomic import atomic_path
from emlib.formats.metadata import Metadata
from emlib.formats.saving import check_target
from emlib.inference.prediction_output import refuse_loss
from emlib.volume import Volume, open_volume, save_volume

LABEL_FORMATS = {"zarr": ".zarr", "tiff": ".tif"}


def check_label_path(out: str | os.PathLike, image: Any) -> Path:
    """The path, if labels of the image can be written there.

    Raises:
        TypeError: no path.
        ValueError: a suffix other than .zarr, .tif and .tiff; the image itself; a folder where a file is written, or
            the other way round; a zarr group with other arrays.
    """
    if not isinstance(out, str | os.PathLike):
        raise TypeError(f"out must be a path, not {type(out).__name__}.")
    out = Path(out)
    source = image if isinstance(image, str | os.PathLike) else getattr(image, "path", getattr(image, "filename", None))
    if source is not None and out.resolve() == Path(source).resolve():
        raise ValueError(f"{out} is the image itself; choose another name for its labels.")
    kind, _ = check_target(out, None, LABEL_FORMATS)
    if kind == "zarr":
        refuse_loss(out, None, SimpleNamespace(path=source))
    return out


def write_labels(out: Path, labels: Any, voxel_size: tuple[float, ...] | None) -> Volume:
    """Write labels (y, x), and open what was written.

    Raises:
        OSError: the disk is full or cannot be written; what was at `out` before is still there.
    """
    if out.suffix.lower() == ".zarr":
        save_volume(out, labels, voxel_size=voxel_size, axes="yx", chunks=_chunks(labels.shape))
    else:
        with atomic_path(out) as temporary:
            _save_tiled(temporary, labels, voxel_size)
    return open_volume(out)


def write_blocks(out: Path | None, segment: Callable[[Path], Any], voxel_size: tuple[float, ...] | None) -> Any:
    """Let labels be written to a .zarr, block by block, and bring them where they belong.

    Args:
        out: as checked by `check_label_path`, or None.
        segment: writes a .zarr at the path that it is given, whole or not at all.
        voxel_size: nm along y and x, stored in a TIFF; `segment` stores it in the .zarr.

    Returns:
        The labels: a Volume of `out`, or an array without it.

    Raises:
        OSError: the disk is full or cannot be written; what was at `out` before is still there.
    """
    if out is None:
        with tempfile.TemporaryDirectory(prefix="emlib-") as folder:
            segment(path := Path(folder) / "cells.zarr")
            return open_volume(path)[:]
    if out.suffix.lower() == ".zarr":
        segment(out)
        return open_volume(out)
    # Beside it, because there has to be room for it, which a folder for temporary files need not have.
    with atomic_path(out) as temporary, tempfile.TemporaryDirectory(prefix=".emlib-", dir=out.parent) as folder:
        segment(path := Path(folder) / "cells.zarr")
        _save_tiled(temporary, open_volume(path), voxel_size)
    return open_volume(out)


def _save_tiled(path: Path, labels: Any, voxel_size: tuple[float, ...] | None) -> None:
    from emlib.formats.tiled_tiff import save_tiled

    save_tiled(path, labels, Metadata("yx", voxel_size))


def _chunks(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(min(512, side) for side in shape)
