"""Recipe: everything that a run can vary, read from one YAML file per track, validated, immutable, hashed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, ValidationError, model_validator

from emlib import recipe_schema as schema
from emlib.recipe_schema.later_keys import without_later_defaults
from emlib.recipe_schema.layering import lay_over, nest, parse_overrides
from emlib.recipe_schema.refusals import explain, nearest_of, refuse_unknown_keys

PROFILES = ("smoke", "tutorial", "paper")
FOLDER = Path(__file__).parent / "recipes"


class Recipe(schema.Section):
    """The settings of one run of one track.

    Attributes:
        track: track folder, for example "1_mitochondria_contours".
        profile: "smoke", "tutorial" or "paper".
        variant: name of the variant that was laid over the profile, or None.
        seed: drives python, numpy, torch and every data-loader worker.
        data, target, augmentation, model, training, inference, postprocessing, evaluation: the sections.

    Example:
        >>> recipe = load_recipe("1_mitochondria_contours", overrides=["training.iterations=10"])
        >>> recipe.training.iterations, len(recipe.hash)
        (10, 16)
    """

    track: str
    profile: Literal["smoke", "tutorial", "paper"]
    variant: str | None = None
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
        """16 hexadecimal digits that depend on every value and on nothing else (not on order, machine or version).

        A variant counts through the values that it changes; its name does not.
        """
        values = without_later_defaults(self.model_dump(mode="json", exclude={"variant"}))
        canonical = json.dumps(values, sort_keys=True, separators=(",", ":"))
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
        values, where = self.model_dump(mode="json"), f"recipe {self.track} ({self.profile})"
        for key, value in parse_overrides(overrides):
            if key == "variant" and value != self.variant:
                raise ValueError(f"{where}: a variant is chosen when a recipe is loaded, not afterwards.")
            values = lay_over(values, nest(key, value))
        return Recipe.from_mapping(values, where=where)

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any], *, where: str = "recipe") -> Recipe:
        """Validate nested dictionaries (as YAML or JSON gives them); with the key `data.kind` as an `ImageRecipe`,
        or where it is "instances" as an `InstanceRecipe`.

        Raises:
            ValueError: unknown key (with the nearest valid one) or ill-typed value, named by its full dotted key.
        """
        data = values.get("data") if isinstance(values, Mapping) else None
        kind = Recipe
        if isinstance(data, Mapping) and "kind" in data:
            kinds = {"images": ImageRecipe, "instances": InstanceRecipe}
            if (kind := kinds.get(str(data["kind"]))) is None:
                known = " or ".join(map(repr, kinds))
                raise ValueError(f"{where}: 'data.kind' is {json.dumps(data['kind'])}, but {known} was expected.")
        refuse_unknown_keys(values, kind, where)
        try:
            # Validation as JSON: lists become tuples, everything else keeps strict types.
            return kind.model_validate_json(json.dumps(values))
        except ValidationError as error:
            raise ValueError(explain(error, where)) from None
        except TypeError as error:
            raise ValueError(f"{where}: {error}; a recipe holds numbers, text, lists and true/false only.") from None


class ImageRecipe(Recipe):
    """The recipe of a track that works on images instead of volumes: the same sections, with other values.

    Example:
        >>> recipe = load_recipe("5_cells_flows")
        >>> type(recipe).__name__, recipe.data.kind, len(recipe.training.window)
        ('ImageRecipe', 'images', 2)
    """

    data: schema.ImageDataRecipe
    target: schema.ImageTargetRecipe
    augmentation: schema.CellAugmentationRecipe = schema.CellAugmentationRecipe()
    model: schema.ImageModelRecipe
    training: schema.ImageTrainingRecipe
    inference: schema.ImageInferenceRecipe = schema.ImageInferenceRecipe()
    postprocessing: schema.ImagePostprocessingRecipe = schema.ImagePostprocessingRecipe()
    evaluation: schema.ImageEvaluationRecipe = schema.ImageEvaluationRecipe()

    @model_validator(mode="after")
    def _method_of_the_target(self) -> ImageRecipe:
        method = "cells_from_classes" if self.target.has_classes else "masks_from_flows"
        if self.postprocessing.method != method:
            kind = "classes" if self.target.has_classes else "a flow and a mask"
            raise ValueError(
                f"postprocessing.method is '{self.postprocessing.method}', but target.outputs are {kind}: '{method}'"
            )
        return self


class InstanceRecipe(ImageRecipe):
    """The recipe of a track whose network detects objects, each with box, score and mask.

    Example:
        >>> recipe = load_recipe("4_nuclei_maskrcnn")
        >>> type(recipe).__name__, recipe.data.kind, recipe.target.losses.mask
        ('InstanceRecipe', 'instances', 1.0)
    """

    data: schema.InstanceDataRecipe
    target: schema.InstanceTargetRecipe = schema.InstanceTargetRecipe()
    model: schema.InstanceModelRecipe
    training: schema.InstanceTrainingRecipe
    inference: schema.InstanceInferenceRecipe = schema.InstanceInferenceRecipe()
    postprocessing: schema.InstancePostprocessingRecipe = schema.InstancePostprocessingRecipe()
    evaluation: schema.InstanceEvaluationRecipe = schema.InstanceEvaluationRecipe()

    @model_validator(mode="after")
    def _method_of_the_target(self) -> InstanceRecipe:
        changes = self.augmentation
        for name in ("zoom", "rotate"):
            if self.training.whole_images and getattr(changes, name).probability > 0:
                raise ValueError(
                    f"augmentation.{name}.probability is above 0, but training.whole_images is true, and whole images "
                    "are flipped only; several model.settings.short_side show them at several sizes"
                )
        return self


def list_tracks() -> list[str]:
    """Names of the tracks that have a recipe, in order.

    Example:
        >>> "1_mitochondria_contours" in list_tracks()
        True
    """
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def list_variants(track: str | Path) -> dict[str, str]:
    """Names of a track's variants, in the order of its recipe file, with their descriptions.

    Args:
        track: as in `load_recipe`.

    Raises:
        FileNotFoundError, ValueError: as `load_recipe`.

    Example:
        >>> list_variants("1_mitochondria_contours")
        {}
    """
    variants = _read_recipe(_recipe_path(track))["variants"]
    return {name: (content or {}).get("description", "") for name, content in variants.items()}


def load_recipe(
    track: str | Path,
    *,
    profile: str = "smoke",
    variant: str | None = None,
    overrides: Iterable[str] | Mapping[str, Any] = (),
) -> Recipe:
    """Read a track's recipe in one profile, and one of its variants if wanted.

    A recipe file holds the key `base`; under `profiles`, what each profile changes in it; and under `variants`, what
    each variant changes in that. A variant may have a `description`, and under `profiles` what it changes in one
    profile only. Later changes win: base, profile, variant, the variant's changes for the profile, overrides.
    `model.settings` belong to one network: where another `model.name` is given, earlier ones are dropped.

    Args:
        track: name of a track, or the path of a recipe file of your own.
        profile: "smoke" (generated data, CPU minutes), "tutorial" (real open data), "paper" (published settings).
        variant: one of `list_variants(track)`; None is the recipe as it is. The override "variant" says the same.
        overrides: texts "training.iterations=10" (the value is read as YAML), or a mapping of dotted key to value.

    Returns:
        The validated, immutable Recipe.

    Raises:
        FileNotFoundError: no such track or file.
        ValueError: unknown profile, variant or key, or a value of the wrong type or range; names the key and the
            nearest one.
    """
    path = _recipe_path(track)
    content = _read_recipe(path)
    if profile not in content["profiles"]:
        raise ValueError(f"{path.name} has no profile '{profile}'{nearest_of(profile, content['profiles'])}.")
    values = lay_over(content["base"], content["profiles"][profile] or {})
    changes = parse_overrides(overrides)
    for named in [value for key, value in changes if key == "variant" and value is not None]:
        if variant not in (None, named):
            raise ValueError(f"Two variants of {path.stem} were chosen: '{variant}' and '{named}'.")
        variant = named
    where = f"recipe {path.stem} ({profile})"
    if variant is not None:
        where = f"recipe {path.stem} ({profile}, {variant})"
        for change in _changes_of_variant(path, content["variants"], variant, profile):
            values = lay_over(values, change)
    values = lay_over(values, {"track": path.stem, "profile": profile, "variant": variant})
    for key, value in changes:
        if key != "variant":
            values = lay_over(values, nest(key, value))
    return Recipe.from_mapping(values, where=where)


def _read_recipe(path: Path) -> dict[str, Any]:
    """The content of a recipe file, with all three of its keys."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ValueError(f"{path.name} is not valid YAML: {' '.join(str(error).split())}.") from None
    if not isinstance(content, dict) or set(content) - {"base", "profiles", "variants"} or "base" not in content:
        raise ValueError(f"{path.name} must hold the key 'base', may hold 'profiles' and 'variants', and nothing else.")
    for key in ("profiles", "variants"):
        content[key] = content.get(key) or {}
        named = isinstance(content[key], Mapping)
        if not named or not all(isinstance(changes or {}, Mapping) for changes in content[key].values()):
            raise ValueError(f"{path.name}: '{key}' must map names to the keys that they change.")
    return content


def _changes_of_variant(path: Path, variants: Mapping[str, Any], name: str, profile: str) -> list[Mapping[str, Any]]:
    """What a variant changes, and what it changes besides in one profile."""
    if name not in variants:
        known = nearest_of(str(name), variants) if variants else "; it has none"
        raise ValueError(f"{path.name} has no variant '{name}'{known}.")
    changes = dict(variants[name] or {})
    changes.pop("description", None)
    by_profile = changes.pop("profiles", None) or {}
    for unknown in [key for key in by_profile if key not in PROFILES]:
        raise ValueError(f"{path.name}: variant '{name}' has no profile '{unknown}'{nearest_of(unknown, PROFILES)}.")
    return [changes, by_profile.get(profile) or {}]


def _recipe_path(track: str | Path) -> Path:
    if str(track).endswith((".yaml", ".yml")):
        path = Path(track)
        if not path.is_file():
            raise FileNotFoundError(f"There is no recipe file {path}.")
        return path
    if str(track) not in list_tracks():
        raise FileNotFoundError(f"There is no track '{track}'{nearest_of(str(track), list_tracks())}.")
    return FOLDER / f"{track}.yaml"
