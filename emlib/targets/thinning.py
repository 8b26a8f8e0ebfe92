"""Thinning of flat shapes to lines of one pixel."""

from __future__ import annotations

import numpy as np

from emlib.compilation import compiled

# The neighbours of a pixel clockwise from the one above it, (y, x); bit i of a code is neighbour i.
AROUND = ((-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1))


def _passes() -> np.ndarray:
    """For each code of neighbours in which pass such a pixel goes: bit 0 the first, bit 1 the second."""
    table = np.zeros(256, dtype=np.uint8)
    for code in range(256):
        bits = [code >> place & 1 for place in range(8)]
        starts = sum(bits[place] == 0 and bits[(place + 1) % 8] == 1 for place in range(8))
        above, right, below, left = bits[::2]
        if 2 <= sum(bits) <= 6 and starts == 1:
            table[code] = (not (right and below and (above or left))) | (not (above and left and (right or below))) << 1
    # Each pass spares one kind of corner, else nothing would be left of a square of 2 x 2.
    table[_code(2, 3, 4)] &= 2
    table[_code(6, 7, 0)] &= 1
    return table


def _code(*neighbours: int) -> int:
    return sum(1 << place for place in neighbours)


PASSES = _passes()


def thin_shape(shape: np.ndarray) -> np.ndarray:
    """Thin the objects of an image to lines that keep their course, their ends and how they are connected.

    Two passes alternate until nothing changes. Each looks at all pixels of the border at once and takes away those
    whose removal breaks nothing: 2 to 6 of the 8 neighbours are set, and they are in one piece; the first pass those
    at the right and lower border and upper left corners, the second the others. Every 8-connected object
    keeps one pixel at least.

    Args:
        shape: (Y, X) bool; not changed.

    Returns:
        (Y, X) bool.

    Source: Zhang and Suen, Communications of the ACM, 1984; there squares of 2 x 2 pixels vanish.

    Example:
        >>> thin_shape(np.ones((3, 7), dtype=bool)).astype(int)
        array([[0, 0, 0, 0, 0, 0, 0],
               [0, 1, 1, 1, 1, 1, 0],
               [0, 0, 0, 0, 0, 0, 0]])
    """
    padded = np.pad(np.ascontiguousarray(shape, dtype=np.uint8), 1)
    _thin(padded, PASSES)
    return padded[1:-1, 1:-1].astype(bool)


@compiled
def _thin(image, passes):
    rows, columns = image.shape
    places = np.empty(np.count_nonzero(image), dtype=np.int64)
    left = 0
    for y in range(1, rows - 1):
        for x in range(1, columns - 1):
            if image[y, x]:
                places[left] = y * columns + x
                left += 1
    going = np.empty(left, dtype=np.int64)
    flat = image.reshape(-1)
    steps = np.array([-columns, 1 - columns, 1, columns + 1, columns, columns - 1, -1, -columns - 1])
    changed = True
    while changed:
        changed = False
        for bit in (1, 2):
            gone, kept = 0, 0
            for index in range(left):
                code = 0
                for side in range(8):
                    code |= np.int64(flat[places[index] + steps[side]]) << side
                if passes[code] & bit:
                    going[gone] = places[index]
                    gone += 1
                else:
                    places[kept] = places[index]
                    kept += 1
            for index in range(gone):
                flat[going[index]] = 0
            left = kept
            changed |= gone > 0
