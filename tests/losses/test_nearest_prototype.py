"""Nearest-prototype probability and loss against loops over voxels, and the samples that have one class only."""

import numpy as np
import pytest
import torch

from emlib.losses import build_loss, nearest_prototype_probability

SHAPE = (2, 5, 2, 3, 4)


@pytest.fixture
def embedding():
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.fixture
def mask():
    return torch.rand(2, 1, *SHAPE[2:], generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def by_hand(embedding, inside, valid=None):
    """exp(-d_f) / (exp(-d_f) + exp(-d_b)) for one voxel after the other."""
    embedding, inside = np.moveaxis(embedding.numpy(), 1, -1), inside.numpy()[:, 0]
    valid = np.ones_like(inside, bool) if valid is None else np.broadcast_to(valid.numpy()[:, 0] > 0, inside.shape)
    probability = np.empty(inside.shape)
    for n, sample in enumerate(embedding):
        foreground, background = sample[inside[n] & valid[n]].mean(0), sample[~inside[n] & valid[n]].mean(0)
        for voxel in np.ndindex(inside.shape[1:]):
            to_f, to_b = (np.sqrt(((sample[voxel] - c) ** 2).sum()) for c in (foreground, background))
            probability[(n, *voxel)] = np.exp(-to_f) / (np.exp(-to_f) + np.exp(-to_b))
    return probability[:, None]


def test_the_probability_by_hand(embedding, mask):
    expected = by_hand(embedding, mask > 0.5)
    np.testing.assert_allclose(nearest_prototype_probability(embedding, mask).numpy(), expected, rtol=1e-12)
    assert torch.equal(
        nearest_prototype_probability(embedding, mask), nearest_prototype_probability(embedding, mask > 0.5)
    )
    valid = torch.ones(1, 1, 1, 1, 4)
    valid[..., 0] = 0
    expected = by_hand(embedding, mask > 0.5, valid.expand(2, 1, *SHAPE[2:]))
    found = nearest_prototype_probability(embedding, mask, valid=valid)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12)


def test_images_too(embedding, mask):
    found = nearest_prototype_probability(embedding[:, :, 0], mask[:, :, 0])
    whole = nearest_prototype_probability(embedding[:, :, :1], mask[:, :, :1])
    assert torch.equal(found, whole[:, :, 0])


def test_far_voxels_have_a_finite_probability():
    """Where the published quotient is 0 / 0 in float32."""
    embedding = torch.tensor([0.0, 500.0, 1000.0, 1200.0]).view(1, 1, 1, 4).requires_grad_()
    probability = nearest_prototype_probability(embedding, torch.tensor([0, 0, 1, 1]).bool().view(1, 1, 1, 4))
    assert probability.flatten().tolist() == [0, 0, 1, 1]
    probability.sum().backward()
    assert torch.isfinite(embedding.grad).all()


def test_a_mask_of_one_class_decides_alone(embedding, mask):
    mask[0] = 0
    expected = nearest_prototype_probability(embedding, mask)
    assert not expected[0].any()
    assert torch.equal(expected[1], nearest_prototype_probability(embedding[1:], mask[1:])[0])
    assert (nearest_prototype_probability(embedding, torch.ones_like(mask)) == 1).all()


def test_the_loss_by_hand(embedding, mask):
    target = (mask.roll(1, 4) > 0.4).double()
    weight = mask.flip(4) + 0.2
    prediction = torch.cat([mask, embedding], dim=1)
    for prototypes, inside in (("prediction", mask > 0.5), ("truth", target > 0)):
        p, m, t, w = by_hand(embedding, inside), mask.numpy(), target.numpy(), weight.numpy()
        first, own = (-(w * (t * np.log(q) + (1 - t) * np.log(1 - q))).mean() for q in (p, m))
        for factor in (1.0, 0.25, 0.0):
            loss = build_loss("NearestPrototype", prototypes=prototypes, mask_factor=factor)
            assert float(loss(prediction, target, weight)) == pytest.approx(first + factor * own)
    assert float(loss(prediction, 7 * target.int(), weight)) == float(loss(prediction, target, weight))


def test_gradients(embedding, mask):
    target = (mask.roll(1, 4) > 0.4).double()
    prediction = torch.cat([0.05 + 0.9 * mask, embedding], dim=1).requires_grad_()
    for options in ({}, {"prototypes": "truth"}, {"mask_factor": 0.0}):
        loss = build_loss("NearestPrototype", **options)
        assert torch.autograd.gradcheck(lambda p, loss=loss: loss(p, target), prediction)
    (gradient,) = torch.autograd.grad(build_loss("NearestPrototype", mask_factor=0)(prediction, target), prediction)
    assert not gradient[:, 0].any()  # as published: the mask does not learn


def test_a_sample_without_both_prototypes_learns_its_mask_only(embedding, mask):
    target = (mask > 0.4).double()
    mask[0] = 0.1
    prediction = torch.cat([mask, embedding], dim=1).requires_grad_()
    value = build_loss("NearestPrototype")(prediction, target)
    (gradient,) = torch.autograd.grad(value, prediction)
    assert torch.isfinite(gradient).all()
    assert gradient[0, :1].all()
    assert not gradient[0, 1:].any()
    assert gradient[1].any()
    alone = build_loss("NearestPrototype", mask_factor=0)
    fixed = prediction.detach()
    assert float(alone(fixed, target)) == pytest.approx(float(alone(fixed[1:], target[1:])))
    # From the truth, which has both, it does learn.
    from_truth = build_loss("NearestPrototype", prototypes="truth")(prediction, target)
    assert torch.autograd.grad(from_truth, prediction)[0][0, 1:].any()


def test_a_batch_without_both_prototypes_is_defined(embedding, mask):
    prediction = torch.cat([torch.full_like(mask, 0.1), embedding], dim=1).requires_grad_()
    value = build_loss("NearestPrototype", mask_factor=0)(prediction, torch.zeros_like(mask))
    value.backward()
    assert float(value.detach()) == 0
    assert not prediction.grad.any()


def test_voxels_of_weight_0_do_not_count(embedding, mask):
    target = (mask > 0.4).double()
    weight = torch.ones(1, 1, 1, 1, 4)
    weight[..., 0] = 0
    prediction = torch.cat([mask, embedding], dim=1)
    changed = prediction.clone()
    changed[..., 0] = 0.9
    loss = build_loss("NearestPrototype")
    assert float(loss(prediction, target, weight)) == float(loss(changed, target, weight))
    assert float(loss(prediction, target)) != float(loss(changed, target))


def test_a_prediction_that_is_not_a_number_is_not_hidden(embedding, mask):
    target = (mask > 0.4).double()
    for channel in (0, 3):
        prediction = torch.cat([mask, embedding], dim=1)
        prediction[0, channel, 0, 0, 0] = float("nan")
        assert torch.isnan(build_loss("NearestPrototype")(prediction, target))


def test_half_precision_is_computed_in_full(embedding, mask):
    prediction = torch.cat([mask, embedding], dim=1).bfloat16()
    target = (mask > 0.4).float()
    with torch.autocast("cpu", torch.bfloat16):
        value = build_loss("NearestPrototype")(prediction, target)
    assert value.dtype == torch.float32
    assert float(value) == float(build_loss("NearestPrototype")(prediction.float(), target))


def test_shapes_and_options_that_do_not_fit_are_refused(embedding, mask):
    with pytest.raises(ValueError, match=r"\(2, 5, 2, 3, 4\) and the mask \(2, 2, 2, 3, 4\)"):
        nearest_prototype_probability(embedding, mask.expand(2, 2, 2, 3, 4))
    with pytest.raises(ValueError, match="does not broadcast to the mask's"):
        nearest_prototype_probability(embedding, mask, valid=torch.ones(7))
    loss = build_loss("NearestPrototype")
    with pytest.raises(ValueError, match=r"\(n, 1 \+ embedding, \[z,\] y, x\) was expected"):
        loss(mask, mask)
    with pytest.raises(ValueError, match="they must be equal"):
        loss(torch.cat([mask, embedding], dim=1), embedding)
    with pytest.raises(ValueError, match="weight's shape"):
        loss(torch.cat([mask, embedding], dim=1), mask, torch.ones(7))
    with pytest.raises(ValueError, match="'prediction' or 'truth' was expected"):
        build_loss("NearestPrototype", prototypes="labels")


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_same_on_cuda(embedding, mask):
    prediction, target = torch.cat([mask, embedding], dim=1), (mask > 0.4).double()
    here, there = prediction.clone().requires_grad_(), prediction.cuda().requires_grad_()
    loss = build_loss("NearestPrototype")
    gradients = [torch.autograd.grad(loss(p, target.to(p.device)), p)[0].cpu() for p in (here, there)]
    torch.testing.assert_close(*gradients)
