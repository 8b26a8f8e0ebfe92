"""The table of methods: every entry works by name, and misspelt names are explained."""

import numpy as np
import pytest
from oracles.volumes import small_volume
from scipy.ndimage import gaussian_filter

from emlib.postprocessing import (
    SEGMENTATION_METHODS,
    affinity_agglomeration,
    contour_watershed,
    mutex_watershed,
    segment,
    zwatershed,
)
from emlib.volume import Volume, open_volume, save_volume


def test_every_method_of_the_table_segments_the_small_volume():
    _, mask, contour, _ = small_volume()
    maps = {"mask": mask, "contour": contour, "other": np.zeros_like(mask)}
    names = ["other", "contour", "mask"]
    prediction = np.stack([maps[name] for name in names])
    for name in ("contour_watershed", "contour_components", "mask_watershed", "mask_components"):
        method = SEGMENTATION_METHODS[name]
        expected = method.function(*(maps[channel] for channel in method.channels), min_size=50)
        assert expected.any()
        assert np.array_equal(segment(prediction, name, channels=names, min_size=50), expected)


def test_channels_without_names_are_taken_in_order():
    _, mask, contour, _ = small_volume()
    expected = contour_watershed(mask, contour)
    assert np.array_equal(segment(np.stack([mask, contour])), expected)
    assert not np.array_equal(segment(np.stack([contour, mask])), expected)


def test_planes_are_accepted():
    _, mask, contour, _ = small_volume()
    assert segment(np.stack([mask[2], contour[2]]), min_size=10).shape == mask.shape[1:]


OFFSETS = [(-1, 0, 0), (0, -1, 0), (0, 0, -1), (0, -4, 0), (0, 0, -4)]


def smooth_affinities(channels, seed=0):
    noise = gaussian_filter(np.random.default_rng(seed).normal(size=(channels, 4, 24, 26)), (0, 0.7, 1.5, 1.5))
    return np.clip(140 + 90 * noise / noise.std(), 0, 255).astype(np.uint8)


@pytest.mark.parametrize(
    "name, function, parameters, count",
    [
        ("affinity_agglomeration", affinity_agglomeration, {"threshold": 0.4, "min_size": 5}, 3),
        ("affinity_agglomeration", affinity_agglomeration, {"offsets": OFFSETS, "seeded": True, "threshold": 0.1}, 5),
        ("mutex_watershed", mutex_watershed, {"offsets": OFFSETS, "min_size": 4}, 5),
        ("zwatershed", zwatershed, {"size_threshold": 40, "dust_size": 9}, 3),
    ],
)
def test_methods_on_affinities_take_the_numbered_channels_in_their_order(name, function, parameters, count, tmp_path):
    maps = smooth_affinities(count)
    expected = function(maps, **parameters)
    assert np.unique(expected).size > 2
    assert np.array_equal(segment(maps, name, **parameters), expected)
    names = [f"affinity_{index}" for index in range(count)]
    assert np.array_equal(segment(maps, name, channels=names, **parameters), expected)
    # Between other channels, in another order, in memory and in a file.
    order = [count - 1, *range(count - 1)]
    for chosen in (range(count), order):
        mixed = np.stack([maps[0] // 2, *maps[list(chosen)], maps[0]])
        channels = ["mask", *(names[index] for index in chosen), "affinity_mask"]
        save_volume(tmp_path / "prediction.zarr", mixed, axes="czyx", overwrite=True)
        for prediction in (mixed, Volume(mixed, axes="czyx"), open_volume(tmp_path / "prediction.zarr")):
            assert np.array_equal(segment(prediction, name, channels=channels, **parameters), expected)


@pytest.mark.parametrize("order", [[0, 1, 2, 3], [3, 1, 0, 2]])
def test_embeddings_in_a_file_are_clustered_as_in_memory(order, tmp_path):
    generator = np.random.default_rng(8)
    truth = np.zeros((3, 12, 14), np.int64)
    truth[:, 1:6, 1:6], truth[:, 6:11, 3:12] = 1, 2
    vectors = np.moveaxis((generator.normal(size=(3, 4)) * 6)[truth], -1, 0).astype(np.float32)
    expected = segment(np.stack([*vectors, truth > 0]).astype(np.float32), "embedding_clusters", bandwidth=1.0)
    assert sorted(np.unique(expected)) == [0, 1, 2]
    mixed = np.stack([truth > 0, *vectors[order]]).astype(np.float16)
    channels = ["mask", *(f"embedding_{number}" for number in order)]
    save_volume(tmp_path / "prediction.zarr", mixed, axes="czyx")
    for prediction in (mixed, Volume(mixed, axes="czyx"), open_volume(tmp_path / "prediction.zarr")):
        found = segment(prediction, "embedding_clusters", channels=channels, bandwidth=1.0)
        np.testing.assert_array_equal(found, expected)


def test_a_single_affinity_needs_no_number():
    maps = smooth_affinities(2)
    expected = mutex_watershed(maps[1:], offsets=OFFSETS[2:3], attractive=1)
    found = segment(maps, "mutex_watershed", channels=["mask", "affinity"], offsets=OFFSETS[2:3], attractive=1)
    assert np.array_equal(found, expected)


class Recorded:
    """An array in a "file" that notes which channels are read."""

    path = "somewhere"

    def __init__(self, array):
        self.array, self.shape, self.dtype, self.read = array, array.shape, array.dtype, set()

    def __getitem__(self, key):
        self.read.add(key[0] if isinstance(key, tuple) else key)
        return self.array[key]


def test_only_the_channels_that_are_needed_are_read():
    maps = smooth_affinities(6)
    channels = ["mask", *(f"affinity_{index}" for index in range(5))]
    arguments = {"size_threshold": 40, "dust_size": 9, "offsets": OFFSETS}
    prediction = Recorded(maps)
    expected = zwatershed(maps[1:4], size_threshold=40, dust_size=9)
    assert np.array_equal(segment(prediction, "zwatershed", channels=channels, **arguments), expected)
    assert prediction.read == {1, 2, 3}
    prediction = Recorded(maps)
    segment(prediction, "mutex_watershed", channels=channels, offsets=OFFSETS)
    assert prediction.read == {1, 2, 3, 4, 5}


PREDICTION = np.zeros((2, 1, 2, 2), dtype=np.uint8)


@pytest.mark.parametrize(
    "arguments, options, error, words",
    [
        ((PREDICTION, "contour_watersheds"), {}, ValueError, "did you mean 'contour_watershed'"),
        ((PREDICTION,), {"seed_masks": 0.5}, TypeError, "did you mean 'seed_mask'"),
        ((PREDICTION,), {"channels": ["mask", "contours"]}, ValueError, "did you mean 'contours'"),
        ((PREDICTION,), {"channels": ["mask", "mask"]}, ValueError, "mask"),
        ((PREDICTION,), {"channels": ["mask"]}, ValueError, "2 channels but 1 names"),
        ((PREDICTION[:1],), {}, ValueError, "mask and contour"),
        ((PREDICTION[0, 0],), {}, ValueError, "axes"),
        ((PREDICTION,), {"foreground": 2}, ValueError, "foreground"),
        ((PREDICTION, "zwatersheds"), {}, ValueError, "did you mean 'zwatershed'"),
        ((PREDICTION, "zwatershed"), {"dust": 3}, TypeError, "did you mean 'dust_size'"),
        ((PREDICTION, "zwatershed"), {}, ValueError, "2 channels"),
        ((PREDICTION, "zwatershed"), {"channels": ["mask", "affinities"]}, ValueError, "did you mean 'affinities'"),
        ((PREDICTION, "zwatershed"), {"channels": ["affinity_0", "affinity_2"]}, ValueError, "gap"),
        ((PREDICTION, "zwatershed"), {"channels": ["affinity_0", "affinity_0"]}, ValueError, "once each"),
        ((PREDICTION, "zwatershed"), {"channels": ["affinity_0"]}, ValueError, "2 channels but 1 names"),
        ((PREDICTION, "mutex_watershed"), {}, TypeError, "offsets"),
        ((PREDICTION[:, 0], "mutex_watershed"), {"offsets": OFFSETS[:2]}, ValueError, "axes"),
        ((PREDICTION, "mutex_watershed"), {"offsets": OFFSETS}, ValueError, "5 offsets"),
    ],
)
def test_mistakes_are_named(arguments, options, error, words):
    with pytest.raises(error, match=words):
        segment(*arguments, **options)
