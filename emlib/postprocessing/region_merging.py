"""Hierarchical merging of a region graph, cheapest boundary first: the compiled part of the agglomeration.

The queue is a list of boundaries for each of BUCKETS ranges of the score, and a heap for the range whose turn it is:
the order is exact and the heap small. A boundary waits in the list of its score or an earlier one.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from emlib.compilation import compiled
from emlib.postprocessing.boundary_records import (
    BUCKET_MASK,
    COUNT,
    FIRST,
    FULL,
    NEXT_QUEUED,
    NONE,
    RANK,
    SECOND,
    Boundaries,
    fill_table,
    hash_pair,
    home_slot,
    next_free,
    tag_of,
)
from emlib.postprocessing.boundary_statistics import Statistics, score_boundary, unite
from emlib.postprocessing.score_heap import make_room, pop, push
from emlib.postprocessing.uncounted import uncounted

BUCKETS = 1024
NOT_QUEUED = 0xFFFF
# Boundaries that are looked up at a time, so that the waits for memory overlap.
BATCH = 128


class Queue(NamedTuple):
    """First boundary of each bucket; the last bucket below all thresholds; boundaries that are being moved, the slots
    and the boundaries that were found for them."""

    buckets: np.ndarray
    last: int
    batch: np.ndarray
    slots: np.ndarray
    found: np.ndarray


def merge_regions(boundaries: Boundaries, statistics: Statistics, thresholds: tuple[float, ...]) -> np.ndarray:
    """Merge over the boundary of the smallest score, as long as that is below the threshold.

    Of equal scores, the boundary that contains the smallest initial boundary (in the order given) comes first.

    Args:
        boundaries, statistics: used up.
        thresholds: ascending.

    Returns:
        (T, regions) uint32: the segment of each region, numbered 1, 2, ... in the order of their first regions.
    """
    regions = boundaries.members.size
    segments = np.empty((len(thresholds), regions), dtype=np.uint32)
    parents = np.arange(regions, dtype=np.uint32)
    queue = Queue(
        buckets=np.full(BUCKETS, NONE, dtype=np.uint32),
        last=int(_bucket_of(thresholds[-1])),
        batch=np.empty(BATCH, dtype=np.uint32),
        slots=np.empty(BATCH, dtype=np.int64),
        found=np.empty(BATCH, dtype=np.uint32),
    )
    fill_table(boundaries)
    _queue_all(boundaries, statistics, queue)
    _merge_until(boundaries, statistics, queue, np.array(thresholds, dtype=np.float64), parents, segments)
    return segments


@uncounted
def _queue_all(boundaries, statistics, queue):
    # Backwards, so that each list begins with its smallest boundary.
    for edge in range(boundaries.records.shape[0] - 1, -1, -1):
        _append(boundaries, queue, _bucket_of(score_boundary(boundaries, statistics, edge)), np.uint32(edge))


@compiled
def _merge_until(boundaries, statistics, queue, thresholds, parents, segments):
    records, lengths, buckets = boundaries.records, boundaries.lengths, queue.buckets
    scores = np.empty(4096, dtype=np.float64)
    items = np.empty(4096, dtype=np.uint64)
    size, reached = 0, 0
    for bucket in range(queue.last + 1):
        edge = buckets[bucket]
        while edge != NONE:
            following = records[edge, NEXT_QUEUED]
            if records[edge, FIRST] != NONE:
                score = score_boundary(boundaries, statistics, edge)
                if _bucket_of(score) > bucket:
                    _append(boundaries, queue, _bucket_of(score), edge)
                else:
                    scores, items = make_room(scores, items, size + 1)
                    size = push(scores, items, size, score, records[edge, RANK], edge)
            edge = following
        while size > 0 and _bucket_of(scores[0]) <= bucket:
            score = scores[0]
            rank, edge = np.uint32(items[0] >> np.uint64(32)), np.uint32(items[0] & np.uint64(0xFFFFFFFF))
            size = pop(scores, items, size)
            # An entry is out of date if its boundary is gone or has become another since.
            if records[edge, FIRST] == NONE or records[edge, RANK] != rank:
                continue
            if score_boundary(boundaries, statistics, edge) != score:
                continue
            while reached < thresholds.size and score >= thresholds[reached]:
                _number_segments(parents, segments[reached])
                reached += 1
            if reached == thresholds.size:
                return
            moved = np.int64(min(lengths[records[edge, FIRST]], lengths[records[edge, SECOND]]))
            scores, items = make_room(scores, items, size + moved)
            if boundaries.filled[0] + moved > FULL * boundaries.tags.size:
                fill_table(boundaries)
            size = _merge(boundaries, statistics, queue, parents, edge, bucket, scores, items, size)
    while reached < thresholds.size:
        _number_segments(parents, segments[reached])
        reached += 1


@uncounted
def _merge(boundaries, statistics, queue, parents, edge, bucket, scores, items, size):
    """Join the two ends of a boundary: the one that takes less to go through goes into the other."""
    records, lengths, members = boundaries.records, boundaries.lengths, boundaries.members
    incident, starts, stops = boundaries.incident, boundaries.starts, boundaries.stops
    next_members, batch = boundaries.next_members, queue.batch
    side = 0 if lengths[records[edge, FIRST]] >= lengths[records[edge, SECOND]] else 1
    into, gone = records[edge, side], records[edge, 1 - side]
    parents[gone] = into
    records[edge, FIRST] = NONE
    count = 0
    head = tail = NONE
    start = members[gone]
    member = start
    while True:
        following = next_members[member]
        kept = starts[member]
        for place in range(starts[member], stops[member]):
            moved = incident[place]
            if records[moved, FIRST] == NONE:
                continue
            incident[kept] = moved
            kept += np.uint32(1)
            batch[count] = moved
            count += 1
            if count == BATCH:
                size = _move(boundaries, statistics, queue, into, gone, count, bucket, scores, items, size)
                count = 0
        stops[member] = kept
        if kept > starts[member]:
            lengths[into] += np.uint32(kept - starts[member] + 1)
            next_members[member] = head
            head = member
            tail = member if tail == NONE else tail
        member = following
        if member == start:
            break
    size = _move(boundaries, statistics, queue, into, gone, count, bucket, scores, items, size)
    if head != NONE:
        next_members[tail] = next_members[members[into]]
        next_members[members[into]] = head
    return size


@uncounted
def _move(boundaries, statistics, queue, into, gone, count, bucket, scores, items, size):
    """Give the boundaries in the batch from region `gone` to region `into`, where the same neighbour may be known."""
    records, slots, tags = boundaries.records, boundaries.slots, boundaries.tags
    batch, homes, found = queue.batch, queue.slots, queue.found
    for k in range(count):
        moved = batch[k]
        beyond = records[moved, SECOND] if records[moved, FIRST] == gone else records[moved, FIRST]
        key = hash_pair(into, beyond)
        tag = tag_of(key)
        slot = home_slot(key, tags.size)
        found[k] = NONE
        while tags[slot] != 0:
            if tags[slot] == tag:
                # A boundary that has moved stays in its old slot as well: its ends tell what it is.
                other = slots[slot]
                one, two = records[other, FIRST], records[other, SECOND]
                if (one == into and two == beyond) or (one == beyond and two == into):
                    found[k] = other
                    break
            slot += 1
            if slot == tags.size:
                slot = 0
        homes[k] = slot
    for k in range(count):
        moved, other = batch[k], found[k]
        side = 0 if records[moved, FIRST] == gone else 1
        if other == NONE:
            slot = next_free(tags, homes[k])
            slots[slot] = moved
            tags[slot] = tag_of(hash_pair(into, records[moved, 1 - side]))
            boundaries.filled[0] += 1
            records[moved, side] = into
            continue
        kept, lost = other, moved
        if _queued(boundaries, moved) < _queued(boundaries, other):
            # The one that is queued earlier stays, because its place in the queue is right for both.
            kept, lost = moved, other
            slots[homes[k]] = moved
            records[moved, side] = into
        unite(boundaries, statistics, kept, lost)
        records[kept, RANK] = min(records[kept, RANK], records[lost, RANK])
        records[lost, FIRST] = NONE
        score = score_boundary(boundaries, statistics, kept)
        target, queued = _bucket_of(score), _queued(boundaries, kept)
        if target <= bucket or target < queued < NOT_QUEUED:
            size = push(scores, items, size, score, records[kept, RANK], kept)
        elif queued <= bucket or queued == NOT_QUEUED:
            _append(boundaries, queue, target, kept)
    return size


@uncounted
def _bucket_of(score):
    return min(int(score * BUCKETS), BUCKETS - 1)


@uncounted
def _queued(boundaries, edge):
    """The bucket in whose list a boundary is or was last."""
    return np.int64(boundaries.words[edge, COUNT] & BUCKET_MASK)


@uncounted
def _append(boundaries, queue, bucket, edge):
    """Queue a boundary in the list of a bucket, or not at all if it lies beyond the last threshold."""
    words = boundaries.words
    if bucket > queue.last:
        words[edge, COUNT] |= BUCKET_MASK
        return
    words[edge, COUNT] = (words[edge, COUNT] & ~BUCKET_MASK) | np.uint64(bucket)
    boundaries.records[edge, NEXT_QUEUED] = queue.buckets[bucket]
    queue.buckets[bucket] = edge


@uncounted
def _number_segments(parents, segments):
    """Number the trees in the order of their first members."""
    for region in range(parents.size):
        root = region
        while np.int64(parents[root]) != root:
            parents[root] = parents[parents[root]]
            root = np.int64(parents[root])
        parents[region] = root
    count = 0
    segments[:] = 0
    for region in range(parents.size):
        if segments[parents[region]] == 0:
            count += 1
            segments[parents[region]] = count
    # Roots last, since the number of every other region is looked up at its root.
    for region in range(parents.size):
        if np.int64(parents[region]) != region:
            segments[region] = segments[parents[region]]
