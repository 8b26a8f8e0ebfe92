"""Cells from flows for images that do not fit in memory: block by block, without seams."""

from __future__ import annotations

import itertools
import math
import operator
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from emlib.atomic import atomic_path
from emlib.compilation import compiled
from emlib.postprocessing.flow_masks import arrived_together, checked_prediction, checked_settings, drop_and_fill
from emlib.progress import progress
from emlib.volume import Volume, create_volume

BLOCK = {2: (2048, 2048), 3: (64, 256, 256)}
OVERLAP = {2: (256, 256), 3: (16, 64, 64)}
LONGEST_CHUNK = {2: 512, 3: 64}


@dataclass(frozen=True)
class BlockwiseMasks:
    """What `masks_from_flows_blocks` wrote.

    Attributes:
        path: the .zarr.
        objects: how many there are; their ids are 1 ... `objects`.
        cut: how many cells reached the edge of what their block could see, and so are incomplete, or were dropped
            because a part of a cell does not fit the flow. If it is not 0, the overlap is too small for them.
    """

    path: Path
    objects: int
    cut: int


def masks_from_flows_blocks(
    flow: Any,
    probability: Any,
    out: str | os.PathLike,
    *,
    block: int | Sequence[int] | None = None,
    overlap: int | Sequence[int] | None = None,
    probability_threshold: float = 0.5,
    flow_threshold: float | None = 0.4,
    min_size: int = 15,
    steps: int = 200,
    fill_holes: bool = True,
    peak: int = 10,
    rule: str = "cellpose3",
    flow_scale: float = 1.0,
    logits: bool = False,
    voxel_size: Sequence[float] | None = None,
    overwrite: bool = True,
    show: bool = True,
) -> BlockwiseMasks:
    """`masks_from_flows` for an image on disk, such as a whole slide, with ids that are unique in all of it.

    Every block is segmented together with `overlap` pixels around it. A cell belongs to the block in which its centre
    lies (the peak where its pixels arrive), and is written as that block sees it, also where it reaches into the
    blocks around. No cell is cut or joined at a seam, because none is made of parts.

    The result is that of `masks_from_flows` for the whole image, up to the numbering, whatever the block, if twice
    the width of the widest cell plus 16 pixels is at most `overlap`. The width is that of the box around a cell's
    pixels and their ways to the centre. A cell always looks the same to its block if it is itself no wider than
    `overlap` - 16; wider room is needed only for its neighbours, where these could take pixels from it. Cells that
    reach beyond are counted in `cut`.

    Args:
        flow: (2, y, x) or (3, z, y, x), float: a Volume, zarr array, or anything that is sliced like an array; read
            block by block. `masks_from_flows` says more, also about the arguments that are not listed here.
        probability: (y, x) or (z, y, x), the same.
        out: path of a .zarr; nothing is seen there until all of it is written.
        block: pixels of a block along each axis, or one number for all; (2048, 2048), or (64, 256, 256) in 3-D.
        overlap: pixels that a block sees beyond its border on each side; (256, 256), or (16, 64, 64) in 3-D.
        voxel_size: nm to store; None takes that of a Volume.
        overwrite: False raises FileExistsError if there is something at `out`.
        show: a progress bar.

    Returns:
        `.path`, `.objects`, `.cut`. The labels are uint32 (uint64 where there could be 2**32 cells), numbered from 1
        on in the order of the blocks.

    Raises:
        TypeError, ValueError: as `masks_from_flows`; a block or overlap that does not fit, an `out` that is no .zarr.
        FileExistsError: see `overwrite`.
        OSError: the disk is full or cannot be written; what was at `out` before is still there.

    Memory: about 70 bytes per pixel of a block with its overlap; 0.5 GB with the defaults in 2-D.

    Example:
        >>> import tempfile
        >>> from emlib.diffusion import diffusion_flow
        >>> from emlib.volume import open_volume
        >>> labels = np.zeros((8, 40), dtype=int)
        >>> labels[1:7, 3:11], labels[1:7, 17:25] = 1, 2
        >>> found = masks_from_flows_blocks(diffusion_flow(labels), labels > 0, tempfile.mkdtemp() + "/cells.zarr",
        ...                                 block=20, overlap=40, show=False)
        >>> found.objects, found.cut, np.array_equal(open_volume(found.path)[:], labels)
        (2, 0, True)
    """
    settings = checked_settings(
        probability_threshold=probability_threshold,
        flow_threshold=flow_threshold,
        min_size=min_size,
        steps=steps,
        fill_holes=fill_holes,
        peak=peak,
        rule=rule,
        flow_scale=flow_scale,
        logits=logits,
    )
    shape = _checked_shape(flow, probability)
    block = _per_axis(block, "block", BLOCK[len(shape)], least=1)
    overlap = _per_axis(overlap, "overlap", OVERLAP[len(shape)], least=0)
    out = Path(out)
    if out.suffix != ".zarr":
        raise ValueError(f"Blocks are written to .zarr, but out is {str(out)!r}.")
    voxel_size = getattr(probability, "voxel_size", None) if voxel_size is None else voxel_size
    dtype = np.uint32 if math.prod(shape) // max(settings["peak"], 1) < 2**32 else np.uint64
    chunks = [min(length, side, LONGEST_CHUNK[len(shape)]) for length, side in zip(block, shape, strict=True)]
    starts = [range(0, length, step) for length, step in zip(shape, block, strict=True)]
    objects = cut = 0
    with atomic_path(out, overwrite=overwrite) as temporary:
        labels = create_volume(temporary, shape, dtype, chunks=chunks, voxel_size=voxel_size)
        corners = list(itertools.product(*starts))
        for corner in progress(corners, label="segmenting", unit="block", show=show):
            core = tuple(slice(a, min(a + b, n)) for a, b, n in zip(corner, block, shape, strict=True))
            seen = tuple(
                slice(max(part.start - more, 0), min(part.stop + more, n))
                for part, more, n in zip(core, overlap, shape, strict=True)
            )
            # The length of the flow is judged where the first cells are; a later block may hold but a few bad pixels.
            prediction = checked_prediction(
                flow[(slice(None), *seen)], probability[seen], settings, check_scale=objects == 0
            )
            found, peaks = arrived_together(*prediction, settings)
            own = _own(peaks, seen, core, found.shape)
            # Counted before anything is dropped: half a cell does not fit the flow of the whole.
            cut += _count_cut(found, own, seen, shape)
            drop_and_fill(found, len(peaks), prediction[0], settings)
            own &= np.bincount(found.reshape(-1), minlength=len(own)) >= max(settings["min_size"], 1)
            objects = _write(labels, found, own, seen, core, objects)
        labels.mark_complete()
    return BlockwiseMasks(out, objects, cut)


def _own(peaks: np.ndarray, seen: tuple[slice, ...], core: tuple[slice, ...], shape: tuple[int, ...]) -> np.ndarray:
    """For each id of what a block sees, and 0, whether its peak lies in the block itself."""
    own = np.ones(len(peaks) + 1, dtype=np.bool_)
    own[0] = False
    for place, whole, part in zip(np.unravel_index(peaks, shape), seen, core, strict=True):
        own[1:] &= (place + whole.start >= part.start) & (place + whole.start < part.stop)
    return own


def _count_cut(labels: np.ndarray, own: np.ndarray, seen: tuple[slice, ...], shape: tuple[int, ...]) -> int:
    """How many of the block's cells touch an edge of what it sees where the image goes on."""
    touching = [np.zeros(0, dtype=labels.dtype)]
    for axis, (part, length) in enumerate(zip(seen, shape, strict=True)):
        for index, image_ends in ((0, part.start == 0), (-1, part.stop == length)):
            if not image_ends:
                touching.append(np.unique(np.take(labels, index, axis=axis)))
    return int(own[np.unique(np.concatenate(touching))].sum())


def _write(
    out: Volume, labels: np.ndarray, own: np.ndarray, seen: tuple[slice, ...], core: tuple[slice, ...], before: int
) -> int:
    """Add the block's cells to what is written already; returns how many there are now."""
    box = _box_around(labels.reshape((-1, *labels.shape[-2:])), own)[3 - labels.ndim :]
    inner = tuple(slice(c.start - s.start, c.stop - s.start) for c, s in zip(core, seen, strict=True))
    # The block itself is always written, so that no chunk of the file is missing.
    inner = tuple(slice(min(c.start, int(b[0])), max(c.stop, int(b[1]))) for c, b in zip(inner, box, strict=True))
    outer = tuple(slice(i.start + s.start, i.stop + s.start) for i, s in zip(inner, seen, strict=True))
    written = out[outer]
    part = np.ascontiguousarray(labels[inner])
    # Cells within the guarantee are never in each other's way. Of others the first stays, and one that is covered
    # completely gets no number.
    left = np.zeros(len(own), dtype=np.bool_)
    _mark_left(part.reshape(-1), own, written.reshape(-1), left)
    numbers = np.zeros(len(own), dtype=written.dtype)
    numbers[left] = np.arange(before + 1, before + 1 + left.sum(), dtype=np.uint64)
    _add(part.reshape(-1), numbers, written.reshape(-1))
    out[outer] = written
    return before + int(left.sum())


@compiled
def _box_around(labels, own):
    box = np.empty((3, 2), dtype=np.int64)
    box[:, 0], box[:, 1] = np.int64(2**62), 0
    for z in range(labels.shape[0]):
        for y in range(labels.shape[1]):
            for x in range(labels.shape[2]):
                if own[labels[z, y, x]]:
                    box[0, 0], box[0, 1] = min(box[0, 0], z), max(box[0, 1], z + 1)
                    box[1, 0], box[1, 1] = min(box[1, 0], y), max(box[1, 1], y + 1)
                    box[2, 0], box[2, 1] = min(box[2, 0], x), max(box[2, 1], x + 1)
    return box


@compiled
def _mark_left(labels, own, written, left):
    for k in range(labels.size):
        if own[labels[k]] and written[k] == 0:
            left[labels[k]] = True


@compiled
def _add(labels, numbers, written):
    for k in range(labels.size):
        if written[k] == 0 and numbers[labels[k]] != 0:
            written[k] = numbers[labels[k]]


def _checked_shape(flow: Any, probability: Any) -> tuple[int, ...]:
    shapes = [tuple(getattr(values, "shape", ())) for values in (flow, probability)]
    dimensions = len(shapes[0]) - 1
    if dimensions not in (2, 3) or shapes[0][0] != dimensions or 0 in shapes[0]:
        raise ValueError(f"The flow must have the shape (2, y, x) or (3, z, y, x), got {shapes[0]}.")
    if shapes[1] != shapes[0][1:]:
        raise ValueError(f"The probability has shape {shapes[1]}, but the flow is one of shape {shapes[0][1:]}.")
    return shapes[1]


def _per_axis(value: Any, name: str, default: tuple[int, ...], *, least: int) -> tuple[int, ...]:
    if value is None:
        return default
    try:
        numbers = tuple(operator.index(n) for n in (value if hasattr(value, "__len__") else [value] * len(default)))
    except TypeError as error:
        raise ValueError(f"{name} must be whole numbers of pixels, got {value!r}.") from error
    if len(numbers) != len(default) or min(numbers) < least:
        raise ValueError(f"{name} must be one number, or {len(default)}, of at least {least}, got {value!r}.")
    return numbers
