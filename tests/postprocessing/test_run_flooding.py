"""Objects as runs: components against scipy, and the watershed of single components against that of the volume."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter, label

from emlib.postprocessing import distance_watershed
from emlib.postprocessing.block_watershed import touching_pairs, watershed_of_block
from emlib.postprocessing.components import label_components
from emlib.postprocessing.distance_watershed import watershed_rules
from emlib.postprocessing.run_flooding import watershed_of_runs
from emlib.postprocessing.voxel_runs import VoxelRuns, join_runs, reorder, runs_of

SHAPES = st.tuples(*(st.integers(1, 11),) * 3)


@given(SHAPES, st.integers(0, 999), st.sampled_from([0.0, 0.1, 0.3, 0.5, 0.8, 1.0]), st.sampled_from([6, 26]))
def test_components_are_those_of_scipy(shape, seed, share, connectivity):
    mask = np.random.default_rng(seed).random(shape) < share
    expected, count = label(mask, np.ones((3, 3, 3)) if connectivity == 26 else None)
    runs = runs_of(mask)
    for one in (runs, runs.cropped()):
        found, number = one.components(connectivity)
        assert number == count
        np.testing.assert_array_equal(np.repeat(found + 1, one.stops - one.starts), expected[mask])
    assert runs.size == mask.sum()
    with pytest.raises(ValueError, match="connectivity must be 6 or 26, got 18"):
        runs.components(18)


@given(SHAPES, st.integers(0, 999), st.integers(1, 10), st.integers(1, 10))
def test_parts_are_joined_and_values_follow_their_voxels(shape, seed, y, x):
    random = np.random.default_rng(seed)
    mask, values = random.random(shape) < 0.6, random.integers(0, 256, shape).astype(np.uint8)
    parts, held = [], []
    for rows in (slice(0, y), slice(y, None)):
        for columns in (slice(0, x), slice(x, None)):
            part = np.zeros_like(mask)
            part[:, rows, columns] = mask[:, rows, columns]
            parts.append(runs_of(part))
            held.append(values[part])
    runs, begins, lengths = join_runs(parts)
    expected = runs_of(mask)
    for name in ("rows", "starts", "stops"):
        np.testing.assert_array_equal(getattr(runs, name), getattr(expected, name))
    together, ordered = np.concatenate(held), np.zeros(mask.sum(), np.uint8)
    reorder(together, begins, lengths, ordered, False)
    np.testing.assert_array_equal(ordered, values[mask])
    back = np.zeros_like(together)
    reorder(back, begins, lengths, ordered, True)
    np.testing.assert_array_equal(back, together)


@st.composite
def maps(draw):
    """Levels with plateaus and ties, and parameters."""
    shape = draw(SHAPES)
    noise = gaussian_filter(np.random.default_rng(draw(st.integers(0, 999))).random(shape), draw(st.floats(0.5, 1.5)))
    noise = (noise - noise.min()) / max(np.ptp(noise), 1e-9)
    steps = draw(st.sampled_from([255, 9, 3]))
    low, high = sorted(draw(st.tuples(st.floats(0, 0.8), st.floats(0, 0.8))))
    return (np.floor(noise * steps) * (255 // steps)).astype(np.uint8), {
        "foreground": low, "seed": high, "min_size": draw(st.integers(0, 20)), "min_seed_size": draw(st.integers(0, 4)),
        "sigma": 0, "unseeded": draw(st.sampled_from(["drop", "keep"])),
    }  # fmt: skip


@given(maps())
def test_each_component_alone_is_flooded_as_in_the_volume(case):
    levels, parameters = case
    rules = watershed_rules(**parameters)
    components, count = label_components(levels > rules.lowest, 26)
    objects, found = [], []
    for number in range(1, count + 1):
        mask = components == number
        if mask.sum() >= rules.min_size:
            one = watershed_of_runs(runs_of(mask), levels[mask], rules)
            places = np.flatnonzero(mask)[one.first]
            objects += [(place >= one.seeded, at, len(found), place + 1) for place, at in enumerate(places)]
            found.append((mask, one.labels))
    joined = np.zeros(levels.shape, np.uint32)
    for number, (_, _, component, object_) in enumerate(sorted(objects), 1):
        mask, labels = found[component]
        joined[mask] = np.where(labels == object_, number, joined[mask])
    np.testing.assert_array_equal(joined, distance_watershed(levels, **parameters))


@given(maps(), st.integers(1, 10))
def test_what_a_block_finishes_is_final_and_the_rest_is_set_aside(case, cut):
    levels, parameters = case
    rules = watershed_rules(**parameters)
    whole = distance_watershed(levels, **parameters)
    part = levels[:cut]
    found = watershed_of_block(part.copy(), rules, (0, 0, 0), levels.shape)
    components, _ = label_components(part > rules.lowest, 26)
    reaching = np.unique(components[-1])[np.unique(components[-1]) > 0] if cut < len(levels) else []
    assert len(found.pieces) == len(reaching)
    aside = found.labels > found.first.size
    np.testing.assert_array_equal(aside, np.isin(components, reaching))
    assert found.pieces.runs.size == aside.sum() == found.pieces.levels.size
    np.testing.assert_array_equal((found.labels > 0) & ~aside, (whole[:cut] > 0) & ~aside)
    inside = found.labels[~aside]
    assert len(np.unique(np.stack([inside, whole[:cut][~aside]]), axis=1).T) == len(np.unique(inside))


@given(SHAPES, st.integers(0, 99))
def test_planes_are_linked_as_in_a_volume_of_both(shape, seed):
    planes = np.random.default_rng(seed).random((2, *shape[1:])) < 0.4
    near, far = (np.arange(1, plane.size + 1).reshape(plane.shape) * plane for plane in planes)
    pairs = touching_pairs(near.astype(np.uint64), far.astype(np.uint64))
    expected = [
        (a, b)
        for (y, x), a in np.ndenumerate(near)
        for (j, i), b in np.ndenumerate(far)
        if a and b and abs(y - j) < 2 and abs(x - i) < 2
    ]
    assert sorted(map(tuple, pairs.tolist())) == sorted(expected)


def test_nothing_is_an_object_too():
    runs = VoxelRuns(np.empty(0, np.int64), np.empty(0, np.int32), np.empty(0, np.int32), 4)
    assert runs.cropped() is runs
    assert runs.components(26)[1] == runs.size == 0
