"""Stage: one notebook's place in a run - its recipe, its folder, what it may read, and its manifest."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, SupportsFloat

from emlib.atomic import explain_write_error
from emlib.recipe import Recipe, load_recipe
from emlib.reproduction.bands import Band, find_band
from emlib.reproduction.manifest import FILE_NAME, Manifest, hash_path, package_versions, peak_memory, read_manifest

# Each stage with the recipe sections that it is the first to use.
STAGES: dict[str, tuple[str, ...]] = {
    "1_data_prep": ("data",),
    "2_training": ("target", "augmentation", "model", "training"),
    "3_inference": ("inference",),
    "4_postprocessing": ("postprocessing",),
    "5_evaluation": ("evaluation",),
}


class Stage:
    """A stage in progress; made by `open_stage`.

    Attributes:
        track, name, profile, seed: which run this is.
        device: "cpu" or "cuda", "auto" resolved.
        recipe: the validated Recipe, with everything that earlier stages were run with.
        folder: where this stage's files go; exists.
        data_dir: where local copies of registered data sets are looked for, or None.
    """

    def __init__(self, track: str, name: str, recipe: Recipe, folder: Path, *, device: str, data_dir: Path | None):
        self.track, self.name, self.recipe, self.folder = track, name, recipe, folder
        self.profile, self.seed, self.device, self.data_dir = recipe.profile, recipe.seed, device, data_dir
        self.overrides: dict[str, Any] = {}
        self.inputs: dict[str, str] = {}
        self.judged: list[str] = []
        self.started = time.monotonic()

    def __repr__(self) -> str:
        place = "/".join(self.folder.parts[-3:])
        return f"{self.track} / {self.name} ({self.profile}, seed {self.seed}, {self.device}) -> {place}"

    def input(self, stage: str, name: str) -> Path:
        """Path of an output of an earlier stage of this run, checked against its recorded hash.

        Raises:
            FileNotFoundError, ValueError: one sentence that names the notebook to run again.
        """
        folder = self.folder.parent / stage
        manifest = read_manifest(folder)
        path = manifest.verify_output(name, folder)
        self.inputs[f"{stage}/{name}"] = manifest.outputs[name]["sha256"]
        return path

    def variant_recipe(self, variant: str, overrides: Mapping[str, Any] | None = None) -> Recipe:
        """The recipe of a variant of this track: of this run's profile and seed, and with what this run changed.

        A notebook that compares variants trains, applies and scores each by its own recipe, on the run's one data set.

        Args:
            variant: name of a variant of the recipe.
            overrides: recipe key -> value, laid over those of the run; values of None are left out.

        Raises:
            ValueError: an unknown variant or key, or data that differ from those of the run.

        Example:
            >>> from tempfile import TemporaryDirectory
            >>> with TemporaryDirectory() as folder:
            ...     changes = {"training.batch_size": 5}
            ...     stage = open_stage("2_mitochondria_pipeline", "1_data_prep", seed=3, out_dir=folder,
            ...                        device="cpu", overrides=changes)
            ...     recipe = stage.variant_recipe("bce", {"training.iterations": 7})
            >>> recipe.variant, recipe.seed, recipe.training.batch_size, recipe.training.iterations
            ('bce', 3, 5, 7)
        """
        changes = {key: value for key, value in (overrides or {}).items() if value is not None}
        run = {key: value for key, value in self.overrides.items() if key != "variant"}
        recipe = load_recipe(
            self.recipe.track, profile=self.profile, variant=variant, overrides={**run, **changes, "seed": self.seed}
        )
        ours, theirs = (one.model_dump(mode="json")["data"] for one in (self.recipe, recipe))
        if difference := _first_difference(ours, theirs, "data"):
            raise ValueError(f"The variant '{variant}' is of other data than this run ({difference}).")
        return recipe

    def band(self, metric: str) -> Band | None:
        """The allowed band of one of this stage's metrics on this device, or None where none was measured.

        Bands are measured without variants, so a stage with one has none.
        """
        if self.recipe.variant is not None:
            return None
        return find_band(self.track, self.profile, self.device, self.name, metric)

    def show_metric(self, metric: str, value: float) -> Any:
        """A figure of `value` in the band of `metric`; where no band was measured, one printed line and None.

        Metrics that a notebook shows in this way are those for which `emlib bands` measures bands.
        """
        self.judged = [*dict.fromkeys([*self.judged, metric])]
        band = self.band(metric)
        if band is None:
            variant = f", variant {self.recipe.variant}," if self.recipe.variant is not None else ""
            print(f"{metric} {value:.4g} (no band was measured for profile {self.profile}{variant} on {self.device})")
            return None
        from emlib.visualization import show_band

        return show_band(value, band.low, band.high, name=metric)

    def finish(self, *, outputs: Mapping[str, str | Path], metrics: Mapping[str, float]) -> Manifest:
        """Record what was made: hashes of the outputs, metrics, versions, time, memory. Ends the stage.

        Args:
            outputs: name -> file or folder inside this stage's folder.
            metrics: name -> finite number.

        Raises:
            FileNotFoundError: an output is not there.
            ValueError: an output lies elsewhere, or a metric is not a finite number.
            OSError: the manifest could not be written.
        """
        recorded = {}
        for name, path in outputs.items():
            path = Path(path)
            if not path.exists():
                raise FileNotFoundError(f"The output '{name}' of {self.name} was not written ({path.name}).")
            if not path.resolve().is_relative_to(self.folder.resolve()):
                raise ValueError(f"The output '{name}' ({path}) lies outside the stage's folder {self.folder}.")
            relative = path.resolve().relative_to(self.folder.resolve()).as_posix()
            recorded[name] = {"path": relative, "sha256": hash_path(path)}
        absent = [name for name in self.judged if name not in metrics]
        if absent:
            raise ValueError(f"{self.name} showed the metric '{absent[0]}' against its band, but does not record it.")
        for name, value in metrics.items():
            if not isinstance(value, SupportsFloat) or not math.isfinite(value):
                raise ValueError(f"The metric '{name}' of {self.name} is {value!r}, not a finite number.")
        figures = {name: float(value) for name, value in metrics.items()}
        manifest = Manifest(
            track=self.track,
            stage=self.name,
            profile=self.profile,
            seed=self.seed,
            device=self._device_name(),
            recipe=self.recipe.model_dump(mode="json"),
            recipe_hash=self.recipe.hash,
            overrides=self.overrides,
            inputs=self.inputs,
            outputs=recorded,
            metrics=figures,
            judged=self.judged,
            versions=package_versions(),
            wall_seconds=round(time.monotonic() - self.started, 2),
            peak_memory=peak_memory(),
        )
        manifest.write(self.folder)
        return manifest

    def _device_name(self) -> str:
        if self.device == "cpu":
            return "cpu"
        import torch

        return torch.cuda.get_device_name(0)


def open_stage(
    track: str,
    name: str,
    *,
    profile: str = "smoke",
    seed: int = 0,
    device: str = "auto",
    data_dir: str | Path | None = None,
    out_dir: str | Path = "runs",
    overrides: Mapping[str, Any] | None = None,
    recipe_of: str | None = None,
) -> Stage:
    """Begin a stage: load the recipe, check every earlier stage of the run, make the folder.

    Args:
        track: track name, for example "1_mitochondria_contours".
        name: stage name, one of STAGES (or any name for a notebook outside the five stages).
        profile, seed: which run of the track.
        device: "auto", "cpu" or "cuda".
        data_dir: folder of local data sets; empty or None: the environment's EMLIB_DATA, else downloads.
        out_dir: parent of `<track>/<profile>/<stage>`.
        overrides: recipe key -> value, values of None are left out. Keys of sections that an earlier stage uses are
            refused unless they repeat what it ran with.
        recipe_of: track whose recipe is used; None: `track`.

    Returns:
        The Stage. Its old manifest, if any, is removed: a stage that is being redone has no valid result.

    Raises:
        FileNotFoundError: an earlier stage has not finished.
        ValueError: an earlier stage is damaged, was made with another recipe, or from other inputs; unknown keys.
        OSError: the stage's folder could not be made.
    """
    folder = Path(out_dir) / track / profile / name
    chosen = {key: value for key, value in (overrides or {}).items() if value is not None}
    earlier = list(STAGES)[: list(STAGES).index(name)] if name in STAGES else []
    manifests = {stage: read_manifest(folder.parent / stage) for stage in earlier}
    inherited: dict[str, Any] = {}
    for manifest in manifests.values():
        inherited.update(manifest.overrides)
    recipe = load_recipe(recipe_of or track, profile=profile, overrides={**inherited, **chosen, "seed": seed})
    inputs = _check_chain(recipe, manifests, folder.parent)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / FILE_NAME).unlink(missing_ok=True)
    except OSError as error:
        raise explain_write_error(error, folder) from error
    stage = Stage(
        track, name, recipe, folder, device=resolve_device(device), data_dir=Path(data_dir) if data_dir else None
    )
    stage.overrides, stage.inputs = {**inherited, **chosen}, inputs
    return stage


def resolve_device(device: str) -> str:
    """Resolve "auto": it is "cuda" where torch finds a GPU, else "cpu"; "cuda" without a GPU is an error."""
    if device == "cpu":
        return "cpu"
    import torch

    available = torch.cuda.is_available()
    if device == "auto":
        return "cuda" if available else "cpu"
    if device.split(":")[0] != "cuda":
        raise ValueError(f"device is '{device}', but 'auto', 'cpu' or 'cuda' was expected.")
    if not available:
        raise ValueError("device is 'cuda', but torch finds no CUDA device here; use 'auto' or 'cpu'.")
    return device


def _check_chain(recipe: Recipe, manifests: Mapping[str, Manifest], folder: Path) -> dict[str, str]:
    """Each earlier stage belongs to this run, was made with this recipe, and from the earlier stages as they are."""
    hashes = {stage: hash_path(folder / stage / FILE_NAME) for stage in manifests}
    for stage, manifest in manifests.items():
        again = f"run notebook {stage} again"
        if (manifest.stage, manifest.profile) != (stage, recipe.profile):
            raise ValueError(f"{stage}/{FILE_NAME} belongs to {manifest.stage} ({manifest.profile}); {again}.")
        if manifest.seed != recipe.seed:
            raise ValueError(
                f"{stage} was run with seed {manifest.seed}, this notebook has seed {recipe.seed}; {again}."
            )
        for section in STAGES[stage]:
            stored, wanted = manifest.recipe.get(section), recipe.model_dump(mode="json")[section]
            difference = _first_difference(stored, wanted, section)
            if difference:
                raise ValueError(f"{stage} was run with another recipe ({difference}); {again} with this value.")
        for source, digest in manifest.inputs.items():
            if source in hashes and hashes[source] != digest:
                raise ValueError(f"{stage} was made before {source} was run again; {again}.")
    return hashes


def _first_difference(stored: Any, wanted: Any, key: str) -> str | None:
    if isinstance(stored, dict) and isinstance(wanted, dict):
        for name in [*wanted, *(set(stored) - set(wanted))]:
            difference = _first_difference(stored.get(name), wanted.get(name), f"{key}.{name}")
            if difference:
                return difference
        return None
    return None if stored == wanted else f"{key}: {stored} there, {wanted} here"


def clear_run(out_dir: str | Path, track: str, profile: str) -> None:
    """Remove the stage folders of one run, and nothing that emlib did not name."""
    import shutil

    run = Path(out_dir) / track / profile
    for name in [*STAGES, "tour", "executed"]:
        if (run / name).is_dir() and not os.path.islink(run / name):
            shutil.rmtree(run / name)
