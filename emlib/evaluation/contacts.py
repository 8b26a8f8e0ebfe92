"""Where two parts of one object meet: the faces of each boundary counted, and a voxel in its middle.

A key (owner, part, other part), the smaller part id first, stands for the boundary between two parts inside their
owner; its places are faces. A key of twice the same part stands for that part; its places are voxels. One pass over
the blocks adds places up, another finds the place nearest to their mean. Both are exact, so the result does not depend
on how the volume is cut into blocks.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from emlib.compilation import compiled
from emlib.evaluation.label_blocks import chunks_of, iterate_boxes, read_block

# Odd 64-bit constants with well-mixed bits, one for each id of a key.
MIX_OWNER = np.uint64(0x9E3779B97F4A7C15)
MIX_PART = np.uint64(0xFF51AFD7ED558CCD)
MIX_OTHER = np.uint64(0xC4CEB9FE1A85EC53)
FIRST_SLOTS = 1024

# An open-addressing hash table whose number of slots is a power of two: keys uint64 (S, 3), sums int64 (S, 4) (number
# of places, then the sums of their z, y and x), and which slots are filled.
Table = tuple[np.ndarray, np.ndarray, np.ndarray]


def sum_boundaries(owners: Any, parts: Any, *, gap: int) -> tuple[np.ndarray, np.ndarray]:
    """All boundaries between parts inside an owner; 0 is neither an owner nor a part.

    Args:
        owners: (Z, Y, X) labels, checked.
        parts: labels of the same shape.
        gap: voxels with part 0 that may lie between two parts, along one axis and all inside their owner.

    Returns:
        Keys, uint64 (N, 3), sorted; their number of faces and sums of positions, int64 (N, 4). A face lies at the
        voxel before it; across a gap, at the middle of the two voxels.

    Example:
        >>> keys, sums = sum_boundaries(np.array([[[3, 3, 3, 3]]]), np.array([[[1, 1, 0, 2]]]), gap=1)
        >>> keys.tolist(), sums.tolist()
        ([[3, 1, 2]], [[1, 0, 0, 2]])
    """
    table, used = _new_table(FIRST_SLOTS), 0
    for owner_block, part_block, start, origin in _blocks(owners, parts, gap):
        table, used = _add_boundaries(owner_block, part_block, start, origin, gap, *table, used)
    keys, sums = table[0][table[2]], table[1][table[2]]
    order = np.lexsort(keys.T[::-1])
    return keys[order], sums[order]


def sum_parts(owners: Any, parts: Any, keys: np.ndarray) -> np.ndarray:
    """Voxels and sums of positions, int64 (N, 4), of the given parts: keys (uint64 (N, 3)) of twice the same part."""
    table = _table_of(keys, np.zeros((len(keys), 4), np.int64))
    for owner_block, part_block, start, origin in _blocks(owners, parts, 0):
        _add_parts(owner_block, part_block, start, origin, *table)
    return table[1][_slots(keys, table)]


def middle_voxels(owners: Any, parts: Any, keys: np.ndarray, sums: np.ndarray, *, gap: int) -> np.ndarray:
    """For each key the place nearest to the mean of its places; of equally near ones the first in reading order.

    Args:
        owners, parts, gap: as for `sum_boundaries`.
        keys: uint64 (N, 3), of boundaries and of parts.
        sums: int64 (N, 4), their sums.

    Returns:
        int64 (N, 3), voxels (z, y, x).
    """
    table = _table_of(keys, sums)
    voxels, nearest = np.zeros((len(table[0]), 3), np.int64), np.full(len(table[0]), np.inf)
    inside = bool((keys[:, 1] == keys[:, 2]).any())
    for owner_block, part_block, start, origin in _blocks(owners, parts, gap):
        _approach(owner_block, part_block, start, origin, gap, inside, *table, voxels, nearest)
    return voxels[_slots(keys, table)]


def _blocks(owners: Any, parts: Any, gap: int) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
    """Blocks of both, with gap + 1 voxels before them: the blocks, their own first voxel in them, and their origin."""
    for box in iterate_boxes(tuple(owners.shape), chunks_of(owners, parts)):
        wide = tuple(slice(max(side.start - gap - 1, 0), side.stop) for side in box)
        origin = np.array([side.start for side in wide], dtype=np.int64)
        start = np.array([side.start for side in box], dtype=np.int64) - origin
        yield read_block(owners, wide, "labels"), read_block(parts, wide, "labels"), start, origin


def _new_table(slots: int) -> Table:
    return np.zeros((slots, 3), np.uint64), np.zeros((slots, 4), np.int64), np.zeros(slots, bool)


def _table_of(keys: np.ndarray, sums: np.ndarray) -> Table:
    slots = FIRST_SLOTS
    while slots < 2 * len(keys):
        slots *= 2
    table = _new_table(slots)
    _fill(keys, sums, *table)
    return table


def _slots(keys: np.ndarray, table: Table) -> np.ndarray:
    """The slot of each key."""
    return np.array([_slot(table[0], table[2], *key) for key in keys], dtype=np.int64)


@compiled
def _slot(keys, filled, owner, part, other):
    """The slot of a key, or the free one where it belongs."""
    hashed = (owner * MIX_OWNER) ^ (part * MIX_PART) ^ (other * MIX_OTHER)
    hashed ^= hashed >> np.uint64(32)
    hashed *= MIX_PART
    hashed ^= hashed >> np.uint64(29)
    slot = np.int64(hashed & np.uint64(filled.size - 1))
    while filled[slot] and (keys[slot, 0] != owner or keys[slot, 1] != part or keys[slot, 2] != other):
        slot = (slot + 1) & (filled.size - 1)
    return slot


@compiled
def _fill(new_keys, new_sums, keys, sums, filled):
    for row in range(new_keys.shape[0]):
        slot = _slot(keys, filled, new_keys[row, 0], new_keys[row, 1], new_keys[row, 2])
        keys[slot] = new_keys[row]
        sums[slot] = new_sums[row]
        filled[slot] = True


@compiled
def _step_to_other(owners, parts, z, y, x, axis, gap):
    """Steps back along an axis to the first voxel of another part of the same owner, 0 if there is none."""
    owner, part = owners[z, y, x], parts[z, y, x]
    for step in range(1, gap + 2):
        if axis == 0:
            z -= 1
        elif axis == 1:
            y -= 1
        else:
            x -= 1
        if min(z, y, x) < 0 or owners[z, y, x] != owner or parts[z, y, x] == part:
            return 0
        if parts[z, y, x] != 0:
            return step
    return 0


@compiled
def _add_boundaries(owners, parts, start, origin, gap, keys, sums, filled, used):
    """Add a block's faces to the table, which grows when half of it is used."""
    at = np.zeros(3, np.int64)
    for z in range(start[0], owners.shape[0]):
        for y in range(start[1], owners.shape[1]):
            for x in range(start[2], owners.shape[2]):
                owner, part = owners[z, y, x], parts[z, y, x]
                if owner == 0 or part == 0:
                    continue
                at[0], at[1], at[2] = z, y, x
                for axis in range(3):
                    step = _step_to_other(owners, parts, z, y, x, axis, gap)
                    if step == 0:
                        continue
                    at[axis] -= step
                    other = parts[at[0], at[1], at[2]]
                    at[axis] += step
                    slot = _slot(keys, filled, owner, min(part, other), max(part, other))
                    if not filled[slot]:
                        filled[slot] = True
                        keys[slot, 0], keys[slot, 1], keys[slot, 2] = owner, min(part, other), max(part, other)
                        used += 1
                    sums[slot, 0] += 1
                    for one in range(3):
                        sums[slot, one + 1] += at[one] + origin[one]
                    sums[slot, axis + 1] -= (step + 1) // 2
                    if 2 * used > filled.size:
                        old_keys, old_sums = keys[filled], sums[filled]
                        keys = np.zeros((4 * filled.size, 3), np.uint64)
                        sums = np.zeros((4 * filled.size, 4), np.int64)
                        filled = np.zeros(4 * filled.size, np.bool_)
                        _fill(old_keys, old_sums, keys, sums, filled)
    return (keys, sums, filled), used


@compiled
def _add_parts(owners, parts, start, origin, keys, sums, filled):
    """Add a block's voxels to the parts of the table, and to no other."""
    for z in range(start[0], owners.shape[0]):
        for y in range(start[1], owners.shape[1]):
            for x in range(start[2], owners.shape[2]):
                slot = _slot(keys, filled, owners[z, y, x], parts[z, y, x], parts[z, y, x])
                if filled[slot]:
                    sums[slot, 0] += 1
                    sums[slot, 1] += z + origin[0]
                    sums[slot, 2] += y + origin[1]
                    sums[slot, 3] += x + origin[2]


@compiled
def _approach(owners, parts, start, origin, gap, inside, keys, sums, filled, voxels, nearest):
    """Move the voxel of each key of the table to a place of this block that is nearer to the mean."""
    at = np.zeros(3, np.int64)
    for z in range(start[0], owners.shape[0]):
        for y in range(start[1], owners.shape[1]):
            for x in range(start[2], owners.shape[2]):
                owner, part = owners[z, y, x], parts[z, y, x]
                if owner == 0 or part == 0:
                    continue
                # The three faces towards lower z, y and x, and then the voxel itself.
                for axis in range(4 if inside else 3):
                    at[0], at[1], at[2] = z, y, x
                    other = part
                    if axis < 3:
                        step = _step_to_other(owners, parts, z, y, x, axis, gap)
                        if step == 0:
                            continue
                        at[axis] -= step
                        other = parts[at[0], at[1], at[2]]
                        at[axis] += step - (step + 1) // 2
                    slot = _slot(keys, filled, owner, min(part, other), max(part, other))
                    if filled[slot]:
                        _keep_nearest(at, origin, sums[slot], voxels[slot], nearest, slot)


@compiled
def _keep_nearest(at, origin, total, voxel, nearest, slot):
    distance = 0.0
    for axis in range(3):
        # Times the number of places: without a division, voxels that are equally far give equal numbers.
        distance += float((at[axis] + origin[axis]) * total[0] - total[axis + 1]) ** 2
    earlier = False
    if distance == nearest[slot]:
        for axis in range(3):
            if at[axis] + origin[axis] != voxel[axis]:
                earlier = at[axis] + origin[axis] < voxel[axis]
                break
    if distance < nearest[slot] or earlier:
        nearest[slot] = distance
        for axis in range(3):
            voxel[axis] = at[axis] + origin[axis]
