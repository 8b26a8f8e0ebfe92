"""Read registered data sets as they were published into volumes: image, labels, voxel size."""

from __future__ import annotations

import difflib
import gzip
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import h5py
import imageio.v3 as imageio
import numpy as np

from emlib.data.download import fetch_dataset
from emlib.volume import Volume

VNC_SECTIONS = 20
FIB25_SIDE = 250


def load_real_set(
    name: str, *, structure: str = "mitochondria", data_dir: str | Path | None = None, progress: bool = True
) -> tuple[Volume, Volume]:
    """Image and labels of a registered EM data set, fetched first if need be.

    Args:
        name: "vnc", "fib25", "plantseg-ovule" or "snemi3d".
        structure: "mitochondria" (vnc) or "neurites" (fib25, snemi3d; the cells of plantseg-ovule).
        data_dir: where downloads are kept, as in `fetch_dataset`.
        progress: show a bar while downloading.

    Returns:
        Two volumes (Z, Y, X): uint8 image, and labels (a 0/1 mask for "vnc", instances for the others).

    Raises:
        ValueError: no reader for that name, or the data set does not label that structure.
        FileNotFoundError, OSError: as in `fetch_dataset`.

    Example:
        >>> load_real_set("vnc", structure="neurites")
        Traceback (most recent call last):
        ...
        ValueError: Data set 'vnc' labels mitochondria, not neurites.
    """
    if name not in READERS:
        close = difflib.get_close_matches(name, READERS, n=1)
        hint = f"did you mean {close[0]}?" if close else f"there are readers for {', '.join(READERS)}."
        raise ValueError(f"There is no reader for data set '{name}'; {hint}")
    labelled, reader = READERS[name]
    if structure != labelled:
        raise ValueError(f"Data set '{name}' labels {labelled}, not {structure}.")
    return reader(fetch_dataset(name, data_dir=data_dir, progress=progress))


def load_published_segmentation(
    name: str | None, *, data_dir: str | Path | None = None, progress: bool = True
) -> Volume | None:
    """The automatic segmentation that a data set's authors published beside its truth, to compare one's own with.

    Args:
        name: a registered data set; None (generated data) has no such segmentation.
        data_dir, progress: as in `load_real_set`.

    Returns:
        Labels (Z, Y, X) on the voxels of `load_real_set`, or None where there is none. "fib25" has one: the
        over-segmentation from which its agglomeration (NeuroProof) began.

    Example:
        >>> load_published_segmentation(None) is None
        True
    """
    if name != "fib25":
        return None
    sample = load_fib25(fetch_dataset(name, data_dir=data_dir, progress=progress))
    return Volume(sample.fragments, sample.voxel_size)


def load_vnc(folder: str | Path) -> VNC:
    """Read the 20 sections of the VNC stack.

    Args:
        folder: what `fetch_dataset("vnc")` returned.

    Returns:
        VNC: image and masks, all uint8 (20, 1024, 1024). The section thickness was given as 45-50 nm; 50 is stated.

    Raises:
        FileNotFoundError: a section is missing.
        ValueError: a section has another shape.
    """
    stack = Path(folder) / "stack1"
    image = _read_sections(stack / "raw", ".tif", VNC_SECTIONS)
    # The masks are partly 1-bit and partly 8-bit with a few stray greys, hence the threshold.
    mitochondria = (_read_sections(stack / "mitochondria", ".png", VNC_SECTIONS) > 127).astype(np.uint8)
    membranes = (_read_sections(stack / "membranes", ".png", VNC_SECTIONS) > 127).astype(np.uint8)
    return VNC(image, mitochondria, membranes)


def load_fib25(folder: str | Path) -> FIB25:
    """Read the FIB-25 sample.

    Args:
        folder: what `fetch_dataset("fib25")` returned.

    Returns:
        FIB25: image uint8, bodies and fragments uint32, all (250, 250, 250), 10 nm. Bodies keep their published ids;
        they touch without a gap. Body 135478 collects glia and thin processes that were not told apart.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: a file has another shape or lacks a supervoxel.
    """
    sample = Path(folder) / "training_sample2"
    image = _read_sections(sample / "grayscale_maps", ".png", FIB25_SIDE)
    bodies = _read_bodies(sample / "groundtruth.h5.gz")
    return FIB25(image, bodies, _read_bodies(sample / "oversegmented_stack_labels.h5.gz"))


def _read_sections(folder: Path, suffix: str, count: int) -> np.ndarray:
    paths = sorted(folder.glob(f"*{suffix}"))
    if len(paths) != count:
        raise FileNotFoundError(f"{folder} holds {len(paths)} files *{suffix}, but {count} sections were expected.")
    first = _read_grey(paths[0])
    stack = np.empty((count, *first.shape), np.uint8)
    for z, path in enumerate(paths):
        section = _read_grey(path)
        if section.shape != first.shape:
            raise ValueError(f"{path} has shape {section.shape}, but {first.shape} was expected.")
        stack[z] = section
    return stack


def _read_grey(path: Path) -> np.ndarray:
    section = imageio.imread(path)
    if section.dtype == bool:
        return section.astype(np.uint8) * 255
    if section.ndim != 2 or section.dtype != np.uint8:
        raise ValueError(f"{path} holds {section.dtype} of shape {section.shape}, but 8-bit grey was expected.")
    return section


def _read_bodies(path: Path) -> np.ndarray:
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path}.")
    with gzip.open(path, "rb") as packed, h5py.File(io.BytesIO(packed.read()), "r") as file:
        supervoxels, transforms = file["stack"][:], file["transforms"][:]
    if supervoxels.min() < 0 or supervoxels.max() > transforms[:, 0].max():
        raise ValueError(f"{path}: the table 'transforms' does not cover every supervoxel of 'stack'.")
    table = np.zeros(int(transforms[:, 0].max()) + 1, np.uint32)
    table[transforms[:, 0]] = transforms[:, 1]
    return table[supervoxels]


def _vnc_volumes(folder: Path) -> tuple[Volume, Volume]:
    stack = load_vnc(folder)
    return Volume(stack.image, stack.voxel_size), Volume(stack.mitochondria, stack.voxel_size)


def _fib25_volumes(folder: Path) -> tuple[Volume, Volume]:
    sample = load_fib25(folder)
    return Volume(sample.image, sample.voxel_size), Volume(sample.bodies, sample.voxel_size)


def _ovule_volumes(folder: Path) -> tuple[Volume, Volume]:
    with h5py.File(folder / "sample_ovule.h5", "r") as file:
        image, labels = file["raw"][:], file["label"][:]
    return Volume(image, (235.0, 150.0, 150.0)), Volume(labels, (235.0, 150.0, 150.0))


def _snemi3d_volumes(folder: Path) -> tuple[Volume, Volume]:
    import tifffile

    size = (30.0, 6.0, 6.0)
    image, labels = (tifffile.imread(folder / f"train-{name}.tif") for name in ("input", "labels"))
    return Volume(image, size), Volume(labels, size)


READERS: dict[str, tuple[str, Callable[[Path], tuple[Volume, Volume]]]] = {
    "vnc": ("mitochondria", _vnc_volumes),
    "fib25": ("neurites", _fib25_volumes),
    "plantseg-ovule": ("neurites", _ovule_volumes),
    "snemi3d": ("neurites", _snemi3d_volumes),
}


@dataclass(frozen=True)
class VNC:
    """The VNC stack, arrays uint8 (20, 1024, 1024); masks are 0 and 1."""

    image: np.ndarray
    mitochondria: np.ndarray
    membranes: np.ndarray
    voxel_size: tuple[float, float, float] = (50.0, 4.6, 4.6)


@dataclass(frozen=True)
class FIB25:
    """The FIB-25 sample, arrays (250, 250, 250): uint8 image, uint32 neuron bodies and over-segmentation."""

    image: np.ndarray
    bodies: np.ndarray
    fragments: np.ndarray
    voxel_size: tuple[float, float, float] = (10.0, 10.0, 10.0)
