"""Percentile normalisation against numpy and scikit-image, and pictures that have no contrast."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skimage.exposure import rescale_intensity

from emlib.data import image_normalization
from emlib.data.image_normalization import normalize_percentiles, percentile_limits


def published(image, low, high):
    """The published steps: percentiles of what is not 0, scikit-image's linear map, cut to whole numbers."""
    limits = np.percentile(image[np.nonzero(image)], [low, high])
    return rescale_intensity(image.astype(np.float64), tuple(limits), (0.0, 255.0)).astype(np.uint8)


@given(
    st.integers(0, 10**6), st.sampled_from([np.uint8, np.uint16, np.int16, np.float32, np.float64]),
    st.sampled_from([(0, 99.5), (1, 99), (0, 100), (12.5, 50)]),
)  # fmt: skip
def test_equals_the_published_steps(seed, dtype, shares):
    random = np.random.default_rng(seed)
    image = random.integers(0, random.integers(4, 250), (9, 11, 3)) * random.integers(1, 120)
    image = (image - 300 * (np.dtype(dtype).kind != "u")).astype(dtype)
    limits = np.percentile(image[image != 0], shares)
    if limits[0] == limits[1]:
        return
    kept = image.copy()
    result = normalize_percentiles(image, low=shares[0], high=shares[1])
    assert result.dtype == np.uint8
    # Rounding of the last bit may fall on either side of a whole number.
    assert np.abs(result.astype(int) - published(image, *shares)).max() <= 1
    assert (result == published(image, *shares)).mean() > 0.95
    assert np.array_equal(image, kept)


@given(st.integers(0, 10**6), st.sampled_from([np.uint8, np.uint16]))
def test_tables_and_pixels_give_the_same(seed, dtype):
    image = np.random.default_rng(seed).integers(0, 200, (6, 7, 3)).astype(dtype)
    assert np.array_equal(normalize_percentiles(image), normalize_percentiles(image.astype(np.int64)))


def test_channels_together_or_apart():
    image = np.dstack([np.arange(12).reshape(3, 4), 10 * np.arange(12).reshape(3, 4), np.zeros((3, 4), int)])
    apart = normalize_percentiles(image, per_channel=True)
    for channel in range(3):
        assert np.array_equal(apart[..., channel], normalize_percentiles(image[..., channel]))
    assert normalize_percentiles(image)[..., 0].max() < 40 < apart[..., 0].max()


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.uint16, np.int32, np.float32])
@pytest.mark.parametrize("value", [0, 1])
def test_constant_pictures_are_black(dtype, value):
    assert not normalize_percentiles(np.full((3, 4), value, dtype)).any()
    assert not normalize_percentiles(np.full((1, 1, 3), value, dtype)).any()


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.uint16, np.int32, np.float32])
def test_a_mask_becomes_black_and_white(dtype):
    mask = np.eye(4, dtype=dtype)
    assert np.array_equal(normalize_percentiles(mask), np.eye(4, dtype=np.uint8) * 255)


def test_extreme_floats():
    image = np.array([[-1.7e308, 0.0, 1.7e308]])
    assert normalize_percentiles(image, high=100).tolist() == [[0, 127, 255]]
    assert normalize_percentiles(np.array([[5e-324, 1e-323]]), high=100).shape == (1, 2)


@pytest.mark.parametrize(
    "image, options, error, match",
    [
        (np.array([[1.0, np.nan, np.inf]]), {}, ValueError, "2 values that are NaN or infinite"),
        (np.zeros((0, 4)), {}, ValueError, "shape"),
        (np.zeros(4), {}, ValueError, "shape"),
        (np.zeros((2, 2), complex), {}, TypeError, "complex"),
        (np.array([["a"]]), {}, TypeError, "expected"),
        (np.ones((2, 2)), {"low": 50, "high": 50}, ValueError, "percentiles"),
        (np.ones((2, 2)), {"high": 101}, ValueError, "percentiles"),
    ],
)
def test_bad_pictures(image, options, error, match):
    with pytest.raises(error, match=match):
        normalize_percentiles(image, **options)


class Rows:
    """An image of which at most so many rows can be had at once."""

    def __init__(self, image, most=image_normalization.ROWS_AT_A_TIME):
        self.image, self.most, self.shape, self.dtype = image, most, image.shape, image.dtype

    def __getitem__(self, rows):
        found = self.image[rows]
        assert len(found) <= self.most
        return found


@pytest.mark.parametrize("dtype", ["?", "u1", "u2", "u4", "i2", "i8", "f2", "f4", "f8"])
@pytest.mark.parametrize("per_channel", [False, True])
def test_limits_of_what_is_read_row_by_row_are_those_of_the_whole(dtype, per_channel, monkeypatch):
    random = np.random.default_rng(1)
    image = (random.normal(40, 60, (900, 3, 3)) * [1, 3, 0.5]).clip(0 if dtype[0] in "?u" else None, 250).astype(dtype)
    for low, high in ((0.0, 99.5), (3.3, 50.0), (0.1, 100.0)):
        channels = [image[..., c] for c in range(3)] if per_channel else [image]
        filled = [channel[channel != 0].astype(np.float64) for channel in channels]
        expected = [np.percentile(values, (low, high)) for values in filled]
        found = percentile_limits(Rows(image), low=low, high=high, per_channel=per_channel)
        same = [pair for pair, (bottom, top) in zip(found, expected, strict=True) if top > bottom]
        np.testing.assert_allclose(same, [pair for pair in expected if pair[1] > pair[0]], rtol=1e-15)
        monkeypatch.setattr(image_normalization, "SORTED_AT_ONCE", 0)
        assert percentile_limits(Rows(image), low=low, high=high, per_channel=per_channel) == found
        monkeypatch.undo()


def test_values_that_are_not_finite_are_counted_row_by_row():
    image = np.zeros((600, 2))
    image[[3, 400, 599], 1] = np.nan, np.inf, -np.inf
    with pytest.raises(ValueError, match="has 3 values that are NaN or infinite"):
        percentile_limits(Rows(image))
