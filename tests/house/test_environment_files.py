"""pyproject.toml, constraints.txt, environment.yml and the Makefile tell the same story."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def pins() -> dict[str, Version]:
    lines = [line.strip() for line in (ROOT / "constraints.txt").read_text().splitlines()]
    found = {}
    for line in lines:
        if line and not line.startswith("#"):
            match = re.fullmatch(r"([A-Za-z0-9._-]+)==([A-Za-z0-9.!]+)", line)
            assert match, f"constraints.txt: '{line}' is not name==version"
            found[canonicalize_name(match[1])] = Version(match[2])
    return found


def requirements() -> list[Requirement]:
    extras = PROJECT["optional-dependencies"]
    texts = PROJECT["dependencies"] + [text for name, group in extras.items() if name != "all" for text in group]
    return [Requirement(text) for text in texts]


@pytest.mark.parametrize("requirement", requirements(), ids=str)
def test_every_dependency_has_a_pin_inside_its_range(requirement):
    pinned = pins().get(canonicalize_name(requirement.name))
    assert pinned is not None, f"{requirement.name} has no pin"
    assert requirement.specifier.contains(pinned, prereleases=True)


def test_all_is_the_sum_of_the_extras():
    (text,) = PROJECT["optional-dependencies"]["all"]
    assert Requirement(text).extras == set(PROJECT["optional-dependencies"]) - {"all"}


def test_no_pin_names_one_build():
    assert "+cpu" not in (ROOT / "constraints.txt").read_text()


def test_conda_environment_hands_the_same_list_to_pip():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    conda = [item for item in environment["dependencies"] if isinstance(item, str)]
    (pip,) = [item["pip"] for item in environment["dependencies"] if isinstance(item, dict)]
    assert {text.split("=")[0] for text in conda} == {"python", "pip"}
    assert pip == ["--constraint constraints.txt", "--editable .[all]"]
    (python,) = [text for text in conda if text.startswith("python=")]
    assert Requirement("python" + PROJECT["requires-python"]).specifier.contains(python.split("=")[1] + ".0")


def test_named_dependencies_are_there():
    named = {"jupyterlab", "torch", "monai", "segmentation-models-pytorch", "numpy", "h5py", "matplotlib"}
    assert named | {"neuroglancer", "papermill"} <= {requirement.name for requirement in requirements()}


def test_makefile_and_ci_run_the_readme_commands():
    makefile, readme = (ROOT / "Makefile").read_text(), (ROOT / "README.md").read_text()
    for command in ("reproduce", "test", "lab"):
        assert re.search(rf"^{command}: \.venv$", makefile, re.MULTILINE)
        assert f"make {command}" in readme
    ci = (ROOT / ".ci" / "run").read_text()
    assert "set -euo pipefail" in ci
    assert "make test" in ci
    assert "make reproduce" in ci
