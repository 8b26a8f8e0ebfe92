"""Contour watershed and components against scikit-image, plain loops, and bad input."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from oracles.flooding import flood_by_heap
from oracles.volumes import small_volume
from skimage.measure import label
from skimage.morphology import dilation
from skimage.segmentation import watershed

from emlib.postprocessing import contour_components, contour_watershed, mask_components, mask_watershed
from emlib.postprocessing.flooding import flood_from_seeds
from emlib.postprocessing.probabilities import as_grey_levels


def drop_small(labels, min_size):
    sizes = np.bincount(labels.ravel())
    return np.where((sizes >= min_size)[labels], labels, 0)


def reference_watershed(mask, contour, min_size=128, t1=0.9, t2=0.8, t3=0.85):
    seeds = label((mask > int(255 * t1)) & (contour < int(255 * t2)))
    return drop_small(watershed(-mask.astype(int), seeds, mask=mask > int(255 * t3)), min_size)


def same_partition(first, second):
    pairs = np.unique(np.stack([first.ravel(), second.ravel()]), axis=1)
    return all(np.unique(ids).size == ids.size for ids in pairs)


def random_maps(shape, seed):
    random = np.random.default_rng(seed)
    coarse = random.normal(size=[-(-length // 4) for length in shape])
    smooth = np.kron(coarse, np.ones((4,) * len(shape)))[tuple(map(slice, shape))]
    mask = np.clip(230 + 25 * smooth + random.normal(0, 8, shape), 0, 255).astype(np.uint8)
    contour = np.clip(random.normal(150, 60, shape), 0, 255).astype(np.uint8)
    return mask, contour


def test_small_volume_equals_scikit_image_up_to_ties():
    _, mask, contour, _ = small_volume()
    for min_size in (0, 128, 500):
        ours, theirs = contour_watershed(mask, contour, min_size=min_size), reference_watershed(mask, contour, min_size)
        assert np.array_equal(ours > 0, theirs > 0)
        ids = np.unique(theirs[theirs > 0])
        assert np.array_equal(np.unique(ours[ours > 0]), np.arange(1, ids.size + 1))
        renumbered = np.searchsorted(np.concatenate([[0], ids]), theirs)
        assert np.mean(ours[ours > 0] != renumbered[ours > 0]) <= 0.001


@given(st.integers(0, 10_000), st.tuples(st.integers(1, 9), st.integers(1, 14), st.integers(1, 14)))
def test_foreground_equals_scikit_images(seed, shape):
    mask, contour = random_maps(shape, seed)
    ours, theirs = contour_watershed(mask, contour, min_size=0), reference_watershed(mask, contour, 0)
    assert np.array_equal(ours > 0, theirs > 0)
    seeds = (mask > 229) & (contour < 204)
    assert np.array_equal(ours[seeds], theirs[seeds])


def test_few_voxels_differ_from_scikit_image_on_touching_objects():
    random = np.random.default_rng(5)
    centres = random.uniform(0, (16, 96, 96), (80, 3)) * (3, 1, 1)
    voxels = np.moveaxis(np.indices((16, 96, 96)), 0, -1) * (3, 1, 1)
    distances = np.sort(np.linalg.norm(voxels[..., None, :] - centres, axis=-1), axis=-1)
    mask = np.rint(255 / (1 + np.exp((distances[..., 0] - 22) / 6))).astype(np.uint8)
    contour = np.rint(255 * np.exp(-(((distances[..., 1] - distances[..., 0]) / 4) ** 2))).astype(np.uint8)
    ours, theirs = contour_watershed(mask, contour, min_size=0), reference_watershed(mask, contour, 0)
    assert ours.max() > 15
    assert np.mean(ours[theirs > 0] != theirs[theirs > 0]) <= 0.001


@given(st.integers(0, 10_000), st.sampled_from([np.uint32, np.uint64]))
def test_flood_equals_a_heap(seed, dtype):
    random = np.random.default_rng(seed)
    shape = tuple(random.integers(1, 9, 3))
    levels = random.integers(0, 6, shape).astype(np.uint8)
    labels = np.where(random.random(shape) < 0.1, random.integers(1, 2**31, shape), 0).astype(dtype)
    expected = flood_by_heap(levels, labels, 1)
    flood_from_seeds(levels, labels, 1)
    assert labels.dtype == dtype
    assert np.array_equal(labels, expected)


def test_flood_with_more_in_the_queue_than_it_starts_with():
    # One seed voxel in a plateau: the front grows to far more than the first blocks hold.
    levels = np.full((90, 90, 90), 200, dtype=np.uint8)
    levels[45:, :, :] = np.random.default_rng(0).integers(1, 255, (45, 90, 90))
    labels = np.zeros(levels.shape, dtype=np.uint32)
    labels[45, 45, 45], labels[0, 0, 0] = 7, 9
    theirs = watershed(-levels.astype(int), labels, mask=levels > 0)
    flood_from_seeds(levels, labels, 0)
    assert labels.all()
    assert np.mean(labels != theirs) <= 0.001


def test_ids_above_65535_are_kept_apart():
    mask = np.zeros((4, 600, 600), dtype=np.uint8)
    mask[::3, ::2, ::2] = 255
    labels = contour_watershed(mask, np.zeros_like(mask), min_size=1)
    assert labels.max() == 2 * 300 * 300
    assert np.array_equal(labels[mask > 0], np.arange(1, 180001))


def test_seed_outside_the_foreground_is_dropped():
    mask = np.array([[[250, 220, 250, 0, 220]]], dtype=np.uint8)
    labels = contour_watershed(mask, np.zeros_like(mask), seed_mask=0.8, foreground=0.9, min_size=0)
    assert labels.tolist() == [[[1, 0, 1, 0, 0]]]
    theirs = reference_watershed(mask, np.zeros_like(mask), 0, 0.8, 0.8, 0.9)
    assert np.array_equal(labels, theirs)


def test_small_seeds_are_ignored_and_their_foreground_goes_to_the_others():
    mask = np.full((1, 1, 8), 255, dtype=np.uint8)
    contour = np.array([[[0, 0, 0, 255, 255, 0, 255, 255]]], dtype=np.uint8)
    assert contour_watershed(mask, contour, min_size=0).max() == 2
    assert contour_watershed(mask, contour, min_size=0, min_seed_size=2).tolist() == [[[1] * 8]]


def test_object_of_exactly_min_size_stays():
    mask = np.array([[255, 255, 255, 0, 255, 255]], dtype=np.uint8)
    assert contour_watershed(mask, np.zeros_like(mask), min_size=3).tolist() == [[1, 1, 1, 0, 0, 0]]
    assert contour_watershed(mask, np.zeros_like(mask), min_size=4).max() == 0


@pytest.mark.parametrize("function", [contour_watershed, contour_components])
def test_memory_order_strides_and_type_do_not_matter(function):
    _, mask, contour, _ = small_volume()
    expected = function(mask, contour)
    assert expected.max() >= 2
    wide = np.zeros((*mask.shape[:2], 2 * mask.shape[2]), dtype=np.uint8)
    wide[:, :, ::2] = mask
    frozen = mask.copy()
    frozen.flags.writeable = False
    for variant in (np.asfortranarray(mask), wide[:, :, ::2], frozen, mask / 255, (mask / 255).astype(np.float32)):
        assert np.array_equal(function(variant, np.asfortranarray(contour)), expected)
        assert np.array_equal(function(variant, contour), expected)


@pytest.mark.parametrize("function", [contour_watershed, contour_components])
def test_plane_equals_volume_of_one_plane_and_input_is_untouched(function):
    _, mask, contour, _ = small_volume()
    before = mask.copy(), contour.copy()
    plane = function(mask[3], contour[3], min_size=20)
    assert np.array_equal(plane, function(mask[3:4], contour[3:4], min_size=20)[0])
    assert np.array_equal(before[0], mask)
    assert np.array_equal(before[1], contour)


def test_no_seed_gives_background_only():
    empty = np.zeros((3, 4, 5), dtype=np.uint8)
    labels = contour_watershed(empty, empty)
    assert labels.dtype == np.uint32
    assert not labels.any()


@given(st.integers(0, 10_000), st.sampled_from([(1, 5, 5), (1, 1, 1), (3, 3, 5), (1, 7, 7)]))
def test_components_equal_scikit_image(seed, box):
    mask, contour = random_maps((5, 13, 17), seed)
    mask[mask < 228] = 0
    labels = label((mask > int(255 * 0.8)) & (contour < int(255 * 0.5)))
    expected = drop_small(dilation(labels, np.ones(box)), 6)
    ours = contour_components(mask, contour, min_size=6, dilation=box)
    assert np.array_equal(ours > 0, expected > 0)
    assert np.array_equal(ours, np.searchsorted(np.unique(np.append(expected, 0)), expected))


def test_largest_id_wins_the_dilation():
    mask = np.full((1, 1, 7), 255, dtype=np.uint8)
    contour = np.array([[[0, 0, 255, 0, 0, 0, 0]]], dtype=np.uint8)
    labels = contour_components(mask, contour, min_size=1, dilation=(1, 5, 5))
    assert labels.tolist() == [[[1, 2, 2, 2, 2, 2, 2]]]


def test_six_connected_components_split_what_touches_at_a_corner():
    mask = np.array([[255, 0], [0, 255]], dtype=np.uint8)
    arguments = {"min_size": 1, "dilation": (1, 1, 1)}
    assert contour_components(mask, np.zeros_like(mask), connectivity=26, **arguments).max() == 1
    assert contour_components(mask, np.zeros_like(mask), connectivity=6, **arguments).max() == 2


def test_mask_methods_equal_scikit_image():
    _, mask, _, _ = small_volume()
    assert np.array_equal(mask_components(mask, threshold=0.99), label(mask > int(255 * 0.99)))
    theirs = watershed(-mask.astype(int), label(mask > int(255 * 0.98)), mask=mask > int(255 * 0.85))
    assert same_partition(mask_watershed(mask, min_size=0) > 0, theirs > 0)
    assert mask_watershed(mask, min_size=0).max() == theirs.max()


@given(hnp.arrays(np.float32, (2, 3, 4), elements=st.floats(0, 1, width=32)))
def test_floats_are_quantised_downwards(values):
    assert np.array_equal(as_grey_levels(values, "mask"), np.floor(values * np.float32(255)))


def test_uint8_written_as_float_comes_back():
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    for dtype in (np.float32, np.float64):
        assert np.array_equal(as_grey_levels((levels / 255).astype(dtype), "mask"), levels)


GOOD = np.zeros((2, 3, 4), dtype=np.uint8)


@pytest.mark.parametrize(
    "mask, options, error, words",
    [
        (GOOD[:, :2], {}, ValueError, "same shape"),
        (GOOD[:0], {}, ValueError, "empty"),
        (GOOD[0, 0], {}, ValueError, "axes"),
        (GOOD.astype(np.int32), {}, TypeError, "uint8"),
        (GOOD > 0, {}, TypeError, "uint8"),
        (np.full(GOOD.shape, np.nan), {}, ValueError, "probabilities"),
        (np.full(GOOD.shape, 255.0), {}, ValueError, "uint8 for 0-255"),
        (GOOD - 0.5, {}, ValueError, "probabilities"),
        (GOOD, {"seed_mask": 230}, ValueError, "seed_mask"),
        (GOOD, {"seed_contour": -0.1}, ValueError, "seed_contour"),
        (GOOD, {"foreground": float("nan")}, ValueError, "foreground"),
        (GOOD, {"foreground": "0.5"}, TypeError, "foreground"),
        (GOOD, {"min_size": -1}, ValueError, "min_size"),
        (GOOD, {"min_size": 1.5}, TypeError, "min_size"),
        (GOOD, {"min_seed_size": None}, TypeError, "min_seed_size"),
    ],
)
def test_bad_input_stops_with_one_sentence(mask, options, error, words):
    with pytest.raises(error, match=words) as caught:
        contour_watershed(mask, GOOD, **options)
    assert str(caught.value).count("\n") == 0


@pytest.mark.parametrize(
    "options", [{"dilation": (1, 4, 5)}, {"dilation": 5}, {"dilation": (5, 5)}, {"connectivity": 8}]
)
def test_bad_options_of_components(options):
    with pytest.raises(ValueError, match="|".join(options)):
        contour_components(GOOD, GOOD, **options)


def test_memory_stays_below_six_bytes_a_voxel():
    # Noise: most seed voxels border on something to flood, which makes the longest queue.
    mask, contour = random_maps((24, 256, 256), 1)
    contour_watershed(mask[:1], contour[:1])
    tracemalloc.start()
    labels = contour_watershed(mask, contour)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert labels.any()
    assert peak <= 6 * mask.size
