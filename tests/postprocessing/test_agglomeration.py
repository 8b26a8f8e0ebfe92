"""Agglomeration against a plain Python oracle and waterz, over dtypes, ids, orders and edges of the input."""

from collections import defaultdict

import numpy as np
import pytest
import waterz
from hypothesis import given
from hypothesis import strategies as st

from emlib.postprocessing import (
    affinity_fragments,
    agglomerate_affinities,
    agglomerate_graph,
    region_graph,
    relabel_fragments,
)
from emlib.postprocessing.agglomeration_scores import parse_score

SCORES = ["mean", "aff50_his256", "aff85_his256", "aff10_his7", "aff25_his0", "max1", "max3", "max10"]


def random_affinities(shape, seed, levels=256):
    """Smooth regions with noise; few levels make many ties."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, levels, (3, *[-(-length // 3) for length in shape]))
    smooth = np.kron(coarse, np.ones((1, 3, 3, 3)))[:, : shape[0], : shape[1], : shape[2]]
    noisy = smooth * 0.7 + 0.3 * random.integers(0, levels, (3, *shape))
    return (np.rint(noisy) * (255 // (levels - 1))).astype(np.uint8)


def same_partition(first, second):
    pairs = np.unique(np.stack([first.ravel().astype(np.uint64), second.ravel().astype(np.uint64)]), axis=1)
    return all(np.unique(ids).size == ids.size for ids in pairs) and np.array_equal(first == 0, second == 0)


def contacts(affinities, fragments):
    """(smaller, larger) -> levels, by loops over voxels."""
    found = defaultdict(list)
    for axis in range(3):
        later, earlier = [slice(None)] * 3, [slice(None)] * 3
        later[axis], earlier[axis] = slice(1, None), slice(None, -1)
        one, two = fragments[tuple(later)], fragments[tuple(earlier)]
        for a, b, level in zip(one.flat, two.flat, affinities[axis][tuple(later)].flat, strict=True):
            if a != b and a and b:
                found[min(a, b), max(a, b)].append(int(level))
    return found


def score_of(values, scoring):
    values = sorted(values)
    if scoring == "mean":
        return 1 - sum(values) / len(values) / 255
    if scoring.startswith("max"):
        largest = values[-int(scoring[3:]) :]
        return 1 - sum(largest) / len(largest) / 255
    percent, bins = map(int, scoring[3:].split("_his"))
    value = values[percent * len(values) // 100] / 255
    return 1 - (value if bins == 0 else (min(int(value * bins), bins - 1) + 0.5) / bins)


def agglomerate_by_loops(boundaries, fragments, scoring, threshold):
    """The definition: merge over the boundary of the smallest (score, initial boundary) until the threshold."""
    edges = {pair: (values, rank) for rank, (pair, values) in enumerate(sorted(boundaries.items()))}
    segment = {fragment: fragment for fragment in fragments}
    while edges:
        (a, b), (values, _) = min(edges.items(), key=lambda item: (score_of(item[1][0], scoring), item[1][1]))
        if score_of(values, scoring) >= threshold:
            break
        united = {}
        for (one, two), (values, rank) in edges.items():
            pair = tuple(sorted((a if one == b else one, a if two == b else two)))
            if pair[0] != pair[1]:
                known, first = united.get(pair, ([], rank))
                united[pair] = (known + values, min(first, rank))
        edges = united
        segment = {fragment: a if root == b else root for fragment, root in segment.items()}
    return segment


@given(
    st.integers(0, 10**6), st.sampled_from(SCORES), st.sampled_from([2, 6, 256]), st.sampled_from([None, False, True])
)
def test_equal_to_loops(seed, scoring, levels, with_max):
    shape = tuple(np.random.default_rng(seed).integers(1, 6, 3))
    affinities = random_affinities(shape, seed, levels)
    fragments = affinity_fragments(affinities, high=1)
    with_max = None if scoring == "mean" and with_max else with_max
    thresholds = (0.1, 0.35, 0.6, 0.95)
    results = agglomerate_affinities(affinities, thresholds=thresholds, scoring=scoring, init_with_max=with_max, high=1)
    boundaries = contacts(affinities, fragments)
    if with_max or (with_max is None and scoring.startswith("aff")):
        boundaries = {pair: [max(values)] for pair, values in boundaries.items()}
    if scoring.startswith("max"):
        # The score can fall, and then a later threshold decides by what was reached before it.
        thresholds, results = thresholds[:1], results[:1]
    for threshold, labels in zip(thresholds, results, strict=True):
        segment = agglomerate_by_loops(boundaries, np.unique(fragments), scoring, threshold)
        expected = np.vectorize(segment.get, otypes=[np.int64])(fragments)
        assert same_partition(labels, expected)
        ids, first = np.unique(labels[labels > 0], return_index=True)
        assert np.array_equal(ids, np.arange(1, ids.size + 1))
        assert np.all(np.diff(first) > 0)


def waterz_name(scoring):
    if scoring == "mean":
        return "OneMinus<MeanAffinity<RegionGraphType, ScoreValue>>"
    percent, bins = map(int, scoring[3:].split("_his"))
    return f"OneMinus<HistogramQuantileAffinity<RegionGraphType, {percent}, ScoreValue, {bins}>>"


def waterz_segmentations(affinities, thresholds, scoring, fragments, capfd):
    values = (affinities / 255).astype(np.float32)
    found = waterz.agglomerate(
        values, thresholds, fragments=fragments.astype(np.uint64), scoring_function=waterz_name(scoring)
    )
    results = [labels.copy() for labels in found]
    capfd.readouterr()
    return results


def agreement(first, second):
    """Rand index of two partitions: the share of pairs of voxels on which they agree."""
    ids = np.unique(np.stack([first.ravel(), second.ravel()]).astype(np.uint64), axis=1, return_counts=True)[1]
    one, two = (np.unique(labels, return_counts=True)[1] for labels in (first, second))
    total = float(first.size) ** 2
    return (
        1
        - (float(np.sum(one.astype(float) ** 2)) + np.sum(two.astype(float) ** 2) - 2 * np.sum(ids.astype(float) ** 2))
        / total
    )


def cells_with_noise(seed):
    """Affinities of bricks: high inside, low across, so that most merges are clear."""
    random = np.random.default_rng(seed)
    truth = np.kron(np.arange(1, 65).reshape(4, 4, 4), np.ones((5, 12, 12), dtype=int))
    affinities = np.empty((3, *truth.shape))
    for axis in range(3):
        affinities[axis] = np.where(truth == np.roll(truth, 1, axis=axis), 0.8, 0.25)
    noisy = affinities + random.normal(0, 0.15, affinities.shape)
    return np.rint(255 * np.clip(noisy, 0, 1)).astype(np.uint8), truth


@pytest.mark.parametrize("scoring", ["mean", "aff50_his256"])
@pytest.mark.parametrize("seed", range(2))
def test_near_waterz_on_the_same_fragments(scoring, seed, capfd):
    affinities, truth = cells_with_noise(seed)
    fragments = affinity_fragments(affinities)
    thresholds = [0.2, 0.3, 0.5]
    ours = agglomerate_affinities(affinities, thresholds=thresholds, scoring=scoring, fragments=fragments)
    theirs = waterz_segmentations(affinities, thresholds, scoring, fragments, capfd)
    # Boundaries of one contact have one of 256 scores, and waterz leaves open which of equal scores goes first.
    for one, two in zip(ours, theirs, strict=True):
        assert agreement(one, two) >= 0.995
        assert abs(agreement(one, truth) - agreement(two, truth)) <= 0.002
    assert agreement(ours[-1], truth) > agreement(fragments, truth)


def distinct_scores(seed):
    """Fragments of two voxels in a row, whose boundaries all have different scores of any kind."""
    random = np.random.default_rng(seed)
    affinities = np.zeros((3, 1, 8, 30), dtype=np.uint8)
    fragments = (1 + np.arange(8)[:, None] * 15 + np.arange(30)[None] // 2)[None]
    places = [(2, 0, y, x) for y in range(8) for x in range(2, 30, 2)]
    chosen = random.permutation(len(places))[:250]
    for level, place in zip(random.permutation(np.arange(3, 253))[: len(chosen)], chosen, strict=False):
        affinities[places[place]] = level
    return affinities, fragments


@pytest.mark.parametrize("scoring", ["mean", "aff50_his256"])
@pytest.mark.parametrize("seed", range(5))
def test_partition_equals_waterz_without_ties(scoring, seed, capfd):
    affinities, fragments = distinct_scores(seed)
    thresholds = [0.11, 0.33, 0.61, 0.8]
    ours = agglomerate_affinities(affinities, thresholds=thresholds, scoring=scoring, fragments=fragments)
    theirs = waterz_segmentations(affinities, thresholds, scoring, fragments, capfd)
    assert len({int(labels.max()) for labels in ours}) == len(thresholds)
    for one, two in zip(ours, theirs, strict=True):
        assert same_partition(one, two)


@given(st.integers(0, 10**6), st.sampled_from(SCORES))
def test_ids_do_not_matter(seed, scoring):
    random = np.random.default_rng(seed)
    affinities = random_affinities(tuple(random.integers(2, 9, 3)), seed, levels=6)
    fragments = affinity_fragments(affinities)
    ids = np.unique(random.integers(1, 2**64 - 1, 4 * fragments.max() + 4, dtype=np.uint64))
    table = np.concatenate([np.zeros(1, np.uint64), random.permutation(ids)[: fragments.max()]])
    arguments = {"thresholds": (0.2, 0.5), "scoring": scoring}
    expected = agglomerate_affinities(affinities, **arguments)
    permuted = agglomerate_affinities(affinities, fragments=table[fragments], **arguments)
    assert all(np.array_equal(one, two) for one, two in zip(expected, permuted, strict=True))
    graph = region_graph(affinities, table[fragments], histograms=True)
    for labels, segments in zip(expected, agglomerate_graph(graph, **arguments), strict=True):
        assert np.array_equal(labels, relabel_fragments(table[fragments], graph, segments))


def test_graph_with_signed_ids_beyond_32_bits():
    affinities = np.full((3, 1, 1, 4), 0.8)
    fragments = np.array([[[2**40, 2**33 + 5, 0, 2**40 + 1]]])
    (labels,) = agglomerate_affinities(affinities, fragments=fragments, thresholds=0.5)
    assert labels.tolist() == [[[1, 1, 0, 2]]]
    assert labels.dtype == np.uint32


@pytest.mark.parametrize("scoring", ["mean", "aff50_his256", "max4"])
def test_types_and_memory_orders_do_not_matter(scoring):
    affinities = random_affinities((6, 9, 11), 3)
    before = affinities.copy()
    expected = agglomerate_affinities(affinities, scoring=scoring)
    wide = np.zeros((4, 6, 9, 22), dtype=np.uint8)
    wide[:3, :, :, ::2] = affinities
    frozen = affinities.copy()
    frozen.flags.writeable = False
    variants = [np.asfortranarray(affinities), wide[:3, :, :, ::2], frozen]
    variants += [(affinities / 255).astype(dtype) for dtype in (np.float16, np.float32, np.float64)]
    for variant in variants:
        for one, two in zip(expected, agglomerate_affinities(variant, scoring=scoring), strict=True):
            assert np.array_equal(one, two)
    assert np.array_equal(before, affinities)


def test_thresholds_are_snapshots_of_one_pass():
    affinities = random_affinities((8, 20, 20), 5)
    for scoring in ("mean", "aff50_his256"):
        together = agglomerate_affinities(affinities, thresholds=(0.1, 0.3, 0.6), scoring=scoring)
        alone = [agglomerate_affinities(affinities, thresholds=t, scoring=scoring)[0] for t in (0.1, 0.3, 0.6)]
        assert all(np.array_equal(one, two) for one, two in zip(together, alone, strict=True))


@pytest.mark.parametrize("scoring", SCORES)
def test_plain_volumes(scoring):
    for value, segments in ((0.0, 0), (1.0, 1)):
        results = agglomerate_affinities(np.full((3, 3, 4, 5), value), scoring=scoring)
        assert [labels.max() for labels in results] == [segments] * 3
    one = agglomerate_affinities(np.ones((3, 1, 1, 1)), scoring=scoring)
    assert [labels.tolist() for labels in one] == [[[[0]]]] * 3
    whole = agglomerate_affinities(np.zeros((3, 2, 2, 2)), fragments=np.full((2, 2, 2), 9), scoring=scoring)
    assert [labels.min() for labels in whole] == [1] * 3
    apart = agglomerate_affinities(np.zeros((3, 1, 1, 2)), fragments=np.array([[[1, 2]]]), scoring=scoring)
    assert apart[-1].tolist() == [[[1, 2]]]


def test_fragments_of_sections_are_joined_across_them():
    affinities = np.full((3, 4, 6, 6), 0.9)
    affinities[2, :, :, 3] = 0.1
    affinities[0] = 0.7
    fragments = affinity_fragments(affinities, dimensions=2)
    assert fragments.max() == 8
    low, high = agglomerate_affinities(affinities, fragment_dimensions=2, thresholds=(0.2, 0.5))
    assert low.max() == 8
    assert high.max() == 2


def test_many_values_on_one_boundary_go_through_every_kind_of_memory():
    # A comb: one long fragment beside thousands of voxels, which merge into another one by one.
    random = np.random.default_rng(0)
    affinities = np.zeros((3, 1, 2, 3000), dtype=np.uint8)
    affinities[2, 0, 1] = 250
    affinities[1, 0, 1] = random.integers(1, 200, 3000)
    fragments = np.ones((1, 2, 3000), dtype=np.int64)
    fragments[0, 1] = np.arange(2, 3002)
    for scoring in ("aff50_his256", "aff90_his0", "max700"):
        values = affinities[1, 0, 1].tolist()
        score = score_of(values, scoring)
        above = agglomerate_affinities(affinities, fragments=fragments, scoring=scoring, thresholds=(score + 1e-9,))[0]
        below = agglomerate_affinities(affinities, fragments=fragments, scoring=scoring, thresholds=(score - 1e-9,))[0]
        assert (below.max(), above.max()) == (2, 1)


@pytest.mark.parametrize(
    "name", ["Mean", "aff50", "aff0_his256", "aff100_his256", "aff50_his99999", "max0", "max", "aff50_his256 ", ""]
)
def test_unknown_scores_are_refused(name):
    with pytest.raises(ValueError, match="scor"):
        parse_score(name)


GOOD = np.full((3, 2, 2, 2), 0.5)


@pytest.mark.parametrize(
    "affinities, options, error, words",
    [
        (GOOD, {"thresholds": ()}, ValueError, "at least one"),
        (GOOD, {"thresholds": (0.3, 0.1)}, ValueError, "ascending"),
        (GOOD, {"thresholds": (0.3, 0.3)}, ValueError, "ascending"),
        (GOOD, {"thresholds": (0.3, 30)}, ValueError, "between 0 and 1"),
        (GOOD, {"thresholds": (float("nan"),)}, ValueError, "between 0 and 1"),
        (GOOD, {"thresholds": "0.3"}, TypeError, "thresholds"),
        (GOOD, {"scoring": 50}, TypeError, "scoring"),
        (GOOD, {"scoring": "mean", "init_with_max": True}, ValueError, "mean"),
        (GOOD, {"init_with_max": 1}, TypeError, "init_with_max"),
        (GOOD, {"fragment_dimensions": 1}, ValueError, "dimensions"),
        (GOOD, {"fragments": np.ones((2, 2, 3), int)}, ValueError, "shape"),
        (GOOD, {"fragments": np.ones((2, 2, 2))}, TypeError, "integers"),
        (GOOD, {"fragments": -np.ones((2, 2, 2), int)}, ValueError, "negative"),
        (GOOD, {"low": 0.5, "high": 0.5}, ValueError, "smaller than high"),
        (GOOD * 255, {}, ValueError, "uint8 for 0-255"),
        (np.full_like(GOOD, np.nan), {}, ValueError, "probabilities"),
        (np.concatenate([GOOD, GOOD]), {}, ValueError, "6 channels"),
    ],
)
def test_bad_input_stops_with_one_sentence(affinities, options, error, words):
    with pytest.raises(error, match=words) as caught:
        agglomerate_affinities(affinities, **options)
    assert "\n" not in str(caught.value)


def test_graphs_that_lack_what_a_score_needs_are_refused():
    graph = region_graph(GOOD, np.arange(8).reshape(2, 2, 2))
    with pytest.raises(ValueError, match="histograms=True"):
        agglomerate_graph(graph, thresholds=0.5, scoring="max5")
    with pytest.raises(TypeError, match="RegionGraph"):
        agglomerate_graph(GOOD, thresholds=0.5)
    with pytest.raises(ValueError, match="Fragment 99"):
        relabel_fragments(np.array([[[99]]]), graph, np.arange(7))
