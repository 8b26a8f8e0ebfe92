"""Clusters of embeddings against plain searches through all voxels, and bad input."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracles.volumes import small_volume
from scipy.ndimage import distance_transform_edt
from skimage.measure import label

from emlib.postprocessing import cluster_embeddings, embedding_instances, segment
from emlib.postprocessing.embedding_points import BLOCK, foreground_points, group_means
from emlib.volume import Volume, open_volume, save_volume


def squared_distances(points, centre):
    """float32 (n,), the terms added in the order of the channels."""
    total = np.zeros(len(points), dtype=np.float32)
    for channel in range(points.shape[1]):
        total += (points[:, channel] - centre[channel]) ** 2
    return total


def mean_shift_by_search(points, bandwidth):
    """The definition: windows among all voxels without a label."""
    labels, limit = np.zeros(len(points), dtype=int), np.float32(np.float32(bandwidth) ** 2)
    while (labels == 0).any():
        centre = points[np.flatnonzero(labels == 0)[0]]
        inside = (labels == 0) & (squared_distances(points, centre) <= limit)
        while True:
            moved = points[inside].astype(np.float64).mean(axis=0).astype(np.float32)
            there = (labels == 0) & (squared_distances(points, moved) <= limit)
            if not there.any() or np.array_equal(there, inside):
                break
            inside = there
        labels[inside] = labels.max() + 1
    return labels


def nearest_by_search(points, groups, count, limit=np.inf):
    means = np.stack([points[groups == number].astype(np.float64).mean(axis=0) for number in range(1, count + 1)])
    distances = np.stack([squared_distances(points, mean) for mean in means.astype(np.float32)])
    return np.where(distances.min(axis=0) <= limit, distances.argmin(axis=0) + 1, 0)


def random_case(seed, coarse=False):
    """An embedding and mask; coarse embeddings are whole numbers, with many equal distances."""
    random = np.random.default_rng(seed)
    shape, channels = tuple(random.integers(1, 14, 3)), random.integers(1, 5)
    embedding = random.normal(0, 2, (channels, *shape)).astype(np.float32)
    embedding = np.round(embedding) if coarse else embedding
    return embedding, random.random(shape) < 0.7


def trained(channels=8, noise=0.12):
    """What a network trained with the discriminative loss says about the small volume."""
    labels = small_volume()[0]
    random = np.random.default_rng(4)
    means = 4 * np.eye(13, channels, dtype=np.float32) + 4 * np.eye(13, channels, k=-channels, dtype=np.float32)
    means += random.normal(0, 1, means.shape)
    embedding = means[labels] + random.normal(0, noise, (*labels.shape, channels))
    return np.ascontiguousarray(np.moveaxis(embedding, -1, 0).astype(np.float32)), labels


@given(st.integers(0, 10_000), st.booleans(), st.sampled_from([0.6, 1.0, 1.5, 3.0]))
def test_mean_shift_equals_a_search_through_all_voxels(seed, coarse, bandwidth):
    embedding, mask = random_case(seed, coarse)
    found = cluster_embeddings(embedding, mask, bandwidth=bandwidth)
    assert found.dtype == np.uint32
    assert not found[~mask].any()
    assert np.array_equal(found[mask], mean_shift_by_search(embedding[:, mask].T, bandwidth))


@given(st.integers(0, 10_000), st.booleans(), st.booleans())
def test_prototypes_equal_a_search_through_all_seeds(seed, coarse, limited):
    embedding, mask = random_case(seed, coarse)
    random = np.random.default_rng(seed)
    ids = np.sort(random.choice(2**62, 40, replace=False)).astype(np.uint64) * np.uint64(3)
    seeds = np.where(random.random(mask.shape) < 0.3, ids[random.integers(0, 40, mask.shape)], np.uint64(0))
    options = {"max_distance": 1.5} if limited else {}
    found = cluster_embeddings(embedding, mask, rule="prototypes", seeds=seeds, **options)
    known, groups = np.unique(np.append(seeds[mask], np.uint64(0)), return_inverse=True)
    if known.size == 1:
        assert not found.any()
        return
    expected = nearest_by_search(embedding[:, mask].T, groups[:-1], known.size - 1, 2.25 if limited else np.inf)
    assert found.dtype == np.uint64
    assert np.array_equal(found[mask], known[expected])
    assert not found[~mask].any()


def test_blocks_that_are_passed_over_change_nothing():
    """Objects longer than a block of voxels, so that most blocks are out of reach of a window."""
    embedding, labels = trained()
    mask = labels > 0
    assert mask.sum() > 20 * BLOCK
    points = embedding[:, mask].T
    found = cluster_embeddings(embedding, mask)
    assert np.array_equal(found[mask], mean_shift_by_search(points, 1.5))
    truth = labels[mask]
    assert np.unique(np.stack([found[mask], truth]), axis=1).shape[1] == np.unique(truth).size == found.max()
    seeds = np.where(np.random.default_rng(0).random(labels.shape) < 0.02, labels, 0)
    seeded = cluster_embeddings(embedding, mask, rule="prototypes", seeds=seeds)
    assert np.array_equal(seeded, labels)


def test_seeds_of_its_own_are_the_inside_of_the_foreground():
    random = np.random.default_rng(1)
    mask = np.zeros((5, 40, 40), dtype=bool)
    mask[:, 3:17, 3:17] = mask[:, 20:36, 5:30] = mask[2, 38, 2:9] = True
    mask[:, 10, 17:22] = True
    embedding = random.normal(size=(2, *mask.shape)).astype(np.float32)
    for depth, spacing in ((2.0, None), (9.0, (20, 4, 4)), (50.0, None), (0.0, None)):
        options = {"rule": "prototypes", "seed_depth": depth, "voxel_size": spacing}
        found = cluster_embeddings(embedding, mask, **options)
        # The border of the volume is none of the foreground.
        inner = distance_transform_edt(np.pad(mask, 20, "edge"), sampling=spacing)[20:-20, 20:-20, 20:-20] > depth
        parts = label(mask, connectivity=1)
        for number in range(1, parts.max() + 1):
            if not inner[parts == number].any():
                inner |= parts == number
        groups = label(inner, connectivity=1)
        expected = nearest_by_search(embedding[:, mask].T, groups[mask], groups.max())
        assert np.array_equal(found[mask], expected)
    plane = cluster_embeddings(embedding[:, 0], mask[0], rule="prototypes")
    assert plane.max() == 2


def test_small_objects_become_background():
    embedding = np.array([[[0, 0, 0, 9, 20, 20, 0]]], dtype=np.float32)
    mask = np.ones((1, 7), dtype=bool)
    assert cluster_embeddings(embedding, mask, min_size=2).tolist() == [[1, 1, 1, 0, 2, 2, 1]]
    seeds = np.array([[5, 0, 0, 4, 9, 0, 0]])
    found = cluster_embeddings(embedding, mask, rule="prototypes", seeds=seeds, min_size=2)
    assert found.tolist() == [[5, 5, 5, 0, 9, 9, 5]]


@given(st.integers(0, 10_000), st.sampled_from(["mean_shift", "prototypes"]), st.sampled_from([0, 1, 3]))
def test_connected_objects_are_the_pieces_of_the_groups(seed, rule, min_size):
    embedding, mask = random_case(seed, coarse=True)
    groups = cluster_embeddings(embedding, mask, rule=rule)
    found = cluster_embeddings(embedding, mask, rule=rule, connected=True, min_size=min_size)
    pieces = label(groups, background=0, connectivity=3)
    ids, first, sizes = np.unique(pieces, return_index=True, return_counts=True)
    order = [number for number in np.argsort(first) if ids[number] and sizes[number] >= min_size]
    expected = np.zeros(groups.shape, dtype=int)
    for place, number in enumerate(order, 1):
        expected[pieces == ids[number]] = place
    assert found.dtype == np.uint32
    assert np.array_equal(found, expected)


def test_connected_sections_and_numbers_of_seeds():
    embedding = np.zeros((1, 1, 5), dtype=np.float32)
    mask = np.array([[1, 1, 0, 1, 1]], dtype=bool)
    assert cluster_embeddings(embedding, mask, connected=True).tolist() == [[1, 1, 0, 2, 2]]
    seeds = np.array([[2**40, 0, 0, 0, 0]])
    found = cluster_embeddings(embedding, mask, rule="prototypes", seeds=seeds, connected=True)
    assert found.tolist() == [[1, 1, 0, 2, 2]]
    assert not cluster_embeddings(embedding, np.zeros_like(mask), connected=True).any()


def test_a_window_that_loses_all_its_voxels_steps_back():
    # The mean of the outer voxels lies farther than the bandwidth from each of them.
    embedding = np.array([[[0.0, 1.0, -0.5, -0.5]], [[0.0, 0.0, 0.9, -0.9]]], dtype=np.float32)
    embedding[:, 0, 0] = embedding[:, 0, 1]
    found = cluster_embeddings(embedding, np.ones((1, 4), dtype=bool), bandwidth=0.99)
    assert np.array_equal(found[0], mean_shift_by_search(embedding[:, 0].T, 0.99))
    assert (found > 0).all()


def test_types_axes_and_files(tmp_path):
    embedding, labels = trained(channels=5)
    mask = labels > 0
    expected = cluster_embeddings(embedding, mask)
    save_volume(tmp_path / "embedding.zarr", embedding, axes="czyx")
    for given_one in (
        np.asfortranarray(embedding),
        Volume(embedding, axes="czyx"),
        open_volume(tmp_path / "embedding.zarr"),
    ):
        assert np.array_equal(cluster_embeddings(given_one, mask), expected)
    assert np.array_equal(cluster_embeddings(embedding, mask.astype(np.uint8)), expected)
    assert np.array_equal(cluster_embeddings(embedding.astype(np.float64), np.asfortranarray(mask)), expected)
    half = embedding.astype(np.float16)
    assert np.array_equal(cluster_embeddings(half, mask), cluster_embeddings(half.astype(np.float32), mask))
    assert np.array_equal(
        cluster_embeddings(embedding[:, 3], mask[3]), cluster_embeddings(embedding[:, 3:4], mask[3:4])[0]
    )
    before = embedding.copy()
    embedding[:, ~mask] = np.nan
    assert np.array_equal(cluster_embeddings(embedding, mask), expected), "background is not looked at"
    assert np.array_equal(embedding[:, mask], before[:, mask])


def test_arrays_that_cannot_be_written_to():
    embedding, labels = trained()
    mask = labels > 0
    for options in ({}, {"rule": "prototypes"}, {"rule": "prototypes", "seeds": labels}):
        expected = cluster_embeddings(embedding, mask, **options)
        for array in (embedding, mask, labels):
            array.flags.writeable = False
        assert np.array_equal(cluster_embeddings(embedding, mask, **options), expected)
        for array in (embedding, mask, labels):
            array.flags.writeable = True


def test_nothing_to_cluster():
    embedding = np.zeros((3, 2, 4, 4), dtype=np.float32)
    for options in ({}, {"rule": "prototypes"}, {"rule": "prototypes", "seeds": np.ones((2, 4, 4), int)}):
        found = cluster_embeddings(embedding, np.zeros((2, 4, 4), dtype=bool), **options)
        assert found.shape == (2, 4, 4)
        assert not found.any()
    seeds = np.zeros((2, 4, 4), dtype=np.uint8)
    assert not cluster_embeddings(embedding, seeds == 0, rule="prototypes", seeds=seeds).any()


def test_means_are_summed_in_float64():
    points = foreground_points(np.full((1, 1, 300_000), 0.1, dtype=np.float32), np.ones((1, 300_000), dtype=bool))
    means = group_means(points.values, np.ones(300_000, dtype=np.int64), 1)
    assert means[0, 0] == np.float32(0.1)


def test_by_name_with_a_mask():
    embedding, labels = trained(channels=5)
    probability = np.where(labels > 0, 200, 20).astype(np.float32) / 255
    expected = cluster_embeddings(embedding, labels > 0, bandwidth=1.2, min_size=30)
    assert np.array_equal(embedding_instances(embedding, probability, bandwidth=1.2, min_size=30), expected)
    prediction = np.concatenate([embedding, probability[None]])
    options = {"bandwidth": 1.2, "min_size": 30}
    assert np.array_equal(segment(prediction, "embedding_clusters", **options), expected)
    names = ["mask", "embedding_3", *(f"embedding_{index}" for index in (0, 1, 2, 4))]
    mixed = np.stack([probability, embedding[3], *(embedding[index] for index in (0, 1, 2, 4))])
    assert np.array_equal(segment(mixed, "embedding_clusters", channels=names, **options), expected)
    for channels, words in ((names[1:], "mask"), (["mask", "a", "b", "c", "d"], "embedding_0")):
        with pytest.raises(ValueError, match=words):
            segment(mixed[:5], "embedding_clusters", channels=channels)
    with pytest.raises(ValueError, match="1 channels"):
        segment(mixed[:1], "embedding_clusters")


EMBEDDING, MASK = np.zeros((2, 2, 3, 4), dtype=np.float32), np.ones((2, 3, 4), dtype=bool)


@pytest.mark.parametrize(
    "embedding, mask, options, error, words",
    [
        (EMBEDDING.astype(int), MASK, {}, TypeError, "embedding must be float"),
        (EMBEDDING[:, :1], MASK, {}, ValueError, "shape"),
        (EMBEDDING[:0], MASK, {}, ValueError, "one channel or more"),
        (EMBEDDING[0], MASK, {}, ValueError, "shape"),
        (np.where(EMBEDDING == 0, np.inf, 0), MASK, {}, ValueError, "section 0 that is not finite"),
        (np.where(EMBEDDING == 0, 1e300, 0), MASK, {}, ValueError, "not finite"),
        (EMBEDDING, MASK * 1.0, {}, TypeError, "foreground must be bool"),
        (EMBEDDING, MASK * np.uint8(255), {}, ValueError, "0 and 1 only"),
        (EMBEDDING, MASK[0, 0], {}, ValueError, "axes"),
        (EMBEDDING, MASK, {"rule": "mean_shifts"}, ValueError, "rule must be one of"),
        (EMBEDDING, MASK, {"seeds": MASK * 1}, ValueError, "only used by"),
        (EMBEDDING, MASK, {"rule": "prototypes", "seeds": MASK[:1] * 1}, ValueError, "seeds must have the shape"),
        (EMBEDDING, MASK, {"rule": "prototypes", "seeds": MASK * 1.0}, TypeError, "integers"),
        (EMBEDDING, MASK, {"bandwidth": 0}, ValueError, "bandwidth"),
        (EMBEDDING, MASK, {"bandwidth": float("nan")}, ValueError, "bandwidth"),
        (EMBEDDING, MASK, {"bandwidth": "1"}, TypeError, "bandwidth"),
        (EMBEDDING, MASK, {"max_distance": -1}, ValueError, "max_distance"),
        (EMBEDDING, MASK, {"rule": "prototypes", "seed_depth": -1}, ValueError, "seed_depth"),
        (EMBEDDING, MASK, {"rule": "prototypes", "voxel_size": (1, 2)}, ValueError, "voxel_size"),
        (EMBEDDING, MASK, {"min_size": 1.5}, TypeError, "min_size"),
        (EMBEDDING, MASK, {"connected": 1}, TypeError, "connected"),
    ],
)
def test_bad_input_stops_with_one_sentence(embedding, mask, options, error, words):
    with pytest.raises(error, match=words) as caught:
        cluster_embeddings(embedding, mask, **options)
    assert "\n" not in str(caught.value)
