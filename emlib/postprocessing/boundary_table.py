"""A table of the boundaries between fragments, filled block by block: contacts, sum and maximum of their affinities."""

from __future__ import annotations

import numpy as np

from emlib.compilation import compiled
from emlib.postprocessing.affinity_maps import Maps

NONE = np.uint32(0xFFFFFFFF)
# Boundaries are named by 32-bit numbers, of which the ends of a boundary take two each while regions are merged.
MOST_BOUNDARIES = 2**31 - 1


class BoundaryTable:
    """Boundaries of the fragments 1, 2, ..., added up over blocks.

    Every fragment has a chain of its boundaries with fragments that are larger than it (that come after it, where
    sizes are equal). Such chains are short, also where one fragment touches thousands of small ones. What was looked
    up last comes first in its chain, since neighbouring voxels mostly touch the same pair.

    Memory: 25 bytes a boundary, 4 a fragment, and with histograms 9 for each value of each boundary.

    Args:
        sizes: (N + 1,) int64, voxels of each fragment; entry 0 is not used.
        histograms: whether to count how often each boundary has each level.
    """

    def __init__(self, sizes: np.ndarray, *, histograms: bool = False):
        if sizes.size > MOST_BOUNDARIES:
            raise ValueError(f"A region graph can hold fewer than 2**31 fragments, got {sizes.size - 1}.")
        self.sizes = sizes
        self.heads = np.full(sizes.size, NONE, dtype=np.uint32)
        room = max(4 * sizes.size, 1024)
        self.boundaries = {
            "owners": np.empty(room, dtype=np.uint32),
            "others": np.empty(room, dtype=np.uint32),
            "following": np.empty(room, dtype=np.uint32),
            "counts": np.empty(room, dtype=np.uint32),
            "maxima": np.empty(room, dtype=np.uint8),
            "sums": np.empty(room, dtype=np.int64),
        }
        self.histograms = histograms
        self.value_heads = np.empty(room if histograms else 1, dtype=np.uint32)
        room = room if histograms else 1
        self.values = {
            "levels": np.empty(room, dtype=np.uint8),
            "numbers": np.empty(room, dtype=np.uint32),
            "next_values": np.empty(room, dtype=np.uint32),
        }
        self.used = np.zeros(2, dtype=np.int64)

    def add(self, maps: Maps, labels: np.ndarray, halo: tuple[int, int, int] = (0, 0, 0)) -> None:
        """Add the contacts of a block's voxels with the voxel before them along each axis.

        Args:
            maps: levels of the edges to the voxel before, of the shape of `labels` or larger at the end of an axis.
            labels: (Z, Y, X) C-contiguous unsigned, 0 ... N.
            halo: planes at the start of each axis that belong to the block before (0 or 1) and are looked at only.
        """
        place = np.array(halo[:2], dtype=np.int64)
        while True:
            arrays = (*self.boundaries.values(), self.value_heads, *self.values.values())
            if _add(*maps, labels, *halo, self.sizes, self.heads, *arrays, self.used, self.histograms, place):
                return
            del arrays
            self._grow(3 * labels.shape[2])

    def _grow(self, needed: int) -> None:
        room = self.boundaries["others"].size
        if self.used[0] + needed > room:
            room = room + room // 4 + needed
            if self.used[0] + needed > MOST_BOUNDARIES:
                raise ValueError("A region graph can hold fewer than 2**31 boundaries; work on a part of the volume.")
            for name in self.boundaries:
                self.boundaries[name].resize(room, refcheck=False)
            if self.histograms:
                self.value_heads.resize(room, refcheck=False)
        room = self.values["levels"].size
        if self.histograms and self.used[1] + needed > room:
            if self.used[1] + needed >= int(NONE):
                raise ValueError("The histograms of a region graph can hold fewer than 2**32 values.")
            for name in self.values:
                self.values[name].resize(room + room // 2 + needed, refcheck=False)

    def take_sorted(self) -> dict[str, np.ndarray]:
        """The boundaries sorted by their pair of fragments, as arrays; the table is emptied meanwhile.

        Returns:
            "edges" (E, 2) uint32, fragment numbers minus 1; "counts" uint32, "sums" int64, "maxima" uint8 (E,); with
            histograms also "histogram_starts" (E + 1) int64 and, for the entries of edge e between its start and the
            next, "histogram_levels" uint8 ascending and "histogram_counts" int64.
        """
        found = int(self.used[0])
        del self.boundaries["following"]
        pairs = np.empty((found, 2), dtype=np.uint32)
        _order_pairs(self.boundaries.pop("owners"), self.boundaries.pop("others"), pairs)
        order = np.empty(found, dtype=np.uint32)
        _sort_pairs(pairs, self.sizes.size, order)
        edges = np.empty((found, 2), dtype=np.uint32)
        _take(pairs.view(np.uint64).reshape(-1), order, edges.view(np.uint64).reshape(-1))
        del pairs
        edges -= np.uint32(1)
        result = {"edges": edges}
        for name, dtype in (("counts", np.uint32), ("sums", np.int64), ("maxima", np.uint8)):
            result[name] = np.empty(found, dtype=dtype)
            _take(self.boundaries.pop(name), order, result[name])
        if self.histograms:
            starts = np.zeros(found + 1, dtype=np.int64)
            levels = np.empty(self.used[1], dtype=np.uint8)
            counts = np.empty(self.used[1], dtype=np.int64)
            _sort_histograms(order, self.value_heads, *self.values.values(), starts, levels, counts)
            self.values.clear()
            result.update(histogram_starts=starts, histogram_levels=levels, histogram_counts=counts)
        return result


@compiled
def _add(
    edges_z, edges_y, edges_x, labels, halo_z, halo_y, halo_x, sizes, heads, owners, others, following, counts,
    maxima, sums, value_heads, levels, numbers, next_values, used, histograms, place,
):  # fmt: skip
    """Go on at row `place`; False if the table may not hold another row, which `place` then names."""
    planes, rows, columns = labels.shape
    room, value_room = others.size - 3 * columns, levels.size - 3 * columns
    for z in range(place[0], planes):
        for y in range(place[1] if z == place[0] else halo_y, rows):
            if used[0] > room or (histograms and used[1] > value_room):
                place[0], place[1] = z, y
                return False
            for axis in range(3):
                if (axis == 0 and z == 0) or (axis == 1 and y == 0):
                    continue
                row = labels[z, y]
                beside = labels[z - 1, y] if axis == 0 else labels[z, y - 1] if axis == 1 else row
                edges = edges_z[z, y] if axis == 0 else edges_y[z, y] if axis == 1 else edges_x[z, y]
                shift = 1 if axis == 2 else 0
                for x in range(max(halo_x, shift), columns):
                    label, other = np.int64(row[x]), np.int64(beside[x - shift])
                    if label == other or label == 0 or other == 0:
                        continue
                    if sizes[other] < sizes[label] or (sizes[other] == sizes[label] and other < label):
                        label, other = other, label
                    entry = _find(label, other, heads, others, following)
                    if entry == NONE:
                        entry = np.uint32(used[0])
                        used[0] += 1
                        owners[entry], others[entry] = label, other
                        following[entry] = heads[label]
                        heads[label] = entry
                        counts[entry] = 0
                        maxima[entry] = 0
                        sums[entry] = 0
                        if histograms:
                            value_heads[entry] = NONE
                    level = edges[x]
                    counts[entry] += np.uint32(1)
                    sums[entry] += np.int64(level)
                    maxima[entry] = max(maxima[entry], level)
                    if histograms:
                        _count_value(entry, level, value_heads, levels, numbers, next_values, used)
    return True


@compiled
def _find(owner, other, heads, others, following):
    """The boundary of the pair, moved to the head of its chain; NONE if there is none yet."""
    entry = heads[owner]
    if entry == NONE or others[entry] == other:
        return entry
    last = entry
    entry = following[entry]
    while entry != NONE:
        if others[entry] == other:
            following[last] = following[entry]
            following[entry] = heads[owner]
            heads[owner] = entry
            return entry
        last = entry
        entry = following[entry]
    return NONE


@compiled
def _count_value(entry, level, value_heads, levels, numbers, next_values, used):
    value = value_heads[entry]
    while value != NONE:
        if levels[value] == level:
            numbers[value] += np.uint32(1)
            return
        value = next_values[value]
    value = np.uint32(used[1])
    used[1] += 1
    levels[value] = level
    numbers[value] = 1
    next_values[value] = value_heads[entry]
    value_heads[entry] = value


@compiled
def _order_pairs(owners, others, pairs):
    for entry in range(pairs.shape[0]):
        pairs[entry, 0] = min(owners[entry], others[entry])
        pairs[entry, 1] = max(owners[entry], others[entry])


@compiled
def _sort_pairs(pairs, fragments, order):
    """Sort by the first of each pair by counting, then each run by the second."""
    ends = np.zeros(fragments + 1, dtype=np.int64)
    for entry in range(pairs.shape[0]):
        ends[pairs[entry, 0] + 1] += 1
    for fragment in range(fragments):
        ends[fragment + 1] += ends[fragment]
    for entry in range(pairs.shape[0]):
        order[ends[pairs[entry, 0]]] = entry
        ends[pairs[entry, 0]] += 1
    start = 0
    for fragment in range(fragments):
        stop = ends[fragment]
        if stop - start > 32:
            seconds = np.empty(stop - start, dtype=np.uint32)
            for place in range(seconds.size):
                seconds[place] = pairs[order[start + place], 1]
            order[start:stop] = order[start:stop][np.argsort(seconds)]
        else:
            for place in range(start + 1, stop):
                entry = order[place]
                before = place - 1
                while before >= start and pairs[order[before], 1] > pairs[entry, 1]:
                    order[before + 1] = order[before]
                    before -= 1
                order[before + 1] = entry
        start = stop


@compiled
def _take(values, order, result):
    for place in range(order.size):
        result[place] = values[order[place]]


@compiled
def _sort_histograms(order, value_heads, levels, numbers, next_values, starts, sorted_levels, sorted_counts):
    bins = np.zeros(256, dtype=np.int64)
    position = 0
    for place in range(order.size):
        lowest, highest = 255, 0
        value = value_heads[order[place]]
        while value != NONE:
            bins[levels[value]] = numbers[value]
            lowest, highest = min(lowest, levels[value]), max(highest, levels[value])
            value = next_values[value]
        for level in range(lowest, highest + 1):
            if bins[level]:
                sorted_levels[position] = level
                sorted_counts[position] = bins[level]
                bins[level] = 0
                position += 1
        starts[place + 1] = position


@compiled
def measure_fragments(labels, halo_z, halo_y, halo_x, first_position, volume_rows, volume_columns, sizes, first_voxels):
    """Add the voxels of a block to the fragments' sizes, and keep the smallest raster position of each.

    Args:
        labels: (Z, Y, X), 0 ... N, with `halo` planes at the start that are not counted.
        first_position: raster position in the whole volume of labels[0, 0, 0].
        first_voxels: (N + 1,) int64, -1 where nothing is known yet.
    """
    planes, rows, columns = labels.shape
    for z in range(halo_z, planes):
        for y in range(halo_y, rows):
            position = first_position + (z * volume_rows + y) * volume_columns
            current, run = np.int64(0), 0
            for x in range(halo_x, columns):
                label = np.int64(labels[z, y, x])
                if label != current:
                    sizes[current] += run
                    current, run = label, 0
                    if first_voxels[label] < 0 or position + x < first_voxels[label]:
                        first_voxels[label] = position + x
                run += 1
            sizes[current] += run
