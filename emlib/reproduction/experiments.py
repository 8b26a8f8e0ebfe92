"""Experiments: the variants of a track as a table, what was published of each run and what was measured here."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from emlib.recipe import list_variants, load_recipe
from emlib.reproduction.driver import SKIPPED, UNCHECKED
from emlib.reproduction.published import load_published

# Below the output folder: the runs, each in a folder of its variant's name; and, beside the stages of the run without
# a variant, their table.
RUNS, TABLE = "variants", "variants.json"
OTHER_RECIPE = "other recipe"


@dataclass(frozen=True)
class Experiment:
    """One variant of a track in one profile.

    Attributes:
        run: name of the variant; `description` as the recipe file has it.
        profile: recipe profile.
        settings: heading -> value, what the table says of the run, of the recipe that was run; of one that was not,
            as the recipe says now.
        published: published score, or None; the same in every profile.
        metric: name of the headline metric, which `measured` is the value of; None as long as nothing was measured.
        metrics: what the track's last notebook reported; empty as long as nothing was measured.
        seed, device, date, minutes: of the run that was measured. Minutes add up all its notebooks.
        recipe_hash, overrides: of its recipe, and which keys differed from the recipe file.
        verdict: "no band" of measured runs, as bands hold without variants only; "other recipe" where the recipe file
            has changed since; "failed", "output missing" or "not run".
        cause: why the last attempt gave no figures, or empty.

    Example:
        >>> Experiment("run_08", "smoke", settings={"iterations": 250}, published=0.24355).row()
        {'run': 'run_08', 'iterations': 250, 'published': 0.24355, 'measured': None}
    """

    run: str
    profile: str
    description: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    published: float | None = None
    metric: str | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    seed: int | None = None
    device: str = ""
    date: str = ""
    minutes: float | None = None
    recipe_hash: str = ""
    overrides: Mapping[str, Any] = field(default_factory=dict)
    verdict: str = SKIPPED
    cause: str = ""

    @property
    def measured(self) -> float | None:
        """Value of the headline metric, or None."""
        return self.metrics.get(self.metric or "")

    @property
    def note(self) -> str:
        """What a reader of the figures has to know besides, or empty."""
        changed = [f"{key}={json.dumps(value)}" for key, value in self.overrides.items()]
        parts = [f"with {', '.join(changed)}"] if changed else []
        if self.verdict == OTHER_RECIPE:
            parts.append("the recipe has changed since; run it again")
        if self.cause:
            parts.append(f"a later run failed: {self.cause}" if self.metrics else self.cause)
        return "; ".join(parts)

    def row(self) -> dict[str, Any]:
        """Run, settings, published and measured score as one plain dictionary, for a table or a figure."""
        return {"run": self.run, **self.settings, "published": self.published, "measured": self.measured}


def read_experiments(track: str, *, profile: str = "smoke", out_dir: str | Path = "runs") -> list[Experiment]:
    """The experiment table of a track: one row a variant, in the order of the recipe file.

    Variants that were not run have empty figures. Rows of variants that the recipe file has no longer come last.

    Args:
        track: name of a track.
        profile: recipe profile.
        out_dir: the folder that `run_variants` was given; the folder of a single variant's run stands for it as well,
            so that a notebook may pass its own.

    Raises:
        FileNotFoundError: no such track.
        ValueError: the track has no variants, the profile is unknown, or the table's file is damaged.

    Example:
        >>> rows = read_experiments("4_nuclei_maskrcnn", profile="paper", out_dir="nowhere")
        >>> len(rows), rows[9].row()["anchors"], rows[9].measured
        (15, '8-128', None)
    """
    variants, published = known_variants(track), load_published(track)
    stored = _read_table(table_path(out_dir, track, profile), track, profile)
    rows = []
    for name in dict.fromkeys([*variants, *stored]):
        row = replace(stored.get(name, Experiment(name, profile)), published=published.scores.get(name))
        if name in variants:
            row = compare_with_recipe(replace(row, description=variants[name]), track)
        else:
            row = replace(row, verdict=OTHER_RECIPE)
        rows.append(row)
    return rows


def compare_with_recipe(row: Experiment, track: str) -> Experiment:
    """A row with its verdict on the recipe that was run, or where nothing was measured, today's settings."""
    if not row.metrics:
        recipe = load_recipe(track, profile=row.profile, variant=row.run)
        return replace(row, settings=settings_of(recipe.model_dump(mode="json"), load_published(track).columns))
    try:
        changes = {**row.overrides, "seed": row.seed}
        now = load_recipe(track, profile=row.profile, variant=row.run, overrides=changes).hash
    except ValueError:  # a key that recipes have no longer
        now = ""
    return replace(row, verdict=UNCHECKED if now == row.recipe_hash else OTHER_RECIPE)


def known_variants(track: str) -> dict[str, str]:
    """Variants of a track with their descriptions, refusing a track that has none."""
    variants = list_variants(track)
    if not variants:
        raise ValueError(f"The recipe of {track} has no variants.")
    return variants


def table_path(out_dir: str | Path, track: str, profile: str) -> Path:
    """Where the table of a track and profile is stored."""
    folder = Path(out_dir)
    if folder.parent.name == RUNS and folder.name in list_variants(track):
        folder = folder.parent.parent
    return folder / track / profile / TABLE


def settings_of(recipe: Mapping[str, Any], columns: Mapping[str, str]) -> dict[str, Any]:
    """What the table says of a run: heading -> value of a recipe's key, or what its network takes by default.

    Args:
        recipe: a whole recipe as plain values.
        columns: heading -> dotted key.

    Returns:
        Plain numbers and texts: networks by their backbone where they are Mask R-CNNs, lists of sizes as "8-128".

    Example:
        >>> recipe = {"model": {"name": "mask_rcnn_r50_fpn", "settings": {"anchor_sizes": [8, 16, 32]}}}
        >>> keys = ("model.name", "model.settings.anchor_sizes", "model.settings.roi_batch", "training.iterations")
        >>> settings_of(recipe, dict(zip("abcd", keys)))
        {'a': 'r50', 'b': '8-32', 'c': 128, 'd': None}
    """
    return {heading: _plain(_value_of(recipe, key)) for heading, key in columns.items()}


def _value_of(recipe: Mapping[str, Any], key: str) -> Any:
    value: Any = recipe
    for part in key.split("."):
        if not isinstance(value, Mapping) or part not in value:
            return _default_of(recipe, key)
        value = value[part]
    return value.removeprefix("mask_rcnn_").removesuffix("_fpn") if key == "model.name" else value


def _default_of(recipe: Mapping[str, Any], key: str) -> Any:
    """Of an option that a recipe does not set, what its network does by itself."""
    section, _, option = key.rpartition(".")
    if section != "model.settings":
        return None
    from emlib.models.table import MODELS  # torch, which tables of most tracks do without

    builder = MODELS.get(recipe.get("model", {}).get("name"))
    parameters = inspect.signature(builder).parameters if builder else {}
    return parameters[option].default if option in parameters else None


def _plain(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return f"{value[0]}-{value[-1]}" if len(value) > 1 else str(value[0]) if value else ""
    return value


def _read_table(path: Path, track: str, profile: str) -> dict[str, Experiment]:
    """The rows of a stored table that say something; {} if there is none."""
    if not path.exists():
        return {}
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        if (stored["track"], stored["profile"]) != (track, profile):
            raise ValueError(f"it is the table of {stored['track']} ({stored['profile']})")
        rows = [_checked(Experiment(**row)) for row in stored["rows"]]
    except (ValueError, TypeError, KeyError, UnicodeDecodeError) as error:
        cause = f"no entry {error}" if isinstance(error, KeyError) else " ".join(str(error).split())
        raise ValueError(
            f"{path} is damaged ({cause}); move it away, and the next `emlib reproduce {track} --variants ...` reads "
            f"the figures of all finished runs from the folder '{RUNS}' again."
        ) from None
    return {row.run: row for row in rows if row.metrics or row.cause}


def _checked(row: Experiment) -> Experiment:
    kinds = {
        "str": str, "Mapping[str, Any]": dict, "Mapping[str, float]": dict, "float | None": (int, float, type(None)),
        "int | None": (int, type(None)), "str | None": (str, type(None)),
    }  # fmt: skip
    for item in fields(row):
        if not isinstance(getattr(row, item.name), kinds[str(item.type)]):
            raise ValueError(f"'{item.name}' of {row.run} is {getattr(row, item.name)!r}")
    if not all(isinstance(value, (int, float)) for value in row.metrics.values()):
        raise ValueError(f"a metric of {row.run} is not a number")
    return row
