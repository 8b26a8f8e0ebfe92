"""`emlib reproduce TRACK --variants ...`: run variants and show the experiment table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

Variants = Annotated[
    list[str],
    typer.Option(
        help="variants of one track, by comma or repeated: names of `emlib recipe list`, all, or missing (those that "
        "have no figures yet, for example after an interruption)"
    ),
]


def reproduce_variants(
    tracks: Sequence[str],
    variants: Sequence[str],
    *,
    profile: str,
    parameters: Mapping[str, Any],
    out: Path,
    fresh: bool,
    refused: Mapping[str, bool],
) -> int:
    """Run them, print the table and where it lies; the exit status is 1 if a notebook of any of them failed.

    Args:
        tracks: must be one.
        variants: names, several in one text separated by commas.
        profile, parameters, out, fresh: as for `run_variants`.
        refused: option -> whether it was given; none may be.
    """
    from emlib.reproduction.experiment_table import format_experiments
    from emlib.reproduction.experiments import read_experiments, table_path
    from emlib.reproduction.variants import run_variants

    for option, given in refused.items():
        if given:
            raise ValueError(f"--variants and {option} cannot be given together.")
    if len(tracks) != 1:
        named = f"{len(tracks)} were named ({', '.join(tracks)})" if tracks else "none was named"
        raise ValueError(f"--variants runs variants of one track, but {named}.")
    (track,) = tracks
    names = [name.strip() for text in variants for name in text.split(",") if name.strip()]
    done = run_variants(track, names, profile=profile, parameters=parameters, out_dir=out, fresh=fresh)
    print("\n" + format_experiments(read_experiments(track, profile=profile, out_dir=out)))
    for suffix in (".json", ".csv", ".html"):
        print(f"written: {table_path(out, track, profile).with_suffix(suffix)}")
    return 0 if all(result.passed for results in done.values() for result in results) else 1
