"""Run a track's notebooks once for each of its variants and keep one table of what was measured."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

from emlib.atomic import explain_write_error
from emlib.reproduction.driver import (
    FAILED,
    MISSING,
    UNCHECKED,
    StageResult,
    find_notebooks_folder,
    list_notebooks,
    parameters_by_notebook,
    reproduce,
)
from emlib.reproduction.experiment_table import write_experiments
from emlib.reproduction.experiments import (
    RUNS,
    Experiment,
    compare_with_recipe,
    known_variants,
    read_experiments,
    settings_of,
)
from emlib.reproduction.manifest import FILE_NAME, Manifest, hash_path, read_manifest
from emlib.reproduction.parameters import read_parameters
from emlib.reproduction.published import load_published
from emlib.reproduction.report import write_reports
from emlib.reproduction.stage import resolve_device

ALL, UNMEASURED = "all", "missing"
Update = Callable[[Experiment], Experiment]


def run_variants(
    track: str,
    variants: Iterable[str],
    *,
    profile: str = "smoke",
    parameters: Mapping[str, Any] | None = None,
    out_dir: str | Path = "runs",
    notebooks: str | Path | None = None,
    fresh: bool = False,
    report: Callable[[str], None] = print,
) -> dict[str, list[StageResult]]:
    """Run all notebooks of a track for each variant, and after each store the experiment table.

    The run of a variant lies in `out_dir/variants/<variant>/`, as one without lies in `out_dir`, which stays as it is;
    the table in `out_dir/<track>/<profile>/variants.json`, `.csv` and `.html`. A row is kept until its variant is run
    again to the end, with whatever seed or parameters. Where one variant fails, the others are run all the same.

    Args:
        track: name of a track.
        variants: names of its variants; "all", or "missing": those that have no figures of today's recipe yet.
        profile, parameters, notebooks, report: as for `reproduce`; `variant` is no parameter here.
        out_dir: parent of the table's folder and of the runs.
        fresh: remove earlier results of these runs first.

    Returns:
        Variant -> StageResult of each notebook, of the variants that were run. `read_experiments` gives the table.

    Raises:
        FileNotFoundError, ValueError: unknown track, variant, profile or parameter, notebooks that take no variant, or
            a damaged table: before anything is run or written.
        OSError: the table cannot be written; what was run before lies in its folder, and enters the table next time.
    """
    names = choose_variants(track, variants)
    folder = Path(notebooks) if notebooks else find_notebooks_folder()
    plan = list_notebooks(folder, [track])
    values = dict(parameters or {})
    _check(track, plan, {"profile": profile, **values}, names)
    last = next(reversed(plan))[1]
    figures = partial(_with_figures, track=track, last=last, out_dir=Path(out_dir))

    def store(updates: Mapping[str, Update]) -> list[Experiment]:
        # Read anew each time: another process may have stored its run meanwhile.
        rows = read_experiments(track, profile=profile, out_dir=out_dir)
        updated = [updates[row.run](row) if row.run in updates else row for row in rows]
        rows = [new if new is old else compare_with_recipe(new, track) for new, old in zip(updated, rows, strict=True)]
        write_experiments(rows, track, profile=profile, out_dir=out_dir)
        return rows

    # Written once before anything is run: what cannot be written is better known now than after days.
    rows = store(dict.fromkeys(known_variants(track), figures))
    if UNMEASURED in names:
        unmeasured = {row.run for row in rows if row.verdict != UNCHECKED}
        names = [name for name in known_variants(track) if name in unmeasured or name in names]
    done: dict[str, list[StageResult]] = {}
    for number, name in enumerate(names, 1):
        report(f"variant {name} ({number} of {len(names)})")
        place = {"profile": profile, "out_dir": Path(out_dir) / RUNS / name, "notebooks": folder}
        done[name] = _run(track, name, last, parameters=values, fresh=fresh, report=report, **place)
        store({name: partial(_after_run, results=done[name], figures=figures, fresh=fresh)})
    return done


def choose_variants(track: str, names: Iterable[str]) -> list[str]:
    """Names of a track's variants, each once, in the given order; "all" becomes all, "missing" stays.

    Raises:
        FileNotFoundError: no such track.
        ValueError: no such variant; the sentence names the nearest one, and all there are.

    Example:
        >>> choose_variants("4_nuclei_maskrcnn", ["run_08", "run_02", "run_08"])
        ['run_08', 'run_02']
    """
    known = known_variants(track)
    chosen: list[str] = []
    for name in names:
        if name not in (*known, ALL, UNMEASURED):
            close = difflib.get_close_matches(name, [*known, ALL, UNMEASURED], n=1, cutoff=0.6)
            hint = f" (did you mean '{close[0]}'?)" if close else ""
            raise ValueError(
                f"{track} has no variant '{name}'{hint}; it has {', '.join(known)}, "
                f"and '{ALL}' and '{UNMEASURED}' stand for several."
            )
        chosen += known if name == ALL else [name]
    if not chosen:
        raise ValueError(f"No variant of {track} was named; it has {', '.join(known)}.")
    return list(dict.fromkeys(chosen))


def _check(track: str, plan: Mapping[Any, Path], values: Mapping[str, Any], names: Iterable[str]) -> None:
    """Everything that `reproduce` would refuse, for all variants, before the first of them is run."""
    if "variant" in values:
        raise ValueError("The parameter 'variant' follows from the variants that are run; leave it out.")
    if not any("variant" in read_parameters(path) for path in plan.values()):
        raise ValueError(
            f"No notebook of {track} takes the parameter 'variant', so its variants cannot be run by notebook; "
            f"`emlib train {track} --variant NAME` trains one."
        )
    for name in names:
        parameters_by_notebook(plan, values if name == UNMEASURED else {**values, "variant": name})
    resolve_device(str(values.get("device", "auto")))


def _run(track: str, name: str, last: str, *, parameters: Mapping[str, Any], **options: Any) -> list[StageResult]:
    """What came of the notebooks of one variant, its report written beside its folders."""
    out, profile = options["out_dir"], options["profile"]
    try:
        results = reproduce([track], parameters={**parameters, "variant": name}, **options)
        if not any(result.verdict in (FAILED, MISSING) for result in results):
            cause = _not_of_variant(read_manifest(out / track / profile / last), name, load_published(track).metric)
            results[-1] = replace(results[-1], verdict=MISSING, cause=cause) if cause else results[-1]
        write_reports(results, out, profile=profile)
    except OSError as error:  # of this run's folder; the other variants have folders of their own
        cause = str(explain_write_error(error, out) if error.strerror else error)
        options["report"](f"variant {name}: {FAILED}; {cause}")
        return [StageResult(track, last, FAILED, cause)]
    return results


def _not_of_variant(manifest: Manifest, name: str, metric: str | None) -> str:
    """Why a finished run has no figures of this variant, or empty."""
    used = manifest.recipe.get("variant")
    if used != name:
        return f"its recipe is that of {used or 'no variant'}, so a notebook does not pass its variant on"
    if metric is not None and metric not in manifest.metrics:
        return f"the metric '{metric}', which stands beside the published scores, was not reported"
    return "" if manifest.metrics else "no metric was reported"


def _after_run(row: Experiment, *, results: list[StageResult], figures: Update, fresh: bool) -> Experiment:
    """A row after its variant was run: new figures, or why there are none, which does not cost it earlier ones."""
    for result in results:
        if result.verdict in (FAILED, MISSING):
            verdict = row.verdict if row.metrics else result.verdict
            return replace(row, verdict=verdict, cause=f"{result.stage}: {result.cause}")
    return figures(replace(row, cause="", minutes=None if fresh else row.minutes))


def _with_figures(row: Experiment, *, track: str, last: str, out_dir: Path) -> Experiment:
    """A row with the figures of its run's folder; as it is where that does not hold a whole run of its variant."""
    run, published = out_dir / RUNS / row.run / track / row.profile, load_published(track)
    try:
        manifest = read_manifest(run / last)
        stages = [name for name in manifest.inputs if "/" not in name]
        seconds = sum(read_manifest(run / name).wall_seconds for name in (*stages, last))
        unbroken = all(hash_path(run / name / FILE_NAME) == manifest.inputs[name] for name in stages)
    except (FileNotFoundError, ValueError):  # a run that did not end; what the table has stays
        return row
    if not unbroken or _not_of_variant(manifest, row.run, published.metric):
        return row
    minutes = round(seconds / 60, 2)
    if row.minutes is not None and (row.recipe_hash, row.device) == (manifest.recipe_hash, manifest.device):
        # A training that is found finished, or resumed, takes less time than the run that the figures come from.
        minutes = max(minutes, row.minutes)
    return replace(
        row,
        settings=settings_of(manifest.recipe, published.columns),
        metric=published.metric or [*manifest.judged, *manifest.metrics][0],
        metrics=dict(manifest.metrics),
        seed=manifest.seed,
        device=manifest.device,
        date=date.fromtimestamp((run / last / FILE_NAME).stat().st_mtime).isoformat(),
        minutes=minutes,
        recipe_hash=manifest.recipe_hash,
        overrides={key: value for key, value in manifest.overrides.items() if key != "variant"},
        cause=row.cause if row.metrics else "",
    )
