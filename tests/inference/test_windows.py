"""Window positions and plans."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emlib.formats.memory_size import memory_in_bytes
from emlib.inference import plan_windows, window_positions
from emlib.inference.window_reader import reflected_indices
from emlib.inference.windows import check_divisible


@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 60))
def test_positions_follow_the_formula_and_cover_every_voxel(length, window, stride):
    window = min(window, length)
    stride = min(stride, window)
    positions = window_positions(length, window, stride)
    covered = np.zeros(length, bool)
    for i, position in enumerate(positions):
        assert position == min(i * stride, length - window)
        covered[position : position + window] = True
    assert covered.all()
    assert positions == sorted(set(positions))
    assert positions[-1] == length - window


@pytest.mark.parametrize(
    ("shape", "window", "stride", "pad", "count"),
    [
        ((100, 4096, 4096), (32, 256, 256), (16, 128, 128), (16, 128, 128), 8712),
        ((100, 4096, 4096), (100, 256, 256), (1, 128, 128), (0, 128, 128), 1089),
        ((100, 4096, 4096), (100, 256, 256), (1, 256, 256), (0, 256, 256), 324),
        ((500, 4096, 4096), (32, 256, 256), (16, 128, 128), (16, 128, 128), 35937),
    ],
)
def test_published_numbers_of_windows(shape, window, stride, pad, count):
    """VIDAR's validation and test runs; the third is its in-training evaluation."""
    assert len(plan_windows(shape, window, stride=stride, pad=pad)) == count


@given(st.tuples(*[st.integers(1, 20)] * 3), st.tuples(*[st.integers(1, 20)] * 3), st.integers(0, 5))
def test_small_volumes_are_padded_until_a_window_fits(shape, window, pad):
    plan = plan_windows(shape, window, pad=pad)
    for axis in range(3):
        assert plan.before[axis] >= pad
        assert plan.after[axis] >= pad
        assert plan.padded_shape[axis] == max(shape[axis] + 2 * pad, window[axis])
    assert len(plan) == sum(len(places) for _, places in plan.layers())


@given(st.integers(1, 9), st.integers(0, 40), st.integers(0, 40))
def test_reflected_indices_equal_numpy_pad(length, before, after):
    expected = np.pad(np.arange(length), (before, after), mode="reflect")
    np.testing.assert_array_equal(reflected_indices(-before, length + after, length), expected)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"window": 0}, "window must be at least 1"),
        ({"window": (8, 8)}, "window must be one number or three"),
        ({"window": (8, 8.5, 8)}, "window must be whole numbers"),
        ({"window": 8, "overlap": 1.0}, "overlap must be at least 0 and less than 1"),
        ({"window": 8, "overlap": (0.5, -0.1, 0)}, "overlap must be"),
        ({"window": 8, "stride": (4, 9, 4)}, "stride is 9 along y but the window only 8"),
        ({"window": 8, "stride": 0}, "stride must be at least 1"),
        ({"window": 8, "pad": -1}, "pad must be at least 0"),
    ],
)
def test_wrong_settings_are_refused(settings, message):
    with pytest.raises((ValueError, TypeError), match=message):
        plan_windows((16, 16, 16), **settings)


def test_empty_volume_is_refused():
    with pytest.raises(ValueError, match="empty"):
        plan_windows((0, 4, 4), 4)


def test_divisibility_names_the_nearest_sizes():
    with pytest.raises(ValueError, match="96 or 112 along y, 16 along x"):
        check_divisible((8, 100, 9), (1, 16, 16))
    check_divisible((7, 32, 48), (1, 16, 16))


@pytest.mark.parametrize("size", ["", "2 GiBs", "-1GB", 0, True, "many"])
def test_wrong_memory_sizes_are_refused(size):
    with pytest.raises(ValueError, match="memory must be"):
        memory_in_bytes(size)


def test_starts_list_every_window_in_order():
    plan = plan_windows((8, 20, 12), (4, 8, 8), stride=4)
    assert len(plan.starts()) == len(plan)
    assert plan.starts()[:3] == [(0, 0, 0), (0, 0, 4), (0, 4, 0)]
    assert plan.starts()[-1] == (4, 12, 4)
