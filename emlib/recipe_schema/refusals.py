"""How a wrong key or value of a recipe is refused: one sentence that names the full key and the nearest one."""

from __future__ import annotations

import difflib
import json
import types
import typing
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError


def refuse_unknown_keys(
    values: Any, model: type[BaseModel], where: str, *, prefix: str = "", root: type[BaseModel] | None = None
) -> None:
    """Walk the keys before pydantic does, because its message names neither the full key nor the nearest one.

    Raises:
        ValueError: the first key that `model` does not have.
    """
    root = root or model
    if not isinstance(values, Mapping):
        return
    for key, value in values.items():
        field = model.model_fields.get(str(key))
        if field is None:
            siblings = [f"{prefix}{name}" for name in model.model_fields]
            nearest = nearest_of(f"{prefix}{key}", siblings, everywhere=_all_keys(root))
            raise ValueError(f"{where}: unknown key '{prefix}{key}'{nearest}.")
        for inner in _models_in(field.annotation):
            for item in value if isinstance(value, (list, tuple)) else [value]:
                refuse_unknown_keys(item, inner, where, prefix=f"{prefix}{key}.", root=root)


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if isinstance(annotation, types.UnionType) or typing.get_origin(annotation) is not None:
        return [model for argument in typing.get_args(annotation) for model in _models_in(argument)]
    return []


def _all_keys(model: type[BaseModel], prefix: str = "") -> list[str]:
    keys = []
    for name, field in model.model_fields.items():
        keys.append(prefix + name)
        for inner in _models_in(field.annotation):
            keys += _all_keys(inner, f"{prefix}{name}.")
    return keys


def nearest_of(word: str, candidates: Iterable[str], *, everywhere: Iterable[str] = ()) -> str:
    """The closest candidate as "did you mean"; else the closest last part of any key in `everywhere`; else all."""
    candidates = list(candidates)
    leaf = word.rpartition(".")[2]
    by_leaf = {key.rpartition(".")[2]: key for key in everywhere}
    by_name = {key: key for key in candidates}
    for pool, cutoff in ((by_name, 0.8), (by_leaf, 0.8), (by_name, 0.5)):
        close = difflib.get_close_matches(leaf if pool is by_leaf else word, pool, n=1, cutoff=cutoff)
        if close:
            return f" (did you mean '{pool[close[0]]}'?)"
    return f" (valid: {', '.join(sorted(candidates))})"


def explain(error: ValidationError, where: str) -> str:
    """One sentence about the first thing that pydantic found wrong."""
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    message = first["msg"].removeprefix("Value error, ")
    more = f" ({error.error_count() - 1} more)" if error.error_count() > 1 else ""
    if first["type"] == "missing":
        return f"{where}: '{key}' is missing{more}."
    if first["type"] == "value_error":
        return f"{where}: {message}{more}."
    given = json.dumps(first["input"])
    given = given if len(given) <= 60 else given[:57] + "..."
    return f"{where}: '{key}' is {given}, but {message[0].lower() + message[1:]}{more}."
