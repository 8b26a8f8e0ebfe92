"""The traced segmentation: each block by itself; ids go on in the next one where objects overlap enough."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from emlib.deployment.stored_arrays import save_tables, table
from emlib.postprocessing.block_watershed import first_voxels
from emlib.postprocessing.face_overlaps import face_links, face_overlap, largest_overlaps
from emlib.postprocessing.methods import segment
from emlib.postprocessing.small_objects import relabel_sequential
from emlib.scaling import Block, BlockLedger, BlockVolume, unite
from emlib.volume import Volume


@dataclass(frozen=True)
class SegmentAlone:
    """Segment one block, with what its halo shows, and keep what lies in it; ids stay in their order."""

    prediction: Volume
    channels: tuple[str, ...] | None
    channel: int | None
    method: str
    parameters: Mapping[str, Any]
    local: BlockVolume
    shape: tuple[int, ...]

    def __call__(self, block: Block) -> dict[str, Any]:
        # Methods on one map get it alone, whatever the channel is called.
        if self.prediction.ndim == 3:
            values, names = self.prediction[block.outer][None], None
        elif self.channel is not None:
            values, names = self.prediction[(slice(self.channel, self.channel + 1), *block.outer)], None
        else:
            values, names = self.prediction[(slice(None), *block.outer)], self.channels
        labels = segment(values, self.method, channels=names, **self.parameters)
        labels = relabel_sequential(labels[block.within])
        if labels.dtype != np.uint32:
            raise ValueError(f"{block} holds more than 2**32 objects; choose smaller blocks.")
        count = int(labels.max())
        z, y, x = np.unravel_index(first_voxels(labels, count), labels.shape)
        first = ((z + block.start[0]) * self.shape[1] + y + block.start[1]) * self.shape[2] + x + block.start[2]
        return {"count": count, "first": first.astype(np.int64), "labels": self.local.write(block, labels)}


def links_of(rule: str, min_overlap: float, measure: str) -> Any:
    """What says which ids before and behind a face are one object, by the rules of `trace_blocks`; picklable."""
    if rule == "union":
        return partial(face_links, min_overlap=min_overlap, measure=measure)
    return partial(_published_links, min_overlap=min_overlap)


def number_by_union(folder: Path, segments: BlockLedger, links: BlockLedger, plan: Sequence[Block]) -> int:
    """Table `label_numbers`: objects in the order of their first voxels; what is linked is one. Returns how many."""
    offsets = table(folder, "offsets")

    def pairs() -> Iterator[np.ndarray]:
        for block in plan:
            yield links.load(block)["pairs"].astype(np.int64) - 1

    roots = unite(int(offsets[-1]), pairs())
    first = np.full(roots.size, np.iinfo(np.int64).max)
    np.minimum.at(first, roots, np.concatenate([segments.load(block)["first"] for block in plan]).astype(np.int64))
    objects = np.flatnonzero(roots == np.arange(roots.size))
    numbers = np.zeros(roots.size, np.uint64)
    numbers[objects[np.argsort(first[objects], kind="stable")]] = np.arange(1, objects.size + 1, dtype=np.uint64)
    save_tables(folder, label_numbers=numbers[roots])
    return int(objects.size)


def number_in_sequence(folder: Path, links: BlockLedger, plan: Sequence[Block]) -> int:
    """Table `label_numbers` by the published rule, from block to block along z. Returns how many ids were given.

    The ids are those of `trace_blocks(..., rule="published")` called for one block after the other, with new ids above
    all that were given before.
    """
    offsets = table(folder, "offsets")
    numbers = np.zeros(int(offsets[-1]), np.uint64)
    given = int(offsets[1])
    numbers[:given] = np.arange(1, given + 1, dtype=np.uint64)
    for place, block in enumerate(plan[:-1]):
        start, stop = offsets[place + 1], offsets[place + 2]
        pairs = links.load(block)["pairs"].astype(np.int64) - 1
        ids = numbers[pairs[:, 0]]
        order = np.argsort(ids, kind="stable")
        # Of several previous objects that chose the same one, the largest id comes last and stays.
        numbers[pairs[order, 1]] = ids[order]
        free = start + np.flatnonzero(numbers[start:stop] == 0)
        numbers[free] = np.arange(given + 1, given + free.size + 1, dtype=np.uint64)
        given += free.size
    save_tables(folder, label_numbers=numbers)
    return given


def _published_links(before: np.ndarray, behind: np.ndarray, *, min_overlap: float) -> np.ndarray:
    return largest_overlaps(face_overlap(before, behind), min_overlap)
