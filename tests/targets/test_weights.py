"""Class weights against their formula."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from oracles.volumes import small_volume

from emlib.targets import build_target, class_weights


def test_published_figure():
    weights = class_weights(build_target(small_volume()[0], "0"), "1")
    assert weights.dtype == np.float32
    assert weights.sum() == pytest.approx(20422, abs=0.5)
    np.testing.assert_allclose(np.unique(weights), [1, 1.242063], atol=1e-6)
    background = small_volume()[0] == 0
    assert (weights[0][~background] == 1).all(), "the weight is on the background, which is the smaller half here"


def target_with(positive, total=1000):
    target = np.zeros((1, 1, 10, total // 10), np.float32)
    target.reshape(-1)[:positive] = 1
    return target


@given(st.integers(1, 999))
def test_formula(positive):
    weights = class_weights(target_with(positive), "1")
    share = min(max(positive / 1000, 0.05), 0.99)
    foreground, background = (1, share / (1 - share)) if share > 0.5 else ((1 - share) / share, 1)
    assert weights.reshape(-1)[0] == pytest.approx(foreground, rel=1e-6)
    assert weights.reshape(-1)[-1] == pytest.approx(background, rel=1e-6)


def test_limits_are_vidars_and_can_be_set():
    assert class_weights(target_with(1), "1").max() == pytest.approx(19)
    assert class_weights(target_with(999), "1").max() == pytest.approx(99)
    assert class_weights(target_with(999), "1", limits=(0.05, 0.95)).max() == pytest.approx(19)


@pytest.mark.parametrize("option", ["0", "1", "1-1"])
@pytest.mark.parametrize("positive", [0, 1000])
def test_one_class_counts_evenly(option, positive):
    assert (class_weights(target_with(positive), option) == 1).all()


def test_the_mask_is_left_out_of_weights_and_share():
    target = target_with(100)
    mask = np.zeros(target.shape, bool)
    mask[..., :5, :] = True
    weights = class_weights(target, "1", mask)
    assert set(np.unique(weights[~mask])) == {0}
    np.testing.assert_allclose(np.unique(weights[mask]), [1, 4])
    np.testing.assert_array_equal(class_weights(target, "0", mask), mask)
    np.testing.assert_array_equal(class_weights(target, "1", np.ones((1, 1, 1), bool)), class_weights(target, "1"))


@pytest.mark.parametrize("invert", [False, True])
def test_dilation_widens_the_rarer_class_in_the_section(invert):
    target = np.zeros((1, 3, 7, 7), np.float32)
    target[0, 1, 3, 3] = 1
    target = 1 - target if invert else target
    heavy = class_weights(target, "1-1") > 1
    expected = np.zeros(target.shape, bool)
    expected[0, 1, 2:5, 2:5] = True
    np.testing.assert_array_equal(heavy, expected)
    assert class_weights(target, "1-1").max() == class_weights(target, "1").max()


def test_each_sample_of_a_batch_is_balanced_on_its_own():
    samples = [target_with(100), target_with(700), target_with(0)]
    batch = torch.from_numpy(np.stack(samples))
    weights = class_weights(batch, "1")
    assert isinstance(weights, torch.Tensor)
    for one, sample in zip(weights, samples, strict=True):
        np.testing.assert_array_equal(one.numpy(), class_weights(sample, "1"))


def test_channels_of_a_sample_are_balanced_together():
    target = np.concatenate([target_with(0), target_with(200)])
    np.testing.assert_allclose(np.unique(class_weights(target, "1")), [1, 9], rtol=1e-6)


def test_bad_arguments_are_refused():
    target = target_with(10)
    with pytest.raises(ValueError, match="no class weight option '2'"):
        class_weights(target, "2")
    with pytest.raises(ValueError, match=r"shape \(10, 100\)"):
        class_weights(target[0, 0], "1")
    with pytest.raises(ValueError, match="does not broadcast"):
        class_weights(target, "1", np.ones((3, 1, 10, 7), bool))
    with pytest.raises(ValueError, match="limits"):
        class_weights(target, "1", limits=(0.9, 0.1))
    with pytest.raises(TypeError, match="target is a list"):
        class_weights([1], "1")
