"""Committed notebooks keep the standard: length, one parameters cell, no definitions, clean outputs."""

import ast
import importlib
import re
from pathlib import Path

import nbformat
import pytest

from emlib.reproduction.parameters import read_parameters
from emlib.reproduction.stage import STAGES

FOLDER = Path(__file__).resolve().parents[2] / "notebooks"
NOTEBOOKS = sorted(path for path in FOLDER.rglob("*.ipynb") if ".ipynb_checkpoints" not in path.parts)
COMMON = {"profile", "seed", "device", "data_dir", "out_dir"}

pytestmark = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: str(path.relative_to(FOLDER)))


def code_of(path):
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]


def test_length(path):
    cells = nbformat.read(path, as_version=4).cells
    lines = [line for cell in code_of(path) for line in cell.source.splitlines()]
    assert 18 <= len(cells) <= 28
    assert sum(bool(line.strip()) and not line.strip().startswith("#") for line in lines) <= 82
    assert path.stat().st_size <= 300_000


def test_no_definitions(path):
    for cell in code_of(path):
        for node in ast.walk(ast.parse(cell.source)):
            assert not isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.Lambda)), cell.source


def test_parameters(path):
    parameters = read_parameters(path)
    assert set(parameters) >= COMMON
    assert len(parameters) <= len(COMMON) + 6


def test_first_cell_says_what_it_is(path):
    first = nbformat.read(path, as_version=4).cells[0]
    assert first.cell_type == "markdown"
    for words in ("You will learn", "You need", "It takes") if path.parent != FOLDER else ("You need",):
        assert words in first.source


def test_last_cells_check_and_lead_on(path):
    cells = nbformat.read(path, as_version=4).cells
    assert "stage.finish(" in cells[-2].source
    assert "assert" in cells[-2].source
    links = re.findall(r"\]\(([^)#]+\.ipynb)\)", cells[-1].source)
    assert links
    for cell in cells:
        if cell.cell_type == "markdown":
            for link in re.findall(r"\]\(((?!https?:)[^)#]+)\)", cell.source):
                assert (path.parent / link).exists(), link


def test_figures_are_explained(path):
    text = "".join(cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "markdown")
    assert text.count("You should see") >= 2


def test_outputs_are_there_and_clean(path):
    cells = code_of(path)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1)), "run: make notebooks"
    outputs = [output for cell in cells for output in cell.outputs]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert all(output.get("name") != "stderr" and output.output_type != "error" for output in outputs)
    texts = [output.get("text", "") + str(output.get("data", {}).get("text/plain", "")) for output in outputs]
    assert not re.search(r"(/home/|/root/|/Users/|/tmp/|[A-Z]:\\\\)", "\n".join(texts))


def test_stage_is_the_file_name(path):
    if path.parent != FOLDER:
        assert path.stem in STAGES
        assert f'"{path.parent.name}", "{path.stem}"' in "".join(cell.source for cell in code_of(path))


def test_everything_imported_is_there(path):
    for cell in code_of(path):
        for node in ast.walk(ast.parse(cell.source)):
            if isinstance(node, ast.ImportFrom):
                module = importlib.import_module(node.module)
                for name in node.names:
                    assert hasattr(module, name.name) or importlib.import_module(f"{node.module}.{name.name}")
