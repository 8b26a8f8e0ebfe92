"""The rate that follows the loss, against torch's own scheduler."""

import dataclasses
import json

import numpy as np
import pytest
import torch

from emlib.recipe_schema import OptimizerRecipe, PlateauRecipe, ScheduleRecipe, TrainingRecipe
from emlib.training.optimizer import build_optimizer
from emlib.training.plateau import Plateau
from emlib.training.run_state import RunState
from emlib.training.schedule import learning_rate_at


def rates_of_torch(losses, settings, base):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=base)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, factor=settings.factor, patience=settings.patience, threshold=settings.threshold,
        min_lr=settings.lowest_rate,
    )  # fmt: skip
    rates = []
    for index in range(0, len(losses) - settings.every + 1, settings.every):
        scheduler.step(float(np.mean(losses[index : index + settings.every])))
        rates += [optimizer.param_groups[0]["lr"]] * settings.every
    return rates


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("options", [{}, {"every": 1, "patience": 0}, {"every": 3, "patience": 2, "threshold": 0.05}])
def test_rates_are_those_of_torch(seed, options):
    settings = PlateauRecipe(**{"every": 10, "patience": 3} | options)
    random = np.random.default_rng(seed)
    losses = (np.exp(-np.arange(600) / 60) + 0.05 * random.random(600) + 0.1).tolist()
    state, rates = Plateau(), []
    for loss in losses:
        state.watch(loss, settings, 1e-4)
        rates.append(1e-4 if state.rate is None else state.rate)
    expected = rates_of_torch(losses, settings, 1e-4)
    # A rate changes with the last iteration of a look.
    looks = slice(settings.every - 1, None, settings.every)
    assert rates[looks] == pytest.approx(expected[looks], rel=1e-12)
    assert rates[-1] == pytest.approx(1e-7)


def test_the_published_settings():
    assert PlateauRecipe().model_dump() == {
        "every": 10, "patience": 1000, "factor": 0.1, "threshold": 1e-4, "lowest_rate": 1e-7,
    }  # fmt: skip


def test_a_rate_never_rises():
    state = Plateau()
    for _ in range(5):
        state.watch(1.0, PlateauRecipe(every=1, patience=0, lowest_rate=1e-3), 1e-5)
    assert state.rate == 1e-5


@pytest.mark.parametrize("stop", [0, 1, 9, 37])
def test_it_goes_on_from_a_checkpoint(stop):
    settings = PlateauRecipe(every=4, patience=1, threshold=0.01)
    losses = np.random.default_rng(1).random(80).tolist()
    whole = RunState()
    for loss in losses:
        whole.plateau.watch(loss, settings, 0.1)
    state = RunState()
    for index, loss in enumerate(losses):
        if index == stop:
            state = RunState(**json.loads(json.dumps(state.to_dict())))
        state.plateau.watch(loss, settings, 0.1)
    assert dataclasses.asdict(state.plateau) == dataclasses.asdict(whole.plateau)
    assert whole.plateau.rate < 0.1


def test_states_of_before_there_was_a_plateau_are_read():
    stored = RunState(iteration=5).to_dict()
    del stored["plateau"]
    assert RunState(**stored) == RunState(iteration=5)


def test_warm_up_comes_on_top():
    schedule = ScheduleRecipe(name="plateau", warmup_iterations=10, warmup_factor=0.0, plateau=PlateauRecipe())
    training = TrainingRecipe(
        iterations=9, window=(1, 1, 1), schedule=schedule, optimizer=OptimizerRecipe(learning_rate=1.0)
    )
    assert [learning_rate_at(i, training) for i in (5, 10)] == [0.5, 1.0]
    assert [learning_rate_at(i, training, base=0.1) for i in (5, 10)] == [0.05, 0.1]


@pytest.mark.parametrize("values", [{"name": "plateau"}, {"name": "constant", "plateau": PlateauRecipe()}])
def test_a_plateau_without_settings_is_refused(values):
    with pytest.raises(ValueError, match=r"training.schedule.name is '.*', which (needs|has no) training"):
        ScheduleRecipe(**values)


def test_adam_as_published():
    settings = OptimizerRecipe(betas=(0.8, 0.9), amsgrad=True)
    optimizer = build_optimizer(torch.nn.Linear(2, 2), settings)
    assert {(group["betas"], group["amsgrad"]) for group in optimizer.param_groups} == {((0.8, 0.9), True)}
    plain = build_optimizer(torch.nn.Linear(2, 2), OptimizerRecipe())
    assert {(group["betas"], group["amsgrad"]) for group in plain.param_groups} == {((0.9, 0.999), False)}
