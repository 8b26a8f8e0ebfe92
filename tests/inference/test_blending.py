"""Blending weights."""

import itertools

import numpy as np
import pytest

from emlib.inference import BLENDINGS, blending_window


@pytest.mark.parametrize(
    ("name", "total", "centre"), [("gaussian", 25.007301, 0.693455), ("bump", 45.125671, 1.000096)]
)
def test_published_figures(name, total, centre):
    weights = blending_window(name, (8, 16, 16))
    assert weights.dtype == np.float32
    assert weights.sum(dtype=np.float64) == pytest.approx(total, rel=3e-7)
    assert weights[4, 8, 8] == pytest.approx(centre, abs=1e-6)


@pytest.mark.parametrize("window", [(3, 4, 5), (1, 6, 2)])
def test_weights_equal_the_formulas_voxel_by_voxel(window):
    gaussian, bump = (blending_window(name, window) for name in ("gaussian", "bump"))
    exponents = np.empty(window)
    for index in itertools.product(*map(range, window)):
        places = [2 * i / (n - 1) - 1 if n > 1 else 0 for i, n in zip(index, window, strict=True)]
        inner = [(i + 1) / (n + 1) for i, n in zip(index, window, strict=True)]
        expected = 1e-4 + np.exp(-sum(p * p for p in places) / (2 * 0.2**2))
        assert gaussian[index] == pytest.approx(expected, rel=1e-5)
        exponents[index] = -sum((a * (1 - a)) ** -1.5 for a in inner)
    np.testing.assert_allclose(bump, 1e-4 + np.exp(exponents - exponents.max()), rtol=2e-5)


@pytest.mark.parametrize("name", BLENDINGS)
def test_weights_are_positive_and_symmetric(name):
    weights = blending_window(name, (6, 8, 8))
    assert weights.min() >= np.float32(1e-4)
    for turned in (weights[::-1], weights[:, ::-1], weights[:, :, ::-1], weights.swapaxes(1, 2)):
        np.testing.assert_allclose(turned, weights, rtol=1e-4)


def test_misspelt_name_gets_a_hint():
    with pytest.raises(ValueError, match="Did you mean 'gaussian'"):
        blending_window("gausian", (4, 4, 4))
