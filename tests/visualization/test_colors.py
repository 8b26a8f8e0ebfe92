import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from neuroglancer.segment_colors import hex_string_from_segment_id

from emlib.visualization import colorize, label_colors


@given(st.lists(st.integers(1, 2**64 - 1), min_size=1, max_size=20), st.integers(0, 2**32 - 1))
def test_colors_are_those_of_neuroglancer(ids, seed):
    expected = [bytes.fromhex(hex_string_from_segment_id(seed, one)[1:]) for one in ids]
    difference = label_colors(np.array(ids, np.uint64), seed=seed).astype(int) - np.array(
        [list(one) for one in expected]
    )
    # Both round a float to 8 bits; at an exact half they may fall to either side.
    assert np.abs(difference).max() <= 1


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32, np.uint64, np.int32, np.int64])
def test_a_color_does_not_depend_on_the_dtype_or_on_the_other_ids(dtype):
    alone = label_colors(np.array([7], dtype))
    assert (label_colors(np.array([1, 7, 100], dtype))[1] == alone[0]).all()
    assert (alone == label_colors([7])).all()


def test_background_is_black_and_objects_are_not():
    colors = label_colors(np.arange(5000))
    assert (colors[0] == 0).all()
    assert colors[1:].max(axis=1).min() == 255


def test_colorize_paints_each_voxel_and_leaves_its_input_alone():
    labels = np.random.default_rng(0).choice(np.array([0, 4, 2**63, 2**64 - 1], np.uint64), (5, 6, 7))
    before = labels.copy()
    painted = colorize(labels)
    assert painted.shape == (5, 6, 7, 3)
    assert painted.dtype == np.uint8
    assert (painted[2, 3, 4] == label_colors(labels[2, 3, 4])).all()
    assert (labels == before).all()


def test_empty_labels_are_painted_as_nothing():
    assert colorize(np.zeros((0, 4), np.uint64)).shape == (0, 4, 3)


def test_bad_ids_stop_with_a_sentence():
    with pytest.raises(TypeError, match="must be integers; these are float64"):
        label_colors([0.5])
    with pytest.raises(ValueError, match="smallest here is -2"):
        label_colors([3, -2])
