"""The ignored border: against every pair of voxels, against scipy, and its edges."""

import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import distance_transform_edt

from emlib.evaluation import adapted_rand_error, ignore_border

TYPES = [np.uint8, np.uint16, np.int32, np.uint64]


def by_pairs(truth, distance_xy, distance_z):
    kept = truth.copy()
    voxels = list(np.ndindex(truth.shape))
    for at in voxels:
        for other in voxels:
            dz, dy, dx = (abs(a - b) for a, b in zip(at, other, strict=True))
            near = (dz == 0 and dy**2 + dx**2 <= distance_xy**2) or (dy == dx == 0 and dz <= distance_z)
            if near and truth[at] != truth[other]:
                kept[at] = 0
    return kept


@given(
    st.integers(0, 10**6),
    st.tuples(st.integers(1, 4), st.integers(1, 6), st.integers(1, 6)),
    st.sampled_from([0, 0.5, 1, 1.5, 2**0.5, 2, 5**0.5, 3]),
    st.integers(0, 3),
    st.sampled_from(TYPES),
    st.sampled_from("CF"),
)
def test_equal_to_all_pairs_of_voxels(seed, shape, distance_xy, distance_z, dtype, order):
    random = np.random.default_rng(seed)
    ids = np.array([0, 1, np.iinfo(dtype).max], dtype)
    truth = np.asarray(random.choice(ids, shape, p=[0.1, 0.6, 0.3]), order=order)
    before = truth.copy()
    kept = ignore_border(truth, distance_xy, distance_z)
    assert kept.dtype == dtype
    assert np.array_equal(kept, by_pairs(truth, distance_xy, distance_z))
    assert np.array_equal(truth, before)


def test_large_sections_equal_scipy(tmp_path):
    coarse = np.random.default_rng(0).integers(0, 4, (3, 9, 7))
    truth = coarse.repeat(14, axis=1).repeat(17, axis=2).astype(np.uint32) + 2**30
    expected = truth.copy()
    for section, kept in zip(truth, expected, strict=True):
        for label in np.unique(section):
            # Padded with itself, so that the faces of the volume are no borders.
            inside = np.pad(section == label, 20, mode="edge")
            kept[(section == label) & (distance_transform_edt(inside)[20:-20, 20:-20] <= 6.25)] = 0
    stored = zarr.create_array(str(tmp_path / "truth.zarr"), data=truth, chunks=(2, 32, 32))
    assert np.array_equal(ignore_border(truth, 6.25), expected)
    assert np.array_equal(ignore_border(stored, 6.25), expected)
    assert np.array_equal(ignore_border(truth[0], 6.25), expected[0])
    assert 0.2 < (expected == 0).mean() < 0.9


def test_a_shifted_border_is_forgiven():
    truth = np.repeat([[1, 2]], 10, axis=1).repeat(5, axis=0)
    segmentation = np.roll(truth, 2, axis=1)
    segmentation[:, :2] = 1
    assert adapted_rand_error(segmentation, truth).error > 0
    assert adapted_rand_error(segmentation, ignore_border(truth, 2)).error == 0


def test_bad_input_stops_with_one_sentence():
    truth = np.ones((2, 4, 4), int)
    for distance in (-1, np.nan, np.inf, "2"):
        with pytest.raises(ValueError, match="distance_xy must be a number of voxels"):
            ignore_border(truth, distance)
    for distance in (-1, 0.5):
        with pytest.raises(ValueError, match="distance_z must be a whole number"):
            ignore_border(truth, 1, distance)
    with pytest.raises(ValueError, match=r"axes \(z, y, x\)"):
        ignore_border(truth[0, 0], 1)
    with pytest.raises(ValueError, match="negative ids, got -1"):
        ignore_border(truth - 2, 1)
    with pytest.raises(TypeError, match="truth must be integers"):
        ignore_border(truth * 0.5, 1)
