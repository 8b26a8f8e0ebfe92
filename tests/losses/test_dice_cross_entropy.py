"""The loss of classes against MONAI's own on logits, torch's cross entropy, and hand-written sums."""

import numpy as np
import pytest
import torch
import torch.nn.functional as functional

from emlib.losses import CompositeLoss, build_loss
from emlib.recipe_schema import LossTerm


@pytest.fixture(params=[(2, 3, 8, 9), (3, 4, 2, 5, 6)], ids=["images", "volumes"])
def tensors(request):
    shape, generator = request.param, torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(shape, generator=generator)
    target = torch.randint(0, shape[1], (shape[0], *shape[2:]), generator=generator)
    target[0] = 0
    return logits, torch.movedim(functional.one_hot(target, shape[1]).float(), -1, 1)


def test_is_monais_loss_of_the_logits(tensors):
    from monai.losses import DiceCELoss

    logits, target = tensors
    logits.requires_grad_()
    expected = DiceCELoss(softmax=True)(logits, target)
    (there,) = torch.autograd.grad(expected, logits)
    found = build_loss("DiceCE")(torch.softmax(logits, dim=1), target)
    (here,) = torch.autograd.grad(found, logits)
    assert float(found.detach()) == pytest.approx(float(expected.detach()), rel=1e-5)
    torch.testing.assert_close(here, there, rtol=1e-4, atol=1e-6)


def test_by_hand_with_weights(tensors):
    logits, target = tensors
    prediction = torch.softmax(logits, dim=1)
    weight = torch.rand(target.shape, generator=torch.Generator().manual_seed(1)) * 2
    p, t, w = (tensor.double().numpy() for tensor in (prediction, target, weight))
    axes = tuple(range(2, p.ndim))
    both, one, other = ((w * a).sum(axes) for a in (p * t, p, t))
    dice = (1 - (2 * both + 0.5) / (one + other + 0.5)).mean()
    entropy = -(w * t * np.log(p)).sum(axis=1).mean()
    found = build_loss("DiceCE", smooth=0.5)(prediction, target, weight)
    assert float(found) == pytest.approx(dice + entropy, rel=1e-5)


def test_right_answers_cost_nothing_and_certain_wrong_ones_100():
    target = torch.zeros(1, 3, 4, 4)
    target[:, 1] = 1
    loss = build_loss("DiceCE")
    assert float(loss(target, target)) == pytest.approx(0, abs=1e-6)
    wrong = target.roll(1, dims=1).requires_grad_()
    value = loss(wrong, target)
    # Class 0 is neither there nor predicted: of three Dice losses two are 1.
    assert float(value.detach()) == pytest.approx(100 + 2 / 3, rel=1e-5)
    value.backward()
    assert torch.isfinite(wrong.grad).all()


def test_pixels_of_weight_0_do_not_count(tensors):
    logits, target = tensors
    prediction = torch.softmax(logits, dim=1)
    weight = torch.ones_like(target)
    weight[..., 0] = 0
    changed = prediction.clone()
    changed[..., 0] = 1 / prediction.shape[1]
    loss = build_loss("DiceCE")
    assert float(loss(prediction, target, weight)) == pytest.approx(float(loss(changed, target, weight)), rel=1e-6)


def test_one_term_of_a_network(tensors):
    logits, target = tensors
    prediction, count = torch.softmax(logits, dim=1), target.shape[1]
    loss = CompositeLoss([("classes", count, [LossTerm(name="DiceCE", weight=0.5)])])
    total, parts = loss(prediction, target)
    value = float(build_loss("DiceCE")(prediction, target))
    assert float(total) == pytest.approx(0.5 * value)
    assert {name: float(part) for name, part in parts.items()} == {"classes/DiceCE": pytest.approx(value)}
