"""Fragments with any ids, numbered 1, 2, ... in the raster order of their first voxels."""

from __future__ import annotations

from typing import Any

import numpy as np

from emlib.compilation import compiled


def number_fragments(fragments: Any, shape: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Number the fragments in the raster order of their first voxels.

    Args:
        fragments: (Z, Y, X), any integer type, ids up to 2**64 - 1, 0 = background; an array, Volume or zarr array,
            read plane by plane.
        shape: that the fragments must have.

    Returns:
        (Z, Y, X) uint32 with 1 ... N and 0, and the ids (N,) uint64 of the fragments 1 ... N.

    Raises:
        TypeError: not integers.
        ValueError: another shape, negative ids, or 2**31 fragments or more.

    Example:
        >>> numbers, ids = number_fragments(np.array([[[7, 7, 0, 2**40, 3, 7]]]), (1, 1, 6))
        >>> numbers.tolist(), ids.tolist()
        ([[[1, 1, 0, 2, 3, 1]]], [7, 1099511627776, 3])
    """
    if not (hasattr(fragments, "shape") and isinstance(getattr(fragments, "dtype", None), np.dtype)):
        fragments = np.asarray(fragments)
    if fragments.dtype.kind not in "iu":
        raise TypeError(f"fragments must be integers (0 = background, one id each), got {fragments.dtype}.")
    if tuple(fragments.shape) != tuple(shape):
        raise ValueError(f"fragments must have the shape of the affinities, {shape}, got {tuple(fragments.shape)}.")
    numbers = np.empty(shape, dtype=np.uint32)
    ids = np.empty(1024, dtype=np.uint64)
    slots = np.zeros(4096, dtype=np.uint32)
    count = 0
    for z in range(shape[0]):
        plane = np.asarray(fragments[z])
        if plane.dtype.kind == "i" and plane.min() < 0:
            raise ValueError(f"fragments must not have negative ids, got {plane.min()} at z = {z}.")
        row = 0
        plane = np.ascontiguousarray(plane)
        while row < shape[1]:
            if count + shape[2] > ids.size:
                if count + shape[2] >= 2**31:
                    raise ValueError("There may be fewer than 2**31 fragments; work on a part of the volume.")
                ids = np.concatenate([ids, np.empty(ids.size + shape[2], dtype=np.uint64)])
            if 2 * (count + shape[2]) > slots.size:
                slots = np.zeros(4 * (count + shape[2]), dtype=np.uint32)
                _fill(slots, ids, count)
            row, count = _number_rows(plane, row, ids, slots, count, numbers[z])
    return numbers, ids[:count].copy()


@compiled
def _slot_of(slots, ids, wanted):
    """The slot with the number of an id, or the free one where it belongs."""
    key = wanted * np.uint64(0x9E3779B97F4A7C15)
    key ^= key >> np.uint64(32)
    slot = np.int64(key % np.uint64(slots.size))
    while slots[slot] != 0 and ids[slots[slot] - 1] != wanted:
        slot += 1
        if slot == slots.size:
            slot = 0
    return slot


@compiled
def _fill(slots, ids, count):
    for place in range(count):
        slots[_slot_of(slots, ids, ids[place])] = place + 1


@compiled
def _number_rows(plane, row, ids, slots, count, numbers):
    """Number rows from `row` on, until the tables may not hold another one; returns (next row, count)."""
    columns = plane.shape[1]
    while row < plane.shape[0] and count + columns <= ids.size and 2 * (count + columns) <= slots.size:
        last, last_number = np.uint64(0), np.uint32(0)
        for x in range(columns):
            current = np.uint64(plane[row, x])
            if current != last:
                last = current
                if current == 0:
                    last_number = np.uint32(0)
                else:
                    slot = _slot_of(slots, ids, current)
                    if slots[slot] == 0:
                        ids[count] = current
                        count += 1
                        slots[slot] = count
                    last_number = slots[slot]
            numbers[row, x] = last_number
        row += 1
    return row, count
