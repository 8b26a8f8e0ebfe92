"""Whether a training may go on with a recipe, or is another training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from emlib.recipe import Recipe
from emlib.recipe_schema.later_keys import without_later_defaults

# How long it runs and when it gives up, what it writes and how many processes load data change nothing in the weights
# of an iteration.
FREE = {
    "training.iterations",
    "training.log_every",
    "training.image_every",
    "training.save_every",
    "training.keep_last",
    "training.validate_every",
    "training.evaluate_every",
    "training.workers",
    "training.patience",
}
TRAINED_BY = ("seed", "data", "target", "augmentation", "model", "training")
EVALUATED_BY = ("inference", "postprocessing", "evaluation")


def check_same_training(stored: Mapping[str, Any], recipe: Recipe, where: object) -> None:
    """Refuse to continue a training with another recipe.

    Iterations, patience, the cadence of logs, checkpoints and evaluations, and the number of workers may change. The
    later stages' sections matter only if the training evaluates itself with them.

    Args:
        stored: `recipe.model_dump(mode="json")` of the training that is to be continued.
        recipe: what was asked for now.
        where: the training's folder, for the message.

    Raises:
        ValueError: another value, named by its dotted key.
    """
    stored, now = without_later_defaults(stored), without_later_defaults(recipe.model_dump(mode="json"))
    sections = TRAINED_BY + (EVALUATED_BY if recipe.training.evaluate_every else ())
    before, after = (dict(_flatten({key: dump.get(key) for key in sections})) for dump in (stored, now))
    for key in [*after, *(key for key in before if key not in after)]:
        if key not in FREE and before.get(key) != after.get(key):
            raise ValueError(
                f"{where} holds a training with {key} = {before.get(key)!r}, but this recipe has {after.get(key)!r}; "
                "use another output folder, or resume=False to start over."
            )


def _flatten(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _flatten(inner, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, value
