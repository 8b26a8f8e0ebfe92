"""Proofread labels from VAST and back: a folder of PNG sections whose colours are ids."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from emlib.atomic import atomic_path
from emlib.data.slab_writing import write_slabs
from emlib.data.vast_names import PATTERN, check_pattern, section_name
from emlib.data.vast_source import VastSource
from emlib.formats.boxes import blocks
from emlib.formats.pictures import LARGEST_COLOUR, encode_ids, encode_png
from emlib.formats.source import in_threads
from emlib.progress import progress
from emlib.volume import Volume, open_volume

RENUMBERING = "renumbering.txt"
SLAB_BYTES = 2**28


def read_vast(
    path: str | os.PathLike,
    *,
    pattern: str | None = None,
    missing: str = "error",
    ids: Mapping[int, int] | None = None,
    voxel_size: Sequence[float] | None = None,
) -> Volume:
    """Open a VAST export (PNG sections) as labels (z, y, x); each section is decoded when it is read.

    The id of a pixel is R * 65536 + G * 256 + B; grey sections (8 or 16 bits) hold ids as they are, and may lie among
    coloured ones. Sections are ordered by the number in their names. The headers of all are read at once, and of what
    is decoded every checksum is tested, because a flipped bit would be another id.

    Args:
        path: folder, glob pattern or one picture.
        pattern: names with %d or %04d where the section's number stands, such as "%04d_tr1-tc1.png"; None finds the
            one number that differs.
        missing: numbers that are left out: "error", "background" for empty sections in their place, or "skip" to
            close the gaps (where every n-th section was exported).
        ids: the id that each number in the pictures stands for, such as `read_renumbering(folder)` or
            `collapsed_ids(segments)`; None keeps the numbers. Background stays 0 if the table lacks it.
        voxel_size: nm (z, y, x).

    Returns:
        A Volume of uint32 (with `ids` above 2^32 - 1 of uint64); its attribute `first_section` is the first number.

    Raises:
        FileNotFoundError: no pictures, or sections are missing.
        OSError: a damaged or truncated picture.
        ValueError: sections of unequal size, a palette, transparent pixels, 16-bit colour, masks of 1 bit, names
            without a clear number, or a number that `ids` lacks.

    Example:
        >>> import tempfile
        >>> labels = np.array([[[0, 70000]], [[3, 0]]])
        >>> folder = write_vast(labels, tempfile.mkdtemp() + "/export")
        >>> volume = read_vast(folder)
        >>> volume.dtype, volume[:].tolist() == labels.tolist()
        (dtype('uint32'), True)
    """
    return Volume(VastSource(Path(path), pattern=pattern, missing=missing, ids=ids), voxel_size)


def vast_to_volume(
    path: str | os.PathLike,
    out: str | os.PathLike,
    *,
    window: Sequence[int] | None = None,
    pattern: str | None = None,
    missing: str = "error",
    ids: Mapping[int, int] | None = None,
    voxel_size: Sequence[float] | None = None,
    chunks: Sequence[int] | None = None,
    overwrite: bool = False,
    show_progress: bool = True,
) -> Path:
    """Turn a VAST export into a .zarr or .h5 volume (key `main`), section by section.

    Memory holds about 256 MiB of labels, or the sections of one chunk if `chunks` makes them deeper.

    Args:
        path, pattern, missing, ids, voxel_size: see `read_vast`.
        out: .zarr or .h5 file.
        window: (z0, z1, y0, y1, x0, x1), the part to take, in voxels from the first section; None takes all.
        chunks: of the file, default up to 32 x 256 x 256.
        overwrite: replace a file that is there.
        show_progress: show a bar, or a line now and then in a log.

    Returns:
        The path `out`.

    Raises:
        IndexError: the window leaves the export.
        FileExistsError, OSError, ValueError: see `read_vast` and `emlib.volume.save_volume`; nothing is left
            half-written.

    Example:
        >>> import tempfile
        >>> folder = tempfile.mkdtemp()
        >>> export = write_vast(np.arange(24).reshape(2, 3, 4), folder + "/export")
        >>> file = vast_to_volume(export, folder + "/labels.zarr", window=(1, 2, 0, 3, 1, 3))
        >>> open_volume(file)[:].tolist()
        [[[13, 14], [17, 18], [21, 22]]]
    """
    volume = read_vast(path, pattern=pattern, missing=missing, ids=ids, voxel_size=voxel_size)
    if window is not None:
        volume = _cut(volume, window)
    return write_slabs(
        volume, out, label="reading VAST sections", chunks=chunks, overwrite=overwrite, show_progress=show_progress
    )


def write_vast(
    labels: Volume | np.ndarray,
    folder: str | os.PathLike,
    *,
    pattern: str = PATTERN,
    first: int = 0,
    renumber: bool = False,
    overwrite: bool = False,
    show_progress: bool = True,
) -> Path:
    """Write labels as RGB PNG sections for VAST, R = id // 65536, G = id // 256 % 256, B = id % 256.

    A lazy volume is read some sections at a time, and the folder appears when it is complete.

    Args:
        labels: (z, y, x), any integer type; array or Volume.
        folder: folder to write.
        pattern: name of a section, with %d or %04d for its number; the default is that of the EM mitochondria pipeline.
        first: number of the first section.
        renumber: colours hold ids up to 2^24 - 1 = 16,777,215; True writes the ids as 1, 2, ... in their order, and
            the file `renumbering.txt` beside the sections, which `read_renumbering` reads.
        overwrite: replace an export that is there.
        show_progress: show a bar, or a line now and then in a log.

    Returns:
        The path of the folder.

    Raises:
        FileExistsError: the folder is there, and `overwrite` is False or it holds anything but such an export.
        TypeError: labels that are not whole numbers.
        ValueError: not (z, y, x), no voxels, an id that is negative or no colour, too many ids to renumber, or an
            unusable pattern.
        OSError: the disk is full or not writable; nothing is left at `folder`.

    Example:
        >>> import tempfile
        >>> folder = write_vast(np.array([[[0, 2**40]]]), tempfile.mkdtemp() + "/export", renumber=True, first=200)
        >>> sorted(file.name for file in folder.iterdir())
        ['0200_tr1-tc1.png', 'renumbering.txt']
        >>> read_vast(folder, ids=read_renumbering(folder))[:].tolist() == [[[0, 2**40]]]
        True
    """
    folder, labels = Path(folder), open_volume(labels)
    check_pattern(pattern)
    if labels.axes != "zyx":
        raise ValueError(f"The labels have axes {labels.axes!r} and shape {labels.shape}, but (z, y, x) was expected.")
    if labels.dtype.kind not in "ui":
        raise TypeError(f"The labels are {labels.dtype}, but whole numbers (one an object) were expected.")
    if not isinstance(first, int | np.integer) or isinstance(first, bool) or first < 0:
        raise ValueError(f"first is {first!r}, but the number of the first section, from 0, was expected.")
    _refuse_loss(folder, pattern, overwrite)
    boxes = list(blocks(labels.shape, (1, *labels.shape[1:]), labels.dtype.itemsize, SLAB_BYTES))
    known = _all_ids(labels, boxes, show_progress) if renumber else None
    with atomic_path(folder) as temporary:
        temporary.mkdir()
        for box in progress(boxes, label="writing VAST sections", unit="slab", show=show_progress):
            values = labels[box]
            for place in range(len(values)):
                _check_ids(values[place], box[0].start + place, renumber)

            def write(z: int, values: np.ndarray = values, start: int = box[0].start) -> None:
                numbers = values[z] if known is None else np.searchsorted(known, values[z].astype(np.uint64))
                file = temporary / section_name(pattern, int(first) + start + z)
                file.write_bytes(encode_png(encode_ids(numbers)))

            for _ in in_threads(write, range(len(values)), len(values)):
                pass
        if known is not None:
            lines = (f"{number}\t{one}\n" for number, one in enumerate(known.tolist()))
            (temporary / RENUMBERING).write_text(
                "".join([f"% number in the pictures, id; {known.size} lines\n", *lines]), encoding="utf-8"
            )
    return folder


def read_renumbering(folder: str | os.PathLike) -> dict[int, int]:
    """The id that each number in an export's pictures stands for, as `write_vast(renumber=True)` noted it.

    Raises:
        FileNotFoundError: the export was not renumbered.
        ValueError: the file is damaged.

    Example:
        >>> import tempfile
        >>> folder = write_vast(np.array([[[0, 9, 7]]]), tempfile.mkdtemp() + "/export", renumber=True)
        >>> read_renumbering(folder)
        {0: 0, 1: 7, 2: 9}
    """
    path = Path(folder) / RENUMBERING
    if not path.is_file():
        raise FileNotFoundError(f"{folder} holds no {RENUMBERING}: the ids of this export were not renumbered.")
    head, *lines = path.read_text(encoding="utf-8").split("\n")
    counted = head.split("; ")[-1].removesuffix(" lines")
    pairs = [line.split("\t") for line in lines[:-1]]
    whole = all(len(pair) == 2 and all(part.isdecimal() for part in pair) for pair in pairs)
    if not whole or lines[-1:] != [""] or counted != str(len(pairs)):
        raise ValueError(f"{path} is damaged or truncated: it must hold two whole numbers a line, and as many lines "
                         "as it says.")  # fmt: skip
    return {int(number): int(one) for number, one in pairs}


def _cut(volume: Volume, window: Sequence[int]) -> Volume:
    window = tuple(window) if isinstance(window, list | tuple | np.ndarray) else ()
    if len(window) != 6:
        raise ValueError("A window is six whole numbers (z0, z1, y0, y1, x0, x1), in voxels.")
    part = volume.crop(*(tuple(window[axis : axis + 2]) for axis in (0, 2, 4)))
    if "first_section" not in volume.attributes:
        return part
    # Negative numbers count from the end, as in a crop.
    start = int(window[0]) % volume.shape[0] if window[0] < 0 else int(window[0])
    return part.with_metadata(attributes={"first_section": volume.attributes["first_section"] + start})


def _check_ids(ids: np.ndarray, z: int, renumber: bool) -> None:
    low, high = int(ids.min()), int(ids.max())
    if low < 0:
        raise ValueError(f"Section {z} holds the negative id {low}, but ids start at 0 (background).")
    if high > LARGEST_COLOUR and not renumber:
        raise ValueError(
            f"Section {z} holds the id {high}, but colours hold ids up to {LARGEST_COLOUR}; pass renumber=True to "
            "write them as 1, 2, ... with a table of what they stand for."
        )


def _all_ids(labels: Volume, boxes: Sequence[tuple[slice, ...]], show_progress: bool) -> np.ndarray:
    """All ids in order, 0 first."""
    import fastremap

    found = np.zeros(1, np.uint64)
    for box in progress(boxes, label="counting ids", unit="slab", show=show_progress):
        block = labels[box]
        _check_ids(block, box[0].start, renumber=True)
        found = np.union1d(found, fastremap.unique(block).astype(np.uint64))
    if found.size > LARGEST_COLOUR + 1:
        raise ValueError(f"There are {found.size - 1} ids, but colours hold at most {LARGEST_COLOUR} of them.")
    return found


def _refuse_loss(folder: Path, pattern: str, overwrite: bool) -> None:
    """Refuse a target that is there, unless it may be replaced and holds sections of such names alone."""
    if not folder.exists():
        return
    if folder.is_file():
        raise FileExistsError(f"{folder} is a file, but sections are written to a folder.")
    files = list(folder.iterdir())
    if files and not overwrite:
        raise FileExistsError(
            f"The folder {folder} holds {len(files)} files already; allow overwriting to replace them."
        )
    head, tail = (part for part in section_name(pattern, 10**9).split(str(10**9)))
    for file in files:
        middle = file.name.removeprefix(head).removesuffix(tail)
        if file.name != RENUMBERING and not (file.name == head + middle + tail and middle.isdecimal()):
            raise FileExistsError(f"The folder {folder} holds {file.name}, which is no section; it would be lost.")
