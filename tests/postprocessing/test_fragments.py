"""Fragments against a union by loops and waterz; blocks against the whole."""

import itertools
import tracemalloc

import numpy as np
import pytest
import waterz
from hypothesis import given
from hypothesis import strategies as st

from emlib.postprocessing import affinity_fragments
from emlib.postprocessing.affinity_maps import affinity_maps, fragment_levels
from emlib.postprocessing.fragment_numbers import number_fragments
from emlib.postprocessing.fragments import fragment_block

STEPS = [(2, -1), (1, -1), (0, -1), (2, 1), (1, 1), (0, 1)]


def edge_level(affinities, voxel, axis, step):
    """Level of the edge from a voxel along an axis, or None outside the volume."""
    other = list(voxel)
    other[axis] += step
    if not 0 <= other[axis] < affinities.shape[1 + axis]:
        return None, None
    return int(affinities[(axis, *(max(voxel, tuple(other))))]), tuple(other)


def fragments_by_loops(affinities, low, high, dimensions):
    shape = affinities.shape[1:]
    root = {voxel: voxel for voxel in itertools.product(*map(range, shape))}

    def find(voxel):
        while root[voxel] != voxel:
            voxel = root[voxel]
        return voxel

    background = set()
    for voxel in list(root):
        edges = [edge_level(affinities, voxel, axis, step) for axis, step in STEPS if axis > 0 or dimensions == 3]
        edges = [(level, other) for level, other in edges if other is not None]
        best = max((level for level, _ in edges), default=0)
        if best <= low:
            background.add(voxel)
            continue
        strongest = next(other for level, other in edges if level == best)
        for other in [strongest, *(other for level, other in edges if level >= high)]:
            one, two = sorted((find(voxel), find(other)))
            root[two] = one
    labels = np.zeros(shape, dtype=int)
    numbers = {}
    for voxel in root:
        if voxel not in background:
            labels[voxel] = numbers.setdefault(find(voxel), len(numbers) + 1)
    return labels


@given(st.integers(0, 10**6), st.sampled_from([2, 3]), st.sampled_from([3, 5, 256]))
def test_equal_to_loops(seed, dimensions, levels):
    random = np.random.default_rng(seed)
    shape = tuple(random.integers(1, 7, 3))
    affinities = (random.integers(0, levels, (3, *shape)) * (255 // (levels - 1))).astype(np.uint8)
    for low, high in ((0.0001, 0.9999), (0.3, 0.8)):
        expected = fragments_by_loops(affinities, *fragment_levels(low, high), dimensions)
        labels = affinity_fragments(affinities, dimensions=dimensions, low=low, high=high)
        assert labels.dtype == np.uint32
        assert np.array_equal(labels, expected)


@pytest.mark.parametrize("seed", range(5))
def test_partition_equals_waterz_without_ties(seed, capfd):
    affinities = np.random.default_rng(seed).permutation(np.arange(1, 255))[:240].reshape(3, 4, 4, 5).astype(np.uint8)
    for low, high in ((0.0001, 0.9999), (0.4, 0.8)):
        ours = affinity_fragments(affinities, low=low, high=high)
        values = (affinities / 255).astype(np.float32)
        (theirs,) = waterz.agglomerate(values, [0.0], aff_threshold_low=low, aff_threshold_high=high)
        capfd.readouterr()
        pairs = np.unique(np.stack([ours.ravel().astype(np.uint64), theirs.ravel()]), axis=1)
        assert np.array_equal(ours == 0, theirs == 0)
        assert pairs.shape[1] == np.unique(ours).size == np.unique(theirs).size


def test_sections_share_no_fragment_in_two_dimensions():
    affinities = np.full((3, 3, 4, 4), 255, dtype=np.uint8)
    labels = affinity_fragments(affinities, dimensions=2)
    assert [np.unique(plane).tolist() for plane in labels] == [[1], [2], [3]]
    assert affinity_fragments(affinities).max() == 1


@given(st.integers(0, 10**6), st.sampled_from([np.uint32, np.uint64]))
def test_block_says_what_it_wants_to_be_joined_with(seed, dtype):
    # The parts of a volume cut in two along each axis, joined again by what they want, are the whole.
    random = np.random.default_rng(seed)
    shape = tuple(random.integers(2, 6, 3))
    affinities = random.integers(0, 256, (3, *shape)).astype(np.uint8)
    levels = fragment_levels(0.1, 0.9)
    whole = affinity_fragments(affinities, low=0.1, high=0.9)
    for axis in range(3):
        cut = int(random.integers(1, shape[axis]))
        first, second = [list(shape), list(shape)]
        first[axis], second[axis] = cut, shape[axis] - cut
        stop, start = list(shape), [0, 0, 0]
        stop[axis], start[axis] = cut + 1, cut
        maps = affinity_maps(affinities)
        one = fragment_block(maps.read((0, 0, 0), stop), tuple(first), levels, 3, dtype=dtype)
        open_side = tuple(place == axis for place in range(3))
        two = fragment_block(maps.read(start, shape), tuple(second), levels, 3, open_side, dtype=dtype)
        assert one.labels.dtype == dtype
        labels = np.concatenate([one.labels, np.where(two.labels > 0, two.labels + dtype(one.count), 0)], axis=axis)
        joined = one.after[axis] | two.before[axis]
        near, far = np.take(labels, cut - 1, axis=axis)[joined], np.take(labels, cut, axis=axis)[joined]
        while np.any(near != far):
            for a, b in zip(near.tolist(), far.tolist(), strict=True):
                labels[labels == max(a, b)] = min(a, b)
            near, far = np.take(labels, cut - 1, axis=axis)[joined], np.take(labels, cut, axis=axis)[joined]
        assert np.array_equal(number_fragments(labels, shape)[0], whole)


def test_one_voxel_has_no_neighbour():
    assert affinity_fragments(np.ones((3, 1, 1, 1))).tolist() == [[[0]]]


def test_memory_is_that_of_the_labels():
    affinities = np.random.default_rng(0).integers(0, 256, (3, 16, 128, 128)).astype(np.uint8)
    affinity_fragments(affinities[:, :1].copy())
    tracemalloc.start()
    labels = affinity_fragments(affinities)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert labels.max() > 1
    assert peak <= 4.5 * labels.size


@pytest.mark.parametrize("dimensions", [1, 4, True, "3", None])
def test_dimensions_are_two_or_three(dimensions):
    with pytest.raises(ValueError, match="dimensions"):
        affinity_fragments(np.zeros((3, 2, 2, 2)), dimensions=dimensions)
