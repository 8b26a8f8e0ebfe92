"""Tiles for networks that find objects: overlapping pieces of an image, and how well each sees an object."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil

import numpy as np

from emlib.inference.image_windows import two_numbers

# Masks are drawn from few points: one that is cut may end a little before the border that cuts it.
NEAR = 2.0


@dataclass(frozen=True)
class ImageTiles:
    """Tiles of one size over an image, in pixels, (y, x); the last of each axis ends with it, and may be smaller.

    Where a tile ends and the image goes on is an inner border. An object that comes closer to one than `NEAR` pixels
    counts as cut by it.
    """

    shape: tuple[int, int]
    sides: tuple[int, int]
    starts: tuple[tuple[int, ...], tuple[int, ...]]

    def __len__(self) -> int:
        return len(self.starts[0]) * len(self.starts[1])

    def slices(self, number: int) -> tuple[slice, slice]:
        """Where a tile lies in the image; they are counted row by row."""
        places = divmod(number, len(self.starts[1]))
        return tuple(
            slice(starts[place], min(starts[place] + side, length))
            for starts, place, side, length in zip(self.starts, places, self.sides, self.shape, strict=True)
        )

    def room(self, number: int, box: Sequence[float]) -> float:
        """Pixels between a box (y0, x0, y1, x1) and the nearest inner border of a tile; infinity without such."""
        room = np.inf
        for axis, part in enumerate(self.slices(number)):
            if part.start > 0:
                room = min(room, box[axis] - part.start)
            if part.stop < self.shape[axis]:
                room = min(room, part.stop - box[axis + 2])
        return float(room)

    def best_room(self, box: Sequence[float]) -> float:
        """The most room that any tile has around a box; negative if each leaves out a part of it."""
        best = np.inf
        for axis, (starts, side) in enumerate(zip(self.starts, self.sides, strict=True)):
            first = np.asarray(starts)
            low = np.where(first == 0, np.inf, box[axis] - first)
            high = np.where(first + side >= self.shape[axis], np.inf, first + side - box[axis + 2])
            best = min(best, float(np.minimum(low, high).max()))
        return best

    def sees_whole(self, box: Sequence[float]) -> bool:
        """Whether there is a tile of which no inner border cuts the box."""
        return self.best_room(box) >= NEAR

    def core(self, number: int) -> tuple[slice, slice]:
        """The part of a tile, counted from its first pixel, that is nearer to its middle than to that of its neighbors:
        the cores of all tiles cover every pixel of the image once."""
        parts = []
        for axis, place in enumerate(divmod(number, len(self.starts[1]))):
            starts, side, length = self.starts[axis], self.sides[axis], self.shape[axis]
            cuts = [0, *((after + before + side) // 2 for before, after in pairwise(starts)), length]
            parts.append(slice(cuts[place] - starts[place], cuts[place + 1] - starts[place]))
        return tuple(parts)


def plan_image_tiles(
    shape: Sequence[int], window: int | Sequence[int] | None, overlap: float = 0.25, *, grid: int = 1
) -> ImageTiles:
    """Lay tiles over an image; nothing is added where it is smaller.

    Args:
        shape: (y, x) of the image.
        window: pixels of a tile, one number or (y, x); None makes one tile of the whole image.
        overlap: what a tile covers again of the one before it: a share of the tile below 1, such as 0.25, or a whole
            number of pixels. Every object whose sides are at most `overlap` - 4 pixels is seen whole by a tile.
        grid: a power of 2; tiles start at its multiples. A network that looks at every 64th point of an image says the
            same of a tile and of the whole only if it looks at the same points. Halved until it is no larger than what
            a tile adds to the one before it; with 1, the last tile is moved back to the image's end, otherwise it is
            cut off there.

    Raises:
        TypeError, ValueError: a window below 1, an overlap that is negative or as large as the window.

    Example:
        >>> plan_image_tiles((300, 1000), 400, 100).starts
        ((0,), (0, 300, 600))
        >>> plan_image_tiles((400, 1000), 400, 100, grid=32).starts
        ((0,), (0, 288, 576, 608))
    """
    shape = tuple(int(length) for length in shape)
    asked = shape if window is None else two_numbers("window", window)
    sides = tuple(min(side, length) for side, length in zip(asked, shape, strict=True))
    if isinstance(overlap, bool) or not isinstance(overlap, int | float | np.integer | np.floating):
        raise TypeError(f"overlap must be a share of the window or a whole number of pixels, not {overlap!r}.")
    in_pixels = isinstance(overlap, int | np.integer)
    if not overlap >= 0 or (window is not None and not overlap < (min(asked) if in_pixels else 1)):
        raise ValueError(
            f"overlap is {overlap!r}, but a share from 0 to below 1, or whole pixels fewer than the window's "
            f"{min(asked)}, were expected."
        )
    # Of the window that was asked for, so that it does not shrink along an axis that the window does not fit.
    steps = [side - (int(overlap) if in_pixels else int(side * overlap)) for side in asked]
    starts = tuple(
        _starts(length, side, min(max(step, 1), side), grid)
        for length, side, step in zip(shape, sides, steps, strict=True)
    )
    return ImageTiles(shape, sides, starts)


def _starts(length: int, side: int, step: int, grid: int) -> tuple[int, ...]:
    """The fewest points of the grid that are at most a step apart, up to the first whose tile reaches the end."""
    while grid > step:
        grid //= 2
    last = ceil((length - side) / grid) * grid
    return (*range(0, last, step // grid * grid), last) if last > 0 else (0,)
