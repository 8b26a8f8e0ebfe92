"""Hard examples against sorted lists in plain Python: ranks, ties, weights, and the published rules."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from emlib.losses import build_loss

BCE_RULES, MSE_RULES = ("true_class", "published"), ("error", "published", "published_2")
# Few different values, so that ties at every rank are common.
probabilities = st.sampled_from([0.1, 0.3, 0.5, 0.7, 0.9])
voxels = st.lists(st.tuples(probabilities, st.sampled_from([0, 1]), st.sampled_from([0, 1, 2])), min_size=1, max_size=9)


def as_tensors(items):
    return [torch.tensor(column, dtype=torch.float64).view(1, 1, 1, -1) for column in zip(*items, strict=True)]


def hardest(items, kept):
    """Those whose loss is at least that of rank `kept`; items are (loss, weight)."""
    counted = sorted((item for item in items if item[1] > 0), reverse=True)
    return [item for item in counted if item[0] >= counted[min(kept, len(counted)) - 1][0] - 1e-12]


def mean(items):
    return sum(loss * weight for loss, weight in items) / len(items) if items else 0.0


@given(voxels, st.integers(1, 10), st.sampled_from([0, 0.2, 0.5, 0.95, 1]))
def test_bce_is_the_mean_over_what_a_sorted_list_calls_hard(items, kept, threshold):
    def probability(p, t):
        return p if t else 1 - p

    losses = [(-math.log(probability(p, t)), w) for p, t, w in items]
    hard = hardest(losses, kept)
    below = [(-math.log(probability(p, t)), w) for p, t, w in items if w > 0 and probability(p, t) < threshold - 1e-9]
    expected = mean(max(hard, below, key=len))
    prediction, target, weight = as_tensors(items)
    found = build_loss("OhemBCE", kept=kept, threshold=threshold)(prediction, target, weight)
    # 1 - 0.7 and 0.3 are one number apart by rounding, a tie on paper only.
    if not ties_by_rounding(items, kept):
        assert float(found) == pytest.approx(expected, rel=1e-9)


def ties_by_rounding(items, kept):
    """Whether the last loss kept ties on paper with another that differs in the last bit."""
    exact = sorted((-np.log(p if t else 1 - p) for p, t, w in items if w > 0), reverse=True)
    limit = exact[min(kept, len(exact)) - 1] if exact else 0
    return any(0 < abs(value - limit) < 1e-9 for value in exact)


@given(voxels, st.integers(1, 10))
def test_mse_is_the_mean_over_the_largest_errors(items, kept):
    prediction, target, weight = as_tensors([(t + round(10 * p), t, w) for p, t, w in items])
    expected = mean(hardest([(float(round(10 * p)) ** 2, w) for p, _, w in items], kept))
    assert float(build_loss("OhemMSE", kept=kept)(prediction, target, weight)) == pytest.approx(expected)


@given(voxels, st.integers(1, 10), st.sampled_from([0, 0.2, 0.5, 0.95, 1]))
def test_published_bce_by_hand(items, kept, threshold):
    ranked = sorted(p for p, _, _ in items)
    limit = max(ranked[min(kept, len(items) - 1)], threshold)
    kept_items = [(-math.log(p if t else 1 - p), w) for p, t, w in items if p < limit]
    found = float(build_loss("OhemBCE", kept=kept, threshold=threshold, rule="published")(*as_tensors(items)))
    assert found == pytest.approx(mean(kept_items), rel=1e-9) if kept_items else math.isnan(found)


@given(voxels, st.integers(1, 10))
def test_published_mse_by_hand(items, kept):
    errors = [round(10 * p) ** 2 for p, _, _ in items]
    tensors = as_tensors([(t + round(10 * p), t, w) for p, t, w in items])
    weighted = sorted((e * w / len(items) for e, (_, _, w) in zip(errors, items, strict=True)), reverse=True)[:kept]
    assert float(build_loss("OhemMSE", kept=kept, rule="published")(*tensors)) == pytest.approx(np.mean(weighted))
    limit = sorted(errors)[max(len(items) - kept, 0)]
    above = [e * w for e, (_, _, w) in zip(errors, items, strict=True) if e > limit]
    found = float(build_loss("OhemMSE", kept=kept, rule="published_2")(*tensors))
    assert found == pytest.approx(np.mean(above)) if above else math.isnan(found)


def test_the_published_factors_and_counts():
    """N times smaller than the plain error, and one voxel too few."""
    errors = torch.arange(1.0, 9.0).view(2, 1, 2, 2, 1)
    zeros = torch.zeros_like(errors)
    plain = float(build_loss("WeightedMSE")(errors, zeros))
    assert float(build_loss("OhemMSE", kept=8, rule="published")(errors, zeros)) == pytest.approx(plain / 8)
    three = build_loss("OhemMSE", kept=3, rule="published_2")(errors, zeros)
    assert float(three) == (64 + 49) / 2
    assert float(build_loss("OhemMSE", kept=3)(errors, zeros)) == pytest.approx((64 + 49 + 36) / 3)


def test_false_positives_count_and_easy_background_does_not():
    """The published rule has it the other way round."""
    prediction = torch.tensor([0.95, 0.9, 0.01, 0.02]).view(1, 1, 1, 4).requires_grad_()
    target = torch.tensor([0.0, 1.0, 0.0, 0.0]).view(1, 1, 1, 4)
    learned = {}
    for rule in BCE_RULES:
        (gradient,) = torch.autograd.grad(build_loss("OhemBCE", kept=1, rule=rule)(prediction, target), prediction)
        learned[rule] = gradient.flatten().ne(0).tolist()
    assert learned == {"true_class": [True, False, False, False], "published": [False, False, True, True]}


@pytest.mark.parametrize("name", ["BCE", "MSE"])
def test_with_all_voxels_kept_it_is_the_plain_loss(name):
    generator = torch.Generator().manual_seed(0)
    prediction = torch.rand(2, 2, 3, 4, 5, generator=generator)
    target, weight = (prediction.roll(1) > 0.5).float(), prediction.flip(4) + 0.1
    for kept in (240, 10_000):
        found = build_loss(f"Ohem{name}", kept=kept)(prediction, target, weight)
        assert float(found) == pytest.approx(float(build_loss(f"Weighted{name}")(prediction, target, weight)))


def test_where_all_voxels_tie_the_loss_is_their_mean_and_the_published_ones_are_nothing():
    prediction, target = torch.full((1, 1, 2, 3, 4), 0.7), torch.ones(1, 1, 2, 3, 4)
    assert float(build_loss("OhemBCE", kept=3)(prediction, target)) == pytest.approx(-math.log(0.7))
    assert float(build_loss("OhemMSE", kept=3)(prediction, target)) == pytest.approx(0.09)
    assert torch.isnan(build_loss("OhemBCE", kept=3, rule="published")(prediction, target))
    assert torch.isnan(build_loss("OhemMSE", kept=3, rule="published_2")(prediction, target))


@pytest.mark.parametrize("name", ["OhemBCE", "OhemMSE"])
def test_without_a_voxel_that_counts_the_loss_is_0_and_so_is_its_gradient(name):
    prediction = torch.rand(1, 1, 2, 3, 4, requires_grad=True)
    value = build_loss(name)(prediction, torch.ones_like(prediction), torch.zeros(1))
    value.backward()
    assert float(value.detach()) == 0
    assert not prediction.grad.any()


@pytest.mark.parametrize(("name", "rule"), [("OhemBCE", r) for r in BCE_RULES] + [("OhemMSE", r) for r in MSE_RULES])
def test_gradients(name, rule):
    generator = torch.Generator().manual_seed(0)
    prediction = 0.05 + 0.9 * torch.rand(1, 2, 2, 3, 4, generator=generator, dtype=torch.float64)
    target, weight = (prediction.roll(1) > 0.5).double(), prediction.flip(4) + 0.1
    loss = build_loss(name, kept=11, rule=rule)
    assert torch.autograd.gradcheck(lambda p: loss(p, target, weight), prediction.requires_grad_())
    if rule in ("true_class", "error"):
        (gradient,) = torch.autograd.grad(loss(prediction, target, weight), prediction)
        assert 11 <= int(gradient.ne(0).sum()) < prediction.numel()


def test_a_prediction_that_is_not_a_number_is_not_hidden_by_any_rule():
    prediction, target = torch.rand(1, 1, 1, 4, 5), torch.ones(1, 1, 1, 4, 5)
    prediction[0, 0, 0, 1, 1] = float("nan")
    for name, rules in (("OhemBCE", BCE_RULES), ("OhemMSE", MSE_RULES)):
        for rule in rules:
            assert torch.isnan(build_loss(name, kept=2, rule=rule)(prediction, target))


def test_options_out_of_range_are_refused():
    for options, says in [
        ({"kept": 0}, "kept of OhemBCE is 0, but a whole number of at least 1"),
        ({"kept": 0.5}, "kept of OhemBCE is 0.5"),
        ({"threshold": 1.5}, "threshold of OhemBCE is 1.5, but a number from 0 to 1"),
        ({"threshold": float("nan")}, "threshold of OhemBCE is nan"),
        ({"rule": "error"}, "rule of OhemBCE is 'error', but 'true_class' or 'published' was expected"),
        ({"keep": 3}, "has no option 'keep'; did you mean 'kept'"),
    ]:
        with pytest.raises(ValueError, match=says):
            build_loss("OhemBCE", **options)
    with pytest.raises(ValueError, match="'error' or 'published' or 'published_2' was expected"):
        build_loss("OhemMSE", rule="true_class")


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize(("name", "rule"), [("OhemBCE", r) for r in BCE_RULES] + [("OhemMSE", r) for r in MSE_RULES])
def test_the_same_on_cuda(name, rule):
    prediction = torch.rand(2, 1, 4, 16, 16)
    target, weight = (prediction.roll(1) > 0.5).float(), prediction.flip(4) + 0.1
    loss = build_loss(name, kept=100, rule=rule)
    there = loss(prediction.cuda(), target.cuda(), weight.cuda())
    assert float(there) == pytest.approx(float(loss(prediction, target, weight)), rel=1e-5)
