"""The k-th smallest of many values that are read piece by piece, exactly and in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from emlib.compilation import compiled

DIGIT = 16


def ranked_values(pieces: Callable[[], Iterable[np.ndarray]], ranks: Sequence[int]) -> list[float]:
    """The values that would stand at some places if all were sorted.

    A number's 64 bits, read as a whole number, are in the order of the numbers once those of negative ones are
    inverted. Four times all values are read, and each time the next 16 bits of the wanted ones are found from a
    histogram of the values that agree with them so far.

    Args:
        pieces: called four times; each time it yields the same values, float64 arrays without NaN.
        ranks: places from 0 on.

    Raises:
        IndexError: a rank that is negative or at least the number of values.

    Memory: 0.5 MB a rank, and a piece.

    Example:
        >>> ranked_values(lambda: [np.array([3.0, -1.5]), np.array([0.25])], [0, 1, 2])
        [-1.5, 0.25, 3.0]
    """
    heads = np.zeros(len(ranks), dtype=np.uint64)
    left = np.array(ranks, dtype=np.int64)
    for shift in range(64 - DIGIT, -1, -DIGIT):
        counts = np.zeros((len(heads), 1 << DIGIT), dtype=np.int64)
        for piece in pieces():
            _count_digits(
                np.ascontiguousarray(piece, dtype=np.float64).reshape(-1).view(np.uint64), heads, shift, counts
            )
        for number, found in enumerate(counts):
            upto = np.cumsum(found)
            if not 0 <= left[number] < upto[-1]:
                raise IndexError(f"There is no place {ranks[number]} among the values.")
            digit = int(np.searchsorted(upto, left[number], side="right"))
            left[number] -= int(upto[digit] - found[digit])
            heads[number] = (heads[number] << np.uint64(DIGIT)) | np.uint64(digit)
    top = np.uint64(1) << np.uint64(63)
    bits = np.where(heads & top, heads ^ top, ~heads)
    return bits.view(np.float64).tolist()


@compiled
def _count_digits(bits, heads, shift, counts):
    top, digit = np.uint64(1) << np.uint64(63), np.uint64((1 << DIGIT) - 1)
    for k in range(bits.size):
        key = ~bits[k] if bits[k] & top else bits[k] | top
        # In two steps: a shift by all 64 bits is not defined.
        head = (key >> np.uint64(shift)) >> np.uint64(DIGIT)
        for number in range(heads.size):
            if head == heads[number]:
                counts[number, np.int64((key >> np.uint64(shift)) & digit)] += 1
