"""The affinities of each boundary while regions are merged, and the score that follows from them.

For the mean a boundary has the sum of its values. For quantiles and the largest values it has the values themselves,
in one stretch of memory whose kind follows from their number: up to 8 in its record, up to 256 in a chunk of 16, 32,
..., 256 bytes, and a histogram of 1 KB (2 KB in very large graphs) beyond.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from emlib.postprocessing.agglomeration_scores import MEAN, QUANTILE, AgglomerationScore
from emlib.postprocessing.boundary_records import BUCKET_MASK, COUNT, VALUES, count_of
from emlib.postprocessing.uncounted import uncounted

INLINE = 8
LONGEST = 256
CHUNK_SIZES = (16, 32, 64, 128, 256)
# A histogram is followed by the sums of 16 bins each, so that a quantile takes at most 32 steps.
COARSE = 16


class Statistics(NamedTuple):
    """A score, and the memory in which values beyond those in the records lie.

    `chunks` has a row for each chunk size. `used` says how many chunks of each size (and, last, histograms) were ever
    taken, and `free` how many of those were given back: the first ones of `given_back`.
    """

    kind: int
    parameter: int
    affinities: np.ndarray
    chunks: np.ndarray
    histograms: np.ndarray
    given_back: np.ndarray
    used: np.ndarray
    free: np.ndarray
    scratch: np.ndarray


def make_statistics(score: AgglomerationScore, values: int) -> Statistics:
    """Memory for `values` values in all; what is not touched stays virtual."""
    needed = 0 if score.kind == MEAN else values
    # Every chunk is more than half full when taken, so chunks of one size never need more than twice the values.
    room = 2 * needed + LONGEST
    most = max(room // CHUNK_SIZES[0], 1)
    return Statistics(
        kind=score.kind,
        parameter=score.parameter,
        affinities=score.values(),
        chunks=np.empty((len(CHUNK_SIZES), room), dtype=np.uint8),
        histograms=np.empty((needed // LONGEST + 1, 256 + COARSE), np.uint32 if values < 2**32 else np.int64),
        given_back=np.empty((len(CHUNK_SIZES) + 1, most), dtype=np.uint32),
        used=np.zeros(len(CHUNK_SIZES) + 1, dtype=np.int64),
        free=np.zeros(len(CHUNK_SIZES) + 1, dtype=np.int64),
        scratch=np.zeros(256 + COARSE, dtype=np.int64),
    )


@uncounted
def set_sums(boundaries, sums):
    """Start with the sum of the levels of each boundary."""
    for edge in range(sums.size):
        boundaries.words[edge, VALUES] = np.uint64(sums[edge])


@uncounted
def set_values(boundaries, statistics, starts, levels, numbers, order):
    """Start with `levels`, each as often as `numbers` says, from the start of each boundary to that of the next.

    One value for each boundary if `starts` has one element, each level once if `numbers` has. Boundary e is number
    order[e] in these arrays, unless `order` has one element and there are more boundaries.
    """
    for edge in range(boundaries.words.shape[0]):
        source = edge if order.size == 1 else order[edge]
        start = source if starts.size == 1 else starts[source]
        stop = source + 1 if starts.size == 1 else starts[source + 1]
        histogram = statistics.scratch
        for place in range(start, stop):
            number = np.int64(numbers[0 if numbers.size == 1 else place])
            histogram[levels[place]] += number
            histogram[256 + levels[place] // COARSE] += number
        boundaries.words[edge, VALUES] = _store(statistics, histogram, count_of(boundaries, edge))
        for place in range(start, stop):
            histogram[levels[place]] = 0
            histogram[256 + levels[place] // COARSE] = 0


@uncounted
def unite(boundaries, statistics, kept, lost):
    """Add the values of boundary `lost` to boundary `kept`."""
    words = boundaries.words
    if statistics.kind == MEAN:
        words[kept, VALUES] += words[lost, VALUES]
    else:
        first, second = count_of(boundaries, kept), count_of(boundaries, lost)
        if first + second <= INLINE:
            words[kept, VALUES] |= words[lost, VALUES] << np.uint64(8 * first)
        elif first > LONGEST:
            _add_values(statistics, second, words[lost, VALUES], statistics.histograms[words[kept, VALUES]], 1)
            _give_back(statistics, second, words[lost, VALUES])
        elif second > LONGEST:
            _add_values(statistics, first, words[kept, VALUES], statistics.histograms[words[lost, VALUES]], 1)
            _give_back(statistics, first, words[kept, VALUES])
            words[kept, VALUES] = words[lost, VALUES]
        else:
            words[kept, VALUES] = _concatenate(statistics, first, words[kept, VALUES], second, words[lost, VALUES])
    words[kept, COUNT] += words[lost, COUNT] & ~BUCKET_MASK


@uncounted
def score_boundary(boundaries, statistics, edge):
    """One minus the affinity of a boundary."""
    count = count_of(boundaries, edge)
    values = boundaries.words[edge, VALUES]
    if statistics.kind == MEAN:
        return 1.0 - np.float64(values) / count / 255.0
    if count == 1:
        return 1.0 - statistics.affinities[values]
    if count > LONGEST:
        return _score_histogram(statistics, statistics.histograms[values], count)
    _add_values(statistics, count, values, statistics.scratch, 1)
    score = _score_histogram(statistics, statistics.scratch, count)
    _add_values(statistics, count, values, statistics.scratch, -1)
    return score


@uncounted
def _score_histogram(statistics, histogram, count):
    if statistics.kind == QUANTILE:
        before = statistics.parameter * count // 100
        group = 256
        while histogram[group] <= before:
            before -= np.int64(histogram[group])
            group += 1
        level = (group - 256) * COARSE
        while histogram[level] <= before:
            before -= np.int64(histogram[level])
            level += 1
        return 1.0 - statistics.affinities[level]
    wanted = min(statistics.parameter, count)
    missing = wanted
    total = 0
    group = 255 // COARSE
    while missing > 0:
        if histogram[256 + group] > 0:
            for level in range(group * COARSE + COARSE - 1, group * COARSE - 1, -1):
                taken = min(missing, np.int64(histogram[level]))
                total += taken * level
                missing -= taken
        group -= 1
    return 1.0 - total / wanted / 255.0


@uncounted
def _size_class(count):
    """0 for chunks of 16 bytes, 1 for 32 and so on; 5 for histograms."""
    place = 0
    while place < 5 and count > 16 << place:
        place += 1
    return place


@uncounted
def _take(statistics, place):
    """A free chunk of a size class, one that was used before if there is one."""
    if statistics.free[place] > 0:
        statistics.free[place] -= 1
        return np.int64(statistics.given_back[place, statistics.free[place]])
    statistics.used[place] += 1
    return statistics.used[place] - 1


@uncounted
def _give_back(statistics, count, values):
    if count > INLINE:
        place = _size_class(count)
        statistics.given_back[place, statistics.free[place]] = values
        statistics.free[place] += 1


@uncounted
def _store(statistics, histogram, count):
    """The word of a record whose values a histogram counts."""
    if count > LONGEST:
        row = _take(statistics, 5)
        for level in range(histogram.size):
            statistics.histograms[row, level] = histogram[level]
        return np.uint64(row)
    word = np.uint64(0)
    place = _size_class(count)
    chunk = _take(statistics, place) if count > INLINE else 0
    found = 0
    for level in range(256):
        for _ in range(histogram[level]):
            if count <= INLINE:
                word |= np.uint64(level) << np.uint64(8 * found)
            else:
                statistics.chunks[place, (chunk * 16 << place) + found] = level
            found += 1
    return word if count <= INLINE else np.uint64(chunk)


@uncounted
def _concatenate(statistics, first, one, second, two):
    """The word for the values of two stretches of at most 256 values, of which the result has more than 8."""
    count = first + second
    if count > LONGEST:
        row = _take(statistics, 5)
        statistics.histograms[row, :] = 0
        _add_values(statistics, first, one, statistics.histograms[row], 1)
        _add_values(statistics, second, two, statistics.histograms[row], 1)
        _give_back(statistics, first, one)
        _give_back(statistics, second, two)
        return np.uint64(row)
    place = _size_class(count)
    if first > INLINE and _size_class(first) == place:
        _copy_values(statistics, second, two, place, np.int64(one), first)
        _give_back(statistics, second, two)
        return one
    if second > INLINE and _size_class(second) == place:
        _copy_values(statistics, first, one, place, np.int64(two), second)
        _give_back(statistics, first, one)
        return two
    chunk = _take(statistics, place)
    _copy_values(statistics, first, one, place, chunk, 0)
    _copy_values(statistics, second, two, place, chunk, first)
    _give_back(statistics, first, one)
    _give_back(statistics, second, two)
    return np.uint64(chunk)


@uncounted
def _copy_values(statistics, count, values, place, chunk, after):
    target = (chunk * 16 << place) + after
    if count <= INLINE:
        for k in range(count):
            statistics.chunks[place, target + k] = (values >> np.uint64(8 * k)) & np.uint64(0xFF)
    else:
        source = _size_class(count)
        start = np.int64(values) * 16 << source
        for k in range(count):
            statistics.chunks[place, target + k] = statistics.chunks[source, start + k]


@uncounted
def _add_values(statistics, count, values, histogram, number):
    """Add `number` to the bins of all values; those of a histogram are added as they are."""
    if count > LONGEST:
        other = statistics.histograms[values]
        for level in range(histogram.size):
            histogram[level] += other[level]
        return
    source = _size_class(count)
    start = np.int64(values) * 16 << source
    for k in range(count):
        if count <= INLINE:
            level = np.int64((values >> np.uint64(8 * k)) & np.uint64(0xFF))
        else:
            level = np.int64(statistics.chunks[source, start + k])
        histogram[level] += number
        histogram[256 + level // COARSE] += number
