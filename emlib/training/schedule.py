"""Learning rate as a function of the iteration, and of nothing else but what a plateau of the loss made of it."""

from __future__ import annotations

import math
from bisect import bisect_right

from emlib.recipe_schema import ScheduleRecipe, TrainingRecipe


def learning_rate(schedule: ScheduleRecipe, base: float, iteration: int, iterations: int) -> float:
    """Learning rate of one update.

    Warm-up: w = factor * (1 - a) + a with a = iteration / warmup_iterations, and 1 afterwards. Then
    base * w * gamma ** (milestones passed), or base * w * (1 + cos(pi * iteration / iterations)) / 2, or base * w; the
    last one also of a "plateau", whose base follows the loss, see `Plateau`.
    Source: the schedules of PyTorch Connectomics v1. Recipes for images also have "cosine", as MEDIAR uses torch's:
    lowest + (base * w - lowest) * (1 + cos(pi * iteration / period)) / 2, which rises again after the period.

    Args:
        schedule: the recipe's section.
        base: the optimizer's learning rate.
        iteration: updates done before this one (0 is the first).
        iterations: updates of the whole run (used by the cosine only).

    Example:
        >>> schedule = ScheduleRecipe(name="warmup_multistep", milestones=(300000,))
        >>> [f"{learning_rate(schedule, 1e-4, i, 400000):.4g}" for i in (0, 500, 1000, 300000)]
        ['1e-07', '5.005e-05', '0.0001', '1e-05']
    """
    rate = base * warmup_factor(schedule, iteration)
    if schedule.name == "warmup_multistep":
        return rate * schedule.gamma ** bisect_right(sorted(schedule.milestones), iteration)
    if schedule.name == "warmup_cosine":
        return rate * 0.5 * (1 + math.cos(math.pi * min(iteration / iterations, 1.0)))
    if schedule.name == "cosine":
        share = 0.5 * (1 + math.cos(math.pi * iteration / (schedule.period or iterations)))
        return schedule.lowest_rate + (rate - schedule.lowest_rate) * share
    return rate


def learning_rate_at(iteration: int, training: TrainingRecipe, *, base: float | None = None) -> float:
    """Learning rate of one update of a recipe's training, for example to draw the schedule.

    Args:
        iteration: as in `learning_rate`.
        training: the recipe's section.
        base: what a plateau of the loss made of the optimizer's learning rate; None: nothing so far.

    Example:
        >>> training = TrainingRecipe(iterations=10, window=(4, 16, 16), schedule=ScheduleRecipe(name="constant"))
        >>> learning_rate_at(1000, training)
        0.0001
    """
    base = training.optimizer.learning_rate if base is None else base
    return learning_rate(training.schedule, base, iteration, training.iterations)


def warmup_factor(schedule: ScheduleRecipe, iteration: int) -> float:
    """Share of the learning rate that warm-up allows, rising linearly from `warmup_factor` to 1."""
    if iteration >= schedule.warmup_iterations:
        return 1.0
    done = iteration / schedule.warmup_iterations
    return schedule.warmup_factor * (1 - done) + done
