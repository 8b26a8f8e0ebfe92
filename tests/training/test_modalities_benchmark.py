"""The benchmark of modality discovery and memory replay runs and counts right."""

import csv
import importlib.util
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "modalities.py"


@pytest.fixture
def script():
    specification = importlib.util.spec_from_file_location("benchmark_modalities", SCRIPT)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_the_tables_say_what_was_measured(script):
    def scores(majority, minority, old):
        return {"brightfield": majority, "fluorescence": minority, "stained": old - 0.25, "tissue": old + 0.25}

    results = {
        seed: {
            "pre-trained": scores(0, 0, 0.75),
            "fine-tuned": scores(0.5, 0.25 * seed, 0.25),
            "repeated": scores(0.5, 0.5, 0.25),
            "replay": scores(0.25, 0.25, 0.75),
            "repeated + replay": scores(0.5, 0.5, 0.5),
        }
        for seed in (0, 1)
    }
    lines = [line.split() for line in script.tables(results) if line]
    assert lines[1] == ["majority", "minority", "old"]
    assert ["fine-tuned", "0.500", "0.125", "0.250"] in lines
    assert ["repeated", "minority", "+0.375", "(+0.500,", "+0.250)"] in lines
    assert ["replay", "old", "+0.500", "(+0.500,", "+0.500)"] in lines


def test_it_runs(script, tmp_path, monkeypatch, capsys):
    for name, value in (("TEST_IMAGES", 1), ("TEST_SIDE", 64), ("CLUSTERS", 2), ("REPEATED_TO", 4)):
        monkeypatch.setattr(script, name, value)
    monkeypatch.setattr(script, "OLD", {"stained": 1, "tissue": 1})
    monkeypatch.setattr(script, "NEW", {"brightfield": 2, "fluorescence": 1})
    monkeypatch.setattr(script, "SHAPES", ((64, 64), (64, 64)))
    monkeypatch.setitem(script.QUIET, "inference.window", [64, 64])
    monkeypatch.setitem(script.QUIET, "training.window", [64, 64])
    script.main(["--iterations", "1", "--seeds", "3", "--out", str(tmp_path / "figures.csv")])
    printed = capsys.readouterr().out
    assert "seed 3: clusters of [2, 1] images, purity" in printed
    assert "mean F1 of 1 seeds" in printed
    with open(tmp_path / "figures.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 5 * 4
    assert {row["training"] for row in rows} == {
        "pre-trained", "fine-tuned", "repeated", "replay", "repeated + replay"}  # fmt: skip
    assert all(0 <= float(row["f1"]) <= 1 for row in rows)
