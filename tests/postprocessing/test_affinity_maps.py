"""The door for affinities: levels, offsets, lazy sources, refusals."""

import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from emlib.postprocessing import affinity_maps
from emlib.postprocessing.affinity_maps import fragment_levels
from emlib.volume import Volume, open_volume, save_volume

NEAREST = [(-1, 0, 0), (0, -1, 0), (0, 0, -1)]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_levels_written_as_floats_come_back(dtype):
    levels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)
    read = affinity_maps(np.stack([(levels / 255).astype(dtype)] * 3)).read()
    assert all(np.array_equal(channel, levels) for channel in read)


@given(hnp.arrays(np.float32, (3, 2, 2, 3), elements=st.floats(0, 1, width=32)))
def test_floats_are_truncated_with_a_sixteenth_of_tolerance(values):
    for channel, levels in zip(values, affinity_maps(values).read(), strict=True):
        assert np.array_equal(levels, np.floor(channel * np.float32(255) + np.float32(1 / 16)))


def test_contiguous_uint8_is_not_copied():
    values = np.zeros((3, 2, 3, 4), dtype=np.uint8)
    for source in (values, Volume(values)):
        assert all(np.shares_memory(channel, values) for channel in affinity_maps(source).read())


def full_edges(shape, seed):
    """The edges along each axis, with zeros where there is no voxel before."""
    values = np.random.default_rng(seed).integers(0, 256, (3, *shape)).astype(np.uint8)
    values[0, 0], values[1, :, 0], values[2, :, :, 0] = 0, 0, 0
    return values


@given(st.integers(0, 10**6), st.lists(st.booleans(), min_size=3, max_size=3), st.permutations(range(5)))
def test_nearest_channels_are_found_among_others_in_either_direction(seed, forward, order):
    random = np.random.default_rng(seed)
    shape = tuple(random.integers(1, 5, 3))
    edges = full_edges(shape, seed)
    channels, offsets = [], []
    for axis, turned in enumerate(forward):
        # Stored at the other end: shifted by one voxel against the axis.
        channels.append(np.roll(edges[axis], -1, axis=axis) if turned else edges[axis])
        offsets.append(tuple((1 if turned else -1) * (place == axis) for place in range(3)))
    for offset in ((0, -9, 0), (-3, 0, 0)):
        channels.append(random.integers(0, 256, shape).astype(np.uint8))
        offsets.append(offset)
    maps = affinity_maps(np.stack([channels[place] for place in order]), [offsets[place] for place in order])
    start = tuple(int(random.integers(0, length)) for length in shape)
    stop = tuple(int(random.integers(low + 1, length + 1)) for low, length in zip(start, shape, strict=True))
    for axis, levels in enumerate(maps.read(start, stop)):
        expected = edges[axis][tuple(slice(a, b) for a, b in zip(start, stop, strict=True))]
        # Edges that leave the volume mean nothing.
        inside = [slice(int(place == axis and start[axis] == 0), None) for place in range(3)]
        assert levels.shape == expected.shape
        assert np.array_equal(levels[tuple(inside)], expected[tuple(inside)])


def test_lazy_sources_are_read_box_by_box(tmp_path):
    values = np.random.default_rng(0).random((3, 5, 6, 7)).astype(np.float32)
    expected = affinity_maps(values).read((1, 2, 3), (4, 6, 5))
    path = save_volume(tmp_path / "affinities.zarr", values)
    for source in (open_volume(path), zarr.open_array(path, mode="r"), Volume(values), values.tolist()):
        read = affinity_maps(source).read((1, 2, 3), (4, 6, 5))
        assert all(np.array_equal(one, two) for one, two in zip(read, expected, strict=True))
    source = open_volume(path)
    assert affinity_maps(source).source is source


def test_levels_of_thresholds():
    assert fragment_levels(0.0001, 0.9999) == (0, 255)
    assert fragment_levels(51 / 255, 204 / 255) == (51, 204)
    assert fragment_levels(0, 1) == (0, 255)
    low, high = fragment_levels(0.5, 0.5000001)
    assert low < high
    for low, high in ((0.6, 0.5), (0.5, 0.5)):
        with pytest.raises(ValueError, match="smaller"):
            fragment_levels(low, high)


GOOD = np.full((3, 2, 2, 2), 0.5)


@pytest.mark.parametrize(
    "values, offsets, error, words",
    [
        (GOOD[0], None, ValueError, "axes"),
        (GOOD[:, :0], None, ValueError, "empty"),
        (GOOD[:2], None, ValueError, "2 channels"),
        (GOOD > 0, None, TypeError, "uint8"),
        (GOOD.astype(np.int64), None, TypeError, "uint8"),
        ("affinities.zarr", None, TypeError, "open_volume"),
        (GOOD, NEAREST[:2], ValueError, "2 offsets"),
        (GOOD, [*NEAREST[:2], (0, 0, -2)], ValueError, "nearest neighbour"),
        (GOOD, [*NEAREST[:2], (0, -1, 0)], ValueError, "differ"),
        (GOOD, [*NEAREST[:2], (0, 0, 0)], ValueError, "not all 0"),
        (GOOD, [*NEAREST[:2], (0, 0, -1.5)], ValueError, "whole numbers"),
        (GOOD, [*NEAREST[:2], (0, -1)], ValueError, "three whole numbers"),
    ],
)
def test_bad_affinities_are_refused(values, offsets, error, words):
    with pytest.raises(error, match=words):
        affinity_maps(values, offsets)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, -0.01, 1.01, 200.0])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_values_that_are_no_probabilities_are_refused_where_they_lie(bad, dtype):
    values = np.full((3, 3, 2, 2), 0.5, dtype=dtype)
    values[1, 2, 0, 1] = bad
    with pytest.raises(ValueError, match="channel 1 at z = 2"):
        affinity_maps(values).read()
