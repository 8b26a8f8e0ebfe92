"""Affinities to neurons in one call: the same as its steps, called by hand."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from emlib.postprocessing import (
    affinity_agglomeration,
    affinity_fragments,
    agglomerate_affinities,
    relabel_sequential,
    remove_small_objects,
    seeded_fragments,
)

noise = gaussian_filter(np.random.default_rng(7).normal(size=(3, 6, 40, 40)), (0, 0.7, 1.5, 1.5))
MAPS = np.clip(140 + 90 * noise / noise.std(), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("dimensions", [2, 3])
@pytest.mark.parametrize("seeded", [False, True])
@pytest.mark.parametrize("scoring, threshold", [("mean", 0.4), ("aff50_his256", 0.15)])
def test_equals_its_steps(dimensions, seeded, scoring, threshold):
    fragments = (seeded_fragments if seeded else affinity_fragments)(MAPS, dimensions=dimensions)
    (labels,) = agglomerate_affinities(MAPS, thresholds=[threshold], scoring=scoring, fragments=fragments)
    options = {"scoring": scoring, "threshold": threshold, "fragment_dimensions": dimensions, "seeded": seeded}
    assert 1 < np.unique(labels).size < np.unique(fragments).size
    assert np.array_equal(affinity_agglomeration(MAPS, **options), labels)
    expected = relabel_sequential(remove_small_objects(labels, 100))
    assert not np.array_equal(expected, labels)
    assert np.array_equal(affinity_agglomeration(MAPS / 255, min_size=100, **options), expected)


def test_several_thresholds_are_one_call_of_the_other_function():
    for threshold, labels in zip((0.1, 0.3), agglomerate_affinities(MAPS, thresholds=[0.1, 0.3]), strict=True):
        assert np.array_equal(affinity_agglomeration(MAPS, threshold=threshold), labels)


def test_nothing_inside_and_one_voxel():
    assert not affinity_agglomeration(np.zeros((3, 2, 4, 4)), min_size=3).any()
    for seeded in (False, True):
        assert affinity_agglomeration(np.ones((3, 1, 1, 1)), seeded=seeded, min_size=2).tolist() == [[[0]]]


@pytest.mark.parametrize(
    "maps, options, error, words",
    [
        (MAPS[:2], {}, ValueError, "2 channels"),
        (np.full((3, 1, 2, 2), np.nan), {"seeded": True}, ValueError, "probabilities"),
        (np.full((3, 1, 2, 2), 255.0), {}, ValueError, "uint8 for 0-255"),
        (MAPS, {"threshold": 1.1}, ValueError, "threshold"),
        (MAPS, {"scoring": "median"}, ValueError, "median"),
        (MAPS, {"fragment_dimensions": 1}, ValueError, "dimensions"),
        (MAPS, {"min_size": 0.5}, TypeError, "min_size"),
        (MAPS, {"offsets": [(-1, 0, 0), (0, -1, 0), (0, 0, -2)]}, ValueError, "nearest"),
    ],
)
def test_bad_input_stops_with_one_sentence(maps, options, error, words):
    with pytest.raises(error, match=words) as caught:
        affinity_agglomeration(maps, **options)
    assert "\n" not in str(caught.value)
