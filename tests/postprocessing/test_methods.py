"""The table of methods: every entry works by name, and misspelt names are explained."""

import numpy as np
import pytest
from oracles.volumes import small_volume

from emlib.postprocessing import SEGMENTATION_METHODS, contour_watershed, segment


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
    ],
)
def test_mistakes_are_named(arguments, options, error, words):
    with pytest.raises(error, match=words):
        segment(*arguments, **options)
