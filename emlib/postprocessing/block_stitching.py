"""Blocks that were segmented one by one, put together to one volume with one numbering."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from emlib.postprocessing.block_tracing import BlockTracer, Place, check_depth, grid_place


def stitch_blocks(
    blocks: Mapping[int | Place, Any],
    *,
    overlap: int | Place = 0,
    min_overlap: float = 0.2,
    measure: str = "sum",
    out: Any = None,
) -> np.ndarray:
    """Assemble a grid of label blocks, joining objects across the faces in all three directions.

    Objects of neighbouring blocks are one if they overlap enough on the compared sections: those that both blocks
    have (`overlap`), else the two that touch. Links are united over all blocks as by `BlockTracer`; a link never
    depends on the order of blocks. Of sections that two blocks have, the first half is taken from the one before and
    the rest from the one behind.

    Args:
        blocks: by their place in the grid, (z, y, x) or one number along z; (Z, Y, X) labels of any integer type, as
            arrays, Volumes or zarr arrays. They are read twice, one at a time.
        overlap: voxels (z, y, x) that neighbours have in common, or one number for z alone.
        min_overlap, measure: see `trace_blocks`; 0 joins all that share a voxel (without overlap: a voxel's face).
        out: what to write into by boxes, an array or zarr Volume of the whole volume's shape and an unsigned type of
            64 bits (or of 32 if the ids fit); None makes an array.

    Returns:
        `out`, or labels (Z, Y, X), uint32, or uint64 from 2**32 objects on. Ids are 1, 2, 3, ... in the order of
        blocks and of their ids; one is missing where an object lay only in what was taken from a neighbour.

    Raises:
        TypeError, ValueError: no blocks, a gap in the grid, blocks in a row of different lengths, an `out` of another
            shape or too narrow a type; and as `BlockTracer`.

    Memory: one block and its result, the faces that wait for a neighbour, 16 bytes an object of a block; and the
    volume, if `out` is None.

    Example:
        >>> left, right = np.array([[[0, 5, 5]]]), np.array([[[8, 0, 8]]])
        >>> stitch_blocks({(0, 0, 0): left, (0, 0, 1): right})
        array([[[0, 1, 1, 1, 0, 1]]], dtype=uint32)
        >>> stitch_blocks({(0, 0, 0): left, (0, 0, 1): right}, overlap=(0, 0, 1))
        array([[[0, 1, 1, 0, 1]]], dtype=uint32)
    """
    depth = check_depth(overlap)
    grid = _grid(blocks)
    spans = [_spans(grid, axis, depth[axis]) for axis in range(3)]
    shape = tuple(along[-1][1] for along in spans)
    if out is not None and tuple(out.shape) != shape:
        raise ValueError(f"out must have the shape of the assembled volume, {shape}, got {tuple(out.shape)}.")
    tracer = BlockTracer(min_overlap=min_overlap, measure=measure, overlap=depth)
    for place in sorted(grid):
        tracer.add(place, _read(grid[place]))
    dtype = np.dtype(np.uint32 if tracer.objects < 2**32 else np.uint64)
    if out is None:
        out = np.zeros(shape, dtype=dtype)
    elif np.dtype(out.dtype).kind != "u" or np.dtype(out.dtype).itemsize < dtype.itemsize:
        raise TypeError(f"out must be unsigned with at least {8 * dtype.itemsize} bits, got {out.dtype}.")
    for place in sorted(grid):
        box, part = [], []
        for axis, position in enumerate(place):
            start, stop = spans[axis][position]
            before = (depth[axis] + 1) // 2 if position > 0 else 0
            behind = depth[axis] // 2 if position + 1 < len(spans[axis]) else 0
            box.append(slice(start + before, stop - behind))
            part.append(slice(before, stop - start - behind))
        out[tuple(box)] = tracer.relabel(place, _read(grid[place]))[tuple(part)].astype(out.dtype)
    return out


def _grid(blocks: Mapping[int | Place, Any]) -> dict[Place, Any]:
    """The blocks by their places (z, y, x), of which none is missing."""
    grid = {grid_place(index): block for index, block in blocks.items()}
    if not grid:
        raise ValueError("There are no blocks to put together.")
    if len(grid) < len(blocks):
        raise ValueError("Two blocks have the same place in the grid.")
    ends = [max(place[axis] for place in grid) + 1 for axis in range(3)]
    for place in np.ndindex(*ends):
        if place not in grid:
            raise ValueError(f"The grid of {ends[0]} x {ends[1]} x {ends[2]} blocks lacks block {place}.")
    if len(grid) != np.prod(ends):
        raise ValueError("The places of blocks start at 0 along each axis.")
    return grid


def _spans(grid: dict[Place, Any], axis: int, depth: int) -> list[tuple[int, int]]:
    """Where the blocks start and stop along an axis, by their position on it."""
    lengths: dict[int, int] = {}
    for place, block in grid.items():
        length = int(block.shape[axis]) if len(block.shape) == 3 else 0
        if length < 1 or lengths.setdefault(place[axis], length) != length:
            raise ValueError(
                f"Block {place} has the shape {tuple(block.shape)}, but three axes (z, y, x) were expected and, "
                f"along axis {axis}, the length of the others in its row."
            )
    spans, start = [], 0
    for position in sorted(lengths):
        spans.append((start, start + lengths[position]))
        start += lengths[position] - depth
    return spans


def _read(block: Any) -> np.ndarray:
    return np.asarray(block[...] if isinstance(block, np.ndarray) else block[:])
