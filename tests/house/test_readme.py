"""What the README shows is true: its recipe loads, its commands and names exist, its pictures are there."""

import importlib
import re
from pathlib import Path

import pytest
import yaml

from emlib.recipe import load_recipe

ROOT = Path(__file__).resolve().parents[2]
PAGES = ["README.md", "CONTRIBUTING.md", "data/README.md"]
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_the_recipe_for_own_data_is_valid(tmp_path):
    (text,) = blocks("yaml")
    (tmp_path / "mine.yaml").write_text(text)
    recipe = load_recipe(tmp_path / "mine.yaml", profile="tutorial")
    assert recipe.data.split.test == (70, 100)
    assert yaml.safe_load(text)["base"]["model"]["widths"] == list(recipe.model.widths)


def test_every_import_of_the_examples_exists():
    code = "\n".join(blocks("python"))
    found = re.findall(r"^from (emlib[\w.]*) import ([\w, ]+)", code, re.MULTILINE)
    assert found
    for module, names in found:
        for name in names.split(", "):
            assert hasattr(importlib.import_module(module), name), f"{module}.{name}"


def test_every_command_exists():
    from typer.main import get_command

    from emlib.cli import app

    commands = get_command(app).commands
    used = re.findall(r"^(?:[A-Z_]+=\S+ )?emlib (\w+)", "\n".join(blocks("bash")), re.MULTILINE)
    assert len(used) >= 7
    assert set(used) <= set(commands)
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(re.findall(r"^make (\w+)", "\n".join(blocks("bash")), re.MULTILINE)) <= set(targets)


@pytest.mark.parametrize("page", PAGES)
def test_links_and_pictures_are_there(page):
    text = (ROOT / page).read_text()
    links = [link for link in re.findall(r"\]\(([^)#\s]+)", text) if not link.startswith("http")]
    for link in links:
        assert ((ROOT / page).parent / link).exists(), link


@pytest.mark.parametrize("page", PAGES)
def test_no_placeholder_is_left(page):
    assert not re.search(r"@[A-Z]{4,}@|TODO|FIXME|lorem", (ROOT / page).read_text())
