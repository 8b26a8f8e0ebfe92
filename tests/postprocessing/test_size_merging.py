"""The size rule of zwatershed against a plain loop over sorted boundaries, its whole on made volumes, and bad input."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from emlib.postprocessing import affinity_fragments, merge_small_regions, zwatershed
from emlib.postprocessing.region_graph import RegionGraph


def made_graph(pairs, maxima, sizes):
    edges, count = np.asarray(pairs, dtype=np.uint32).reshape(-1, 2), len(pairs)
    ids = np.arange(1, len(sizes) + 1, dtype=np.uint64)
    ones, sizes = np.ones(count, dtype=np.int64), np.asarray(sizes, dtype=np.int64)
    return RegionGraph(ids, sizes, np.zeros(len(sizes), np.int64), edges, ones, ones, np.asarray(maxima, np.uint8))


def merged_by_definition(graph, level, size_threshold):
    """Each region is a set of fragments, which its fragments share."""
    regions = [{fragment} for fragment in range(graph.sizes.size)]
    boundaries = zip(255 - graph.maxima.astype(int), range(len(graph.edges)), graph.edges.tolist(), strict=True)
    for weakness, _, (first, second) in sorted(boundaries):
        smaller = min(sum(graph.sizes[fragment] for fragment in regions[side]) for side in (first, second))
        if 255 - weakness <= level or regions[first] is regions[second] or smaller >= size_threshold:
            continue
        union = regions[first] | regions[second]
        for fragment in union:
            regions[fragment] = union
    numbers = {}
    return [numbers.setdefault(min(region), len(numbers) + 1) for region in regions]


@settings(max_examples=200)
@given(st.integers(0, 10_000), st.integers(1, 12), st.integers(0, 30), st.integers(2, 256), st.integers(0, 60))
def test_equals_the_definition(seed, fragments, boundaries, values, size_threshold):
    random = np.random.default_rng(seed)
    # Few values give ties, between any pairs.
    pairs = random.integers(0, fragments, (boundaries, 2))
    maxima = random.integers(0, values, boundaries) * (255 // (values - 1))
    graph = made_graph(pairs, maxima, random.integers(1, 40, fragments))
    sizes = graph.sizes.copy()
    found = merge_small_regions(graph, threshold=0.2, size_threshold=size_threshold)
    assert found.dtype == np.uint32
    assert found.tolist() == merged_by_definition(graph, 51, size_threshold)
    assert np.array_equal(graph.sizes, sizes)


def test_merged_regions_grow_out_of_the_rule():
    graph = made_graph([(0, 1), (1, 2), (2, 3)], [230, 204, 179], [60, 60, 200, 10])
    # The first two have 120 together, as many as are needed to stay apart from the third; the fourth is small enough.
    for size_threshold, threshold, expected in (
        (100, 0.2, [1, 1, 2, 2]),
        (121, 0.2, [1, 1, 1, 1]),
        (121, 179 / 255, [1, 1, 1, 2]),
        (0, 0.2, [1, 2, 3, 4]),
    ):
        found = merge_small_regions(graph, threshold=threshold, size_threshold=size_threshold)
        assert found.tolist() == expected


def test_graphs_without_boundaries_and_without_fragments():
    assert merge_small_regions(made_graph([], [], [4]), threshold=0.2, size_threshold=9).tolist() == [1]
    assert merge_small_regions(made_graph([], [], []), threshold=0.2, size_threshold=9).tolist() == []


def smooth_maps(shape, seed):
    noise = gaussian_filter(np.random.default_rng(seed).normal(size=(3, *shape)), (0, 0.7, 1.5, 1.5))
    return np.clip(140 + 90 * noise / noise.std(), 0, 255).astype(np.uint8)


def boundaries_by_loop(maps, fragments):
    strongest = {}
    for axis in range(3):
        ahead, behind = ([slice(None)] * 3 for _ in range(2))
        ahead[axis], behind[axis] = slice(1, None), slice(None, -1)
        edges = zip(
            fragments[tuple(behind)].flat, fragments[tuple(ahead)].flat, maps[axis][tuple(ahead)].flat, strict=True
        )
        for first, second, level in edges:
            if first != second and first and second:
                pair = (min(first, second), max(first, second))
                strongest[pair] = max(strongest.get(pair, 0), level)
    pairs = sorted(strongest)
    return np.array(pairs).reshape(-1, 2) - 1, [strongest[pair] for pair in pairs]


@pytest.mark.parametrize("size_threshold, dust_size", [(0, 0), (40, 0), (40, 30), (80, 50)])
def test_the_whole_is_its_three_steps(size_threshold, dust_size):
    maps = smooth_maps((5, 30, 32), 1)
    fragments = affinity_fragments(maps, low=0.2, high=0.8)
    graph = made_graph(*boundaries_by_loop(maps, fragments), np.bincount(fragments.ravel())[1:])
    expected = np.array([0, *merged_by_definition(graph, 102, size_threshold)])[fragments]
    kept = np.flatnonzero(np.bincount(expected.ravel()) >= max(dust_size, 1))
    expected = np.where(np.isin(expected, kept[kept > 0]), np.searchsorted(kept[kept > 0], expected) + 1, 0)
    found = zwatershed(maps, low=0.2, high=0.8, merge=0.4, size_threshold=size_threshold, dust_size=dust_size)
    assert found.dtype == np.uint32
    assert expected.max() > 1
    assert np.array_equal(found, expected)


def test_relative_thresholds_are_quantiles_of_the_edges():
    maps = smooth_maps((5, 20, 22), 2)
    edges = np.concatenate([maps[0, 1:].ravel(), maps[1, :, 1:].ravel(), maps[2, :, :, 1:].ravel()])
    low, high, merge = np.quantile(edges, [0.05, 0.7, 0.3], method="inverted_cdf") / 255
    arguments = {"size_threshold": 50, "dust_size": 5}
    expected = zwatershed(maps, low=low, high=high, merge=merge, **arguments)
    assert expected.max() > 3
    # What stands where there is no edge does not count.
    maps[0, 0], maps[1, :, 0], maps[2, :, :, 0] = 255, 0, 0
    assert np.array_equal(zwatershed(maps, low=0.05, high=0.7, merge=0.3, relative=True, **arguments), expected)


def test_types_offsets_and_memory_order_do_not_matter():
    maps = smooth_maps((4, 20, 22), 3)
    expected = zwatershed(maps, size_threshold=50, dust_size=10)
    for variant in (np.asfortranarray(maps), maps / 255, (maps / 255).astype(np.float32)):
        assert np.array_equal(zwatershed(variant, size_threshold=50, dust_size=10), expected)
    offsets = [(0, 0, -1), (0, -1, 0), (-1, 0, 0)]
    assert np.array_equal(zwatershed(maps[::-1], size_threshold=50, dust_size=10, offsets=offsets), expected)


@pytest.mark.parametrize("relative", [False, True])
def test_one_voxel_and_nothing_at_all(relative):
    assert zwatershed(np.ones((3, 1, 1, 1)), relative=relative).tolist() == [[[0]]]
    if not relative:
        assert not zwatershed(np.zeros((3, 3, 4, 5)), dust_size=0).any()
        assert (zwatershed(np.ones((3, 3, 4, 5)), dust_size=60) == 1).all()
        assert not zwatershed(np.ones((3, 3, 4, 5)), dust_size=61).any()


GOOD = np.full((3, 2, 3, 4), 100, dtype=np.uint8)


@pytest.mark.parametrize(
    "maps, options, error, words",
    [
        (GOOD[0], {}, ValueError, "axes"),
        (GOOD[:2], {}, ValueError, "2 channels"),
        (GOOD.astype(np.int32), {}, TypeError, "uint8"),
        (np.full(GOOD.shape, np.nan), {}, ValueError, "probabilities"),
        (np.full(GOOD.shape, 255.0), {"relative": True}, ValueError, "uint8 for 0-255"),
        (GOOD, {"offsets": [(-1, 0, 0)]}, ValueError, "1 offsets"),
        (GOOD, {"low": 0.9}, ValueError, "low"),
        (GOOD, {"high": 204}, ValueError, "high"),
        (GOOD, {"merge": float("nan")}, ValueError, "merge"),
        (GOOD, {"merge": None}, TypeError, "merge"),
        (GOOD, {"size_threshold": -1}, ValueError, "size_threshold"),
        (GOOD, {"size_threshold": [800]}, TypeError, "size_threshold"),
        (GOOD, {"dust_size": 1.5}, TypeError, "dust_size"),
        (GOOD, {"relative": True}, ValueError, "the same"),
    ],
)
def test_bad_input_stops_with_one_sentence(maps, options, error, words):
    with pytest.raises(error, match=words) as caught:
        zwatershed(maps, **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "graph, options, error, words",
    [
        ([[1, 2]], {}, TypeError, "RegionGraph"),
        (made_graph([], [], [1]), {"threshold": 1.5}, ValueError, "threshold"),
        (made_graph([], [], [1]), {"threshold": "0.2"}, TypeError, "threshold"),
        (made_graph([], [], [1]), {"size_threshold": -5}, ValueError, "size_threshold"),
    ],
)
def test_bad_arguments_of_the_rule(graph, options, error, words):
    with pytest.raises(error, match=words):
        merge_small_regions(graph, **{"threshold": 0.2, "size_threshold": 10, **options})
