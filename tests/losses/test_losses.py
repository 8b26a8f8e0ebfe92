"""Losses against formulas written out by hand, torch's own, and numerical gradients."""

import numpy as np
import pytest
import torch
import torch.nn.functional as functional

from emlib.losses import build_loss, list_losses

SHAPE = (2, 2, 2, 3, 4)
# These compare an embedding with a mask or labels; test_nearest_prototype.py and test_discriminative.py are of them.
EMBEDDING = ("NearestPrototype", "Discriminative", "DiscriminativeTwoClasses")
VOXELWISE = [name for name in list_losses() if name not in EMBEDDING]


@pytest.fixture
def tensors():
    generator = torch.Generator().manual_seed(0)
    prediction = torch.rand(SHAPE, generator=generator)
    target = (torch.rand(SHAPE, generator=generator) > 0.6).float()
    weight = torch.rand(SHAPE, generator=generator) * 3
    return prediction, target, weight


def numbers(*tensors):
    return [tensor.double().numpy() for tensor in tensors]


def test_bce_is_torchs_and_divides_by_the_number_of_voxels(tensors):
    prediction, target, weight = tensors
    loss = build_loss("WeightedBCE")
    assert float(loss(prediction, target)) == pytest.approx(float(functional.binary_cross_entropy(prediction, target)))
    p, t, w = numbers(*tensors)
    by_hand = -(w * (t * np.log(p) + (1 - t) * np.log(1 - p))).sum() / p.size
    assert float(loss(prediction, target, weight)) == pytest.approx(by_hand, rel=1e-6)


def test_bce_takes_soft_targets(tensors):
    prediction, _, weight = tensors
    expected = functional.binary_cross_entropy(prediction, weight / 3)
    assert float(build_loss("WeightedBCE")(prediction, weight / 3)) == pytest.approx(float(expected))


def test_bce_of_certain_predictions_is_finite():
    prediction = torch.tensor([0.0, 0.0, 1.0, 1.0]).reshape(1, 1, 1, 1, 4).requires_grad_()
    target = torch.tensor([0.0, 1.0, 0.0, 1.0]).reshape(1, 1, 1, 1, 4)
    loss = build_loss("WeightedBCE")(prediction, target)
    expected = functional.binary_cross_entropy(prediction.detach(), target)
    assert float(loss.detach()) == float(expected) == 50
    loss.backward()
    assert torch.isfinite(prediction.grad).all()


def test_a_saturated_network_has_finite_gradients():
    logits = torch.tensor([-200.0, -90.0, -20.0, 20.0, 200.0]).reshape(1, 1, 1, 1, 5).requires_grad_()
    for target in (torch.zeros_like(logits), torch.ones_like(logits)):
        for name in VOXELWISE:
            (gradient,) = torch.autograd.grad(build_loss(name)(torch.sigmoid(logits), target), logits)
            assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("name", VOXELWISE)
def test_a_prediction_that_is_not_a_number_is_not_hidden(name, tensors):
    prediction, target, _ = tensors
    prediction[0, 0, 0, 0, 0] = float("nan")
    assert torch.isnan(build_loss(name)(prediction, target))


@pytest.mark.parametrize("power", [1, 2])
def test_dice_by_hand(tensors, power):
    prediction, target, weight = tensors
    loss = build_loss("DiceLoss", power=power)
    for w, given in ((np.ones(SHAPE), None), (weight.double().numpy(), weight)):
        p, t = numbers(prediction, target)
        both, one, other = ((w * a).sum((1, 2, 3, 4)) for a in (p * t, p**power, t**power))
        by_hand = (1 - (2 * both + 100) / (one + other + 100)).mean()
        assert float(loss(prediction, target, given)) == pytest.approx(by_hand, rel=1e-5)


def test_dice_is_per_sample():
    target = torch.zeros(2, 1, 1, 20, 20)
    target[0] = 1
    prediction = torch.ones_like(target)
    # Sample 0 is right; sample 1 has 400 false voxels: 1 - 100 / 500.
    assert float(build_loss("DiceLoss")(prediction, target)) == pytest.approx(0.4)
    assert float(build_loss("DiceLoss", smooth=400.0)(prediction, target)) == pytest.approx(0.25)


def test_jaccard_by_hand(tensors):
    prediction, target, _ = tensors
    p, t = numbers(prediction, target)
    both = (p * t).sum((1, 2, 3, 4))
    union = p.sum((1, 2, 3, 4)) + t.sum((1, 2, 3, 4)) - both
    by_hand = (1 - (both + 1) / (union + 1)).mean()
    assert float(build_loss("JaccardLoss")(prediction, target)) == pytest.approx(by_hand, rel=1e-5)


def test_mse_adds_channels_up(tensors):
    p, t, w = numbers(*tensors)
    by_hand = (w * (p - t) ** 2).sum() / (2 * 2 * 3 * 4)
    assert float(build_loss("WeightedMSE")(*tensors)) == pytest.approx(by_hand, rel=1e-5)


@pytest.mark.parametrize("name", VOXELWISE)
def test_gradients(name, tensors):
    prediction, target, weight = (tensor.double() for tensor in tensors)
    prediction = (0.05 + 0.9 * prediction).requires_grad_()
    assert torch.autograd.gradcheck(lambda p: build_loss(name)(p, target, weight), prediction)


@pytest.mark.parametrize("name", VOXELWISE)
def test_weight_zero_leaves_a_voxel_out(name, tensors):
    prediction, target, _ = tensors
    mask = torch.ones(1, 1, 1, 1, 4)
    mask[..., 0] = 0
    changed = prediction.clone()
    changed[..., 0] = 0.123
    loss = build_loss(name)
    assert float(loss(prediction, target, mask)) == float(loss(changed, target, mask))
    assert float(loss(prediction, target)) != float(loss(changed, target))


@pytest.mark.parametrize("name", VOXELWISE)
def test_half_precision_is_computed_in_full(name, tensors):
    prediction, target, weight = tensors
    low = prediction.bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = build_loss(name)(low, target, weight)
    assert value.dtype == torch.float32
    assert float(value) == float(build_loss(name)(low.float(), target, weight))


@pytest.mark.parametrize("name", VOXELWISE)
def test_shapes_that_do_not_fit_are_refused(name, tensors):
    prediction, target, _ = tensors
    with pytest.raises(ValueError, match=r"shape \(2, 2, 2, 3, 4\) and its target \(2, 1, 2, 3, 4\)"):
        build_loss(name)(prediction, target[:, :1])
    with pytest.raises(ValueError, match=r"weight's shape \(7,\)"):
        build_loss(name)(prediction, target, torch.ones(7))


def test_wrong_names_and_options_are_refused():
    with pytest.raises(ValueError, match="did you mean 'DiceLoss'"):
        build_loss("DiceLos")
    with pytest.raises(ValueError, match="there are WeightedBCE"):
        build_loss("xyz")
    with pytest.raises(ValueError, match="did you mean 'smooth'"):
        build_loss("DiceLoss", smoth=1)
    with pytest.raises(ValueError, match="it has none"):
        build_loss("WeightedBCE", smooth=1)
    with pytest.raises(ValueError, match="power of DiceLoss is 3"):
        build_loss("DiceLoss", power=3)
    with pytest.raises(ValueError, match="smooth of JaccardLoss is 0"):
        build_loss("JaccardLoss", smooth=0)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", VOXELWISE)
def test_the_same_on_cuda(name, tensors):
    there = build_loss(name)(*(tensor.cuda() for tensor in tensors))
    assert float(there) == pytest.approx(float(build_loss(name)(*tensors)), rel=1e-5)
