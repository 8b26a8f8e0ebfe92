"""Contours and erosion against a search of every window."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from oracles.volumes import small_volume

from emlib.targets import build_target, erode_labels, instance_contour


def windows(section, half, mode):
    """(y, x) -> the ids in the window, from a padded copy."""
    padded = np.pad(section, half, mode=mode)
    side = 2 * half + 1
    return {(y, x): padded[y : y + side, x : x + side] for y, x in np.ndindex(section.shape)}


def brute(labels, half, decide, mode="reflect"):
    result = np.zeros(labels.shape, bool)
    for z, section in enumerate(labels):
        for place, window in windows(section, half, mode).items():
            result[(z, *place)] = decide(window)
    return result


def two_objects(window):
    return len(set(window.ravel().tolist()) - {0}) > 1


def random_labels(seed, shape):
    return np.random.default_rng(seed).integers(0, 4, shape)


# Reflection needs at least half + 1 pixels.
shapes = st.tuples(st.integers(1, 2), st.integers(4, 8), st.integers(4, 8))


@given(st.integers(0, 999), shapes, st.integers(1, 3))
def test_contour_is_where_the_reflected_window_changes(seed, shape, half):
    labels = random_labels(seed, shape)
    changes = brute(labels, half, lambda window: window.max() > 0 and window.max() != window.min())
    np.testing.assert_array_equal(instance_contour(labels, 2 * half + 1), changes)


@given(st.integers(0, 999), shapes, st.integers(1, 3))
def test_two_objects_in_a_window(seed, shape, half):
    labels = random_labels(seed, shape)
    conflict = brute(labels, half, two_objects)
    for rule in ("vidar", "pytc"):
        found = instance_contour(labels, 2 * half + 1, rule=rule, background=False)
        np.testing.assert_array_equal(found, conflict)
    np.testing.assert_array_equal(erode_labels(labels, half), np.where(conflict, 0, labels))


@given(st.integers(0, 999), shapes, st.integers(0, 2))
def test_contour_by_differences(seed, shape, half):
    labels = random_labels(seed, shape)
    padded = np.pad(labels, ((0, 0), (1, 1), (1, 1)), mode="symmetric")
    edges = (padded[:, 2:, 1:-1] != padded[:, :-2, 1:-1]) | (padded[:, 1:-1, 2:] != padded[:, 1:-1, :-2])
    dilated = brute(edges, half, np.any)
    np.testing.assert_array_equal(instance_contour(labels, 2 * half + 1, rule="pytc"), dilated)


@pytest.mark.parametrize(("k", "total"), [(1, 48901), (2, 39863)])
def test_published_erosion_figures(k, total):
    labels = small_volume()[0]
    before = labels.copy()
    eroded = erode_labels(labels, k)
    assert int(eroded.sum()) == total
    assert eroded.dtype == labels.dtype
    np.testing.assert_array_equal(labels, before)
    tensor = erode_labels(torch.from_numpy(labels.astype(np.int64)), k)
    np.testing.assert_array_equal(tensor.numpy(), eroded)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32", "uint64", "int16", "int64"])
@pytest.mark.parametrize("place", ["low", "high"])
def test_erosion_keeps_type_and_extreme_ids(dtype, place):
    first = 1 if place == "low" else np.iinfo(dtype).max - 1
    labels = np.zeros((1, 5, 9), dtype)
    labels[:, :, 1:4], labels[:, :, 4:8] = first, first + 1
    eroded = erode_labels(labels, 1)
    expected = labels.copy()
    expected[:, :, 3:5] = 0
    assert eroded.dtype == labels.dtype
    np.testing.assert_array_equal(eroded, expected)


@pytest.mark.parametrize("first", [2**24, 2**31 - 1, 2**62, 2**63 - 1, 2**64 - 2])
def test_neighbouring_large_ids_are_two_objects(first):
    labels = np.full((1, 4, 6), first, np.uint64)
    labels[:, :, 3:] = first + 1
    eroded = erode_labels(labels, 1)
    assert (eroded[:, :, 2:4] == 0).all()
    np.testing.assert_array_equal(np.delete(eroded, [2, 3], 2), np.delete(labels, [2, 3], 2))


def test_sections_do_not_see_each_other():
    labels = np.ones((3, 8, 8), int)
    labels[1] = 2
    assert instance_contour(labels, 5).sum() == 0
    np.testing.assert_array_equal(erode_labels(labels, 2), labels)


def test_windows_larger_than_the_section():
    labels = np.zeros((1, 3, 3), int)
    labels[0, 0, 0], labels[0, 2, 2] = 1, 2
    assert erode_labels(labels, 9).sum() == 0
    assert instance_contour(labels, 19).all()


def test_no_erosion_is_a_copy():
    labels = small_volume()[0]
    copy = erode_labels(labels, 0)
    assert copy is not labels
    np.testing.assert_array_equal(copy, labels)


def test_the_option_is_the_function():
    labels = small_volume()[0]
    np.testing.assert_array_equal(build_target(labels, "4-2-1")[0], instance_contour(labels, 5))


@pytest.mark.parametrize("size", [0, 1, 2, 4, -3, 3.0, True])
def test_bad_windows_are_refused(size):
    with pytest.raises(ValueError, match="odd number"):
        instance_contour(np.zeros((1, 4, 4), int), size)


def test_other_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="no contour rule 'VIDAR'"):
        instance_contour(np.zeros((1, 4, 4), int), 3, rule="VIDAR")
    for k in (-1, 1.5, True, None):
        with pytest.raises(ValueError, match="erosion k"):
            erode_labels(np.zeros((1, 4, 4), int), k)
    with pytest.raises(TypeError, match="float64"):
        erode_labels(np.zeros((1, 4, 4)), 1)
    with pytest.raises(ValueError, match="three axes"):
        erode_labels(np.zeros((4, 4), int), 1)
