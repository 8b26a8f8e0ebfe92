"""The runs of many objects in three arrays, and what can be read from them without drawing a mask."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from emlib.compilation import compiled


@dataclass(frozen=True)
class RunTable:
    """Runs of pixels of objects, counted down the columns; those of one object are sorted and do not touch.

    Attributes:
        starts, stops: int64; the pixels of a run are start, ..., stop - 1.
        offsets: int64, one more than there are objects; object k has the runs offsets[k] to offsets[k + 1] - 1.

    Example:
        >>> table = RunTable(np.array([2, 0]), np.array([5, 1]), np.array([0, 1, 2]))
        >>> table.areas().tolist(), table.boxes(2).tolist()
        ([3, 1], [[1, 0, 3, 2], [0, 0, 1, 1]])
    """

    starts: np.ndarray
    stops: np.ndarray
    offsets: np.ndarray

    def __len__(self) -> int:
        return self.offsets.size - 1

    def of(self, place: int) -> tuple[np.ndarray, np.ndarray]:
        """Starts and stops of one object."""
        inside = slice(self.offsets[place], self.offsets[place + 1])
        return self.starts[inside], self.stops[inside]

    def areas(self) -> np.ndarray:
        """Pixels (int64) of each object."""
        total = np.concatenate([[0], np.cumsum(self.stops - self.starts)])
        return total[self.offsets[1:]] - total[self.offsets[:-1]]

    def boxes(self, heights: Any) -> np.ndarray:
        """The smallest box of each object as left, top, right, bottom (int64, the last two excluded); 0 for nothing.

        Args:
            heights: of the pictures, one for all or one an object.
        """
        return _boxes(self.starts, self.stops, self.offsets, np.broadcast_to(np.int64(heights), (len(self),)))

    def take(self, places: np.ndarray) -> RunTable:
        """The table of some objects, or of all in another order."""
        lengths = np.diff(self.offsets)[places]
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        rows = np.arange(offsets[-1]) + np.repeat(self.offsets[places] - offsets[:-1], lengths)
        return RunTable(self.starts[rows], self.stops[rows], offsets)


def join_tables(tables: list[RunTable]) -> RunTable:
    """One table of the objects of several.

    Example:
        >>> table = RunTable(np.array([2]), np.array([5]), np.array([0, 1]))
        >>> join_tables([table, table]).offsets.tolist()
        [0, 1, 2]
    """
    lengths = np.concatenate([np.diff(table.offsets) for table in tables])
    return RunTable(
        np.concatenate([table.starts for table in tables]),
        np.concatenate([table.stops for table in tables]),
        np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
    )


@compiled
def _boxes(starts: np.ndarray, stops: np.ndarray, offsets: np.ndarray, heights: np.ndarray) -> np.ndarray:
    boxes = np.zeros((offsets.size - 1, 4), np.int64)
    for place in range(offsets.size - 1):
        first, end, height = offsets[place], offsets[place + 1], heights[place]
        if first == end:
            continue
        left = starts[first] // height
        right = (stops[end - 1] - 1) // height + 1
        top, bottom = height, np.int64(0)
        column = left
        for run in range(first, end):
            # A division costs more than the rest: runs of small objects are at most a few columns apart.
            while starts[run] >= (column + 1) * height:
                column += 1
            start = starts[run] - column * height
            stop = stops[run] - column * height
            if stop > height:
                start, stop = np.int64(0), height
            top, bottom = min(top, start), max(bottom, stop)
        boxes[place, 0], boxes[place, 1], boxes[place, 2], boxes[place, 3] = left, top, right, bottom
    return boxes
