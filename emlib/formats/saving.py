"""Putting a volume into a file: which writer, what stays of an existing file, and one sentence when it fails."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np

from emlib.atomic import atomic_path, explain_write_error
from emlib.formats.boxes import check_chunks
from emlib.formats.detection import format_of
from emlib.formats.metadata import Metadata, check_attributes, check_axes, check_voxel_size
from emlib.formats.ordering import DEFAULT_KEY

SAVED = {"zarr": ".zarr", "hdf5": ".h5", "tiff": ".tif", "npy": ".npy"}
CREATED = {"zarr": ".zarr", "hdf5": ".h5"}


def check_target(path: Path, key: str | None, allowed: dict[str, str]) -> tuple[str, str | None]:
    """Format and tidied key of a path to write to.

    Raises:
        ValueError: a format that is not written, a key where there are none, or a key that leads elsewhere; a folder
            where a file is to be written, or the other way round.
    """
    kind = format_of(path)
    if kind not in allowed:
        raise ValueError(f"{path} cannot be written as {path.suffix}; use {', '.join(allowed.values())}.")
    if path.exists() and path.is_dir() != (kind == "zarr"):
        raise ValueError(f"{path} is a {'folder' if path.is_dir() else 'file'}; remove it before saving there.")
    if key is None:
        return kind, None
    if kind not in CREATED:
        raise ValueError(f"{path} holds one array; do not pass a key (got {key!r}).")
    name = key.strip("/")
    if not name or any(part in ("", ".", "..") or part.startswith(".") for part in name.split("/")):
        raise ValueError(f"{key!r} is no key: use names separated by '/', none starting with a dot.")
    return kind, name


def save_array(path: Path, array: Any, metadata: Metadata, chunks: Any, key: str | None, *, overwrite: bool) -> None:
    """Write `array` (anything with shape, dtype and box indexing) to `path`, all or nothing.

    Raises:
        OSError: the file could not be written.
        FileExistsError: it is there and `overwrite` is False.
        ValueError: `chunks` for a format without, an unsuitable path or key, or a folder that would be lost.
    """
    kind, key = check_target(path, key, SAVED)
    if kind in CREATED:
        chunks = check_chunks(chunks, array.shape, metadata.axes)
    elif chunks is not None:
        raise ValueError(f"{path} has no chunks; pass chunks for .zarr and .h5 only.")
    if kind == "zarr":
        _save_zarr(path, array, metadata, chunks, key, overwrite=overwrite)
        return
    if kind == "hdf5":
        from emlib.formats import hdf5

        if not overwrite:
            _refuse_existing(path, key or DEFAULT_KEY, hdf5.holds(path, key))
        with atomic_path(path) as temporary:
            hdf5.save(temporary, array, metadata, chunks, key, existing=path)
        return
    with atomic_path(path, overwrite=overwrite) as temporary:
        if kind == "tiff":
            from emlib.formats import tiff

            tiff.save(temporary, array, metadata)
        else:
            from emlib.formats import npy

            npy.save(temporary, array, metadata)


def _save_zarr(path: Path, array: Any, metadata: Metadata, chunks: Any, key: str | None, *, overwrite: bool) -> None:
    from emlib.formats import zarr_store

    _refuse_loss(path, key)
    if key is None or not zarr_store.is_node(path):
        with atomic_path(path, overwrite=overwrite) as temporary:
            if key is not None:
                zarr_store.make_groups(temporary, key)
            zarr_store.save(temporary / (key or ""), array, metadata, chunks)
        return
    zarr_store.make_groups(path, key)
    with atomic_path(path / key, overwrite=overwrite) as temporary:
        zarr_store.save(temporary, array, metadata, chunks)


def _refuse_loss(path: Path, key: str | None) -> None:
    """Refuse to replace a group with other arrays in it, or a folder that is no zarr store at all."""
    from emlib.formats import zarr_store

    for folder, said in ((path, key is None), (path / (key or ""), True)):
        if not folder.is_dir() or not any(folder.iterdir()):
            continue
        if not zarr_store.is_node(folder):
            raise ValueError(f"{folder} is a folder but no zarr store; remove it before saving there.")
        if said and zarr_store.read_node(folder)[0] == "group" and (held := zarr_store.dimensions(folder)):
            raise ValueError(f"{folder} is a zarr group that holds {', '.join(held)}; name the array with key=.")


def create_array(
    path: Path, shape: Any, dtype: np.dtype, metadata: Metadata, chunks: Any, key: str | None, *, overwrite: bool
) -> None:
    """Make an array of zeros at `path`, directly.

    Raises:
        FileExistsError: it is there and `overwrite` is False.
        OSError: it could not be written.
        ValueError: an unsuitable path or key, or a folder that would be lost.
    """
    kind, key = check_target(path, key, CREATED)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if kind == "hdf5":
            from emlib.formats import hdf5

            if not overwrite:
                _refuse_existing(path, key or DEFAULT_KEY, hdf5.holds(path, key))
            hdf5.create(path, shape, dtype, metadata, chunks, key)
            return
        from emlib.formats import zarr_store

        _refuse_loss(path, key)
        target = path / (key or "")
        if not overwrite:
            _refuse_existing(path, key, target.exists() and (key is not None or zarr_store.is_node(target)))
        if key is not None:
            zarr_store.make_groups(path, key)
        if target.exists():
            shutil.rmtree(target)
        zarr_store.create(path, shape, dtype, metadata, chunks, key)
    except OSError as error:
        raise explain_write_error(error, path) from error


def _refuse_existing(path: Path, key: str | None, there: bool) -> None:
    if there:
        what = f"{path} [{key}]" if key else str(path)
        raise FileExistsError(f"{what} exists already; pass overwrite=True to replace it.")


def describe(
    shape: tuple[int, ...], voxel_size: Any, axes: str | None, attributes: Any, chunks: Any
) -> tuple[Metadata, tuple[int, ...]]:
    """Metadata and chunks of an array that is about to be made, checked.

    Raises:
        ValueError: a side without voxels, or anything that does not fit the shape.
    """
    axes = check_axes(axes, len(shape))
    if min(shape) < 1:
        raise ValueError(f"A volume needs at least one voxel along each axis, got shape {shape}.")
    metadata = Metadata(axes, check_voxel_size(voxel_size, axes), check_attributes(attributes))
    return metadata, check_chunks(chunks, shape, axes)
