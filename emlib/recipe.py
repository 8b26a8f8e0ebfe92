"""Recipe: everything that a run can vary, read from one YAML file per track, validated, immutable, hashed."""

from __future__ import annotations

import difflib
import hashlib
import json
import types
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, Field, ValidationError

from emlib import recipe_schema as schema

PROFILES = ("smoke", "tutorial", "paper")
FOLDER = Path(__file__).parent / "recipes"


class Recipe(schema.Section):
    """The settings of one run of one track.

    Attributes:
        track: track folder, for example "1_mitochondria_contours".
        profile: "smoke", "tutorial" or "paper".
        seed: drives python, numpy, torch and every data-loader worker.
        data, target, augmentation, model, training, inference, postprocessing, evaluation: the sections.

    Example:
        >>> recipe = load_recipe("1_mitochondria_contours", overrides=["training.iterations=10"])
        >>> recipe.training.iterations, len(recipe.hash)
        (10, 16)
    """

    track: str
    profile: Literal["smoke", "tutorial", "paper"]
    title: str
    seed: Annotated[int, Field(ge=0)] = 0
    data: schema.DataRecipe
    target: schema.TargetRecipe
    augmentation: schema.AugmentationRecipe = schema.AugmentationRecipe()
    model: schema.ModelRecipe
    training: schema.TrainingRecipe
    inference: schema.InferenceRecipe
    postprocessing: schema.PostprocessingRecipe = schema.PostprocessingRecipe()
    evaluation: schema.EvaluationRecipe = schema.EvaluationRecipe()

    @property
    def hash(self) -> str:
        """16 hexadecimal digits that depend on every value and on nothing else (not on order, machine or version)."""
        canonical = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]

    def to_yaml(self) -> str:
        """The whole recipe as YAML, defaults included; `Recipe.from_mapping(yaml.safe_load(...))` reads it back."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)

    def with_overrides(self, overrides: Iterable[str] | Mapping[str, Any]) -> Recipe:
        """This recipe with some values replaced, as `load_recipe` takes them.

        Example:
            >>> load_recipe("1_mitochondria_contours").with_overrides(["inference.overlap=0.25"]).inference.overlap
            0.25
        """
        values = self.model_dump(mode="json")
        for key, value in _parse_overrides(overrides):
            values = _merge(values, _nest(key, value))
        return Recipe.from_mapping(values, where=f"recipe {self.track} ({self.profile})")

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any], *, where: str = "recipe") -> Recipe:
        """Validate nested dictionaries (as YAML or JSON gives them).

        Raises:
            ValueError: unknown key (with the nearest valid one) or ill-typed value, named by its full dotted key.
        """
        _refuse_unknown_keys(values, cls, "", where)
        try:
            # Validation as JSON: lists become tuples, everything else keeps strict types.
            return cls.model_validate_json(json.dumps(values))
        except ValidationError as error:
            raise ValueError(_explain(error, where)) from None
        except TypeError as error:
            raise ValueError(f"{where}: {error}; a recipe holds numbers, text, lists and true/false only.") from None


def list_tracks() -> list[str]:
    """Names of the tracks that have a recipe, in order.

    Example:
        >>> "1_mitochondria_contours" in list_tracks()
        True
    """
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def load_recipe(
    track: str | Path, *, profile: str = "smoke", overrides: Iterable[str] | Mapping[str, Any] = ()
) -> Recipe:
    """Read a track's recipe in one profile.

    A recipe file holds the key `base` and, under `profiles`, what each profile changes in it.

    Args:
        track: name of a track, or the path of a recipe file of your own.
        profile: "smoke" (generated data, CPU minutes), "tutorial" (real open data), "paper" (published settings).
        overrides: texts "training.iterations=10" (the value is read as YAML), or a mapping of dotted key to value.

    Returns:
        The validated, immutable Recipe.

    Raises:
        FileNotFoundError: no such track or file.
        ValueError: unknown profile or key, or a value of the wrong type or range; names the key and the nearest one.
    """
    path = _recipe_path(track)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ValueError(f"{path.name} is not valid YAML: {' '.join(str(error).split())}.") from None
    if not isinstance(content, dict) or set(content) - {"base", "profiles"} or "base" not in content:
        raise ValueError(f"{path.name} must hold the key 'base' and may hold 'profiles', and nothing else.")
    profiles = content.get("profiles") or {}
    if profile not in profiles:
        raise ValueError(f"{path.name} has no profile '{profile}'{_nearest(profile, profiles)}.")
    values = _merge(content["base"], profiles[profile] or {})
    values = _merge(values, {"track": path.stem, "profile": profile})
    for key, value in _parse_overrides(overrides):
        values = _merge(values, _nest(key, value))
    return Recipe.from_mapping(values, where=f"recipe {path.stem} ({profile})")


def _recipe_path(track: str | Path) -> Path:
    if str(track).endswith((".yaml", ".yml")):
        path = Path(track)
        if not path.is_file():
            raise FileNotFoundError(f"There is no recipe file {path}.")
        return path
    if str(track) not in list_tracks():
        raise FileNotFoundError(f"There is no track '{track}'{_nearest(str(track), list_tracks())}.")
    return FOLDER / f"{track}.yaml"


def _merge(base: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with `change` laid over it, dictionaries merged key by key, everything else replaced."""
    merged = dict(base)
    for key, value in change.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = _merge(merged[key], value) if both else value
    return merged


def _parse_overrides(overrides: Iterable[str] | Mapping[str, Any]) -> list[tuple[str, Any]]:
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


def _nest(key: str, value: Any) -> dict[str, Any]:
    for part in reversed(key.split(".")):
        value = {part: value}
    return value


def _refuse_unknown_keys(values: Any, model: type[BaseModel], prefix: str, where: str) -> None:
    """Walk the keys before pydantic does, because its message names neither the full key nor the nearest one."""
    if not isinstance(values, Mapping):
        return
    for key, value in values.items():
        field = model.model_fields.get(str(key))
        if field is None:
            siblings = [f"{prefix}{name}" for name in model.model_fields]
            nearest = _nearest(f"{prefix}{key}", siblings, everywhere=_all_keys())
            raise ValueError(f"{where}: unknown key '{prefix}{key}'{nearest}.")
        for inner in _models_in(field.annotation):
            for item in value if isinstance(value, (list, tuple)) else [value]:
                _refuse_unknown_keys(item, inner, f"{prefix}{key}.", where)


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if isinstance(annotation, types.UnionType) or typing.get_origin(annotation) is not None:
        return [model for argument in typing.get_args(annotation) for model in _models_in(argument)]
    return []


def _all_keys(model: type[BaseModel] = Recipe, prefix: str = "") -> list[str]:
    keys = []
    for name, field in model.model_fields.items():
        keys.append(prefix + name)
        for inner in _models_in(field.annotation):
            keys += _all_keys(inner, f"{prefix}{name}.")
    return keys


def _nearest(word: str, candidates: Iterable[str], *, everywhere: Iterable[str] = ()) -> str:
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


def _explain(error: ValidationError, where: str) -> str:
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
