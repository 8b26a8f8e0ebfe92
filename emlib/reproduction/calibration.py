"""Measure bands: run the same notebooks over several seeds and keep the interval of every judged metric."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from emlib.reproduction.bands import FEWEST_SEEDS, FOLDER, store_bands
from emlib.reproduction.driver import FAILED, MISSING, SKIPPED, reproduce
from emlib.reproduction.stage import resolve_device

# First or last words of the names of metrics that lie between 0 and 1.
FRACTIONS = {
    "ap",
    "ap50",
    "ap75",
    "f1",
    "precision",
    "recall",
    "foreground",
    "dice",
    "iou",
    "bound",
    "panoptic",
    "rand",
    "boundary",
    "blocks",
}


def measure_bands(
    tracks: Iterable[str] = (),
    *,
    profile: str = "smoke",
    seeds: Sequence[int] = (0, 1, 2, 3, 4),
    parameters: Mapping[str, Any] | None = None,
    out_dir: str | Path = "runs/bands",
    folder: str | Path = FOLDER,
    notebooks: str | Path | None = None,
) -> list[Path]:
    """Run the notebooks once per seed and store the band of every metric that they show against one.

    Runs are resumed: a seed whose folder holds finished stages trains and predicts nothing again.

    Args:
        tracks, profile, parameters, notebooks: as for `reproduce`.
        seeds: at least five different ones.
        out_dir: parent of `seed_<n>/<track>/...`.
        folder: where the band files are written.

    Returns:
        The band files that were written.

    Raises:
        ValueError: fewer than five seeds, or a notebook failed.
    """
    if len(set(seeds)) < FEWEST_SEEDS:
        raise ValueError(f"Bands need at least {FEWEST_SEEDS} different seeds, but {len(set(seeds))} were given.")
    device = resolve_device(str((parameters or {}).get("device", "auto"))).split(":")[0]
    measured: dict[str, dict[str, dict[str, dict[int, float]]]] = {}
    for seed in dict.fromkeys(seeds):
        results = reproduce(
            tracks,
            profile=profile,
            parameters={**(parameters or {}), "seed": seed},
            out_dir=Path(out_dir) / f"seed_{seed}",
            notebooks=notebooks,
        )
        for result in results:
            if result.verdict in (FAILED, MISSING, SKIPPED) and not result.metrics:
                raise ValueError(f"Seed {seed}: {result.track} / {result.stage} {result.verdict}: {result.cause}")
            for metric in result.judged:
                place = measured.setdefault(result.track, {}).setdefault(result.stage, {})
                place.setdefault(metric, {})[seed] = result.metrics[metric]
    return [
        store_bands(track, profile, device, stages, bounded=_bounded(stages), folder=folder)
        for track, stages in measured.items()
    ]


def _bounded(stages: Mapping[str, Mapping[str, Any]]) -> set[str]:
    names = {metric for metrics in stages.values() for metric in metrics}
    return {name for name in names if FRACTIONS & {name.split("_")[0], name.split("_")[-1]}}
