"""Anchors, boxes and sizes against loops over objects, whatever the blocks."""

import numpy as np
import pytest
from faults.sentences import refused
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import ndimage

from emlib.data import anchors_of, object_anchors
from emlib.volume import open_volume, save_volume

SHAPES = st.tuples(st.integers(1, 4), st.integers(1, 8), st.integers(1, 9))


def nearest_to_centroid(places):
    distances = ((places - places.mean(axis=0)) ** 2).sum(axis=1)
    # Distances are sums of three squares, so equal ones may differ in their last digit.
    return places[np.flatnonzero(distances <= distances.min() + 1e-9)]


@given(data=st.data(), shape=SHAPES, dtype=st.sampled_from([np.uint8, np.int32, np.uint64]))
@settings(max_examples=30)
def test_by_brute_force(data, shape, dtype):
    top = np.iinfo(dtype).max
    labels = data.draw(arrays.arrays(dtype, shape, elements=st.sampled_from([0, 1, 7, top])))
    labels = np.asarray(labels, order=data.draw(st.sampled_from(["C", "F"])))
    before = labels.copy()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(object_anchors, "BLOCK_BYTES", data.draw(st.sampled_from([1, 30, 2**20])))
        found = anchors_of(labels)
    np.testing.assert_array_equal(labels, before)
    ids = [one for one in np.unique(labels).tolist() if one]
    assert found.ids.dtype == np.uint64
    assert found.ids.tolist() == ids
    for row, one in enumerate(ids):
        places = np.argwhere(labels == dtype(one))
        assert found.sizes[row] == len(places)
        assert found.boxes[row].tolist() == [places.min(axis=0).tolist(), (places.max(axis=0) + 1).tolist()]
        assert labels[tuple(found.anchors[row])] == one
        assert found.anchors[row].tolist() in nearest_to_centroid(places).tolist()


def test_blocks_have_no_influence(tmp_path, monkeypatch):
    noise = ndimage.gaussian_filter(np.random.default_rng(0).random((12, 60, 70)), 1)
    labels = ndimage.label(noise > np.quantile(noise, 0.8))[0].astype(np.uint64) * 2**40
    whole = anchors_of(labels)
    assert whole.ids.size > 5
    for box, size, one in zip(whole.boxes, whole.sizes, whole.ids.tolist(), strict=True):
        part = labels[tuple(slice(*side) for side in box.T)] == one
        assert part.sum() == size
        assert all(part.any(axis=tuple({0, 1, 2} - {axis}))[[0, -1]].all() for axis in range(3))
    for chunks in ((5, 16, 16), (12, 60, 7), (1, 60, 70)):
        stored = open_volume(save_volume(tmp_path / "a.zarr", labels, chunks=chunks))
        for limit in (1, 10_000):
            monkeypatch.setattr(object_anchors, "BLOCK_BYTES", limit)
            found = anchors_of(stored)
            for name in ("ids", "sizes", "boxes", "anchors"):
                np.testing.assert_array_equal(getattr(found, name), getattr(whole, name))


def test_rings_crescents_and_ties():
    y, x = np.mgrid[:41, :41] - 20
    ring = (np.hypot(y, x) > 10) & (np.hypot(y, x) < 18)
    crescent = ring & (x > -5)
    found = anchors_of(np.stack([ring, crescent * 2]).astype(np.uint8))
    for row, mask in enumerate((ring, crescent)):
        assert mask[tuple(found.anchors[row][1:])]
    # A ring's centroid is equally far from eight voxels, (-10, -1) the first of them in reading order.
    assert found.anchors[0].tolist() == [0, 10, 19]
    assert anchors_of(np.ones((1, 2, 4), np.uint8)).anchors.tolist() == [[0, 0, 1]]


def test_nothing_and_what_is_refused():
    empty = anchors_of(np.zeros((2, 3, 4), np.uint16))
    assert (empty.ids.shape, empty.boxes.shape, empty.anchors.shape) == ((0,), (0, 2, 3), (0, 3))
    with refused(TypeError, "labels are float64"):
        anchors_of(np.zeros((2, 3, 4)))
    with refused(ValueError, "axes 'yx'"):
        anchors_of(np.zeros((3, 4), int))
    with refused(ValueError, "negative id -2"):
        anchors_of(np.full((1, 3, 4), -2))
