"""What was published of a track's variants: the score of each run, and which recipe keys tell the runs apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from emlib.recipe_schema.refusals import nearest_of

FOLDER = Path(__file__).parent / "published"
COLUMNS = {"model": "model.name", "iterations": "training.iterations"}


@dataclass(frozen=True)
class PublishedRuns:
    """The published table of a track.

    Attributes:
        title: what the scores are; empty where nothing was published.
        columns: heading -> dotted recipe key, what the table says of each run.
        scores: variant -> published score, whatever the profile.
        metric: the metric of the track's last notebook that is set beside the scores; None: the first that the
            notebook shows against its band.
    """

    title: str = ""
    columns: Mapping[str, str] = field(default_factory=lambda: dict(COLUMNS))
    scores: Mapping[str, float] = field(default_factory=dict)
    metric: str | None = None


def load_published(track: str, *, folder: str | Path = FOLDER) -> PublishedRuns:
    """The published runs of a track; without scores where there is no file of them.

    Args:
        track: name of a track.
        folder: where the files `<track>.yaml` are.

    Raises:
        ValueError: the file holds something else than these keys, or a score that is no number.

    Example:
        >>> published = load_published("4_nuclei_maskrcnn")
        >>> published.scores["run_08"], published.columns["anchors"]
        (0.24355, 'model.settings.anchor_sizes')
        >>> load_published("1_mitochondria_contours").scores
        {}
    """
    path = Path(folder) / f"{track}.yaml"
    if not path.is_file():
        return PublishedRuns()
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ValueError(f"{path.name} is not valid YAML: {' '.join(str(error).split())}.") from None
    known = PublishedRuns.__dataclass_fields__
    if not isinstance(content, dict):
        raise ValueError(f"{path.name} must map {', '.join(known)} to their values.")
    for key in content:
        if key not in known:
            raise ValueError(f"{path.name}: unknown key '{key}'{nearest_of(str(key), known)}.")
    published = PublishedRuns(**content)
    for key in ("columns", "scores"):
        if not isinstance(getattr(published, key), Mapping):
            raise ValueError(f"{path.name}: '{key}' must map names to values.")
    for run, score in published.scores.items():
        if isinstance(score, bool) or not isinstance(score, (int, float)):
            raise ValueError(f"{path.name}: the score of '{run}' is {score!r}, but a number was expected.")
    return published
