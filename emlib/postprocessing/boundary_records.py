"""Boundaries while regions are merged: one record of 32 bytes for each, and a hash table that finds it.

Merging goes through memory in no order, so that its time is the number of cache lines it waits for. Therefore all
that is known about a boundary lies together, and the boundaries of an initial region lie in one stretch.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from emlib.postprocessing.uncounted import uncounted

NONE = np.uint32(0xFFFFFFFF)
# Columns of `records`: the two regions, the smallest initial boundary in it, the next boundary in the list of its
# bucket. A boundary that is gone has NONE as its first region.
FIRST, SECOND, RANK, NEXT_QUEUED = range(4)
# Columns of `words`, the same memory as 64-bit words: its bucket (16 bits) and, above it, the number of values; the
# sum of the values, or where they are.
COUNT, VALUES = 2, 3
BUCKET_BITS = np.uint64(16)
BUCKET_MASK = np.uint64(0xFFFF)
# Slots of the hash table for each boundary, and how full it may become before stale entries are thrown out.
SLOTS, FULL = 1.8, 0.85


class Boundaries(NamedTuple):
    """Records of the boundaries, the boundaries of each region, and the hash table of pairs of regions.

    The boundaries of initial region r are `incident[starts[r] : stops[r]]`. A region is a ring of initial regions,
    of which `members` is one and `next_members` leads on; those whose boundaries are all gone are left out.
    `lengths` is what it takes to go through a region. `tags` is a byte of the hash of the pair in each slot, 0 where
    the slot is free, so that most slots that are asked in vain are not looked into.
    """

    records: np.ndarray
    words: np.ndarray
    incident: np.ndarray
    starts: np.ndarray
    stops: np.ndarray
    members: np.ndarray
    next_members: np.ndarray
    lengths: np.ndarray
    slots: np.ndarray
    tags: np.ndarray
    filled: np.ndarray


def make_boundaries(regions: int, edges: np.ndarray, counts: np.ndarray) -> Boundaries:
    """Boundaries between the pairs of regions in `edges` (E, 2), with `counts` (E,) values; the table is not filled."""
    found = len(edges)
    words = np.empty((found, 4), dtype=np.uint64)
    slots = int(SLOTS * found) + 16
    boundaries = Boundaries(
        records=words.view(np.uint32),
        words=words,
        incident=np.empty(2 * found, dtype=np.uint32),
        starts=np.zeros(regions + 1, dtype=np.uint32),
        stops=np.empty(regions, dtype=np.uint32),
        members=np.arange(regions, dtype=np.uint32),
        next_members=np.arange(regions, dtype=np.uint32),
        lengths=np.empty(regions, dtype=np.uint32),
        slots=np.empty(slots, dtype=np.uint32),
        tags=np.empty(slots, dtype=np.uint8),
        filled=np.zeros(1, dtype=np.int64),
    )
    _fill_records(boundaries, edges, counts)
    return boundaries


@uncounted
def _fill_records(boundaries, edges, counts):
    records, words, starts, stops = boundaries.records, boundaries.words, boundaries.starts, boundaries.stops
    for edge in range(edges.shape[0]):
        records[edge, FIRST] = edges[edge, 0]
        records[edge, SECOND] = edges[edge, 1]
        records[edge, RANK] = edge
        words[edge, COUNT] = (np.uint64(counts[edge]) << BUCKET_BITS) | BUCKET_MASK
        starts[edges[edge, 0] + 1] += np.uint32(1)
        starts[edges[edge, 1] + 1] += np.uint32(1)
    for region in range(stops.size):
        boundaries.lengths[region] = starts[region + 1] + np.uint32(1)
        starts[region + 1] += starts[region]
        stops[region] = starts[region]
    for edge in range(edges.shape[0]):
        for side in range(2):
            region = edges[edge, side]
            boundaries.incident[stops[region]] = edge
            stops[region] += np.uint32(1)


@uncounted
def count_of(boundaries, edge):
    """The number of values of a boundary."""
    return np.int64(boundaries.words[edge, COUNT] >> BUCKET_BITS)


@uncounted
def fill_table(boundaries):
    """Put all boundaries into the hash table anew; more than 4 of 9 slots are then free."""
    records, slots, tags = boundaries.records, boundaries.slots, boundaries.tags
    tags[:] = 0
    found = 0
    for edge in range(records.shape[0]):
        if records[edge, FIRST] != NONE:
            key = hash_pair(records[edge, FIRST], records[edge, SECOND])
            slot = next_free(tags, home_slot(key, slots.size))
            slots[slot] = edge
            tags[slot] = tag_of(key)
            found += 1
    boundaries.filled[0] = found


@uncounted
def hash_pair(first, second):
    """64 mixed bits of two regions, whatever their order."""
    key = (np.uint64(min(first, second)) << np.uint64(32)) | np.uint64(max(first, second))
    key *= np.uint64(0x9E3779B97F4A7C15)
    key ^= key >> np.uint64(29)
    return key * np.uint64(0xBF58476D1CE4E5B9)


@uncounted
def home_slot(key, size):
    """The slot where the search for a pair begins; its boundary is there or follows without a free slot between."""
    return np.int64(((key >> np.uint64(32)) * np.uint64(size)) >> np.uint64(32))


@uncounted
def tag_of(key):
    """A byte other than 0."""
    return np.uint8((key & np.uint64(0x7F)) | np.uint64(0x80))


@uncounted
def next_free(tags, slot):
    """The first free slot from this one on."""
    while tags[slot] != 0:
        slot += 1
        if slot == tags.size:
            slot = 0
    return slot
