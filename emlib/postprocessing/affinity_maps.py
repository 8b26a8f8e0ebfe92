"""Affinities at the door: the three nearest-neighbour channels as uint8, whatever they are stored in.

An affinity is the probability that a voxel v and its neighbour v + offset belong to the same object; it is stored at
v. Everything in this package works on the edges (-1, 0, 0), (0, -1, 0), (0, 0, -1), kept as levels 0-255.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from numbers import Real
from typing import Any

import numpy as np

from emlib.compilation import compiled

NEAREST_OFFSETS = ((-1, 0, 0), (0, -1, 0), (0, 0, -1))
# Added before truncation: u / 255 must come back as u from float16 too, whose rounding is up to 0.0623 of a level.
LEVEL_TOLERANCE = 1 / 16

Maps = tuple[np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True)
class AffinityMaps:
    """Affinities that are read box by box as uint8 levels of the edges to the previous voxel in z, y and x.

    A level u stands for the affinity u / 255. Floats become floor(255 a + 1/16), which is the published truncation
    with the tolerance that makes u / 255 come back as u from float16, float32 and float64.
    """

    source: Any
    channels: tuple[int, int, int]
    forward: tuple[bool, bool, bool]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along z, y, x."""
        return tuple(int(length) for length in self.source.shape[1:])

    def read(self, start: Sequence[int] = (0, 0, 0), stop: Sequence[int] | None = None) -> Maps:
        """The levels of the edges (v - 1, v) along z, y and x for v in the box, three C-contiguous uint8 arrays.

        Where the neighbour lies outside the volume, the value means nothing. Contiguous uint8 channels of an array
        in memory are returned without a copy.

        Raises:
            ValueError: a value that is no probability.
        """
        stop = self.shape if stop is None else stop
        return tuple(self._read_channel(axis, start, stop) for axis in range(3))

    def _read_channel(self, axis: int, start: Sequence[int], stop: Sequence[int]) -> np.ndarray:
        low = list(start)
        missing = 0
        if self.forward[axis]:
            # Stored at the other end of the edge, one voxel before; the first plane of the volume has no such edge.
            missing = int(low[axis] == 0)
            low[axis] -= 1 - missing
        high = list(stop)
        high[axis] -= self.forward[axis]
        box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        levels = _as_levels(self.source, self.channels[axis], box)
        if not missing:
            return levels
        shifted = np.zeros([b - a for a, b in zip(start, stop, strict=True)], dtype=np.uint8)
        shifted[tuple(slice(int(place == axis), None) for place in range(3))] = levels
        return shifted


def affinity_maps(affinities: Any, offsets: Sequence[Sequence[int]] | None = None) -> AffinityMaps:
    """Check affinities and find the three nearest-neighbour channels; values are checked when they are read.

    Args:
        affinities: (C, Z, Y, X), uint8 0-255 or float 0-1 (16, 32 or 64 bits); an array, a Volume or a zarr array.
        offsets: (z, y, x) of each channel: channel c compares v with v + offsets[c] and is stored at v. None means
            exactly three channels, (-1, 0, 0), (0, -1, 0), (0, 0, -1). With long-range channels as well, the three
            nearest ones are picked out; (1, 0, 0) and so on are understood too.

    Raises:
        TypeError: neither uint8 nor float, or a path.
        ValueError: other than four axes, no voxels, channels and offsets that do not match, no nearest neighbour.

    Example:
        >>> values = np.linspace(0, 1, 12).reshape(4, 1, 1, 3)
        >>> maps = affinity_maps(values, [(0, 0, -9), (-1, 0, 0), (0, -1, 0), (0, 0, 1)])
        >>> maps.channels, maps.read()[2].tolist()
        ((1, 2, 3), [[[0, 208, 231]]])
    """
    source = _as_source(affinities)
    count = int(source.shape[0])
    if offsets is None:
        if count != 3:
            raise ValueError(
                f"affinities have {count} channels; without offsets they must be the three of (-1, 0, 0), (0, -1, 0) "
                "and (0, 0, -1). Pass offsets=[...], one (z, y, x) for each channel."
            )
        return AffinityMaps(source, (0, 1, 2), (False, False, False))
    return AffinityMaps(source, *_find_nearest(_check_offsets(offsets, count)))


def affinity_channels(
    affinities: Any, offsets: Sequence[Sequence[int]]
) -> tuple[list[np.ndarray], list[tuple[int, int, int]]]:
    """All channels, near and far, as levels where they are stored, and their checked offsets.

    Args:
        affinities, offsets: as for `affinity_maps`; no nearest neighbour is needed.

    Returns:
        One C-contiguous uint8 (Z, Y, X) array a channel (the input's memory where that is what it is), and offsets.

    Raises:
        TypeError, ValueError: as for `affinity_maps`, and for a value that is no probability.

    Example:
        >>> channels, offsets = affinity_channels(np.full((1, 1, 1, 2), 0.5), [(0, 0, -9)])
        >>> channels[0].tolist(), offsets
        ([[[127, 127]]], [(0, 0, -9)])
    """
    source = _as_source(affinities)
    checked = _check_offsets(offsets, int(source.shape[0]))
    box = tuple(slice(0, int(length)) for length in source.shape[1:])
    return [_as_levels(source, channel, box) for channel in range(len(checked))], checked


def check_thresholds(thresholds: Any, name: str = "thresholds") -> tuple[float, ...]:
    """Ascending, different numbers in [0, 1] as a tuple of floats; a single number is a tuple of one.

    Raises:
        TypeError: not numbers.
        ValueError: none at all, out of range, not ascending or twice the same.

    Example:
        >>> check_thresholds([0.1, 0.3])
        (0.1, 0.3)
    """
    if isinstance(thresholds, Real):
        thresholds = (thresholds,)
    if isinstance(thresholds, str) or not hasattr(thresholds, "__iter__"):
        raise TypeError(f"{name} must be numbers between 0 and 1, got {thresholds!r}.")
    values = tuple(check_probability(value, name) for value in thresholds)
    if not values:
        raise ValueError(f"{name} must hold at least one number between 0 and 1.")
    if any(second <= first for first, second in pairwise(values)):
        raise ValueError(f"{name} must be ascending without repetition, got {values}.")
    return values


def check_probability(value: Any, name: str) -> float:
    """A number in [0, 1] as float, or one sentence that says what is wrong."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, Real):
        raise TypeError(f"{name} must be numbers between 0 and 1, got {value!r}.")
    if not 0 <= value <= 1:
        raise ValueError(f"{name} must lie between 0 and 1 (probabilities), got {value}.")
    return float(value)


def fragment_levels(low: float, high: float) -> tuple[int, int]:
    """The largest level that is not above `low`, and the smallest that reaches `high` (and is above the first)."""
    low, high = check_probability(low, "low"), check_probability(high, "high")
    if low >= high:
        raise ValueError(f"low must be smaller than high, got {low} and {high}.")
    # A tenth of a millionth of a level makes low=51/255 mean level 51, however the quotient was rounded.
    lowest = math.floor(255 * low + 1e-7)
    return lowest, max(math.ceil(255 * high - 1e-7), lowest + 1)


def _as_source(affinities: Any) -> Any:
    if isinstance(affinities, str | os.PathLike):
        raise TypeError(f"affinities is a path; open it first: emlib.volume.open_volume({str(affinities)!r}).")
    lazy = hasattr(affinities, "shape") and isinstance(getattr(affinities, "dtype", None), np.dtype)
    # What has a path or a store lies in a file; a Volume around an array in memory becomes that array, uncopied.
    in_file = lazy and (getattr(affinities, "path", None) is not None or hasattr(affinities, "store"))
    source = affinities if in_file else np.asarray(affinities)
    if len(source.shape) != 4:
        raise ValueError(f"affinities must have the axes (c, z, y, x), got an array of shape {tuple(source.shape)}.")
    if 0 in source.shape[1:]:
        raise ValueError(f"affinities are empty: their shape is {tuple(source.shape)}.")
    if source.dtype != np.uint8 and source.dtype not in (np.float16, np.float32, np.float64):
        raise TypeError(f"affinities must be uint8 (0-255) or float (0-1), got {source.dtype}.")
    return source


def _check_offsets(offsets: Sequence[Sequence[int]], count: int) -> list[tuple[int, int, int]]:
    checked = []
    for offset in offsets:
        values = tuple(offset) if hasattr(offset, "__iter__") and not isinstance(offset, str) else ()
        whole = all(isinstance(value, Real) and float(value).is_integer() for value in values)
        if len(values) != 3 or not whole or not any(values):
            raise ValueError(f"Each offset must be three whole numbers (z, y, x), not all 0; got {offset!r}.")
        checked.append(tuple(int(value) for value in values))
    if len(checked) != count:
        raise ValueError(f"affinities have {count} channels but {len(checked)} offsets were given.")
    if len(set(checked)) != count:
        raise ValueError(f"offsets must differ from each other, got {checked}.")
    return checked


def _find_nearest(offsets: list[tuple[int, int, int]]) -> tuple[tuple[int, ...], tuple[bool, ...]]:
    channels, forward = [], []
    for offset in NEAREST_OFFSETS:
        opposite = tuple(-value for value in offset)
        if offset not in offsets and opposite not in offsets:
            raise ValueError(f"offsets must include the nearest neighbour {offset} (or {opposite}), got {offsets}.")
        forward.append(offset not in offsets)
        channels.append(offsets.index(opposite if forward[-1] else offset))
    return tuple(channels), tuple(forward)


def _as_levels(source: Any, channel: int, box: tuple[slice, ...]) -> np.ndarray:
    """A box of one channel as C-contiguous uint8; floats plane by plane, so that no second float volume is made."""
    if source.dtype == np.uint8:
        return np.ascontiguousarray(source[(channel, *box)])
    shape = tuple(part.stop - part.start for part in box)
    levels = np.empty(shape, dtype=np.uint8)
    whole = source[channel] if isinstance(source, np.ndarray) else np.asarray(source[(channel, *box)])
    whole = whole[box] if isinstance(source, np.ndarray) else whole
    for index in range(shape[0]):
        plane = np.ascontiguousarray(whole[index], dtype=None if whole.dtype != np.float16 else np.float32)
        if not _quantise(plane.reshape(-1), plane.dtype.type(LEVEL_TOLERANCE), levels[index].reshape(-1)):
            raise ValueError(
                f"affinities must be probabilities between 0 and 1, but channel {channel} at z = "
                f"{box[0].start + index} ranges from {plane.min()} to {plane.max()}; pass uint8 for 0-255."
            )
    return levels


@compiled
def _quantise(values, tolerance, levels):
    """Levels of probabilities; False if a value (NaN included) is none, and the levels are not to be used."""
    good = True
    scale = tolerance * 0 + 255
    for position in range(values.size):
        value = values[position]
        inside = (value >= 0) & (value <= 1)
        good &= inside
        levels[position] = np.uint8(value * scale + tolerance)
    return good
