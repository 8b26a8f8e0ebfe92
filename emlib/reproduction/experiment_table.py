"""The experiment table as files and as text: JSON that is read again, CSV, an HTML page, aligned lines."""

from __future__ import annotations

import csv
import html
import io
import json
from collections.abc import Collection, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from emlib.atomic import write_text
from emlib.reproduction.driver import FAILED, MISSING
from emlib.reproduction.experiments import OTHER_RECIPE, Experiment, table_path
from emlib.reproduction.published import load_published
from emlib.reproduction.report import STYLE

# Columns that only the files have, as they are the same in all rows or say nothing by themselves.
FILES_ONLY = ("profile", "recipe_hash")


def write_experiments(
    rows: Sequence[Experiment], track: str, *, profile: str = "smoke", out_dir: str | Path = "runs"
) -> dict[str, Path]:
    """Write `variants.json`, `variants.csv` and `variants.html` of a track and profile, each all or nothing.

    Args:
        rows: the whole table, as `read_experiments` gives it.
        track, profile: which.
        out_dir: parent of `<track>/<profile>/`.

    Returns:
        Format name -> path.

    Raises:
        OSError: a file could not be written; what was there before stays.
    """
    path = table_path(out_dir, track, profile)
    content = {"track": track, "profile": profile, "rows": [asdict(row) for row in rows]}
    # JSON is what is read again; the others only show it, and follow.
    write_text(path, json.dumps(content, indent=2) + "\n")
    table = experiment_rows(rows)
    stream = io.StringIO(newline="")
    writer = csv.DictWriter(stream, list(table[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(table)
    return {
        "json": path,
        "csv": write_text(path.with_suffix(".csv"), stream.getvalue()),
        "html": write_text(path.with_suffix(".html"), _as_html(rows, track, profile)),
    }


def experiment_rows(rows: Sequence[Experiment]) -> list[dict[str, Any]]:
    """Rows with the same keys in all: run, settings, scores, every metric that any of them has, and what was run.

    What a row does not have is None.

    Example:
        >>> rows = [Experiment("a", "smoke", {}), Experiment("b", "smoke", metric="ap", metrics={"ap": 0.5, "f1": 1.0})]
        >>> [(row["run"], row["measured"], row["f1"]) for row in experiment_rows(rows)]
        [('a', None, None), ('b', 0.5, 1.0)]
    """
    headings = list(dict.fromkeys(name for row in rows for name in row.settings))
    metrics = list(dict.fromkeys(name for row in rows for name in row.metrics))
    return [
        {
            "run": row.run,
            **{name: row.settings.get(name) for name in headings},
            "published": row.published,
            "measured": row.measured,
            "metric": row.metric,
            **{name: row.metrics.get(name) for name in metrics},
            "seed": row.seed,
            "profile": row.profile,
            "device": row.device or None,
            "date": row.date or None,
            "minutes": row.minutes,
            "recipe_hash": row.recipe_hash or None,
            "verdict": row.verdict,
            "note": row.note or None,
            "description": row.description or None,
        }
        for row in rows
    ]


def format_experiments(rows: Sequence[Experiment]) -> str:
    """The table as aligned text without what only its files have, and one closing line.

    Example:
        >>> ran = {"metric": "ap", "metrics": {"ap": 0.5}, "seed": 0, "device": "cpu", "verdict": "no band"}
        >>> print(format_experiments([Experiment("a", "smoke", **ran), Experiment("b", "smoke", published=0.25)]))
        run  published  measured  metric  seed  device  verdict
        a               0.5       ap      0     cpu     no band
        b    0.25                                       not run
        <BLANKLINE>
        1 of 2 runs measured.
    """
    hidden = {*FILES_ONLY, *(name for row in rows for name in row.metrics)}
    if any(row.published is not None for row in rows):
        hidden.add("description")  # of published runs it says in words what the columns say
    table = _texts(experiment_rows(rows), hidden)
    widths = {name: max(len(name), *(len(row[name]) for row in table)) for name in table[0]}
    lines = [{name: name for name in widths}, *table]
    text = ["  ".join(line[name].ljust(width) for name, width in widths.items()).rstrip() for line in lines]
    return "\n".join([*text, "", summary(rows)])


def summary(rows: Sequence[Experiment]) -> str:
    """One sentence: how many runs were measured, and how many of these with another recipe than today's."""
    measured = [row for row in rows if row.metrics]
    old = sum(row.verdict == OTHER_RECIPE for row in measured)
    failed = sum(row.verdict in (FAILED, MISSING) for row in rows)
    tail = f"; {old} with another recipe than today's" if old else ""
    return f"{len(measured)} of {len(rows)} runs measured{tail}{f'; {failed} failed' if failed else ''}."


def _texts(table: Sequence[dict[str, Any]], hidden: Collection[str]) -> list[dict[str, str]]:
    """Cells as text, without columns that are hidden, or empty in all rows; that of what was measured is shown."""
    kept = {"measured", *(name for row in table for name, value in row.items() if value is not None)}
    shown = [name for name in table[0] if name in kept and name not in hidden]
    return [{name: _text(name, row[name]) for name in shown} for row in table]


def _text(name: str, value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        # Published scores as they were published.
        return f"{value:.6g}" if name == "published" else f"{value:.1f}" if name == "minutes" else f"{value:.4g}"
    return str(value)


def _as_html(rows: Sequence[Experiment], track: str, profile: str) -> str:
    table = _texts(experiment_rows(rows), ("profile",))

    def cell(name: str, text: str) -> str:
        tag = text.replace(" ", "")
        return f"<td{f' class={tag}' if name == 'verdict' else ''}>{html.escape(text)}</td>"

    head = "".join(f"<th>{html.escape(name)}</th>" for name in table[0])
    body = "".join(f"<tr>{''.join(cell(*item) for item in row.items())}</tr>\n" for row in table)
    title = load_published(track).title
    published = f"<p>published: {html.escape(title)}, whatever the profile.</p>" if title else ""
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{html.escape(track)}: experiments</title>'
        f"<style>{STYLE} body {{ max-width: none; }} .otherrecipe {{ color: #a8322a; }}</style>"
        f"<h1>{html.escape(track)}, profile {html.escape(profile)}: experiments</h1>"
        f"<p>{html.escape(summary(rows))}</p>{published}<table><tr>{head}</tr>\n{body}</table></html>\n"
    )
