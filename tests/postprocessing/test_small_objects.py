"""Size filter and renumbering against plain loops, for every integer type."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracles.volumes import small_volume

from emlib.postprocessing import relabel_sequential, remove_small_objects

TYPES = [np.uint8, np.uint16, np.uint32, np.uint64, np.int8, np.int16, np.int32, np.int64]


def filter_by_loop(labels, min_size, mode):
    labels = labels.copy()
    ids, sizes = np.unique(labels, return_counts=True)
    for small in ids[(sizes < min_size) & (ids != 0)]:
        if mode == "background":
            labels[labels == small] = 0
            continue
        votes = {}
        for z, y, x in np.argwhere(labels != small):
            near = labels[z, max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2]
            if labels[z, y, x] != 0 and (near == small).any():
                votes[labels[z, y, x]] = votes.get(labels[z, y, x], 0) + 1
        labels[labels == small] = min(votes, key=lambda label: (-votes[label], label)) if votes else 0
    return labels


def random_labels(seed, dtype):
    random = np.random.default_rng(seed)
    shape = tuple(random.integers(1, 7, 3))
    top = np.iinfo(dtype).max
    ids = np.unique(np.append(random.integers(1, top, 6, dtype=dtype, endpoint=True), 0)).astype(dtype)
    return random.choice(ids, shape, p=[0.4] + [0.6 / (ids.size - 1)] * (ids.size - 1))


@given(st.integers(0, 10_000), st.sampled_from(TYPES), st.integers(0, 12), st.sampled_from(["background", "neighbor"]))
def test_equals_a_plain_loop(seed, dtype, min_size, mode):
    labels = random_labels(seed, dtype)
    before = labels.copy()
    for variant in (labels, np.asfortranarray(labels), labels[::-1][::-1]):
        result = remove_small_objects(variant, min_size, mode=mode)
        assert result.dtype == dtype
        assert np.array_equal(result, filter_by_loop(before, min_size, mode))
    assert np.array_equal(labels, before)


@pytest.mark.parametrize("mode", ["background", "neighbor"])
def test_huge_ids_are_not_rounded(mode):
    labels = np.array([[2**53 + 1, 2**53 + 1, 2**53, 0, 2**64 - 1, 2**64 - 1, 2**24 + 1, 0]], dtype=np.uint64)
    middle = 2**53 + 1 if mode == "neighbor" else 0
    last = 2**64 - 1 if mode == "neighbor" else 0
    expected = [2**53 + 1, 2**53 + 1, middle, 0, 2**64 - 1, 2**64 - 1, last, 0]
    assert remove_small_objects(labels, 2, mode=mode).tolist() == [expected]


def test_small_object_that_joined_another_moves_on_with_it():
    labels = np.array([[1, 2, 2, 3, 3, 3, 3, 3]])
    assert remove_small_objects(labels, 4, mode="neighbor").tolist() == [[3] * 8]


def test_neighbours_are_looked_for_in_the_plane_only():
    labels = np.zeros((2, 3, 3), dtype=np.uint32)
    labels[0] = 1
    labels[1, 1, 1] = 2
    assert remove_small_objects(labels, 4, mode="neighbor")[1].max() == 0


def test_per_slice_measures_each_plane():
    labels = np.zeros((3, 2, 4), dtype=np.uint16)
    labels[:2, 0, 0] = 5
    labels[2] = 5
    assert np.array_equal(remove_small_objects(labels, 2), labels)
    assert remove_small_objects(labels, 2, per_slice=True).sum(axis=(1, 2)).tolist() == [0, 0, 40]


def test_result_is_never_the_callers_array():
    labels = np.ones((2, 2), dtype=np.uint32)
    for result in (remove_small_objects(labels, 0), relabel_sequential(labels)):
        assert not np.shares_memory(result, labels)


def test_read_only_input():
    labels = small_volume()[0]
    labels.flags.writeable = False
    for mode in ("background", "neighbor"):
        assert np.unique(remove_small_objects(labels, 1000, mode=mode)).size < 13
    assert relabel_sequential(labels).max() == 12


@given(st.integers(0, 10_000), st.sampled_from(TYPES))
def test_relabel_keeps_the_order_of_ids(seed, dtype):
    labels = random_labels(seed, dtype)
    ids = np.unique(np.append(labels, dtype(0)))
    result = relabel_sequential(labels)
    assert result.dtype == np.uint32
    assert np.array_equal(result, np.searchsorted(ids, labels))


@pytest.mark.parametrize(
    "labels, options, error, words",
    [
        (np.zeros((2, 2)), {}, TypeError, "integers"),
        (np.zeros((2, 2), dtype=bool), {}, TypeError, "integers"),
        (np.array([[-1, 2]]), {}, ValueError, "negative"),
        (np.zeros((0, 2), dtype=int), {}, ValueError, "empty"),
        (np.zeros(4, dtype=int), {}, ValueError, "axes"),
        (np.zeros((2, 2), dtype=int), {"mode": "neighbour"}, ValueError, "did you mean 'neighbor'"),
        (np.zeros((2, 2), dtype=int), {"min_size": -3}, ValueError, "min_size"),
    ],
)
def test_bad_input_stops_with_one_sentence(labels, options, error, words):
    with pytest.raises(error, match=words):
        remove_small_objects(labels, **{"min_size": 1, **options})
