"""The embeddings of the foreground as points, and searches among them that leave out what is far away.

Points lie in raster order, so that a block of some dozen successive ones belongs to few objects and is small in the
space of the embedding. Bounds of the blocks tell which of them a search can pass over. Distances are float32 and their
terms are added in the order of the channels; rounding is monotone, so a bound made of the same operations is exact and
the result is that of a search through all points, to the bit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from emlib.compilation import compiled

BLOCK = 64
# Flat-kernel mean shift ends by itself after finitely many steps; rounding could make it go round in a circle.
MOST_STEPS = 1000


@dataclass(frozen=True)
class Points:
    """Embeddings of N voxels.

    Attributes:
        values: (C, N) float32.
        low, high: (blocks, C) float32, the smallest and largest value of each block of points.
    """

    values: np.ndarray
    low: np.ndarray
    high: np.ndarray


def foreground_points(embedding: Any, mask: np.ndarray) -> Points:
    """The embeddings at the voxels of a mask, in raster order; read section by section.

    Args:
        embedding: (C, Z, Y, X) or (C, Y, X), float.
        mask: (Z, Y, X) or (Y, X) bool.

    Raises:
        ValueError: a value within the mask that is not finite in float32.

    Example:
        >>> embedding = np.arange(6, dtype=np.float32).reshape(2, 1, 3)
        >>> foreground_points(embedding, np.array([[True, False, True]])).values
        array([[0., 2.],
               [3., 5.]], dtype=float32)
    """
    channels, count = int(embedding.shape[0]), int(np.count_nonzero(mask))
    values = np.empty((channels, count), dtype=np.float32)
    filled = 0
    for z, section in enumerate(mask.reshape((-1, *mask.shape[-2:]))):
        places = np.flatnonzero(section)
        if places.size == 0:
            continue
        whole = np.asarray(embedding[:, z] if mask.ndim == 3 else embedding[:])
        part = values[:, filled : filled + places.size]
        for channel in range(channels):
            with np.errstate(over="ignore"):
                part[channel] = whole[channel].reshape(-1)[places]
        if not np.isfinite(part).all():
            raise ValueError(f"embedding holds a value within the foreground of section {z} that is not finite.")
        filled += places.size
    return Points(values, *_bounds(values))


@compiled
def _bounds(values):
    channels, count = values.shape
    blocks = (count + BLOCK - 1) // BLOCK
    low = np.empty((blocks, channels), dtype=np.float32)
    high = np.empty((blocks, channels), dtype=np.float32)
    for block in range(blocks):
        for channel in range(channels):
            part = values[channel, block * BLOCK : min((block + 1) * BLOCK, count)]
            low[block, channel] = part.min()
            high[block, channel] = part.max()
    return low, high


@compiled
def _least_distance(low, high, centre):
    """The squared distance of a block's box from a centre: no point in it is nearer."""
    total = np.float32(0)
    for channel in range(centre.size):
        gap = max(low[channel] - centre[channel], centre[channel] - high[channel])
        if gap > 0:
            total += gap * gap
    return total


@compiled
def _largest_distance(low, high, centre):
    """The squared distance of the box's farthest corner: no point in it is farther."""
    total = np.float32(0)
    for channel in range(centre.size):
        gap = max(high[channel] - centre[channel], centre[channel] - low[channel])
        total += gap * gap
    return total


@compiled
def _squared_distances(values, start, stop, centre, distances):
    distances[: stop - start] = 0
    for channel in range(centre.size):
        place = centre[channel]
        row = values[channel, start:stop]
        for index in range(stop - start):
            difference = row[index] - place
            distances[index] += difference * difference


@compiled
def shift_means(values, low, high, radius_squared, labels):
    """Label the points by mean shift with a flat kernel, one object after the other; returns how many there are.

    A window of the given radius starts at the first point without a label and moves to the mean of the points without
    a label in it, until that is where it stands (or no point is left in it: then it steps back). These points are the
    object.

    Args:
        values, low, high: of `Points`.
        radius_squared: float32.
        labels: (N,) unsigned, all 0; gets 1, 2, 3, ...
    """
    channels, count = values.shape
    left = np.empty(low.shape[0], dtype=np.int64)
    for block in range(left.size):
        left[block] = min(BLOCK, count - block * BLOCK)
    total = np.empty(channels, dtype=np.float64)
    distances = np.empty(BLOCK, dtype=np.float32)
    centre = np.empty(channels, dtype=np.float32)
    mean = np.empty(channels, dtype=np.float32)
    objects, start = 0, 0
    while start < count:
        # A window may leave its first point behind; another one starts there then.
        if labels[start] != 0:
            start += 1
            continue
        objects += 1
        for channel in range(channels):
            centre[channel] = values[channel, start]
        for _ in range(MOST_STEPS):
            members = _sum_window(values, low, high, radius_squared, labels, left, centre, total, distances)
            moved = False
            for channel in range(channels):
                mean[channel] = total[channel] / members
                moved |= mean[channel] != centre[channel]
            if not moved:
                break
            # `total` serves as the place to step back to, `centre` moves on.
            for channel in range(channels):
                total[channel], centre[channel] = centre[channel], mean[channel]
            if _claim(values, low, high, radius_squared, labels, left, centre, 0, distances) == 0:
                for channel in range(channels):
                    centre[channel] = total[channel]
                break
        _claim(values, low, high, radius_squared, labels, left, centre, objects, distances)
    return objects


@compiled
def _sum_window(values, low, high, radius_squared, labels, left, centre, total, distances):
    """The sum of the points without a label in the window; returns how many they are."""
    total[:] = 0
    members = 0
    count = values.shape[1]
    for block in range(left.size):
        if left[block] == 0 or _least_distance(low[block], high[block], centre) > radius_squared:
            continue
        start, stop = block * BLOCK, min((block + 1) * BLOCK, count)
        _squared_distances(values, start, stop, centre, distances)
        for index in range(stop - start):
            if labels[start + index] == 0 and distances[index] <= radius_squared:
                members += 1
                for channel in range(centre.size):
                    total[channel] += values[channel, start + index]
    return members


@compiled
def _claim(values, low, high, radius_squared, labels, left, centre, number, distances):
    """Give the points without a label in the window a number; with 0 only tell whether there is one."""
    claimed = 0
    count = values.shape[1]
    for block in range(left.size):
        if left[block] == 0 or _least_distance(low[block], high[block], centre) > radius_squared:
            continue
        start, stop = block * BLOCK, min((block + 1) * BLOCK, count)
        _squared_distances(values, start, stop, centre, distances)
        for index in range(stop - start):
            if labels[start + index] == 0 and distances[index] <= radius_squared:
                claimed += 1
                if number == 0:
                    return claimed
                labels[start + index] = number
                left[block] -= 1
    return claimed


@compiled
def group_means(values, groups, count):
    """(count, C) float32: the mean of the points of each group 1 ... count; 0 belongs to none."""
    channels = values.shape[0]
    totals = np.zeros((count, channels), dtype=np.float64)
    members = np.zeros(count, dtype=np.int64)
    for index in range(groups.size):
        if groups[index] != 0:
            members[groups[index] - 1] += 1
    for channel in range(channels):
        for index in range(groups.size):
            if groups[index] != 0:
                totals[groups[index] - 1, channel] += values[channel, index]
    means = np.empty((count, channels), dtype=np.float32)
    for group in range(count):
        for channel in range(channels):
            means[group, channel] = totals[group, channel] / members[group]
    return means


@compiled
def nearest_mean(values, low, high, means, radius_squared, labels):
    """Give each point the number (from 1) of the nearest mean within the radius, the first of equally near ones."""
    count = values.shape[1]
    distances = np.empty(BLOCK, dtype=np.float32)
    nearest = np.empty(BLOCK, dtype=np.float32)
    least = np.empty(means.shape[0], dtype=np.float32)
    for block in range(low.shape[0]):
        start, stop = block * BLOCK, min((block + 1) * BLOCK, count)
        reach = np.float32(np.inf)
        for number in range(means.shape[0]):
            least[number] = _least_distance(low[block], high[block], means[number])
            if least[number] <= reach:
                reach = min(reach, _largest_distance(low[block], high[block], means[number]))
        nearest[:] = np.inf
        for number in range(means.shape[0]):
            if least[number] > reach or least[number] > radius_squared:
                continue
            _squared_distances(values, start, stop, means[number], distances)
            for index in range(stop - start):
                if distances[index] <= radius_squared and distances[index] < nearest[index]:
                    nearest[index] = distances[index]
                    labels[start + index] = number + 1
