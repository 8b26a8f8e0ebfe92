"""Bands: between which values a metric of a reproduced stage has to lie, measured over several seeds."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from emlib.atomic import write_text

FOLDER = Path(__file__).parent / "bands"
# Two-sided 95 % quantiles of Student's t by degrees of freedom: for the interval that holds one further run.
T_QUANTILE = {4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262}
FEWEST_SEEDS = 5


@dataclass(frozen=True)
class Band:
    """The values that a metric may take, both ends included.

    Example:
        >>> Band("ap50", 0.6, 0.9).holds(0.7), Band("ap50", 0.6, 0.9).holds(0.95)
        (True, False)
    """

    metric: str
    low: float
    high: float
    seeds: tuple[int, ...] = ()

    def holds(self, value: float) -> bool:
        """True if `value` lies in the band; NaN never does."""
        return self.low <= value <= self.high

    def __str__(self) -> str:
        return f"{self.low:.3g} to {self.high:.3g}"


def load_bands(track: str, *, folder: str | Path = FOLDER) -> dict[str, Any]:
    """The band file of a track as nested dictionaries: profile -> device -> stage -> metric -> entry; {} if none."""
    path = Path(folder) / f"{track}.yaml"
    return (yaml.safe_load(path.read_text(encoding="utf-8")) or {}) if path.is_file() else {}


def find_band(
    track: str, profile: str, device: str, stage: str, metric: str, *, folder: str | Path = FOLDER
) -> Band | None:
    """The band of one metric on one kind of device ("cpu" or "cuda"), or None where none was measured."""
    kind = device.split(":")[0] if device.startswith(("cpu", "cuda")) else "cuda"
    entry = load_bands(track, folder=folder).get(profile, {}).get(kind, {}).get(stage, {}).get(metric)
    return Band(metric, entry["low"], entry["high"], tuple(entry["seeds"])) if entry else None


def measure_band(metric: str, values: Mapping[int, float], *, limits: tuple[float, float] | None = None) -> Band:
    """The interval that holds the next run's value with 95 % confidence, if runs are normally distributed.

    mean +- t * s * sqrt(1 + 1/n), s the standard deviation over n seeds and t Student's quantile for n - 1 degrees of
    freedom; never narrower than 2 % of the mean on each side, because another processor rounds otherwise.

    Args:
        metric: name of the metric.
        values: seed -> value; at least five.
        limits: the values that the metric can take at all, for example (0, 1).

    Raises:
        ValueError: fewer than five seeds.
    """
    n = len(values)
    if n < FEWEST_SEEDS:
        raise ValueError(f"A band for {metric} needs at least {FEWEST_SEEDS} seeds, but {n} were run.")
    mean = sum(values.values()) / n
    deviation = math.sqrt(sum((value - mean) ** 2 for value in values.values()) / (n - 1))
    t = T_QUANTILE.get(n - 1, T_QUANTILE[9])
    half = max(t * deviation * math.sqrt(1 + 1 / n), 0.02 * abs(mean))
    low, high = mean - half, mean + half
    if limits:
        low, high = max(low, limits[0]), min(high, limits[1])
    return Band(metric, float(f"{low:.4g}"), float(f"{high:.4g}"), tuple(sorted(values)))


def store_bands(
    track: str,
    profile: str,
    device: str,
    measured: Mapping[str, Mapping[str, Mapping[int, float]]],
    *,
    bounded: Iterable[str] = (),
    folder: str | Path = FOLDER,
) -> Path:
    """Replace the bands of one track, profile and device by new ones.

    Args:
        measured: stage -> metric -> seed -> value.
        bounded: metrics that lie between 0 and 1.
    """
    content = load_bands(track, folder=folder)
    stages: dict[str, Any] = {}
    for stage, metrics in measured.items():
        for metric, values in metrics.items():
            band = measure_band(metric, values, limits=(0.0, 1.0) if metric in set(bounded) else None)
            stages.setdefault(stage, {})[metric] = {
                "low": band.low,
                "high": band.high,
                "seeds": list(band.seeds),
                "values": [float(f"{values[seed]:.4g}") for seed in band.seeds],
            }
    content.setdefault(profile, {})[device] = stages
    head = "# Measured by `emlib bands`: 95 % prediction interval for one further seed. Do not edit by hand.\n"
    return write_text(Path(folder) / f"{track}.yaml", head + yaml.safe_dump(content, sort_keys=False, width=110))
