"""Write and read Neuroglancer's precomputed format: a folder of chunks at several resolutions for any web server."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from emlib.atomic import atomic_path
from emlib.formats.coarsening import downsample_image, downsample_labels
from emlib.progress import progress
from emlib.visualization.chunk_encoding import (
    BLOCK,
    decode_compressed_segmentation,
    decode_raw,
    encode_compressed_segmentation,
    encode_raw,
)
from emlib.visualization.panels import as_array, find_voxel_size
from emlib.visualization.served_array import served_type

KINDS = ("image", "segmentation")
COARSEST = 512  # voxels: a level with no side above this is the last one
MOST_LEVELS = 8
Box = tuple[slice, slice, slice]


def write_precomputed(
    volume: Any,
    path: str | Path,
    *,
    voxel_size: Sequence[float] | None = None,
    kind: str = "image",
    mips: int | None = None,
    chunk: Sequence[int] = (64, 64, 64),
    overwrite: bool = True,
    show_progress: bool = True,
) -> Path:
    """Write a (z, y, x) volume, or an image with channels (c, z, y, x), as a Neuroglancer precomputed folder.

    The folder is unsharded and holds coarser levels.

    Voxels are read and written chunk by chunk, so memory does not grow with the volume; a level is made from the files
    of the level before. Each level halves the axes whose voxels are less than twice as long as the shortest: y and x
    alone for a section stack, all three once the voxels are nearly cubic. Images are averaged; a coarse label is the
    most frequent one below it (the smallest of equally frequent ones). The folder appears when it is complete.

    Args:
        volume: array or Volume. Images: uint8, uint16, uint32, uint64 or floats (stored as float32), (z, y, x) or
            with channels (c, z, y, x), such as three affinities that a shader draws as RGB. Segmentations: (z, y, x)
            of any integers, stored as uint32 or uint64, no id changed.
        path: folder to write; `info` lies directly in it.
        voxel_size: nm (z, y, x), default the Volume's, needed.
        kind: "image" (raw chunks) or "segmentation" (compressed_segmentation chunks).
        mips: coarser levels, default until no side is above 512 voxels.
        chunk: (z, y, x) of a chunk, multiples of 8.
        overwrite: replace an existing folder.
        show_progress: show a bar, or a line now and then in a log.

    Returns:
        The path. View it with the source "precomputed://<address of the folder>".

    Raises:
        ValueError: not 3-D (or 4-D, for an image), empty, no voxel size, unknown kind, chunk or mips.
        TypeError: a segmentation that is not of integers.
        FileExistsError: the folder exists and `overwrite` is False.
        OSError: the disk is full or not writable; nothing is left at `path`.

    Example:
        >>> import tempfile
        >>> labels = np.full((4, 16, 16), 2**40 + 1, np.uint64)
        >>> folder = write_precomputed(
        ...     labels, tempfile.mkdtemp() + "/cells", voxel_size=(30, 8, 8), kind="segmentation", mips=1
        ... )
        >>> read_precomputed(folder, mip=1).shape, int(read_precomputed(folder).max()) == 2**40 + 1
        ((4, 8, 8), True)
    """
    volume = as_array(volume)
    voxel_size = find_voxel_size(voxel_size, volume)
    _check(volume, voxel_size, kind, mips, chunk)
    dtype = served_type(np.dtype(volume.dtype), labels=kind == "segmentation")
    levels = plan_levels(volume.shape[-3:], voxel_size, mips)
    channels = int(volume.shape[0]) if len(volume.shape) == 4 else 1
    info = scales_info(levels, dtype, kind, chunk, channels)
    with atomic_path(path, overwrite=overwrite) as temporary:
        temporary.mkdir()
        (temporary / "info").write_text(json.dumps(info, indent=1), encoding="utf-8")
        for number, (shape, _, factor) in enumerate(levels):
            (temporary / info["scales"][number]["key"]).mkdir()
            boxes = list(chunk_boxes(shape, chunk))
            if number == 0:
                read = _reader_of(volume, kind)
            else:
                read = _coarsened(temporary, info, number - 1, factor, kind)
            for box in progress(boxes, label=f"writing level {number}", unit="chunk", show=show_progress):
                encoded = encode_chunk(info, read(box))
                (temporary / info["scales"][number]["key"] / chunk_name(box)).write_bytes(encoded)
    return Path(path)


def read_precomputed(
    path: str | Path, *, mip: int = 0, start: Sequence[int] | None = None, stop: Sequence[int] | None = None
) -> np.ndarray:
    """Read a box of one level of a folder that `write_precomputed` wrote.

    Args:
        path: the folder.
        mip: level, 0 is the finest.
        start: first voxel (z, y, x) of the box, default 0.
        stop: voxel (z, y, x) after the last, default the shape of the level.

    Returns:
        (z, y, x) array of the stored dtype, (c, z, y, x) if there are several channels.

    Raises:
        FileNotFoundError: no precomputed volume there, or a chunk is missing.
        ValueError: no such level, a box outside it, or an encoding or layout that this reader does not know.
    """
    path = Path(path)
    if not (path / "info").is_file():
        raise FileNotFoundError(f"{path} is not a precomputed volume: it has no file 'info'.")
    info = json.loads((path / "info").read_text(encoding="utf-8"))
    if not 0 <= mip < len(info["scales"]):
        raise ValueError(f"{path} has the levels 0 to {len(info['scales']) - 1}; there is no level {mip}.")
    shape = info["scales"][mip]["size"][::-1]
    start, stop = list(start or (0, 0, 0)), list(stop or shape)
    if not all(0 <= low < high <= size for low, high, size in zip(start, stop, shape, strict=True)):
        raise ValueError(f"The box {start} to {stop} does not lie inside level {mip} of shape {shape}.")
    return read_box(path, info, mip, tuple(slice(low, high) for low, high in zip(start, stop, strict=True)))


def plan_levels(
    shape: Sequence[int], voxel_size: Sequence[float], mips: int | None
) -> list[tuple[tuple[int, ...], tuple[float, ...], tuple[int, ...]]]:
    """Shape, voxel size and reduction from the level before, of each level; all (z, y, x).

    Example:
        >>> for level in plan_levels((100, 1024, 1024), (30, 8, 8), 2):
        ...     print(*level)
        (100, 1024, 1024) (30.0, 8.0, 8.0) (1, 1, 1)
        (100, 512, 512) (30.0, 16.0, 16.0) (1, 2, 2)
        (50, 256, 256) (60.0, 32.0, 32.0) (2, 2, 2)
    """
    levels = [(tuple(int(size) for size in shape), tuple(float(step) for step in voxel_size), (1, 1, 1))]
    while len(levels) - 1 < (MOST_LEVELS if mips is None else mips):
        size, steps, _ = levels[-1]
        if mips is None and max(size) <= COARSEST:
            break
        factor = tuple(2 if step < 2 * min(steps) and side > 1 else 1 for side, step in zip(size, steps, strict=True))
        if factor == (1, 1, 1):
            break
        size = tuple(-(-side // by) for side, by in zip(size, factor, strict=True))
        levels.append((size, tuple(step * by for step, by in zip(steps, factor, strict=True)), factor))
    return levels


def _check(volume: Any, voxel_size: Sequence[float] | None, kind: str, mips: int | None, chunk: Sequence[int]) -> None:
    if kind not in KINDS:
        raise ValueError(f"kind must be 'image' or 'segmentation', not {kind!r}.")
    if len(volume.shape) not in ((3, 4) if kind == "image" else (3,)) or min(volume.shape) < 1:
        wanted = "(z, y, x) or (c, z, y, x)" if kind == "image" else "(z, y, x)"
        raise ValueError(f"A precomputed {kind} must be {wanted} and not empty; the shape is {tuple(volume.shape)}.")
    if voxel_size is None or len(voxel_size) != 3:
        raise ValueError("A precomputed volume needs a voxel size in nm (z, y, x); give voxel_size=...")
    if mips is not None and mips < 0:
        raise ValueError(f"mips must be 0 or more, not {mips}.")
    if len(chunk) != 3 or not all(side > 0 and side % BLOCK == 0 for side in chunk):
        raise ValueError(f"chunk must be three multiples of {BLOCK} (z, y, x), not {tuple(chunk)}.")
    dtype = np.dtype(volume.dtype)
    if kind == "segmentation" and dtype.kind not in "uib":
        raise TypeError(f"A segmentation must hold integer labels, but it is {dtype}.")


def scales_info(levels: list[Any], dtype: np.dtype, kind: str, chunk: Sequence[int], channels: int) -> dict[str, Any]:
    """The content of the file `info` for levels of `plan_levels`."""
    scales = []
    for number, (shape, steps, _) in enumerate(levels):
        scale: dict[str, Any] = {
            "key": f"mip{number}",
            "size": list(shape[::-1]),
            "resolution": list(steps[::-1]),
            "voxel_offset": [0, 0, 0],
            "chunk_sizes": [[int(side) for side in chunk[::-1]]],
            "encoding": "raw" if kind == "image" else "compressed_segmentation",
        }
        if kind == "segmentation":
            scale["compressed_segmentation_block_size"] = [BLOCK] * 3
        scales.append(scale)
    return {
        "@type": "neuroglancer_multiscale_volume",
        "type": kind,
        "data_type": dtype.name,
        "num_channels": channels,
        "scales": scales,
    }


def chunk_boxes(shape: Sequence[int], chunk: Sequence[int]) -> Iterator[Box]:
    """The boxes (z, y, x) of all chunks of a volume."""
    ranges = [range(0, size, side) for size, side in zip(shape, chunk, strict=True)]
    for corner in itertools.product(*ranges):
        yield tuple(slice(low, min(low + side, size)) for low, side, size in zip(corner, chunk, shape, strict=True))


def chunk_name(box: Box) -> str:
    """The file that holds a box (z, y, x) of a level."""
    return "_".join(f"{side.start}-{side.stop}" for side in box[::-1])


def encode_chunk(info: dict[str, Any], values: np.ndarray) -> bytes:
    """What a chunk's file holds."""
    data = np.ascontiguousarray(values).astype(info["data_type"], copy=False)
    return encode_raw(data) if info["type"] == "image" else encode_compressed_segmentation(data)


def _reader_of(volume: Any, kind: str) -> Callable[[Box], np.ndarray]:
    def read(box: Box) -> np.ndarray:
        values = np.asarray(volume[box if len(volume.shape) == 3 else (slice(None), *box)])
        if kind == "segmentation" and values.dtype.kind == "i" and values.min() < 0:
            raise ValueError(f"Labels must not be negative; the smallest here is {values.min()}.")
        return values

    return read


def _coarsened(
    folder: Path, info: dict[str, Any], finer: int, factor: Sequence[int], kind: str
) -> Callable[[Box], np.ndarray]:
    """A reader of the next level that reduces the files of level `finer`."""
    size = info["scales"][finer]["size"][::-1]

    def read(box: Box) -> np.ndarray:
        fine = tuple(
            slice(side.start * by, min(side.stop * by, end)) for side, by, end in zip(box, factor, size, strict=True)
        )
        values = read_box(folder, info, finer, fine)
        if kind == "segmentation":
            return downsample_labels(values, factor)
        return downsample_image(values, (*(1,) * (values.ndim - 3), *factor))

    return read


def read_box(folder: Path, info: dict[str, Any], mip: int, box: Box) -> np.ndarray:
    """A box (z, y, x) of a level, whose chunks may lie in a folder that is not finished.

    Raises:
        FileNotFoundError: a chunk is missing.
        ValueError: an encoding or layout that this reader does not know.
    """
    scale = info["scales"][mip]
    if "sharding" in scale or scale["encoding"] not in ("raw", "compressed_segmentation"):
        raise ValueError(f"{folder} is sharded or has the encoding {scale['encoding']!r}; this reader knows neither.")
    dtype = np.dtype(info["data_type"])
    decode = decode_raw if scale["encoding"] == "raw" else decode_compressed_segmentation
    shape, chunk = scale["size"][::-1], scale["chunk_sizes"][0][::-1]
    # A chunk is stored channel after channel, each with x fastest.
    channels = (info["num_channels"],) if info["num_channels"] > 1 else ()
    out = np.empty([*channels, *(side.stop - side.start for side in box)], dtype)
    touched = [range(side.start // step * step, side.stop, step) for side, step in zip(box, chunk, strict=True)]
    for corner in itertools.product(*touched):
        here = tuple(slice(low, min(low + step, size)) for low, step, size in zip(corner, chunk, shape, strict=True))
        file = folder / scale["key"] / chunk_name(here)
        if not file.is_file():
            raise FileNotFoundError(f"The precomputed volume {folder} lacks its chunk {scale['key']}/{file.name}.")
        data = decode(file.read_bytes(), [*channels, *(side.stop - side.start for side in here)], dtype)
        common = [(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(here, box, strict=True)]
        source = tuple(slice(low - a.start, high - a.start) for (low, high), a in zip(common, here, strict=True))
        target = tuple(slice(low - b.start, high - b.start) for (low, high), b in zip(common, box, strict=True))
        out[(..., *target)] = data[(..., *source)]
    return out
