"""Put the outputs of a run into the committed notebooks, without anything that belongs to one machine."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import nbformat

from emlib.atomic import atomic_path
from emlib.reproduction.driver import StageResult

LARGEST = 300_000


def store_outputs(results: Iterable[StageResult], notebooks: dict[tuple[str, str], Path]) -> list[Path]:
    """Copy the outputs of executed notebooks into their sources, cell by cell.

    The cell that papermill injects is left out, standard error is dropped, execution counts follow the order of the
    cells, and timestamps go. Source cells stay as they are.

    Args:
        results: what `reproduce` returned.
        notebooks: (track, stage) -> path of the source, as `list_notebooks` gives it.

    Returns:
        The notebooks that were written.

    Raises:
        ValueError: an executed notebook does not match its source, an output names a path of this machine, or the
            notebook with its outputs exceeds 300 kB.
    """
    written = []
    for result in results:
        if result.executed is None:
            continue
        path = notebooks[(result.track, result.stage)]
        source = nbformat.read(path, as_version=4)
        executed = nbformat.read(result.executed, as_version=4)
        ran = [cell for cell in executed.cells if "injected-parameters" not in cell.metadata.get("tags", [])]
        if [cell.source for cell in ran] != [cell.source for cell in source.cells]:
            raise ValueError(f"{result.executed.name} was not run from {path.name} as it is now; run it again.")
        count = 0
        for cell, done in zip(source.cells, ran, strict=True):
            if cell.cell_type != "code":
                continue
            count += 1
            cell.execution_count = count
            cell.outputs = [_portable(output, count) for output in done.outputs if output.get("name") != "stderr"]
            _refuse_machine_paths(cell.outputs, path.name)
        text = nbformat.writes(source, version=4) + "\n"
        if len(text) > LARGEST:
            raise ValueError(
                f"{path.name} has {len(text) // 1000} kB with its outputs, more than {LARGEST // 1000} kB."
            )
        with atomic_path(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
        written.append(path)
    return written


def _portable(output: nbformat.NotebookNode, count: int) -> nbformat.NotebookNode:
    if "execution_count" in output:
        output.execution_count = count
    output.get("metadata", {}).clear()
    return output


def _refuse_machine_paths(outputs: list[nbformat.NotebookNode], name: str) -> None:
    folders = {str(Path.home()), str(Path.cwd()), "/tmp", "/home", "/Users"} - {"/"}
    pattern = re.compile("|".join(rf"{re.escape(folder)}/[^\s'\"]*" for folder in sorted(folders)))
    for output in outputs:
        texts = [output.get("text", ""), *(str(v) for k, v in output.get("data", {}).items() if k != "image/png")]
        for found in filter(None, map(pattern.search, texts)):
            raise ValueError(f"An output of {name} names a path of this machine: {found.group()}")
