"""Peaks of the histogram of where pixels arrived: one peak is one cell."""

from __future__ import annotations

import numpy as np

from emlib.compilation import compiled

# Of Cellpose: a peak is the largest of 5 x 5 bins and grows five times by its neighbours, over bins with more than 2.
PEAK_REACH = 2
GROWTH = 5
FEWEST_IN_GROWTH = 2


def label_by_sinks(ends: np.ndarray, shape: tuple[int, ...], *, peak: int = 10) -> tuple[np.ndarray, np.ndarray]:
    """Group pixels by the peak that they arrived at.

    1. `counts`: how many pixels arrived at each pixel.
    2. A peak is a pixel with more than `peak` arrivals and no fewer than any pixel within 2 (5 x 5, or 5 x 5 x 5).
    3. A peak's basin are the pixels with more than 2 arrivals that can be reached from it in at most 5 steps to one of
       the 8 (26) neighbours. Where basins overlap, the peak with more arrivals wins; of equal ones the later in raster
       order.
    4. A pixel belongs to the basin in which it arrived, or to none.

    Args:
        ends: int64 (n,), flat indices of pixels.
        shape: of the image, (y, x) or (z, y, x).
        peak: see 2.

    Returns:
        ids uint32 (n,), 0 for none, numbered in the raster order of the peaks (an id may be without pixels where a
        larger basin covers all of it), and the peaks, int64 flat indices: peak k has the id k + 1.
    """
    sizes = shape if len(shape) == 3 else (1, *shape)
    counts = np.zeros(sizes, dtype=np.int32)
    _count(ends, counts.reshape(-1))
    peaks = _find_peaks(counts, peak)
    order = np.argsort(counts.reshape(-1)[peaks], kind="stable")
    basins = np.zeros(sizes, dtype=np.uint32)
    _grow(counts, peaks, order, basins)
    return _look_up(basins.reshape(-1), ends), peaks


@compiled
def _count(ends, counts):
    for k in range(ends.size):
        counts[ends[k]] += 1


@compiled
def _find_peaks(counts, fewest):
    planes, rows, columns = counts.shape
    peaks = [np.int64(0) for _ in range(0)]
    for z in range(planes):
        for y in range(rows):
            for x in range(columns):
                here = counts[z, y, x]
                if here <= fewest:
                    continue
                largest = True
                for k in range(max(z - PEAK_REACH, 0), min(z + PEAK_REACH + 1, planes)):
                    for j in range(max(y - PEAK_REACH, 0), min(y + PEAK_REACH + 1, rows)):
                        for i in range(max(x - PEAK_REACH, 0), min(x + PEAK_REACH + 1, columns)):
                            if counts[k, j, i] > here:
                                largest = False
                                break
                        if not largest:
                            break
                    if not largest:
                        break
                if largest:
                    peaks.append((np.int64(z) * rows + y) * columns + x)
    found = np.empty(len(peaks), dtype=np.int64)
    for k in range(found.size):
        found[k] = peaks[k]
    return found


@compiled
def _grow(counts, peaks, order, basins):
    planes, rows, columns = counts.shape
    width = 2 * GROWTH + 1
    room = width * width * (width if planes > 1 else 1)
    queue = np.empty((room, 3), dtype=np.int64)
    reached = np.zeros((width, width, width), dtype=np.int64)
    for turn in range(order.size):
        number = order[turn]
        pz, rest = divmod(peaks[number], rows * columns)
        py, px = divmod(rest, columns)
        queue[0, 0], queue[0, 1], queue[0, 2] = pz, py, px
        reached[GROWTH, GROWTH, GROWTH] = turn + 1
        first, behind = 0, 1
        for _ in range(GROWTH + 1):
            level_end = behind
            while first < level_end:
                z, y, x = queue[first, 0], queue[first, 1], queue[first, 2]
                first += 1
                basins[z, y, x] = number + 1
                for k in range(max(z - 1, pz - GROWTH, 0), min(z + 2, pz + GROWTH + 1, planes)):
                    for j in range(max(y - 1, py - GROWTH, 0), min(y + 2, py + GROWTH + 1, rows)):
                        for i in range(max(x - 1, px - GROWTH, 0), min(x + 2, px + GROWTH + 1, columns)):
                            dz, dy, dx = k - pz + GROWTH, j - py + GROWTH, i - px + GROWTH
                            if counts[k, j, i] > FEWEST_IN_GROWTH and reached[dz, dy, dx] != turn + 1:
                                reached[dz, dy, dx] = turn + 1
                                queue[behind, 0], queue[behind, 1], queue[behind, 2] = k, j, i
                                behind += 1


@compiled
def _look_up(basins, ends):
    ids = np.empty(ends.size, dtype=np.uint32)
    for k in range(ends.size):
        ids[k] = basins[ends[k]]
    return ids
