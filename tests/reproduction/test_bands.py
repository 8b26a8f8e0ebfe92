"""Bands: a prediction interval over seeds, stored and read back."""

import math

import numpy as np
import pytest
from scipy import stats

from emlib.reproduction.bands import T_QUANTILE, find_band, measure_band, store_bands


def test_quantiles_are_students():
    for freedom, quantile in T_QUANTILE.items():
        assert quantile == pytest.approx(stats.t.ppf(0.975, freedom), abs=1e-3)


def test_interval_is_the_one_for_a_further_run():
    values = dict(enumerate([1.0, 2.0, 3.0, 4.0, 5.0]))
    band = measure_band("loss", values)
    half = 2.776 * np.std([1, 2, 3, 4, 5], ddof=1) * math.sqrt(1.2)
    assert (band.low, band.high) == (pytest.approx(3 - half, rel=1e-3), pytest.approx(3 + half, rel=1e-3))


def test_limits_and_least_width():
    steady = dict.fromkeys(range(5), 0.99)
    band = measure_band("ap50", steady, limits=(0, 1))
    assert (band.low, band.high) == (pytest.approx(0.9702), 1.0)
    with pytest.raises(ValueError, match="needs at least 5 seeds, but 4 were run"):
        measure_band("ap50", dict.fromkeys(range(4), 0.5))


def test_stored_bands_are_found_again_for_their_device_only(tmp_path):
    measured = {"5_evaluation": {"ap50": {0: 0.5, 1: 0.52, 2: 0.54, 3: 0.5, 4: 0.51}}}
    store_bands("some_track", "smoke", "cpu", measured, bounded={"ap50"}, folder=tmp_path)
    band = find_band("some_track", "smoke", "cpu", "5_evaluation", "ap50", folder=tmp_path)
    assert band is not None
    assert band.seeds == (0, 1, 2, 3, 4)
    assert band.holds(0.52)
    assert not band.holds(0.1)
    assert not band.holds(float("nan"))
    assert find_band("some_track", "smoke", "cuda", "5_evaluation", "ap50", folder=tmp_path) is None
    assert find_band("some_track", "tutorial", "cpu", "5_evaluation", "ap50", folder=tmp_path) is None
