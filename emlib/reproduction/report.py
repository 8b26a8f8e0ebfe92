"""The verdict of a reproduction: as a table in the terminal, JSON, JUnit XML and an HTML page with the figures."""

from __future__ import annotations

import html
import json
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nbformat

from emlib.atomic import atomic_path, write_text
from emlib.reproduction.driver import StageResult

COLUMNS = ("track", "stage", "metric", "value", "band", "verdict", "time", "memory")
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; color: #1c1c1c; }
table { border-collapse: collapse; width: 100%; } th, td { text-align: left; padding: .25rem .7rem; }
th { border-bottom: 2px solid #444; } td { border-bottom: 1px solid #ddd; vertical-align: top; }
.reproduced { color: #00664f; font-weight: 600; } .noband, .notrun { color: #666; }
.failed, .outsideband, .outputmissing { color: #a8322a; font-weight: 600; }
img { max-width: 100%; border: 1px solid #ddd; margin: .4rem 0; } h2 { margin-top: 2.5rem; }
"""


def table_rows(results: Sequence[StageResult]) -> list[dict[str, str]]:
    """One row a metric; a stage without metrics has one row with its cause."""
    rows = []
    for result in results:
        place = {"track": result.track, "stage": result.stage}
        cost = {"time": f"{result.seconds:.0f} s" if result.seconds else "", "memory": _memory(result.peak_memory)}
        findings = [finding for finding in result.findings if finding.band] or list(result.findings)[:1]
        if not findings or result.verdict in ("failed", "output missing", "not run"):
            rows.append({**place, "metric": "", "value": "", "band": result.cause, "verdict": result.verdict, **cost})
            continue
        for number, finding in enumerate(findings):
            rows.append(
                {
                    **place,
                    "metric": finding.metric,
                    "value": f"{finding.value:.4g}",
                    "band": str(finding.band or ""),
                    "verdict": finding.verdict,
                    **(cost if number == 0 else {"time": "", "memory": ""}),
                }
            )
    return rows


def format_table(results: Sequence[StageResult]) -> str:
    """The rows as aligned text, with one closing line.

    Example:
        >>> print(format_table([StageResult("1_x", "1_data_prep", "failed", "cell 3: ValueError: no")]))
        track  stage        metric  value  band                    verdict  time  memory
        1_x    1_data_prep                 cell 3: ValueError: no  failed
        <BLANKLINE>
        0 of 1 notebooks reproduced.
    """
    rows = [dict(zip(COLUMNS, COLUMNS, strict=True)), *table_rows(results)]
    widths = {column: max(len(row[column]) for row in rows) for column in COLUMNS}
    lines = ["  ".join(row[column].ljust(widths[column]) for column in COLUMNS).rstrip() for row in rows]
    return "\n".join([*lines, "", summary(results)])


def summary(results: Sequence[StageResult]) -> str:
    """One sentence: how many notebooks were reproduced, and how many could not be checked."""
    good = sum(result.verdict == "reproduced" for result in results)
    unchecked = sum(result.verdict == "no band" for result in results)
    tail = f"; {unchecked} ran, with no band to check against" if unchecked else ""
    return f"{good} of {len(results)} notebooks reproduced{tail}."


def write_reports(results: Sequence[StageResult], folder: str | Path, *, profile: str) -> dict[str, Path]:
    """Write `report.json`, `report.xml` (JUnit) and `report.html` into `folder`.

    Returns:
        Format name -> path.
    """
    folder = Path(folder)
    paths = {name: folder / f"report.{name}" for name in ("json", "xml", "html")}
    write_text(paths["json"], json.dumps(_as_json(results, profile), indent=2) + "\n")
    with atomic_path(paths["xml"]) as temporary:
        _as_junit(results, profile).write(temporary, encoding="utf-8", xml_declaration=True)
    write_text(paths["html"], _as_html(results, profile))
    return paths


def _memory(number: int) -> str:
    return f"{number / 2**30:.2f} GiB" if number else ""


def _as_json(results: Sequence[StageResult], profile: str) -> dict[str, Any]:
    return {
        "profile": profile,
        "passed": all(result.passed for result in results),
        "summary": summary(results),
        "notebooks": [
            {
                "track": result.track,
                "stage": result.stage,
                "verdict": result.verdict,
                "cause": result.cause,
                "seconds": round(result.seconds, 1),
                "peak_memory": result.peak_memory,
                "metrics": [
                    {
                        "name": finding.metric,
                        "value": finding.value,
                        "band": [finding.band.low, finding.band.high] if finding.band else None,
                        "verdict": finding.verdict,
                    }
                    for finding in result.findings
                ],
            }
            for result in results
        ],
    }


def _as_junit(results: Sequence[StageResult], profile: str) -> ElementTree.ElementTree:
    bad = [result for result in results if not result.passed and result.verdict != "not run"]
    skipped = [result for result in results if result.verdict == "not run"]
    suite = ElementTree.Element(
        "testsuite",
        name=f"emlib reproduce ({profile})",
        tests=str(len(results)),
        failures=str(len(bad)),
        skipped=str(len(skipped)),
        time=f"{sum(result.seconds for result in results):.1f}",
    )
    for result in results:
        case = ElementTree.SubElement(
            suite, "testcase", classname=result.track, name=result.stage, time=f"{result.seconds:.1f}"
        )
        if result.verdict == "not run":
            ElementTree.SubElement(case, "skipped", message=result.cause)
        elif not result.passed:
            ElementTree.SubElement(case, "failure", message=f"{result.verdict}: {result.cause}")
        for finding in result.findings:
            ElementTree.SubElement(
                case, "system-out"
            ).text = f"{finding.metric} = {finding.value:.6g} ({finding.verdict})"
    return ElementTree.ElementTree(suite)


def _as_html(results: Sequence[StageResult], profile: str) -> str:
    def cells(row: dict[str, str]) -> str:
        tag = row["verdict"].replace(" ", "")
        return "".join(
            f"<td{f' class={tag}' if column == 'verdict' else ''}>{html.escape(row[column])}</td>" for column in COLUMNS
        )

    head = "".join(f"<th>{column}</th>" for column in COLUMNS)
    body = "".join(f"<tr>{cells(row)}</tr>" for row in table_rows(results))
    figures = "".join(_figures_of(result) for result in results)
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>emlib reproduction</title><style>{STYLE}</style>'
        f"<h1>Reproduction, profile {html.escape(profile)}</h1><p>{html.escape(summary(results))}</p>"
        f"<table><tr>{head}</tr>{body}</table>{figures}</html>\n"
    )


def _figures_of(result: StageResult) -> str:
    """The figures of an executed notebook, each under the last heading before it."""
    if result.executed is None:
        return ""
    parts, heading = [f"<h2>{html.escape(result.track)} / {html.escape(result.stage)}</h2>"], ""
    for cell in nbformat.read(result.executed, as_version=4).cells:
        if cell.cell_type == "markdown":
            titles = [line.lstrip("# ") for line in cell.source.splitlines() if line.startswith("#")]
            heading = titles[-1] if titles else heading
            continue
        for output in cell.get("outputs", []):
            image = output.get("data", {}).get("image/png")
            if image:
                text = html.escape(heading)
                parts.append(f'<h3>{text}</h3><img alt="{text}" src="data:image/png;base64,{image.strip()}">')
                heading = heading if parts[-1] is None else ""
    return "".join(parts)
