"""The region graph against loops over voxels; graphs of blocks add up."""

from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emlib.postprocessing import RegionGraph, region_graph
from emlib.postprocessing import boundary_table as table_module
from emlib.postprocessing.fragment_numbers import number_fragments


def random_volume(seed, ids=None):
    random = np.random.default_rng(seed)
    shape = tuple(random.integers(1, 8, 3))
    ids = np.array([0, 3, 7, 8, 2**33, 2**33 + 1, 2**64 - 1], dtype=np.uint64) if ids is None else ids
    affinities = random.integers(0, 256, (3, *shape)).astype(np.uint8)
    return affinities, random.choice(ids, shape)


def boundaries_by_loops(affinities, fragments):
    levels = defaultdict(list)
    for voxel in np.ndindex(fragments.shape):
        for axis in range(3):
            if voxel[axis] > 0:
                before = tuple(place - (other == axis) for other, place in enumerate(voxel))
                pair = tuple(sorted((int(fragments[voxel]), int(fragments[before]))))
                if pair[0] != pair[1] and pair[0] > 0:
                    levels[pair].append(int(affinities[(axis, *voxel)]))
    return dict(sorted(levels.items()))


def equal(first, second):
    return all(np.array_equal(getattr(first, name), getattr(second, name)) for name in RegionGraph.__dataclass_fields__)


@given(st.integers(0, 10**6))
def test_equal_to_loops(seed):
    affinities, fragments = random_volume(seed)
    graph = region_graph(affinities, fragments, histograms=True)
    expected = boundaries_by_loops(affinities, fragments)
    ids, first, sizes = np.unique(fragments, return_index=True, return_counts=True)
    assert np.array_equal(graph.fragments, ids[ids > 0])
    assert np.array_equal(graph.sizes, sizes[ids > 0])
    assert np.array_equal(graph.first_voxels, first[ids > 0])
    assert [tuple(map(int, pair)) for pair in graph.pairs] == list(expected)
    for edge, levels in enumerate(expected.values()):
        assert graph.counts[edge] == len(levels)
        assert graph.sums[edge] == sum(levels)
        assert graph.maxima[edge] == max(levels)
        entries = slice(graph.histogram_starts[edge], graph.histogram_starts[edge + 1])
        values, numbers = np.unique(levels, return_counts=True)
        assert np.array_equal(graph.histogram_levels[entries], values)
        assert np.array_equal(graph.histogram_counts[entries], numbers)
    assert graph.means == pytest.approx([np.mean(levels) / 255 for levels in expected.values()])


@given(st.integers(0, 10**6), st.booleans())
def test_graphs_of_blocks_add_up(seed, histograms):
    affinities, fragments = random_volume(seed)
    random = np.random.default_rng(seed)
    steps = random.integers(1, 5, 3)
    corners = [range(0, length, step) for length, step in zip(fragments.shape, steps, strict=True)]
    origins = [(z, y, x) for z in corners[0] for y in corners[1] for x in corners[2]]
    total = None
    for origin in random.permutation(np.array(origins)):
        halo = tuple(int(place > 0) for place in origin)
        box = tuple(slice(place - width, place + step) for place, width, step in zip(origin, halo, steps, strict=True))
        part = region_graph(
            affinities[(slice(None), *box)],
            fragments[box],
            histograms=histograms,
            halo=halo,
            origin=origin,
            volume_shape=fragments.shape,
        )
        total = part if total is None else total + part
    assert equal(total, region_graph(affinities, fragments, histograms=histograms))


def test_tables_grow(monkeypatch):
    # Fragments of one voxel each, in tables that hold a fraction of the boundaries at first.
    affinities = np.random.default_rng(0).integers(0, 256, (3, 6, 20, 30)).astype(np.uint8)
    fragments = np.arange(1, 3601).reshape(6, 20, 30)
    expected = boundaries_by_loops(affinities, fragments)
    create = table_module.BoundaryTable.__init__

    def small(self, sizes, *, histograms=False):
        create(self, sizes, histograms=histograms)
        for arrays in (self.boundaries, self.values):
            for name, array in arrays.items():
                arrays[name] = np.empty(91, dtype=array.dtype)
        self.value_heads = np.empty(91, dtype=np.uint32)

    monkeypatch.setattr(table_module.BoundaryTable, "__init__", small)
    graph = region_graph(affinities, fragments, histograms=True)
    assert [tuple(map(int, pair)) for pair in graph.pairs] == list(expected)
    assert graph.sums.tolist() == [sum(levels) for levels in expected.values()]


@given(st.integers(0, 10**6), st.sampled_from([np.int8, np.int64, np.uint16, np.uint64]), st.booleans())
def test_numbers_follow_the_first_voxels(seed, dtype, fortran):
    random = np.random.default_rng(seed)
    fragments = random.integers(0, 60, tuple(random.integers(1, 9, 3))).astype(dtype)
    numbers, ids = number_fragments(np.asfortranarray(fragments) if fortran else fragments, fragments.shape)
    assert np.array_equal(np.concatenate([[0], ids])[numbers], fragments)
    found, first = np.unique(numbers[numbers > 0], return_index=True)
    assert np.array_equal(found, np.arange(1, ids.size + 1))
    assert np.all(np.diff(first) > 0)


def test_many_ids_are_numbered():
    fragments = np.random.default_rng(0).permutation(np.arange(60_000, dtype=np.uint64) << np.uint64(40))
    numbers, ids = number_fragments(fragments.reshape(3, 100, 200), (3, 100, 200))
    assert np.array_equal(ids, fragments[fragments > 0])
    assert np.array_equal(numbers[numbers > 0], np.arange(1, 60_000))


def test_without_boundaries():
    for fragments in (np.zeros((2, 2, 2), int), np.full((2, 2, 2), 5)):
        graph = region_graph(np.ones((3, 2, 2, 2)), fragments, histograms=True)
        assert graph.edges.shape == (0, 2)
        assert equal(graph + graph, graph + graph)
        assert (graph + graph).sizes.sum() == 2 * np.count_nonzero(fragments)


GOOD = np.ones((2, 3, 4), dtype=int)


@pytest.mark.parametrize(
    "fragments, options, error, words",
    [
        (GOOD[:1], {}, ValueError, "shape"),
        (GOOD * 0.5, {}, TypeError, "integers"),
        (-GOOD, {}, ValueError, "negative"),
        (GOOD, {"halo": (2, 0, 0)}, ValueError, "halo"),
        (GOOD, {"halo": (0, 0)}, ValueError, "halo"),
        (GOOD, {"halo": (1, 0, 0)}, ValueError, "does not lie"),
        (GOOD, {"origin": (0, 0, 3), "volume_shape": (2, 3, 6)}, ValueError, "does not lie"),
        (GOOD, {"origin": (0, 0), "volume_shape": (2, 3)}, ValueError, "three numbers"),
    ],
)
def test_bad_input_is_refused(fragments, options, error, words):
    with pytest.raises(error, match=words):
        region_graph(np.ones((3, 2, 3, 4)), fragments, **options)


def test_graphs_with_and_without_histograms_do_not_add():
    one, two = (region_graph(np.ones((3, 2, 3, 4)), GOOD, histograms=wanted) for wanted in (True, False))
    with pytest.raises(ValueError, match="histograms"):
        one + two
    with pytest.raises(TypeError):
        one + 1
