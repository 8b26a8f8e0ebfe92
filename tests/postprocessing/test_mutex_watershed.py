"""Mutex watershed against its definition in plain Python, against bioimage-cpp, on known truth, and bad input."""

import itertools
import tracemalloc

import cc3d
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emlib.postprocessing import mutex_watershed
from emlib.postprocessing.mutual_exclusion import MutualExclusion

NEAREST = [(-1, 0, 0), (0, -1, 0), (0, 0, -1)]
LONG = [*NEAREST, (-2, 0, 0), (0, -5, 0), (0, 0, -5)]


def edges_in_order(levels, offsets, attractive, used=None):
    """(repulsive, voxel, voxel + offset) from strong to weak; equal strengths by channel, then by voxel."""
    edges = []
    for channel, offset in enumerate(offsets):
        repulsive = channel not in attractive
        for index, voxel in enumerate(np.ndindex(levels.shape[1:])):
            other = tuple(np.add(voxel, offset))
            if any(not 0 <= place < size for place, size in zip(other, levels.shape[1:], strict=True)):
                continue
            if repulsive and used is not None and not used[voxel]:
                continue
            level = int(levels[(channel, *voxel)])
            edges.append((level - 255 if repulsive else -level, channel, index, repulsive, voxel, other))
    return [edge[3:] for edge in sorted(edges) if edge[0] < 0]


def by_definition(levels, offsets, attractive, mask=None, used=None):
    mask = np.ones(levels.shape[1:], bool) if mask is None else mask
    cluster = {voxel: index for index, voxel in enumerate(np.ndindex(mask.shape)) if mask[voxel]}
    excluded = {index: set() for index in cluster.values()}
    for repulsive, voxel, other in edges_in_order(levels, offsets, attractive, used):
        if voxel not in cluster or other not in cluster or cluster[voxel] == cluster[other]:
            continue
        stays, goes = cluster[voxel], cluster[other]
        if repulsive:
            excluded[stays].add(goes)
            excluded[goes].add(stays)
        elif goes not in excluded[stays]:
            for place in [place for place, index in cluster.items() if index == goes]:
                cluster[place] = stays
            for third in excluded.pop(goes):
                excluded[third] = (excluded[third] - {goes}) | {stays}
                excluded[stays].add(third)
    labels, numbers = np.zeros(mask.shape, np.uint32), {}
    for voxel, index in cluster.items():
        labels[voxel] = numbers.setdefault(index, len(numbers) + 1)
    return labels


def in_raster_order(labels):
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    return (np.argsort(np.argsort(first)) + 1)[inverse].reshape(labels.shape)


def noisy_neurites(shape, offsets, seed):
    """Affinities (float) of columns with irregular borders, and the columns."""
    random = np.random.default_rng(seed)
    centres = random.uniform(0, shape[1:], (max(2, shape[1] * shape[2] // 90), 2))
    rows, columns = np.indices(shape[1:])
    labels = np.stack(
        [
            np.argmin([(rows - y - 0.3 * z) ** 2 + (columns - x + 0.2 * z) ** 2 for y, x in centres], axis=0)
            for z in range(shape[0])
        ]
    )
    same = [labels == np.roll(labels, [-step for step in offset], (0, 1, 2)) for offset in offsets]
    return np.clip(0.1 + 0.8 * np.array(same) + random.normal(0, 0.2, (len(offsets), *shape)), 0, 1), labels + 1


steps = st.tuples(*[st.integers(-4, 4)] * 3).filter(any)


@settings(max_examples=150)
@given(
    st.integers(0, 10_000),
    st.lists(steps, min_size=1, max_size=6, unique=True),
    st.sampled_from([2, 6, 256]),
    st.data(),
)
def test_equals_the_definition(seed, offsets, values, data):
    random = np.random.default_rng(seed)
    shape = tuple(random.integers(1, 6, 3))
    # Few values make many ties and many edges of strength 0 and 255.
    levels = (random.integers(0, values, (len(offsets), *shape)) * (255 // (values - 1))).astype(np.uint8)
    channels = st.integers(0, len(offsets) - 1)
    attractive = data.draw(st.lists(channels, min_size=1, unique=True))
    mask = random.random(shape) < 0.8 if data.draw(st.booleans()) else None
    strides = data.draw(st.none() | st.tuples(*[st.integers(1, 3)] * 3))
    used = (
        None
        if strides is None
        else np.logical_and.reduce([index % step == 0 for index, step in zip(np.indices(shape), strides, strict=True)])
    )
    labels = mutex_watershed(levels, offsets=offsets, attractive=attractive, strides=strides, mask=mask)
    assert labels.dtype == np.uint32
    assert np.array_equal(labels, by_definition(levels, offsets, attractive, mask, used))


@pytest.mark.parametrize("seed", range(4))
def test_equals_bioimage_cpp_on_distinct_weights(seed):
    # Noise excludes nearly everything from its neighbours: lists and table grow several times.
    bioimage = pytest.importorskip("bioimage_cpp", reason="bioimage-cpp is not installed (extra 'segmentation')")
    random = np.random.default_rng(seed)
    shape, offsets = (7, 41, 38), [*LONG, (1, 4, -6), (0, -3, 3)]
    levels = random.integers(1, 255, (len(offsets), *shape)).astype(np.uint8)
    if seed % 2:
        levels = (1 + 253 * noisy_neurites(shape, offsets, seed)[0]).astype(np.uint8)
    repulsive = np.arange(len(offsets)) >= 3
    strength = np.where(repulsive[:, None, None, None], 255 - levels.astype(int), levels)
    # Ranks in our order of ties are weights that no two edges share.
    weights = np.empty(strength.size)
    weights[np.argsort(-strength.ravel(), kind="stable")] = np.linspace(1, 0.001, strength.size)
    theirs = bioimage.segmentation.mutex_watershed(weights.reshape(strength.shape), offsets, 3)
    assert np.array_equal(mutex_watershed(levels, offsets=offsets), in_raster_order(theirs))


def test_recovers_neurites_from_perfect_affinities():
    labels = noisy_neurites((5, 40, 40), LONG, 0)[1]
    same = [labels == np.roll(labels, [-step for step in offset], (0, 1, 2)) for offset in LONG]
    for maps in (np.array(same, dtype=np.float32), np.array(same).astype(np.uint8) * 255):
        found = mutex_watershed(maps, offsets=LONG)
        assert np.array_equal(found, cc3d.connected_components(labels, connectivity=6))


def test_repulsion_separates_what_leaky_boundaries_connect():
    maps, labels = noisy_neurites((4, 48, 48), LONG, 3)
    attracted = mutex_watershed(maps[:3], offsets=NEAREST)
    assert attracted.max() == 1
    # Most voxels lie in the segment that covers their neurite, and these segments are not shared.
    segments = mutex_watershed(maps, offsets=LONG)
    main = [np.bincount(segments[labels == neurite]).argmax() for neurite in np.unique(labels)]
    assert np.mean(np.array(main)[labels - 1] == segments) > 0.9
    assert np.unique(main).size > 0.9 * len(main)


def test_background_voxels_stay_alone_and_go_with_min_size():
    maps = np.zeros((4, 1, 1, 8), dtype=np.uint8)
    maps[2, 0, 0, [1, 2, 6, 7]] = 255
    offsets = [*NEAREST, (0, 0, -4)]
    assert mutex_watershed(maps, offsets=offsets).tolist() == [[[1, 1, 1, 2, 3, 4, 4, 4]]]
    assert mutex_watershed(maps, offsets=offsets, min_size=2).tolist() == [[[1, 1, 1, 0, 0, 2, 2, 2]]]


def test_a_random_part_of_the_repulsive_edges_is_reproducible_and_of_the_right_size():
    # Attraction comes last and loses to any repulsion: voxels that were not repelled join.
    maps = np.zeros((2, 1, 1, 4001), dtype=np.uint8)
    maps[0] = 1
    offsets = [(0, 0, -1), (0, 0, 1)]
    first, again, other = (
        mutex_watershed(maps, offsets=offsets, attractive=1, strides=(2, 2, 2), seed=seed) for seed in (1, 1, 2)
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert all(400 < labels.max() < 600 for labels in (first, other))
    assert mutex_watershed(maps, offsets=offsets, attractive=1, strides=(1, 1, 1), seed=1).max() == 4001
    assert mutex_watershed(maps, offsets=offsets, attractive=1, strides=(2, 2, 2)).max() == 2001


def test_memory_order_type_and_read_only_input_do_not_matter():
    maps = (255 * noisy_neurites((4, 20, 21), LONG, 1)[0]).astype(np.uint8)
    expected = mutex_watershed(maps, offsets=LONG)
    frozen = maps.copy()
    frozen.flags.writeable = False
    for variant in (np.asfortranarray(maps), frozen, maps / 255, (maps / 255).astype(np.float32), maps[:, :, ::-1, :]):
        turned = variant.strides[2] < 0 and variant.dtype == np.uint8
        found = mutex_watershed(variant[:, :, ::-1] if turned else variant, offsets=np.array(LONG))
        assert np.array_equal(found, expected)
    assert np.array_equal(frozen, maps)


@pytest.mark.parametrize("mask", [np.zeros((2, 3, 4), bool), np.zeros((2, 3, 4), np.uint8)])
def test_empty_mask_gives_background(mask):
    assert not mutex_watershed(np.ones((6, 2, 3, 4)), offsets=LONG, mask=mask).any()


def test_one_voxel_and_offsets_longer_than_the_volume():
    assert mutex_watershed(np.ones((6, 1, 1, 1)), offsets=LONG).tolist() == [[[1]]]
    assert mutex_watershed(np.zeros((1, 1, 1, 2)), offsets=[(0, 0, 7)], attractive=1).tolist() == [[[1, 2]]]


@settings(max_examples=30)
@given(st.integers(0, 10_000))
def test_exclusions_survive_merges_and_growth(seed):
    random = np.random.default_rng(seed)
    clusters, size = MutualExclusion(64), 64
    members, excluded = {index: {index} for index in range(size)}, set()
    for _ in range(600):
        first, second = sorted(random.choice(size, 2, replace=False))
        repulsive = bool(random.random() < 0.85)
        clusters.process(np.array([first], dtype=np.uint32), int(second - first), repulsive=repulsive)
        one, two = (next(key for key, group in members.items() if voxel in group) for voxel in (first, second))
        if one == two:
            continue
        if repulsive:
            excluded |= set(itertools.product(members[one], members[two]))
        elif not any((a, b) in excluded or (b, a) in excluded for a in members[one] for b in members[two]):
            members[one] |= members.pop(two)
    roots = [int(clusters.parent[index]) for index in range(size)]
    while roots != [int(clusters.parent[root]) for root in roots]:
        roots = [int(clusters.parent[root]) for root in roots]
    assert sorted(map(sorted, members.values())) == sorted(
        [index for index in range(size) if roots[index] == root] for root in set(roots)
    )


GOOD = np.zeros((6, 2, 3, 4), dtype=np.uint8)


@pytest.mark.parametrize(
    "maps, options, error, words",
    [
        (GOOD[0], {}, ValueError, "axes"),
        (GOOD[:, :0], {}, ValueError, "empty"),
        (GOOD[:5], {}, ValueError, "5"),
        (GOOD.astype(np.int32), {}, TypeError, "uint8"),
        (np.full(GOOD.shape, np.nan), {}, ValueError, "between 0 and 1"),
        (np.full(GOOD.shape, 255.0), {}, ValueError, "between 0 and 1"),
        (GOOD, {"offsets": LONG[:5]}, ValueError, "5"),
        (GOOD, {"offsets": [*LONG[:5], (0, 0, 0)]}, ValueError, "offset"),
        (GOOD, {"offsets": [*LONG[:5], (0, 1)]}, ValueError, "offset"),
        (GOOD, {"attractive": 7}, ValueError, "attractive"),
        (GOOD, {"attractive": 0}, ValueError, "attractive"),
        (GOOD, {"attractive": [0, 6]}, ValueError, "attractive"),
        (GOOD, {"attractive": 1.5}, TypeError, "attractive"),
        (GOOD, {"attractive": [True]}, TypeError, "attractive"),
        (GOOD, {"strides": (1, 0, 1)}, ValueError, "strides"),
        (GOOD, {"strides": 2}, ValueError, "strides"),
        (GOOD, {"mask": np.ones((2, 3, 5), bool)}, ValueError, "mask"),
        (GOOD, {"mask": np.ones((2, 3, 4))}, TypeError, "mask"),
        (GOOD, {"min_size": -1}, ValueError, "min_size"),
    ],
)
def test_bad_input_stops_with_one_sentence(maps, options, error, words):
    with pytest.raises(error, match=words) as caught:
        mutex_watershed(maps, **{"offsets": LONG, **options})
    assert "\n" not in str(caught.value)


def test_memory_stays_below_32_bytes_a_voxel_on_noise():
    maps = (255 * noisy_neurites((8, 96, 96), LONG, 1)[0]).astype(np.uint8)
    mutex_watershed(maps[:, :2, :20, :20], offsets=LONG)
    tracemalloc.start()
    labels = mutex_watershed(maps, offsets=LONG)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert labels.max() > 10
    assert peak <= 32 * labels.size
