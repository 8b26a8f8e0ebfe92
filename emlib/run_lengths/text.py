"""COCO's compact text of run lengths."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from emlib.compilation import compiled

# More than any picture has pixels; sums of several such counts still fit 64 bits.
LARGEST_COUNT = 2**57
REASONS = (
    "",
    "Run lengths contain the character {letter!r}, which COCO's text never has.",
    "Run lengths break off within a number.",
    "Run lengths contain {number}, but none can be negative.",
    "Run lengths contain a number of more than 57 bits.",
)
FINE, BAD_LETTER, UNFINISHED, NEGATIVE, TOO_LARGE = range(5)


def encode_counts(counts: Any) -> str:
    """Run lengths as COCO's compact text.

    From the third on, a count is stored as its difference to the one two places before; each number is a row of
    characters that carry five bits each, the lowest first.

    Raises:
        ValueError: counts that are not a list of whole numbers of at least 0.

    Example:
        >>> encode_counts([2, 3, 1])
        '231'
    """
    return _encode(whole_counts(counts)).tobytes().decode("ascii")


def decode_counts(text: str | bytes) -> np.ndarray:
    """Run lengths (int64) from COCO's compact text.

    Raises:
        ValueError: characters that do not occur in it, an unfinished number, or a negative count.

    Example:
        >>> decode_counts("231").tolist()
        [2, 3, 1]
    """
    counts, _, _, reason = decode_texts([text])
    if reason:
        raise ValueError(reason)
    return counts


def decode_texts(texts: Sequence[str | bytes]) -> tuple[np.ndarray, np.ndarray, int, str]:
    """The run lengths of many objects: counts (int64) of all, and offsets (int64) of which object k has k to k + 1.

    The last two values are the place of the first text that cannot be read, and why; -1 and "" if all can.

    Example:
        >>> decode_texts(["231", b"42"])[1].tolist()
        [0, 3, 5]
    """
    parts = []
    for place, text in enumerate(texts):
        try:
            parts.append(text.encode("latin-1") if isinstance(text, str) else bytes(text))
        except UnicodeEncodeError as error:
            letter = text[error.start]
            return np.empty(0, np.int64), np.zeros(1, np.int64), place, REASONS[BAD_LETTER].format(letter=letter)
    letters = np.frombuffer(b"".join(parts), dtype=np.uint8)
    ends = np.zeros(len(parts) + 1, np.int64)
    np.cumsum([len(part) for part in parts], out=ends[1:])
    counts, offsets, place, code, detail = _decode(letters, ends)
    reason = REASONS[code].format(letter=chr(detail) if code == BAD_LETTER else "", number=detail)
    return counts, offsets, int(place), reason


def whole_counts(counts: Any) -> np.ndarray:
    """Run lengths given as numbers, as int64.

    Raises:
        ValueError: not one list of whole numbers of at least 0.
    """
    try:
        array = np.asarray(counts)
    except ValueError as error:
        raise ValueError("Run lengths must be one list of whole numbers, not a list of lists.") from error
    if array.ndim != 1 or (array.dtype.kind not in "iu" and array.size):
        raise ValueError("Run lengths must be one list of whole numbers.")
    if array.size and not 0 <= int(array.min()) <= int(array.max()) <= LARGEST_COUNT:
        extreme = int(array.min()) if array.min() < 0 else int(array.max())
        raise ValueError(REASONS[NEGATIVE if extreme < 0 else TOO_LARGE].format(number=extreme))
    return array.astype(np.int64, copy=False)


@compiled
def _encode(counts: np.ndarray) -> np.ndarray:
    letters = np.empty(counts.size * 13, np.uint8)
    filled = 0
    for place in range(counts.size):
        rest = counts[place] - counts[place - 2] if place > 2 else counts[place]
        more = True
        while more:
            bits = rest & 31
            rest >>= 5
            more = rest != (-1 if bits & 16 else 0)
            letters[filled] = 48 + bits + (32 if more else 0)
            filled += 1
    return letters[:filled].copy()


@compiled
def _decode(letters: np.ndarray, ends: np.ndarray) -> tuple[np.ndarray, np.ndarray, int, int, int]:
    """Counts, offsets, and the place, code and detail of the first text that is wrong."""
    counts = np.empty(letters.size, np.int64)
    offsets = np.zeros(ends.size, np.int64)
    filled = 0
    for place in range(ends.size - 1):
        first = filled
        number = np.int64(0)
        shift = 0
        for position in range(ends[place], ends[place + 1]):
            bits = np.int64(letters[position]) - 48
            if bits < 0 or bits >= 64:
                return counts, offsets, place, BAD_LETTER, np.int64(letters[position])
            if shift >= 60:
                return counts, offsets, place, TOO_LARGE, 0
            number |= (bits & 31) << shift
            shift += 5
            if bits & 32:
                continue
            if bits & 16:
                number -= np.int64(1) << shift
            if filled - first > 2:
                number += counts[filled - 2]
            if number < 0:
                return counts, offsets, place, NEGATIVE, number
            if number > LARGEST_COUNT:
                return counts, offsets, place, TOO_LARGE, 0
            counts[filled] = number
            filled += 1
            number = np.int64(0)
            shift = 0
        if shift:
            return counts, offsets, place, UNFINISHED, 0
        offsets[place + 1] = filled
    return counts[:filled].copy(), offsets, -1, FINE, 0
