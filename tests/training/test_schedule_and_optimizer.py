"""Learning rates as measured on the published system, and which parameters decay."""

import pytest
import torch
from torch import nn

from emlib.models import build_model
from emlib.recipe_schema import OptimizerRecipe, ScheduleRecipe, TrainingRecipe
from emlib.training.optimizer import build_optimizer
from emlib.training.schedule import learning_rate, learning_rate_at


@pytest.mark.parametrize(
    ("iteration", "expected"), [(0, 1e-7), (500, 5.005e-5), (1000, 1e-4), (1001, 1e-4), (299_999, 1e-4)]
)
def test_multistep_as_measured(iteration, expected):
    schedule = ScheduleRecipe(name="warmup_multistep", milestones=(300_000,))
    assert learning_rate(schedule, 1e-4, iteration, 400_000) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    ("iteration", "expected"), [(0, 2e-5), (500, 0.0100097), (1000, 0.0199978), (75_000, 0.01), (150_000, 0.0)]
)
def test_cosine_as_measured(iteration, expected):
    schedule = ScheduleRecipe(name="warmup_cosine")
    assert learning_rate(schedule, 0.02, iteration, 150_000) == pytest.approx(expected, rel=3e-6, abs=1e-12)


def test_milestones_multiply_when_they_are_reached():
    schedule = ScheduleRecipe(name="warmup_multistep", warmup_iterations=0, milestones=(20, 10), gamma=0.5)
    rates = [learning_rate(schedule, 8.0, iteration, 30) for iteration in (0, 9, 10, 19, 20)]
    assert rates == [8.0, 8.0, 4.0, 4.0, 2.0]


def test_constant_warms_up_and_stays():
    training = TrainingRecipe(
        iterations=10,
        window=(4, 4, 4),
        optimizer=OptimizerRecipe(learning_rate=1.0),
        schedule=ScheduleRecipe(name="constant", warmup_iterations=4, warmup_factor=0.0),
    )
    assert [learning_rate_at(i, training) for i in range(6)] == [0.0, 0.25, 0.5, 0.75, 1.0, 1.0]


@pytest.mark.parametrize(("name", "kind"), [("adam", "Adam"), ("adamw", "AdamW"), ("sgd", "SGD")])
def test_norms_and_biases_do_not_decay(name, kind):
    model = nn.Sequential(nn.Conv3d(1, 2, 3), nn.BatchNorm3d(2), nn.Conv3d(2, 1, 1))
    optimizer = build_optimizer(model, OptimizerRecipe(name=name, learning_rate=0.5, weight_decay=0.1))
    assert type(optimizer).__name__ == kind
    decays = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    assert len(decays) == len(list(model.parameters()))
    for key, parameter in model.named_parameters():
        assert decays[id(parameter)] == (0.1 if key in ("0.weight", "2.weight") else 0.0), key


def test_frozen_parameters_are_left_out():
    model = build_model("unet_residual_3d", widths=(4, 6))
    optimizer = build_optimizer(model, OptimizerRecipe())
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    assert held == {id(p) for p in model.parameters() if p.requires_grad}


def test_a_model_without_parameters_is_refused():
    with pytest.raises(ValueError, match="Identity has no parameter that is trained"):
        build_optimizer(nn.Identity(), OptimizerRecipe())


def test_sgd_has_momentum():
    optimizer = build_optimizer(nn.Linear(1, 1), OptimizerRecipe(name="sgd", momentum=0.75))
    assert isinstance(optimizer, torch.optim.SGD)
    assert optimizer.param_groups[0]["momentum"] == 0.75
