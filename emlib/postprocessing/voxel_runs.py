"""Voxels of an object as runs along x: what an object takes, instead of what the box around it takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from emlib.compilation import compiled


@dataclass(frozen=True)
class VoxelRuns:
    """Voxels of a volume (Z, Y, X) in raster order, as runs along x that neither overlap nor touch.

    Attributes:
        rows: int64 (R,), z * Y + y of each run.
        starts, stops: int32 (R,), the voxels of a run are x = start, ..., stop - 1.
        height: Y, the number of rows of a section.

    Example:
        >>> runs = runs_of(np.array([[[0, 1, 1], [1, 0, 1]]], bool))
        >>> runs.rows.tolist(), runs.starts.tolist(), runs.stops.tolist(), runs.size
        ([0, 1, 1], [1, 0, 2], [3, 1, 3], 4)
    """

    rows: np.ndarray
    starts: np.ndarray
    stops: np.ndarray
    height: int

    @property
    def offsets(self) -> np.ndarray:
        """int64 (R + 1,): voxels before each run, and all of them."""
        return np.concatenate([[0], np.cumsum(self.stops - self.starts, dtype=np.int64)])

    @property
    def size(self) -> int:
        """Voxels."""
        return int((self.stops - self.starts).sum(dtype=np.int64))

    def cropped(self) -> VoxelRuns:
        """The same voxels in the smallest box around them along z and y, whose first section and row are 0."""
        if not self.rows.size:
            return self
        z, y = np.divmod(self.rows, self.height)
        z, y = z - z.min(), y - y.min()
        height = int(y.max()) + 1
        return VoxelRuns(z * height + y, self.starts, self.stops, height)

    def chosen(self, voxels: np.ndarray) -> tuple[VoxelRuns, np.ndarray]:
        """The runs of some of the voxels (a bool for each, in raster order), and the place of each run's first voxel.

        Example:
            >>> runs, places = runs_of(np.ones((1, 1, 5), bool)).chosen(np.array([1, 1, 0, 0, 1], bool))
            >>> runs.starts.tolist(), runs.stops.tolist(), places.tolist()
            ([0, 4], [2, 5], [0, 4])
        """
        offsets = self.offsets
        rows, starts, stops, places = _choose(self.rows, self.starts, offsets, voxels, _count_chosen(offsets, voxels))
        return VoxelRuns(rows, starts, stops, self.height), places

    def components(self, connectivity: int) -> tuple[np.ndarray, int]:
        """The 6- or 26-connected component of each run, numbered 0, 1, 2, ... in raster order; and how many.

        Example:
            >>> runs_of(np.array([[[1, 0, 0], [0, 1, 0], [0, 0, 0], [1, 0, 1]]], bool)).components(26)
            (array([0, 0, 1, 2]), 3)
        """
        if connectivity not in (6, 26):
            raise ValueError(f"connectivity must be 6 or 26, got {connectivity!r}.")
        return _components(self.rows, self.starts, self.stops, self.height, connectivity == 26)


def runs_of(mask: np.ndarray) -> VoxelRuns:
    """The runs of a mask (Z, Y, X)."""
    runs, _ = VoxelRuns(
        np.arange(mask.shape[0] * mask.shape[1]),
        np.zeros(mask.shape[0] * mask.shape[1], np.int32),
        np.full(mask.shape[0] * mask.shape[1], mask.shape[2], np.int32),
        mask.shape[1],
    ).chosen(np.ascontiguousarray(mask, dtype=bool).reshape(-1))
    return runs


@dataclass(frozen=True)
class VoxelPieces:
    """Several objects of a part of a volume: the runs of each, and a grey level for each voxel.

    Attributes:
        runs: of one object after the other; raster order holds within each object only.
        run_offsets, voxel_offsets: int64 (objects + 1,), where the runs and the levels of each object begin.
        levels: uint8, one for each voxel, in the order of the runs.
    """

    runs: VoxelRuns
    run_offsets: np.ndarray
    voxel_offsets: np.ndarray
    levels: np.ndarray

    def __len__(self) -> int:
        return self.run_offsets.size - 1

    def of(self, place: int) -> tuple[VoxelRuns, np.ndarray]:
        """Runs and levels of one object."""
        part = slice(self.run_offsets[place], self.run_offsets[place + 1])
        runs = VoxelRuns(self.runs.rows[part], self.runs.starts[part], self.runs.stops[part], self.runs.height)
        return runs, self.levels[self.voxel_offsets[place] : self.voxel_offsets[place + 1]]


def cut_out(
    labels: np.ndarray, numbers: np.ndarray, levels: np.ndarray, start: Sequence[int], height: int
) -> VoxelPieces:
    """Some objects of a label array as runs.

    Args:
        labels: (Z, Y, X), unsigned.
        numbers: int64, for each label its place among the pieces, 1, 2, 3, ..., or 0 for those that are left out.
        levels: (Z, Y, X) uint8.
        start: (z, y, x) of the array's first voxel in the volume.
        height: of the volume, in rows.
    """
    count = int(numbers.max(initial=0))
    run_offsets, voxel_offsets = _count_runs(labels, numbers, count)
    total = int(run_offsets[-1])
    rows, starts, stops = np.empty(total, np.int64), np.empty(total, np.int32), np.empty(total, np.int32)
    values = np.empty(int(voxel_offsets[-1]), np.uint8)
    place = np.array(start, dtype=np.int64)
    _collect(labels, numbers, levels, place, height, run_offsets[:-1].copy(), voxel_offsets[:-1].copy(),
             rows, starts, stops, values)  # fmt: skip
    return VoxelPieces(VoxelRuns(rows, starts, stops, height), run_offsets, voxel_offsets, values)


def join_runs(parts: Sequence[VoxelRuns]) -> tuple[VoxelRuns, np.ndarray, np.ndarray]:
    """The runs of one object, which was cut into parts, in raster order; parts may touch but have no voxel in common.

    Returns:
        The runs; where the voxels of the parts' runs (one part after the other) begin among the parts' voxels, in
        raster order; and the length of each of those runs. With `reorder` values follow their voxels.

    Example:
        >>> left, right = runs_of(np.array([[[1, 1], [0, 1]]], bool)), runs_of(np.array([[[1, 0], [1, 0]]], bool))
        >>> right = VoxelRuns(right.rows, right.starts + 2, right.stops + 2, right.height)
        >>> runs, begins, lengths = join_runs([left, right])
        >>> runs.starts.tolist(), runs.stops.tolist(), begins.tolist(), lengths.tolist()
        ([0, 1], [3, 3], [0, 3, 2, 4], [2, 1, 1, 1])
    """
    rows, starts, stops = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ("rows", "starts", "stops")
    )
    lengths = (stops - starts).astype(np.int64)
    begins = np.cumsum(lengths) - lengths
    order = np.lexsort((starts, rows))
    rows, starts, stops = rows[order], starts[order], stops[order]
    first = np.ones(rows.size, dtype=bool)
    first[1:] = (rows[1:] != rows[:-1]) | (starts[1:] != stops[:-1])
    last = np.ones(rows.size, dtype=bool)
    last[:-1] = first[1:]
    return VoxelRuns(rows[first], starts[first], stops[last], parts[0].height), begins[order], lengths[order]


@compiled
def reorder(values, begins, lengths, ordered, back):
    """Copy values into raster order after `join_runs`; or, with `back`, from raster order (`ordered`) to the parts'."""
    place = 0
    for run in range(begins.size):
        for step in range(lengths[run]):
            if back:
                values[begins[run] + step] = ordered[place]
            else:
                ordered[place] = values[begins[run] + step]
            place += 1


@compiled
def _count_chosen(offsets, voxels):
    count = 0
    for run in range(offsets.size - 1):
        before = False
        for place in range(offsets[run], offsets[run + 1]):
            if voxels[place] and not before:
                count += 1
            before = voxels[place]
    return count


@compiled
def _choose(rows, starts, offsets, voxels, count):
    found_rows = np.empty(count, dtype=np.int64)
    found_starts = np.empty(count, dtype=np.int32)
    found_stops = np.empty(count, dtype=np.int32)
    places = np.empty(count, dtype=np.int64)
    found = 0
    for run in range(rows.size):
        before = False
        for place in range(offsets[run], offsets[run + 1]):
            if voxels[place]:
                x = starts[run] + place - offsets[run]
                if not before:
                    found_rows[found], found_starts[found], places[found] = rows[run], x, place
                    found += 1
                found_stops[found - 1] = x + 1
            before = voxels[place]
    return found_rows, found_starts, found_stops, places


@compiled
def _root(parents, run):
    while parents[run] != run:
        parents[run] = parents[parents[run]]
        run = parents[run]
    return run


@compiled
def _components(rows, starts, stops, height, corners):
    """Each run is joined with those before it: of the row above, and of the section above."""
    parents = np.arange(rows.size)
    # dy and dz of the rows that come before; the first two share faces, the others edges only.
    behind = np.array([[1, 0], [0, 1], [1, 1], [-1, 1]])
    reach = 1 if corners else 0
    for kind in range(4 if corners else 2):
        up, over = behind[kind]
        other = 0
        for run in range(rows.size):
            y = rows[run] % height
            if y - up < 0 or y - up >= height:
                continue
            row = rows[run] - up - over * height
            while other < run and (rows[other] < row or (rows[other] == row and stops[other] + reach <= starts[run])):
                other += 1
            near = other
            while near < run and rows[near] == row and starts[near] < stops[run] + reach:
                one, two = _root(parents, run), _root(parents, near)
                parents[max(one, two)] = min(one, two)
                near += 1
    numbers = np.empty(rows.size, dtype=np.int64)
    count = 0
    for run in range(rows.size):
        root = _root(parents, run)
        if root == run:
            numbers[run] = count
            count += 1
        else:
            numbers[run] = numbers[root]
    return numbers, count


@compiled
def _count_runs(labels, numbers, count):
    runs, voxels = np.zeros(count + 1, dtype=np.int64), np.zeros(count + 1, dtype=np.int64)
    for z in range(labels.shape[0]):
        for y in range(labels.shape[1]):
            before = 0
            for x in range(labels.shape[2]):
                number = numbers[labels[z, y, x]]
                if number != 0:
                    voxels[number] += 1
                    if number != before:
                        runs[number] += 1
                before = number
    return np.cumsum(runs), np.cumsum(voxels)


@compiled
def _collect(labels, numbers, levels, start, height, next_run, next_voxel, rows, starts, stops, values):
    for z in range(labels.shape[0]):
        for y in range(labels.shape[1]):
            before = 0
            for x in range(labels.shape[2]):
                number = numbers[labels[z, y, x]]
                if number != 0:
                    if number != before:
                        run = next_run[number - 1]
                        next_run[number - 1] += 1
                        rows[run] = (start[0] + z) * height + start[1] + y
                        starts[run] = start[2] + x
                    stops[next_run[number - 1] - 1] = start[2] + x + 1
                    values[next_voxel[number - 1]] = levels[z, y, x]
                    next_voxel[number - 1] += 1
                before = number
