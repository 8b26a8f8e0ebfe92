"""Run notebooks through papermill, in order, and judge what each of them left behind."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from emlib.reproduction.bands import FOLDER as BANDS
from emlib.reproduction.bands import Band, find_band, load_bands
from emlib.reproduction.manifest import read_manifest
from emlib.reproduction.parameters import check_parameters, read_parameters
from emlib.reproduction.stage import clear_run, resolve_device

REPRODUCED, OUTSIDE, FAILED, MISSING, SKIPPED = "reproduced", "outside band", "failed", "output missing", "not run"
UNCHECKED = "no band"


@dataclass(frozen=True)
class Finding:
    """One metric of one stage against its band."""

    metric: str
    value: float
    band: Band | None

    @property
    def verdict(self) -> str:
        if self.band is None:
            return UNCHECKED
        return REPRODUCED if self.band.holds(self.value) else OUTSIDE


@dataclass(frozen=True)
class StageResult:
    """What came of one notebook.

    Attributes:
        track, stage: which notebook; a notebook outside the tracks has its own name as track and "tour" as stage.
        verdict: "reproduced", "outside band", "failed", "output missing", "not run" or "no band".
        cause: one line, empty if reproduced.
        findings: the metrics against their bands.
        seconds, peak_memory: wall time and the kernel's peak resident memory in bytes (0 if unknown).
        executed: the executed notebook, or None.
    """

    track: str
    stage: str
    verdict: str
    cause: str = ""
    findings: tuple[Finding, ...] = ()
    seconds: float = 0.0
    peak_memory: int = 0
    executed: Path | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    judged: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        return self.verdict in (REPRODUCED, UNCHECKED)


def find_notebooks_folder() -> Path:
    """The `notebooks` folder of the checkout that emlib was installed from, else of the current folder.

    Raises:
        FileNotFoundError: neither is there.
    """
    for parent in (Path(__file__).resolve().parents[2], Path.cwd()):
        if (parent / "notebooks").is_dir():
            return parent / "notebooks"
    raise FileNotFoundError("There is no folder 'notebooks' here; run this in a checkout of emlib, or name the folder.")


def list_notebooks(folder: str | Path, tracks: Iterable[str] = ()) -> dict[tuple[str, str], Path]:
    """Notebooks in the order in which they run: (track, stage) -> path.

    Args:
        folder: the notebooks folder.
        tracks: names of track folders or of single notebooks; empty is all.

    Raises:
        FileNotFoundError: a name that is not there, with those that are.
    """
    folder = Path(folder)
    found: dict[tuple[str, str], Path] = {}
    for path in sorted(item for item in folder.iterdir() if not item.name.startswith(".")):
        if path.is_dir():
            found |= {(path.name, stage.stem): stage for stage in sorted(path.glob("[0-9]*.ipynb"))}
        elif path.suffix == ".ipynb":
            found[(path.stem, "tour")] = path
    known = list(dict.fromkeys(track for track, _ in found))
    for name in tracks:
        if name not in known:
            raise FileNotFoundError(f"There are no notebooks '{name}' in {folder.name}; there are {', '.join(known)}.")
    wanted = set(tracks) or set(known)
    return {key: path for key, path in found.items() if key[0] in wanted}


def reproduce(
    tracks: Iterable[str] = (),
    *,
    profile: str = "smoke",
    parameters: Mapping[str, Any] | None = None,
    out_dir: str | Path = "runs",
    notebooks: str | Path | None = None,
    bands: str | Path = BANDS,
    fresh: bool = False,
    report: Callable[[str], None] = print,
) -> list[StageResult]:
    """Run notebooks in order; a stage whose predecessor failed is not run.

    Args:
        tracks: which; empty is all.
        profile: recipe profile given to every notebook.
        parameters: notebook parameters (seed, device, data_dir, a track's knobs); each goes to the notebooks that
            declare it. A name that no notebook declares, or a value out of its range, is refused before any kernel
            starts.
        out_dir: parent of `<track>/<profile>/<stage>`; executed notebooks go to `<track>/<profile>/executed`.
        notebooks: folder of notebooks; None: the checkout's.
        bands: folder of band files.
        fresh: remove earlier results of these runs first.
        report: called with one line of text for each notebook.

    Returns:
        A StageResult for each notebook.

    Raises:
        FileNotFoundError, ValueError: unknown track, profile or parameter.
    """
    folder = Path(notebooks) if notebooks else find_notebooks_folder()
    tracks = list(tracks)
    plan = list_notebooks(folder, tracks)
    if not tracks:  # "all" means all that know the profile; the tour, for one, has generated data only
        plan = {key: path for key, path in plan.items() if _knows_profile(path, profile)} or plan
    values = {"profile": profile, **(parameters or {})}
    chosen = parameters_by_notebook(plan, values)
    device = resolve_device(str(values.get("device", "auto")))
    results: list[StageResult] = []
    broken: set[str] = set()
    if fresh:
        for track in dict.fromkeys(track for track, _ in plan):
            clear_run(out_dir, track, profile)
    for number, ((track, stage), path) in enumerate(plan.items(), 1):
        label = f"[{number}/{len(plan)}] {track} / {stage}"
        if track in broken:
            result = StageResult(track, stage, SKIPPED, "an earlier notebook of this track failed")
        else:
            report(f"{label} ...")
            result = _run(track, stage, path, chosen[path], Path(out_dir), profile, device, Path(bands))
        if result.verdict in (FAILED, MISSING):
            broken.add(track)
        results.append(result)
        report(f"{label}: {result.verdict}, {result.seconds:.0f} s{'; ' + result.cause if result.cause else ''}")
    return results


def _knows_profile(path: Path, profile: str) -> bool:
    declared = read_parameters(path).get("profile")
    return declared is None or not declared.choices or profile in declared.choices


def parameters_by_notebook(plan: Mapping[Any, Path], values: Mapping[str, Any]) -> dict[Path, dict[str, Any]]:
    """The parameters that each notebook of a plan declares, of all that are given.

    Raises:
        ValueError: a name that no notebook declares, or a value out of its range.
    """
    declared = {path: read_parameters(path) for path in plan.values()}
    everywhere = {name: parameter for names in declared.values() for name, parameter in names.items()}
    check_parameters(values, everywhere, "this run" if len(plan) > 1 else next(iter(plan.values())).name)
    return {
        path: check_parameters({k: v for k, v in values.items() if k in names}, names, path.name)
        for path, names in declared.items()
    }


def _run(
    track: str, stage: str, path: Path, values: dict[str, Any], out_dir: Path, profile: str, device: str, bands: Path
) -> StageResult:
    import papermill
    from nbclient.exceptions import DeadKernelError
    from papermill.exceptions import PapermillExecutionError

    run = out_dir / track / profile
    executed = run / "executed" / path.name
    executed.parent.mkdir(parents=True, exist_ok=True)
    # Relative to the notebook, where its kernel starts: executed notebooks then show no path of the machine.
    values = {**values, "out_dir": Path(os.path.relpath(out_dir, path.parent)).as_posix()}
    if values.get("data_dir"):
        values["data_dir"] = str(Path(values["data_dir"]).resolve())
    started = time.monotonic()
    cause, verdict = "", REPRODUCED
    try:
        with _batch_environment():
            papermill.execute_notebook(
                str(path),
                str(executed),
                parameters=values,
                cwd=str(path.parent),
                progress_bar=False,
                kernel_name="python3",
                log_output=False,
            )
    except PapermillExecutionError as error:
        verdict, cause = FAILED, f"In [{error.exec_count}]: {error.ename}: {_first_line(error.evalue)}"
    except DeadKernelError:
        verdict, cause = FAILED, "the kernel died (killed, or out of memory)"
    seconds = time.monotonic() - started
    kept = executed if executed.is_file() else None
    if verdict == FAILED:
        return StageResult(track, stage, verdict, cause, seconds=seconds, executed=kept)
    return _judge(track, stage, run / stage, profile, device, bands, seconds, kept)


def _judge(
    track: str, stage: str, folder: Path, profile: str, device: str, bands: Path, seconds: float, executed: Path | None
) -> StageResult:
    """Verdict on a notebook that ran to its end: outputs there and unchanged, metrics inside their bands.

    Bands hold for recipes without a variant.
    """
    try:
        manifest = read_manifest(folder)
        for name in manifest.outputs:
            manifest.verify_output(name, folder)
    except (FileNotFoundError, ValueError) as error:
        return StageResult(track, stage, MISSING, str(error), seconds=seconds, executed=executed)
    kind = device.split(":")[0]
    expected = load_bands(track, folder=bands).get(profile, {}).get(kind, {}).get(stage, {})
    if manifest.recipe.get("variant") is not None:
        expected = {}
    findings = tuple(
        Finding(name, value, find_band(track, profile, kind, stage, name, folder=bands) if name in expected else None)
        for name, value in manifest.metrics.items()
    )
    lost = [name for name in expected if name not in manifest.metrics]
    outside = [item for item in findings if item.verdict == OUTSIDE]
    common = {"findings": findings, "seconds": seconds, "peak_memory": manifest.peak_memory, "executed": executed}
    common |= {"metrics": manifest.metrics, "judged": tuple(manifest.judged)}
    if lost:
        return StageResult(track, stage, MISSING, f"the metric '{lost[0]}' has a band but was not reported", **common)
    if outside:
        first = outside[0]
        cause = f"{first.metric} is {first.value:.4g}, outside its band {first.band}"
        return StageResult(track, stage, OUTSIDE, cause, **common)
    checked = any(item.band for item in findings)
    return StageResult(track, stage, REPRODUCED if checked else UNCHECKED, **common)


@contextmanager
def _batch_environment() -> Iterator[None]:
    """Kernels inherit EMLIB_BATCH: log lines in place of bars, and Neuroglancer prints a link and goes on."""
    before = os.environ.get("EMLIB_BATCH")
    os.environ["EMLIB_BATCH"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["EMLIB_BATCH"]
        else:
            os.environ["EMLIB_BATCH"] = before


def _first_line(text: Any) -> str:
    lines = str(text).strip().splitlines()
    return lines[0] if lines else ""
