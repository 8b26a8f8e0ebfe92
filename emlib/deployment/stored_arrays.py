"""Arrays that lie beside a ledger: those that one block leaves for others, and tables of all blocks."""

from __future__ import annotations

import os
import uuid
from pathlib import Path

import numpy as np

from emlib.atomic import TEMPORARY_MARK, atomic_path
from emlib.scaling import WrittenFiles


def write_arrays(folder: Path, name: str, **arrays: np.ndarray) -> WrittenFiles:
    """Write arrays of one block as `folder/name.npz`, for a ledger, which flushes and hashes the file.

    The file appears at once, and has the same bytes whenever it is written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f"{TEMPORARY_MARK}{uuid.uuid4().hex[:8]}-{name}.npz"
    try:
        np.savez(temporary, **arrays)
        os.replace(temporary, folder / f"{name}.npz")
    finally:
        temporary.unlink(missing_ok=True)
    return WrittenFiles((folder,), (f"{name}.npz",))


def read_arrays(folder: Path, name: str, *wanted: str) -> tuple[np.ndarray, ...]:
    """Some of the arrays that `write_arrays` wrote."""
    with np.load(folder / f"{name}.npz", allow_pickle=False) as file:
        return tuple(file[one] for one in wanted)


def save_tables(folder: Path, **tables: np.ndarray) -> None:
    """Write tables that all workers read, `folder/NAME.npy` each, unless another process has done so."""
    for name, values in tables.items():
        path = folder / f"{name}.npy"
        if _is_stored(path, values):
            continue
        try:
            with atomic_path(path) as temporary:
                np.save(temporary, values)
        except FileNotFoundError:
            # One that was ready sooner has tidied up under this one's hands.
            if not _is_stored(path, values):
                raise


def table(folder: Path, name: str) -> np.ndarray:
    """A table, read where it is used."""
    return np.load(folder / f"{name}.npy", mmap_mode="r")


def _is_stored(path: Path, values: np.ndarray) -> bool:
    try:
        found = np.load(path, mmap_mode="r" if values.size else None)
    except (OSError, ValueError):
        return False
    return found.dtype == values.dtype and np.array_equal(found, values)


def tidy(folder: Path) -> None:
    """Remove what killed processes left half-written; nothing may be being written."""
    for file in folder.glob(f"{TEMPORARY_MARK}*"):
        file.unlink(missing_ok=True)
