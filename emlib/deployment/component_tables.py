"""What joins the blocks of an exact segmentation: which pieces are one component, and the number of each object."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from emlib.deployment.stored_arrays import save_tables, table
from emlib.scaling import Block, BlockLedger, plan_blocks, unite

# Voxels of the components that one job floods: enough for a second's work, little enough to be shared out.
GROUP_VOXELS = 2**24


def count_labels(folder: Path, ledger: BlockLedger, plan: Sequence[Block]) -> int:
    """Table `offsets`: labels of all blocks before each one, and of all together (returned)."""
    counts = [ledger.load(block)["count"] for block in plan]
    offsets = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])
    save_tables(folder, offsets=offsets)
    return int(offsets[-1])


def collect_components(
    folder: Path, segments: BlockLedger, links: BlockLedger, plan: Sequence[Block], min_size: int
) -> tuple[Block, ...]:
    """Join pieces to components, drop the small ones, and make groups of the others.

    Components are in the order of their first voxels. Tables: `piece_offsets` (pieces of all blocks before each one),
    `piece_component` (the component of each piece, -1 if it is dropped), `component_members`, `member_blocks`,
    `member_pieces` and `member_voxels` (the pieces of each component, block by block), `groups` (the first component of
    each group).

    Returns:
        The groups as blocks of one axis, to be worked on.
    """
    offsets = table(folder, "offsets")
    found = [segments.load(block) for block in plan]
    piece_counts = np.array([one["piece_first"].size for one in found], np.int64)
    piece_offsets = np.concatenate([[0], np.cumsum(piece_counts)])
    block_of = np.repeat(np.arange(len(plan)), piece_counts)
    number_of = np.arange(piece_offsets[-1]) - piece_offsets[block_of]
    # Pieces are the last labels of their block.
    finished = np.array([one["first"].size for one in found], np.int64)

    def pairs() -> Iterator[np.ndarray]:
        for block in plan:
            labels = links.load(block)["pairs"].astype(np.int64) - 1
            block_number = np.searchsorted(offsets, labels, side="right") - 1
            yield labels - offsets[block_number] - finished[block_number] + piece_offsets[block_number]

    roots = unite(int(piece_offsets[-1]), pairs())
    first = np.concatenate([one["piece_first"] for one in found]).astype(np.int64)
    voxels = np.concatenate([one["piece_voxels"] for one in found]).astype(np.int64)
    sizes, starts = np.zeros(roots.size, np.int64), np.full(roots.size, np.iinfo(np.int64).max)
    np.add.at(sizes, roots, voxels)
    np.minimum.at(starts, roots, first)
    kept = np.flatnonzero((roots == np.arange(roots.size)) & (sizes >= max(min_size, 1)))
    kept = kept[np.argsort(starts[kept], kind="stable")]
    component = np.full(roots.size, -1, np.int64)
    component[kept] = np.arange(kept.size)
    component = component[roots]
    members = np.flatnonzero(component >= 0)
    members = members[np.argsort(component[members], kind="stable")]
    begins = np.searchsorted(component[members], np.arange(kept.size + 1))
    groups = _groups(sizes[kept])
    save_tables(
        folder, piece_offsets=piece_offsets, piece_component=component, component_members=begins,
        member_blocks=block_of[members], member_pieces=number_of[members], member_voxels=voxels[members], groups=groups,
    )  # fmt: skip
    return plan_blocks((groups.size - 1,), 1) if groups.size > 1 else ()


def number_objects(
    folder: Path, segments: BlockLedger, flooded: BlockLedger, plan: Sequence[Block], groups: Sequence[Block]
) -> int:
    """Number all objects as a call on the whole volume does: by the first voxel of the seed, unseeded ones last.

    Tables: `label_numbers` (the number of each label of each block, 0 for pieces), `object_offsets` (objects of all
    components before each one) and `object_numbers` (the number of each object of each component).

    Returns:
        How many objects there are.
    """
    offsets = table(folder, "offsets")
    firsts, unseeded, places = [], [], []
    for block, offset in zip(plan, offsets, strict=False):
        found = segments.load(block)
        firsts.append(found["first"])
        unseeded.append(np.arange(found["first"].size) >= found["seeded"])
        places.append(np.arange(found["first"].size) + offset)
    labels = sum(one.size for one in places)
    counts = []
    for group in groups:
        found = flooded.load(group)
        firsts.append(found["first"])
        counts.append(found["objects"])
        inside = np.arange(found["first"].size) - np.repeat(
            np.cumsum(found["objects"]) - found["objects"], found["objects"]
        )
        unseeded.append(inside >= np.repeat(found["seeded"], found["objects"]))
    order = np.lexsort((np.concatenate(firsts), np.concatenate(unseeded)))
    numbers = np.empty(order.size, np.uint64)
    numbers[order] = np.arange(1, order.size + 1, dtype=np.uint64)
    label_numbers = np.zeros(int(offsets[-1]), np.uint64)
    label_numbers[np.concatenate(places)] = numbers[:labels]
    object_offsets = np.concatenate([[0], np.cumsum(np.concatenate([np.empty(0, np.int64), *counts]))])
    save_tables(
        folder, label_numbers=label_numbers, object_offsets=object_offsets.astype(np.int64),
        object_numbers=numbers[labels:],
    )  # fmt: skip
    return int(order.size)


def _groups(sizes: np.ndarray) -> np.ndarray:
    """First component of each group, and the number of all: as many in a row as do not exceed GROUP_VOXELS."""
    first, total = [0] if sizes.size else [], 0
    for component, size in enumerate(sizes.tolist()):
        if total and total + size > GROUP_VOXELS:
            first.append(component)
            total = 0
        total += size
    return np.array([*first, sizes.size], np.int64)
