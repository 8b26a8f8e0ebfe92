"""Union-find with mutual exclusion: clusters that are merged unless somebody said that they must stay apart.

The state is a handful of arrays, so that it can grow without being copied into objects:

- `parent`, one entry per voxel: the union-find forest; OUTSIDE for voxels that take no part.
- `last`, one entry per voxel: the last entry of a root's list of exclusions, NOTHING if it has none.
- `partner` and `following`, two entries per exclusion: a voxel of the other cluster, and the next entry. Lists are
  circular, so that two lists become one by exchanging two numbers.
- `table`: a hash table of pairs of roots (open addressing), the test whether two clusters exclude each other. Pairs
  whose roots were merged since stay until the table is rebuilt.
"""

from __future__ import annotations

import numpy as np

from emlib.compilation import compiled

OUTSIDE = NOTHING = 2**32 - 1
# How many places of the hash table may be taken.
LOAD = 0.6
_EMPTY = np.uint64(0)


@compiled
def find(parent, node):
    """The root of a voxel's cluster; shortens the way for the next call."""
    while parent[node] != node:
        above = parent[node]
        parent[node] = parent[above]
        node = np.int64(parent[node])
    return node


@compiled
def flatten(parent):
    """Let every voxel point to its root."""
    for node in range(parent.size):
        if parent[node] != OUTSIDE:
            parent[node] = find(parent, node)


@compiled
def _process(positions, start, stop, step, repulsive, parent, last, partner, following, table, state):
    """Returns how many edges are done and, if that is not all, how many new pairs the next one may need."""
    limit = np.int64(LOAD * table.size)
    for index in range(start, stop):
        position = np.int64(positions[index])
        first, second = find(parent, position), find(parent, position + step)
        if first == second:
            continue
        if repulsive:
            if state[0] + 1 > limit or state[1] + 2 > partner.size:
                return index, 1
            if _add_pair(first, second, table, state):
                _append(first, second, last, partner, following, state)
                _append(second, first, last, partner, following, state)
            continue
        if last[first] != NOTHING and last[second] != NOTHING:
            if table[_place(first, second, table)] != _EMPTY:
                continue
            shorter, length = _shorter_list(first, second, last, following)
            if state[0] + length > limit:
                return index, length
            if shorter == first:
                first, second = second, first
            _move_exclusions(second, first, parent, last, partner, following, table, state)
        elif last[second] != NOTHING:
            first, second = second, first
        parent[second] = first
    return stop, 0


@compiled
def _pair(first, second):
    return (np.uint64(min(first, second)) << np.uint64(32)) | np.uint64(max(first, second))


@compiled
def _place(first, second, table):
    """Where the pair stands in the table, or the empty place where it would."""
    pair = _pair(first, second)
    last = np.uint64(table.size - 1)
    mixed = pair * np.uint64(0x9E3779B97F4A7C15)
    mixed ^= mixed >> np.uint64(32)
    place = mixed & last
    while table[place] != _EMPTY and table[place] != pair:
        place = (place + np.uint64(1)) & last
    return place


@compiled
def _add_pair(first, second, table, state):
    """True if the pair was not there."""
    place = _place(first, second, table)
    if table[place] != _EMPTY:
        return False
    table[place] = _pair(first, second)
    state[0] += 1
    return True


@compiled
def _append(root, other, last, partner, following, state):
    """Add one entry to the list of a root; there is room."""
    if state[2] != NOTHING:
        entry = state[2]
        state[2] = following[entry]
    else:
        entry = state[1]
        state[1] += 1
    partner[entry] = other
    tail = np.int64(last[root])
    if tail == NOTHING:
        following[entry] = entry
    else:
        following[entry] = following[tail]
        following[tail] = entry
    last[root] = entry


@compiled
def _shorter_list(first, second, last, following):
    """The root with the shorter list and its length, found in as many steps."""
    end_one, end_two = np.int64(last[first]), np.int64(last[second])
    one, two = np.int64(following[end_one]), np.int64(following[end_two])
    length = 1
    while one != end_one and two != end_two:
        one, two = np.int64(following[one]), np.int64(following[two])
        length += 1
    return (first, length) if one == end_one else (second, length)


@compiled
def _move_exclusions(source, target, parent, last, partner, following, table, state):
    """What excludes the root `source` excludes `target` from now on; entries that say nothing new are freed."""
    end = np.int64(last[source])
    entry = np.int64(following[end])
    while True:
        after = np.int64(following[entry])
        other = find(parent, np.int64(partner[entry]))
        if _add_pair(target, other, table, state):
            partner[entry] = other
            tail = np.int64(last[target])
            following[entry] = following[tail]
            following[tail] = entry
            last[target] = entry
        else:
            following[entry] = state[2]
            state[2] = entry
        if entry == end:
            break
        entry = after
    last[source] = NOTHING


@compiled
def _count_pairs(table, parent):
    pairs = 0
    for pair in table:
        first, second = np.int64(pair >> np.uint64(32)), np.int64(pair & np.uint64(OUTSIDE))
        if pair != _EMPTY and parent[first] == first and parent[second] == second:
            pairs += 1
    return pairs


@compiled
def _copy_pairs(source, target, parent):
    """The pairs whose roots are still roots."""
    for pair in source:
        first, second = np.int64(pair >> np.uint64(32)), np.int64(pair & np.uint64(OUTSIDE))
        if pair != _EMPTY and parent[first] == first and parent[second] == second:
            target[_place(first, second, target)] = pair


class MutualExclusion:
    """The clusters of `size` voxels, each alone at the start.

    Args:
        size: number of voxels, less than 2**32 - 1.
        outside: bool, one value per voxel: these are in no cluster. None is nowhere.

    Example:
        >>> clusters = MutualExclusion(4)
        >>> clusters.process(np.array([0], dtype=np.uint32), 2, repulsive=True)
        >>> clusters.process(np.array([0, 1, 2], dtype=np.uint32), 1, repulsive=False)
        >>> clusters.parent
        array([0, 0, 2, 2], dtype=uint32)
    """

    def __init__(self, size: int, outside: np.ndarray | None = None):
        self.parent = np.arange(size, dtype=np.uint32)
        if outside is not None:
            self.parent[outside] = OUTSIDE
        self.last = np.full(size, NOTHING, dtype=np.uint32)
        self.partner = np.empty(1024, dtype=np.uint32)
        self.following = np.empty(1024, dtype=np.uint32)
        self.table = np.zeros(2048, dtype=np.uint64)
        # Pairs in the table, entries of lists that were ever used, first of the entries that are free again.
        self.state = np.array([0, 0, NOTHING], dtype=np.int64)

    def process(self, positions: np.ndarray, step: int, *, repulsive: bool) -> None:
        """Take the edges (position, position + step) one after the other.

        An attractive edge merges its two clusters unless they exclude each other; a repulsive edge makes two
        different clusters exclude each other.

        Args:
            positions: uint32, flat indices of voxels; no edge may end at a voxel outside.
            step: from one voxel of the edge to the other, in flat indices.
        """
        done, count = 0, positions.size
        while True:
            lists = (self.last, self.partner, self.following, self.table, self.state)
            done, room = _process(positions, done, count, step, repulsive, self.parent, *lists)
            if done == count:
                return
            self._grow(room)

    def _grow(self, room: int) -> None:
        if self.state[1] + 2 > self.partner.size:
            size = self.partner.size + self.partner.size // 2
            if size >= NOTHING:
                raise ValueError("More than 2**30 pairs of clusters exclude each other; use strides or smaller blocks.")
            # In place, so that a long list is not in memory twice.
            self.partner.resize(size, refcheck=False)
            self.following.resize(size, refcheck=False)
        if self.state[0] + room > LOAD * self.table.size:
            pairs = _count_pairs(self.table, self.parent)
            size = self.table.size
            while pairs + room > 0.6 * LOAD * size:
                size *= 2
            table = np.zeros(size, dtype=np.uint64)
            _copy_pairs(self.table, table, self.parent)
            self.table, self.state[0] = table, pairs
