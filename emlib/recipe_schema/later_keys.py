"""Keys that came after the first recipes: with their defaults a recipe is what it was before there were any."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

# Dotted key -> default, as JSON holds it; * stands for every item of a list.
LATER_KEYS: dict[str, Any] = {
    "data.folds": None,
    "data.cells": None,
    "data.sizes": None,
    "data.valid": None,
    "data.valid_key": None,
    "target.outputs.*.embedding": None,
    "target.outputs.*.mask": None,
    "target.outputs.*.losses.*.options": {},
    "training.patience": None,
    "training.optimizer.amsgrad": False,
    "training.optimizer.betas": [0.9, 0.999],
    "training.schedule.plateau": None,
    "training.rejection.min_voxels": None,
    "training.rejection.min_valid": None,
    "inference.prior": None,
    "inference.classify": None,
    "postprocessing.seed": None,
    "postprocessing.min_seed_size": None,
    "postprocessing.unseeded": None,
    "postprocessing.rule": None,
    "postprocessing.bandwidth": None,
    "postprocessing.connected": None,
    "evaluation.measure": "instances",
}


def without_later_defaults(values: Mapping[str, Any]) -> dict[str, Any]:
    """A dumped recipe without the later keys that have their default; the rest as it is, nothing changed in place.

    Example:
        >>> without_later_defaults({"training": {"iterations": 5, "patience": None}, "data": {"cells": 9}})
        {'training': {'iterations': 5}, 'data': {'cells': 9}}
    """
    for key, default in LATER_KEYS.items():
        values = _without(values, key.split("."), default)
    return dict(values)


def _without(values: Any, path: Sequence[str], default: Any) -> Any:
    first, *rest = path
    if first == "*":
        return [_without(item, rest, default) for item in values] if isinstance(values, list | tuple) else values
    if not isinstance(values, Mapping) or first not in values:
        return values
    if rest:
        return {**values, first: _without(values[first], rest, default)}
    return {key: value for key, value in values.items() if key != first or value != default}
