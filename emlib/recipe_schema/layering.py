"""Layers of a recipe: what a profile, a variant and overrides change in the values below them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import yaml


def lay_over(values: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """`change` laid over `values`, dictionaries merged key by key and everything else replaced.

    Another network does not inherit the settings of the one that it replaces.

    Example:
        >>> lay_over({"model": {"name": "a", "settings": {"depth": 3}}}, {"model": {"name": "b"}})
        {'model': {'name': 'b'}}
    """
    before, after = values.get("model"), change.get("model")
    both = isinstance(before, Mapping) and isinstance(after, Mapping)
    if both and after.get("name", before.get("name")) != before.get("name"):
        values = {**values, "model": {key: value for key, value in before.items() if key != "settings"}}
    return _merge(values, change)


def _merge(base: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with `change` laid over it, dictionaries merged key by key, everything else replaced."""
    merged = dict(base)
    for key, value in change.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = _merge(merged[key], value) if both else value
    return merged


def parse_overrides(overrides: Iterable[str] | Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Pairs of a dotted key and its value, of texts "key=value", whose value is read as YAML, or of a mapping.

    Raises:
        ValueError: a text that is not of that form.

    Example:
        >>> parse_overrides(["training.window=[64, 96]"])
        [('training.window', [64, 96])]
    """
    if isinstance(overrides, Mapping):
        return list(overrides.items())
    if isinstance(overrides, str):
        raise ValueError(f"overrides is the text '{overrides}', but a list of texts 'key=value' was expected.")
    parsed = []
    for text in overrides:
        key, separator, value = text.partition("=")
        if not separator or not key.strip():
            raise ValueError(f"override '{text}' is not of the form key=value.")
        try:
            parsed.append((key.strip(), yaml.safe_load(value)))
        except yaml.YAMLError:
            raise ValueError(f"the value of override '{text}' is not valid YAML.") from None
    return parsed


def nest(key: str, value: Any) -> dict[str, Any]:
    """A value under its dotted key.

    Example:
        >>> nest("training.iterations", 10)
        {'training': {'iterations': 10}}
    """
    for part in reversed(key.split(".")):
        value = {part: value}
    return value
