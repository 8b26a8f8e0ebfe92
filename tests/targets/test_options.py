"""Targets against the published implementations' figures and against their definitions voxel by voxel."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from oracles.volumes import small_volume

from emlib.targets import affinities, build_target, channel_count

FIGURES = {
    "0": [10211],
    "0-1-2": [2310],
    "2": [8108, 9485, 9474],
    "2-1-1-1-v2": [6384, 8757, 8631],
    "2-2-3-3-v1": [6227, 8083, 8058],
    "4-1-1": [4260],
    "4-2-1": [7810],
}
INTEGERS = ["uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64", ">u4", ">i8"]


@pytest.mark.parametrize("option", FIGURES)
def test_published_figures(option):
    target = build_target(small_volume()[0], option)
    assert target.dtype == np.float32
    assert target.shape == (len(FIGURES[option]), 8, 48, 48)
    assert target.sum((1, 2, 3)).tolist() == FIGURES[option]
    assert set(np.unique(target)) <= {0, 1}


def test_published_figure_of_the_other_contour_rule():
    assert build_target(small_volume()[0], "4-1-1", rule="pytc").sum() == 6869


@pytest.mark.parametrize("option", [*FIGURES, "1", "4-1-0", "9-13"])
@pytest.mark.parametrize("dtype", INTEGERS)
def test_every_integer_type_and_memory_order_gives_the_same(option, dtype):
    labels = small_volume()[0]
    expected = build_target(labels, option)
    given = np.asfortranarray(labels.astype(dtype))
    given.flags.writeable = False
    np.testing.assert_array_equal(build_target(given, option), expected)
    assert channel_count(option) == len(expected)


@pytest.mark.parametrize("option", ["0", "1", "2", "4-1-1", "4-1-0"])
@pytest.mark.parametrize(("dtype", "low"), [("uint64", 2**63 - 6), ("uint64", 2**64 - 14), ("uint32", 2**31 - 6)])
def test_ids_around_the_sign_bit_are_ids_like_others(option, dtype, low):
    labels = small_volume()[0]
    large = np.where(labels > 0, labels.astype(dtype) + np.array(low + low % 2, dtype), np.array(0, dtype))
    np.testing.assert_array_equal(build_target(large, option), build_target(labels, option))


@pytest.mark.parametrize("option", ["2", "4-1-1", "4-1-0"])
def test_neighbouring_ids_beyond_float32_are_told_apart(option):
    labels = np.full((1, 6, 6), 2**24, np.uint32)
    labels[:, :, 3:] += 1
    small = np.where(labels == 2**24, 1, 2)
    np.testing.assert_array_equal(build_target(labels, option), build_target(small, option))
    assert build_target(labels, "4-1-1").sum() == 12


def test_large_ids_can_be_picked():
    labels = np.array([[[0, 2**64 - 1, 7, 2**63]]], np.uint64)
    assert build_target(labels, f"0-{2**64 - 1}-7").ravel().tolist() == [0, 1, 1, 0]
    assert build_target(labels.astype(np.uint8), f"0-{2**64 - 1}-263").sum() == 0, "ids that the type cannot hold"
    assert build_target(labels.astype(np.uint8), "0-255").ravel().tolist() == [0, 1, 0, 0]


def test_polarity_and_classes():
    labels = np.array([[[0, 1, 2, 3]]])
    assert build_target(labels, "1")[:, 0, 0].tolist() == [[0, 1, 0, 1], [0, 0, 1, 0], [0, 1, 1, 1]]
    np.testing.assert_array_equal(build_target(labels, "9-4")[:, 0, 0], np.eye(4))
    with pytest.raises(ValueError, match=r"0 \.\.\. 2"):
        build_target(labels, "9-3")


@given(st.data())
def test_affinity_targets_voxel_by_voxel(data):
    shape = data.draw(st.tuples(*[st.integers(1, 4)] * 3))
    labels = np.random.default_rng(data.draw(st.integers(0, 999))).integers(0, 3, shape)
    steps = data.draw(st.tuples(*[st.integers(1, 5)] * 3))
    version = data.draw(st.sampled_from(["v1", "v2"]))
    target = build_target(labels, "2-{}-{}-{}-".format(*steps) + version)
    for axis, step in enumerate(steps):
        for v in np.ndindex(shape):
            before, behind = list(v), list(v)
            before[axis] = max(0, v[axis] - step)
            if version == "v2":
                behind[axis] = min(shape[axis] - 1, v[axis] + step)
            a, b = labels[tuple(before)], labels[tuple(behind)]
            assert target[axis][v] == float(a == b and b > 0)


@given(st.data())
def test_affinities_voxel_by_voxel(data):
    shape = data.draw(st.tuples(*[st.integers(1, 4)] * 3))
    labels = np.random.default_rng(data.draw(st.integers(0, 999))).integers(0, 3, shape)
    step = st.tuples(*[st.integers(-5, 5)] * 3).filter(any)
    offsets = data.draw(st.lists(step, min_size=1, max_size=3))
    values, valid = affinities(labels, offsets)
    assert values.dtype == np.float32
    assert valid.dtype == bool
    for channel, offset in enumerate(offsets):
        for v in np.ndindex(shape):
            other = tuple(np.add(v, offset))
            inside = all(0 <= i < n for i, n in zip(other, shape, strict=True))
            assert valid[channel][v] == inside
            assert values[channel][v] == (inside and labels[v] == labels[other] and labels[v] > 0)


def test_affinities_agree_with_the_published_target_where_valid():
    labels = small_volume()[0]
    values, valid = affinities(labels, [(-1, 0, 0), (0, -1, 0), (0, 0, -1)])
    np.testing.assert_array_equal(values[valid], build_target(labels, "2")[valid])
    assert (~valid).sum() == 48 * 48 + 2 * 8 * 48


def test_tensors_come_back_as_tensors_and_callers_arrays_stay():
    labels = small_volume()[0]
    before = labels.copy()
    for option in [*FIGURES, "1", "4-1-0"]:
        tensor = torch.from_numpy(labels.astype(np.int64))
        result = build_target(tensor, option)
        assert isinstance(result, torch.Tensor)
        np.testing.assert_array_equal(result.numpy(), build_target(labels, option))
        unsigned = torch.from_numpy(labels.astype(np.uint64))
        np.testing.assert_array_equal(build_target(unsigned, option).numpy(), result.numpy())
    np.testing.assert_array_equal(labels, before)


@pytest.mark.parametrize(
    "option",
    ["", "3", "0-", "2-1-1-v1", "2-1-1-1", "2-0-1-1-v1", "2-1-1-1-v3", "4-1", "4-1-2", "9", "9-0", 0, None, "0\n"],
)
def test_unknown_options_are_refused_with_the_grammar(option):
    for function in (channel_count, lambda text: build_target(np.zeros((1, 2, 2), int), text)):
        with pytest.raises(ValueError, match=r"no target option .*'4-B-g'"):
            function(option)


@pytest.mark.parametrize(
    ("labels", "error", "words"),
    [
        (np.zeros((4, 4, 4), np.float32), TypeError, "labels are float32"),
        (torch.zeros(4, 4, 4), TypeError, "labels are torch.float32"),
        (np.zeros((4, 4), np.int64), ValueError, r"shape \(4, 4\), but three axes"),
        (np.zeros((1, 1, 4, 4), np.int64), ValueError, "three axes"),
        (np.zeros((0, 4, 4), np.int64), ValueError, "empty"),
        (np.full((1, 4, 4), -1), ValueError, "negative id -1"),
        ([[[1]]], TypeError, "a list"),
    ],
)
def test_bad_labels_are_refused(labels, error, words):
    for option in ("0", "2", "4-1-1"):
        with pytest.raises(error, match=words):
            build_target(labels, option)
    with pytest.raises(error, match=words):
        affinities(labels, [(0, 0, 1)])


@pytest.mark.parametrize("offsets", [[], [(0, 0, 0)], [(0, 1)], [(0.5, 0, 0)], [(True, 0, 0)], [1]])
def test_bad_offsets_are_refused(offsets):
    with pytest.raises(ValueError, match=r"offset"):
        affinities(np.zeros((2, 2, 2), int), offsets)
