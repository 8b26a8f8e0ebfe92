"""Distance watershed against scipy and scikit-image doing the published steps, and bad input."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracles.flooding import flood_by_heap
from scipy.ndimage import gaussian_filter
from skimage.measure import label
from skimage.segmentation import watershed

from emlib.postprocessing import distance_watershed, segment
from emlib.postprocessing.section_smoothing import smooth_sections
from emlib.recipe_schema import PostprocessingRecipe


def drop_small(labels, min_size):
    sizes = np.bincount(labels.ravel())
    return np.where((sizes >= min_size)[labels], labels, 0)


def published(heatmap, foreground=16, seed=150, min_size=1000, min_seed_size=100, sigma=1.0):
    """The steps of the published program, on the whole volume: (labels, components, seeds)."""
    smooth = np.stack([gaussian_filter(section, sigma) if sigma else section for section in heatmap])
    components = drop_small(label(smooth > foreground, connectivity=3), min_size)
    seeds = drop_small(label(smooth > seed, connectivity=1), min_seed_size)
    return watershed(-smooth.astype(int), seeds, mask=components > 0), components, seeds


def renumbered(labels):
    return np.searchsorted(np.unique(np.append(labels, 0)), labels)


def hills(shape, seed, count, anisotropy=3.0):
    """A heatmap of round hills that touch."""
    random = np.random.default_rng(seed)
    centres = random.uniform(0, shape, (count, 3)) * (anisotropy, 1, 1)
    voxels = np.moveaxis(np.indices(shape), 0, -1) * (anisotropy, 1, 1)
    nearest = np.min(np.linalg.norm(voxels[..., None, :] - centres, axis=-1), axis=-1)
    noise = gaussian_filter(random.normal(size=shape), 1)
    return np.clip(255 * (1 - nearest / 14) + 60 * noise, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("sigma", [0.3, 1.0, 2.5])
@pytest.mark.parametrize("shape", [(3, 20, 25), (2, 3, 2), (1, 1, 9), (2, 12, 1)])
def test_smoothing_is_scipys(shape, sigma):
    random = np.random.default_rng(0)
    for levels in (random.integers(0, 256, shape), np.full(shape, 201), 255 * (random.random(shape) > 0.5)):
        levels = levels.astype(np.uint8)
        before = levels.copy()
        expected = np.stack([gaussian_filter(section, sigma) for section in levels])
        assert np.array_equal(smooth_sections(levels, sigma), expected)
        assert np.array_equal(levels, before)


def test_touching_hills_equal_the_published_steps_up_to_ties():
    heatmap = hills((12, 64, 64), 3, 40)
    before = heatmap.copy()
    for min_size, min_seed_size in ((1000, 100), (1, 1), (400, 30), (5000, 400)):
        theirs, _, _ = published(heatmap, min_size=min_size, min_seed_size=min_seed_size)
        ours = distance_watershed(heatmap, min_size=min_size, min_seed_size=min_seed_size)
        assert theirs.any()
        assert ours.dtype == np.uint32
        assert np.array_equal(ours > 0, theirs > 0)
        # Smoothed levels are alike over wide areas, so that ties are many.
        assert np.mean(ours[ours > 0] != renumbered(theirs)[ours > 0]) <= 0.03
    assert np.array_equal(heatmap, before)


@given(st.integers(0, 10_000), st.tuples(st.integers(1, 7), st.integers(1, 14), st.integers(1, 14)))
def test_foreground_and_seeds_equal_the_published_steps(seed, shape):
    random = np.random.default_rng(seed)
    heatmap = np.clip(120 + 200 * gaussian_filter(random.normal(size=shape), 1.2), 0, 255).astype(np.uint8)
    low, high, size, seed_size = random.integers(0, 120), random.integers(120, 256), *random.integers(0, 30, 2)
    sigma = random.choice([0.0, 1.0])
    theirs, components, seeds = published(heatmap, low, high, size, seed_size, sigma)
    options = {"min_size": size, "min_seed_size": seed_size, "sigma": sigma}
    ours = distance_watershed(heatmap, foreground=low / 255, seed=high / 255, **options)
    assert np.array_equal(ours > 0, theirs > 0)
    inside = (seeds > 0) & (components > 0)
    assert np.array_equal(renumbered(ours[inside]), renumbered(theirs[inside]))
    assert np.array_equal(np.unique(ours[ours > 0]), np.arange(1, ours.max() + 1))

    kept = distance_watershed(heatmap, foreground=low / 255, seed=high / 255, unseeded="keep", **options)
    assert np.array_equal(kept[ours > 0], ours[ours > 0])
    rest = drop_small(label((components > 0) & (ours == 0), connectivity=3), size)
    assert np.array_equal(renumbered(np.where(ours > 0, 0, kept)), renumbered(rest))
    assert kept.max() == ours.max() + np.unique(rest[rest > 0]).size


@given(st.integers(0, 10_000), st.sampled_from([0.0, 1.0]))
def test_flooding_follows_its_definition(seed, sigma):
    heatmap = hills((4, 18, 20), seed, 9)
    smooth, (_, components, seeds) = smooth_sections(heatmap, sigma), published(heatmap, 30, 130, 40, 5, sigma)
    expected = flood_by_heap(np.where(components > 0, smooth, 0), np.where(components > 0, renumbered(seeds), 0), 30)
    options = {"foreground": 30 / 255, "seed": 130 / 255, "min_size": 40, "min_seed_size": 5, "sigma": sigma}
    assert np.array_equal(distance_watershed(heatmap, **options), renumbered(expected))


def test_components_without_a_seed_are_lost_as_published_or_kept():
    heatmap = np.zeros((1, 20, 60), dtype=np.uint8)
    heatmap[:, 4:16, 4:16], heatmap[:, 4:16, 24:36], heatmap[:, 4:8, 44:48] = 240, 90, 90
    options = {"min_size": 100, "min_seed_size": 50}
    lost = distance_watershed(heatmap, **options)
    assert lost[0, 10, 10] == 1
    assert not lost[:, :, 20:].any()
    kept = distance_watershed(heatmap, unseeded="keep", **options)
    assert [kept[0, 10, x] for x in (10, 30)] == [1, 2]
    assert not kept[:, :, 42:].any(), "smaller than min_size"


def test_float_maps_planes_and_memory_orders():
    heatmap = hills((6, 40, 44), 1, 12)
    expected = distance_watershed(heatmap, min_size=50, min_seed_size=5)
    for given_map in (heatmap / 255, np.asfortranarray(heatmap), (heatmap / np.float32(255)).astype(np.float32)):
        assert np.array_equal(distance_watershed(given_map, min_size=50, min_seed_size=5), expected)
    heatmap.flags.writeable = False
    assert np.array_equal(distance_watershed(heatmap, min_size=50, min_seed_size=5), expected)
    plane = distance_watershed(heatmap[2], min_size=50, min_seed_size=5)
    assert np.array_equal(plane, distance_watershed(heatmap[2:3], min_size=50, min_seed_size=5)[0])


def test_more_objects_than_16_bits_hold():
    heatmap = np.zeros((1, 600, 600), dtype=np.uint8)
    heatmap[:, ::2, ::2] = 200
    labels = distance_watershed(heatmap, sigma=0, min_size=1, min_seed_size=1)
    assert labels.max() == 90_000
    assert np.array_equal(labels[:, ::2, ::2].ravel(), np.arange(1, 90_001))


def test_no_seams_between_sections():
    # One object through 230 sections: the published program labels chunks of 100.
    heatmap = np.full((230, 6, 6), 200, dtype=np.uint8)
    assert np.unique(distance_watershed(heatmap)).tolist() == [1]


def test_by_name_and_from_a_recipe():
    heatmap = hills((6, 40, 44), 1, 12)
    recipe = PostprocessingRecipe(method="distance_watershed", seed=0.7, min_size=50, min_seed_size=5, unseeded="keep")
    expected = distance_watershed(heatmap, seed=0.7, min_size=50, min_seed_size=5, unseeded="keep")
    prediction = np.stack([heatmap // 2, heatmap])
    found = segment(prediction, recipe.method, channels=["aux", "heatmap"], **recipe.parameters())
    assert expected.any()
    assert np.array_equal(found, expected)


GOOD = np.zeros((2, 3, 4), dtype=np.uint8)


@pytest.mark.parametrize(
    "heatmap, options, error, words",
    [
        (GOOD[:0], {}, ValueError, "empty"),
        (GOOD[0, 0], {}, ValueError, "axes"),
        (GOOD.astype(np.int32), {}, TypeError, "uint8"),
        (GOOD - 0.5, {}, ValueError, "probabilities"),
        (np.full(GOOD.shape, np.nan), {}, ValueError, "probabilities"),
        (GOOD, {"foreground": 16}, ValueError, "foreground"),
        (GOOD, {"seed": 150}, ValueError, "seed"),
        (GOOD, {"seed": 0.1, "foreground": 0.2}, ValueError, "seed must not lie below foreground"),
        (GOOD, {"min_size": -1}, ValueError, "min_size"),
        (GOOD, {"min_seed_size": 0.5}, TypeError, "min_seed_size"),
        (GOOD, {"sigma": -1}, ValueError, "sigma"),
        (GOOD, {"sigma": float("nan")}, ValueError, "sigma"),
        (GOOD, {"unseeded": "keeps"}, ValueError, "unseeded"),
    ],
)
def test_bad_input_stops_with_one_sentence(heatmap, options, error, words):
    with pytest.raises(error, match=words) as caught:
        distance_watershed(heatmap, **options)
    assert "\n" not in str(caught.value)


def test_memory_stays_below_eight_bytes_a_voxel():
    heatmap = np.tile(hills((8, 64, 64), 3, 30), (4, 4, 4))
    distance_watershed(heatmap[:1])
    tracemalloc.start()
    labels = distance_watershed(heatmap)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert labels.any()
    assert peak <= 8 * heatmap.size
