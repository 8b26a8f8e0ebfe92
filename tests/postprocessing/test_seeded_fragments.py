"""Seeded fragments against a composition of scipy and scikit-image, regional maxima against scikit-image, bad input."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import distance_transform_edt, gaussian_filter
from skimage.measure import label
from skimage.morphology import local_maxima
from skimage.segmentation import watershed

from emlib.postprocessing import seeded_fragments
from emlib.postprocessing.regional_maxima import label_regional_maxima


def regional_maxima(values):
    """scikit-image's, whose border is no neighbour and whose plateaus count once; a constant image is one maximum."""
    inner = (slice(1, -1),) * values.ndim
    padded = np.pad(values, 1, constant_values=values.min() - 1)
    return label(local_maxima(padded, connectivity=1)[inner] & (values > 0), connectivity=1)


def edges_before(maps):
    """Each voxel's edges to the voxel before it; in the first plane, where there is none, to the one after it."""
    maps = maps.astype(int)
    maps[0, 0], maps[1, :, 0], maps[2, :, :, 0] = maps[0, 1], maps[1, :, 1], maps[2, :, :, 1]
    return maps


def composition(maps, dimensions, threshold, sampling=(1, 1, 1)):
    """(fragments, seeds), each section or the volume by itself."""
    maps = edges_before(maps)
    sections = [maps] if dimensions == 3 else [maps[:, z] for z in range(maps.shape[1])]
    fragments, seeds, found = [], [], 0
    for section in sections:
        height = 255 - section[3 - dimensions :].sum(0) // dimensions
        inside = 1 - section[3 - dimensions :].mean(0) / 255 < threshold
        marked = regional_maxima(distance_transform_edt(inside, sampling=sampling[3 - dimensions :]))
        grown = watershed(height, marked, connectivity=1) if marked.any() else marked
        fragments.append(np.where(grown > 0, grown + found, 0))
        seeds.append(np.where(marked > 0, marked + found, 0))
        found += marked.max()
    shape = maps.shape[1:]
    return np.reshape(fragments, shape), np.reshape(seeds, shape)


def smooth_maps(shape, seed, channels=3):
    random = np.random.default_rng(seed)
    noise = gaussian_filter(random.normal(size=(channels, *shape)), (0, 0.5, 2, 2))
    return np.clip(150 + 90 * noise / noise.std(), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("dimensions", [2, 3])
@pytest.mark.parametrize("threshold", [0.5, 0.35])
def test_equals_the_composition_up_to_ties(dimensions, threshold):
    maps = smooth_maps((6, 90, 80), 4)
    ours = seeded_fragments(maps, dimensions=dimensions, threshold=threshold)
    theirs, seeds = composition(maps, dimensions, threshold)
    assert ours.dtype == np.uint32
    assert ours.min() == 1
    assert ours.max() == seeds.max() > 30
    assert np.array_equal(ours[seeds > 0], seeds[seeds > 0])
    # Of 8 to 50 voxels a fragment, many lie between two seeds at equal heights: there the order of the queue decides.
    assert np.mean(ours != theirs) <= 0.02


@settings(max_examples=40)
@given(st.integers(0, 10_000), st.tuples(*[st.integers(2, 9)] * 3), st.sampled_from([2, 3]))
def test_seeds_and_coverage_equal_the_composition(seed, shape, dimensions):
    maps = smooth_maps(shape, seed)
    ours = seeded_fragments(maps, dimensions=dimensions)
    theirs, seeds = composition(maps, dimensions, 0.5)
    assert np.array_equal(ours[seeds > 0], seeds[seeds > 0])
    assert np.array_equal(ours > 0, theirs > 0)
    assert np.array_equal(np.unique(ours), np.unique(theirs))
    for fragment in range(1, ours.max() + 1):
        assert label(ours == fragment, connectivity=1).max() == 1


def test_voxel_size_stretches_the_distance():
    maps = smooth_maps((7, 40, 40), 8)
    seeds = composition(maps, 3, 0.5, sampling=(30.0, 6.0, 6.0))[1]
    ours = seeded_fragments(maps, dimensions=3, voxel_size=(30, 6, 6))
    assert ours.max() == seeds.max()
    assert np.array_equal(ours[seeds > 0], seeds[seeds > 0])
    assert not np.array_equal(seeds > 0, composition(maps, 3, 0.5)[1] > 0)
    assert np.array_equal(
        seeded_fragments(maps, dimensions=3, voxel_size=(8, 8, 8)), seeded_fragments(maps, dimensions=3)
    )


def test_published_threshold_is_exclusive():
    maps = np.zeros((3, 1, 2, 9), dtype=np.uint8)
    maps[1:, :, :, :4], maps[1:, :, :, 5:] = 128, 127
    # h = 1 - 128/255 is below one half, h = 1 - 127/255 is not.
    assert (seeded_fragments(maps) == 1).all()
    maps[1:, :, :, :4] = 127
    assert not seeded_fragments(maps).any()


@pytest.mark.parametrize("dimensions", [2, 3])
def test_nothing_inside_is_background_and_nothing_outside_is_one_fragment(dimensions):
    maps = np.zeros((3, 3, 8, 8), dtype=np.uint8)
    assert not seeded_fragments(maps, dimensions=dimensions).any()
    maps[:] = 255
    found = seeded_fragments(maps, dimensions=dimensions)
    assert found[:, 0, 0].tolist() == ([1, 2, 3] if dimensions == 2 else [1, 1, 1])
    assert (found == found[:, :1, :1]).all()


def test_an_empty_section_does_not_take_ids_from_the_others():
    maps = smooth_maps((3, 30, 30), 2)
    maps[:, 1] = 0
    found = seeded_fragments(maps)
    assert not found[1].any()
    assert found[2].min() == found[0].max() + 1
    assert np.array_equal(np.unique(found[found > 0]), np.arange(1, found.max() + 1))


def test_each_section_stands_alone():
    maps = smooth_maps((4, 40, 40), 3)
    found = seeded_fragments(maps)
    for z in range(4):
        alone = seeded_fragments(maps[:, z : z + 1])[0]
        assert np.array_equal(found[z] - found[z].min() + 1, alone)


@pytest.mark.parametrize("shape", [(1, 1, 1), (4, 1, 1), (1, 1, 4)])
@pytest.mark.parametrize("dimensions", [2, 3])
def test_single_voxels_and_lines(shape, dimensions):
    found = seeded_fragments(np.full((3, *shape), 255, np.uint8), dimensions=dimensions)
    expected = np.arange(1, 5).reshape(4, 1, 1) if dimensions == 2 and shape == (4, 1, 1) else np.ones(shape)
    assert np.array_equal(found, expected)


def test_the_border_does_not_depend_on_what_a_missing_edge_holds():
    maps = smooth_maps((3, 30, 30), 5)
    expected = [seeded_fragments(maps, dimensions=dimensions) for dimensions in (2, 3)]
    for value in (0, 255):
        maps[0, 0], maps[1, :, 0], maps[2, :, :, 0] = value, value, value
        for dimensions, fragments in zip((2, 3), expected, strict=True):
            assert np.array_equal(seeded_fragments(maps, dimensions=dimensions), fragments)


def test_offsets_memory_order_and_type_do_not_matter():
    maps = smooth_maps((3, 30, 31), 6)
    expected = seeded_fragments(maps)
    wide = np.concatenate([smooth_maps((3, 30, 31), 7, 1), maps[::-1]])
    offsets = [(0, 0, -9), (0, 0, -1), (0, -1, 0), (-1, 0, 0)]
    frozen = maps.copy()
    frozen.flags.writeable = False
    for variant in (np.asfortranarray(maps), frozen, maps / 255, (maps / 255).astype(np.float32)):
        assert np.array_equal(seeded_fragments(variant), expected)
    assert np.array_equal(seeded_fragments(wide, offsets=offsets), expected)
    forward = np.zeros_like(maps)
    forward[0, :-1], forward[1, :, :-1], forward[2, :, :, :-1] = maps[0, 1:], maps[1, :, 1:], maps[2, :, :, 1:]
    assert np.array_equal(seeded_fragments(forward, offsets=[(1, 0, 0), (0, 1, 0), (0, 0, 1)]), expected)
    assert np.array_equal(frozen, maps)


def test_seeds_near_the_boundary_can_be_ignored():
    maps = np.zeros((3, 1, 11, 40), dtype=np.uint8)
    maps[:, :, 1:10, 2:11] = 255
    maps[:, :, 4:7, 14:38] = 255
    assert seeded_fragments(maps).max() == 2
    assert (seeded_fragments(maps, min_seed_distance=3) == 1).all()
    assert seeded_fragments(maps, min_seed_distance=2).max() == 2
    assert (seeded_fragments(maps, min_seed_distance=12, voxel_size=(30, 6, 6)) > 0).all()
    assert seeded_fragments(maps, min_seed_distance=12.5, voxel_size=(30, 6, 6)).max() == 1
    assert not seeded_fragments(maps, min_seed_distance=6).any()


@settings(max_examples=200)
@given(st.integers(0, 10_000), st.tuples(*[st.integers(1, 8)] * 3), st.integers(1, 6))
def test_regional_maxima_equal_scikit_image(seed, shape, values):
    heights = np.random.default_rng(seed).integers(0, values + 1, shape).astype(np.float32)
    labels = np.zeros(shape, dtype=np.uint32)
    expected = regional_maxima(heights)
    assert label_regional_maxima(heights, labels) == expected.max()
    assert np.array_equal(labels, expected)


@pytest.mark.parametrize("dtype", [np.uint32, np.uint64])
def test_regional_maxima_of_a_large_plateau_beside_something_higher(dtype):
    heights = np.full((5, 60, 60), 7, dtype=np.float32)
    labels = np.zeros(heights.shape, dtype=dtype)
    assert label_regional_maxima(heights, labels, first=10) == 1
    assert (labels == 10).all()
    heights[4, 59, 59] = 8
    labels[:] = 0
    assert label_regional_maxima(heights, labels, first=10) == 1
    assert labels[4, 59, 59] == 10
    assert np.count_nonzero(labels) == 1


GOOD = np.zeros((3, 2, 3, 4), dtype=np.uint8)


@pytest.mark.parametrize(
    "maps, options, error, words",
    [
        (GOOD[0], {}, ValueError, "axes"),
        (GOOD[:, :0], {}, ValueError, "empty"),
        (GOOD[:2], {}, ValueError, "2 channels"),
        (GOOD.astype(np.int32), {}, TypeError, "uint8"),
        (np.full(GOOD.shape, np.nan), {}, ValueError, "probabilities"),
        (np.full(GOOD.shape, 255.0), {}, ValueError, "uint8 for 0-255"),
        (GOOD, {"offsets": [(-1, 0, 0), (0, -1, 0)]}, ValueError, "2 offsets"),
        (GOOD, {"offsets": [(-1, 0, 0), (0, -1, 0), (0, 0, -2)]}, ValueError, "nearest"),
        (GOOD, {"dimensions": 1}, ValueError, "dimensions"),
        (GOOD, {"threshold": 1.5}, ValueError, "threshold"),
        (GOOD, {"threshold": float("nan")}, ValueError, "threshold"),
        (GOOD, {"threshold": "0.5"}, TypeError, "threshold"),
        (GOOD, {"min_seed_distance": -1}, ValueError, "min_seed_distance"),
        (GOOD, {"min_seed_distance": float("nan")}, ValueError, "min_seed_distance"),
        (GOOD, {"voxel_size": (1, 0, 1)}, ValueError, "voxel_size"),
        (GOOD, {"voxel_size": 8}, ValueError, "voxel_size"),
    ],
)
def test_bad_input_stops_with_one_sentence(maps, options, error, words):
    with pytest.raises(error, match=words) as caught:
        seeded_fragments(maps, **options)
    assert "\n" not in str(caught.value)
