"""The experiment table: what was published, what the recipes say, and that nothing is lost between file and memory."""

import csv
import json
import re

import pytest
import yaml
from faults.disk import failing_steps

from emlib.recipe import PROFILES, list_tracks, list_variants, load_recipe
from emlib.reproduction import read_experiments
from emlib.reproduction.experiment_table import experiment_rows, format_experiments, summary, write_experiments
from emlib.reproduction.experiments import Experiment, settings_of
from emlib.reproduction.published import load_published

TRACK = "4_nuclei_maskrcnn"
TOLD = re.compile(
    r"No. (\d+): (\w+), ROI batch (\d+), anchors ([\d-]+), ([\d,]+) iterations, short side (\d+); .* (.*)"
)


@pytest.mark.parametrize("profile", PROFILES)
def test_the_published_scores_are_those_that_the_recipe_tells(profile, tmp_path):
    rows = read_experiments(TRACK, profile=profile, out_dir=tmp_path)
    assert [row.run for row in rows] == list(list_variants(TRACK))
    for row in rows:
        number, backbone, roi_batch, anchors, iterations, side, score = TOLD.fullmatch(row.description).groups()
        assert (row.run, row.published) == (f"run_{int(number):02d}", float(score))
        assert (row.measured, row.verdict, row.seed, row.minutes) == (None, "not run", None, None)
        if profile == "paper":
            told = row.row()
            assert told.pop("backbone").startswith(backbone.lower())
            assert told == {
                "run": row.run, "roi_batch": int(roi_batch), "anchors": anchors, "short_side": int(side),
                "iterations": int(iterations.replace(",", "")), "published": float(score), "measured": None,
            }  # fmt: skip


def test_other_profiles_show_what_they_run():
    rows = {row.run: row.row() for row in read_experiments(TRACK, out_dir="nowhere")}
    assert {row["backbone"] for row in rows.values()} == {"tiny"}
    for name, row in rows.items():
        recipe = load_recipe(TRACK, variant=name)
        assert row["iterations"] == recipe.training.iterations
        assert row["short_side"] == recipe.model.settings.get("short_side")
        # What the recipe leaves to the network is what the network takes.
        sizes = recipe.model.settings.get("anchor_sizes", (8, 128))
        assert row["anchors"] == f"{sizes[0]}-{sizes[-1]}"


def test_every_track_with_variants_has_a_table(tmp_path):
    tables = {track: list_variants(track) for track in list_tracks() if list_variants(track)}
    assert {"3_neurons_affinities", TRACK} <= set(tables)
    for track, variants in tables.items():
        rows = read_experiments(track, out_dir=tmp_path)
        assert {row.run: row.description for row in rows} == variants
        assert set(load_published(track).scores) in (set(), set(variants))
        assert all(None not in (row.settings.get("iterations"), *list(row.settings.values())[:1]) for row in rows)
        paths = write_experiments(rows, track, out_dir=tmp_path)
        assert len(paths["csv"].read_text().splitlines()) == len(rows) + 1
    assert "squeeze-and-excitation" in format_experiments(read_experiments("3_neurons_affinities", out_dir=tmp_path))
    assert "No. 1" not in format_experiments(read_experiments(TRACK, out_dir=tmp_path))


@pytest.mark.parametrize(
    "content, words",
    [
        ("scores: {a: 0.1", "is not valid YAML"),
        ("- 1", "must map title, columns, scores, metric"),
        ("score: {a: 0.1}", "unknown key 'score' (did you mean 'scores'?)"),
        ("scores: {a: high}", "the score of 'a' is 'high', but a number was expected"),
        ("columns: [model.name]", "'columns' must map names to values"),
    ],
)
def test_a_wrong_file_of_published_scores_is_refused(tmp_path, content, words):
    (tmp_path / "mine.yaml").write_text(content)
    with pytest.raises(ValueError) as caught:
        load_published("mine", folder=tmp_path)
    assert words in str(caught.value)
    assert str(caught.value).startswith("mine.yaml")


def test_settings_of_networks_that_are_gone_are_empty():
    keys = {"network": "model.name", "anchors": "model.settings.anchor_sizes", "steps": "training.steps"}
    recipe = {"model": {"name": "mask_rcnn_r50_fpn", "settings": {}}, "training": {}}
    assert settings_of(recipe, keys) == {"network": "r50", "anchors": "32-512", "steps": None}
    assert settings_of({"model": {"name": "lost"}}, keys) == {"network": "lost", "anchors": None, "steps": None}


def measured(name, **changes):
    recipe = load_recipe(TRACK, variant=name, overrides={"seed": 3})
    columns = load_published(TRACK).columns
    figures = {
        "settings": settings_of(recipe.model_dump(mode="json"), columns), "description": list_variants(TRACK)[name],
        "published": load_published(TRACK).scores[name], "metric": "ap", "metrics": {"ap": 0.5, "ap50": 1 / 3},
        "seed": 3, "device": "cpu", "date": "2025-01-31", "minutes": 1.25, "recipe_hash": recipe.hash,
        "verdict": "no band",
    }  # fmt: skip
    return Experiment(name, "smoke", **{**figures, **changes})


def replaced(rows, *new):
    by_name = {row.run: row for row in new}
    return [by_name.get(row.run, row) for row in rows]


TEXTS = ["", 'ünï, "quoted"', "a\nb", "<i>", "\u2028 \t", "'", ";,|", "0", "None", "null", "\\", "é", "-", "=1", "%s"]
NUMBERS = [0.0, -0.0, 1 / 3, 5e-324, 1.7e308, -1e-9, 0.1 + 0.2, 1e22, 2.0**53, 123456.789, 1.0, 3.0, 7.5, 1e-7, 9.99]


def test_what_is_stored_is_read_again(tmp_path):
    rows = [
        measured(name, metrics={f"ap{text}": n}, metric=f"ap{text}", cause=text, overrides={"seed": 3}, minutes=n)
        for name, text, n in zip(list_variants(TRACK), TEXTS, NUMBERS, strict=True)
    ]
    paths = write_experiments(rows, TRACK, out_dir=tmp_path)
    assert read_experiments(TRACK, out_dir=tmp_path) == rows
    with open(paths["csv"], newline="", encoding="utf-8") as stream:
        lines = list(csv.DictReader(stream))
    assert [(float(line["measured"]), line["metric"]) for line in lines] == [(row.measured, row.metric) for row in rows]
    assert [line["note"] for line in lines] == [row.note for row in rows]


def test_the_files_hold_all_and_agree(tmp_path):
    failed = Experiment("run_02", "smoke", verdict="failed", cause="2_training: <b>no</b>, no")
    write_experiments([measured("run_08"), failed], TRACK, out_dir=tmp_path)
    rows = read_experiments(TRACK, out_dir=tmp_path)
    paths = write_experiments(rows, TRACK, out_dir=tmp_path)
    with open(paths["csv"], newline="") as stream:
        lines = list(csv.DictReader(stream))
    assert list(lines[0]) == [
        "run", "backbone", "roi_batch", "anchors", "iterations", "short_side", "published", "measured", "metric", "ap",
        "ap50", "seed", "profile", "device", "date", "minutes", "recipe_hash", "verdict", "note", "description",
    ]  # fmt: skip
    assert len(lines) == 15
    assert {line["run"]: float(line["published"]) for line in lines} == load_published(TRACK).scores
    best, broken, empty = lines[7], lines[1], lines[0]
    assert (best["measured"], float(best["ap50"]), best["date"]) == ("0.5", 1 / 3, "2025-01-31")
    assert (broken["measured"], broken["note"]) == ("", "2_training: <b>no</b>, no")
    assert (empty["measured"], empty["seed"], empty["verdict"]) == ("", "", "not run")
    page = paths["html"].read_text()
    assert page.count("<tr>") == 16
    assert "&lt;b&gt;no" in page
    assert "CodaLab" in page
    assert str(tmp_path) not in page
    assert len(json.loads(paths["json"].read_text())["rows"]) == 15
    text = format_experiments(rows)
    told = {line.split()[0]: " ".join(line.split()) for line in text.splitlines() if line}
    assert told["run_08"] == "run_08 tiny 64 8-128 250 0.24355 0.5 ap 3 cpu 2025-01-31 1.2 no band"
    assert text.endswith("1 of 15 runs measured; 1 failed.")
    old = measured("run_08", verdict="other recipe")
    assert summary([old]) == "1 of 1 runs measured; 1 with another recipe than today's."
    assert all(list(row) == list(lines[0]) for row in experiment_rows(rows))


def test_a_notebook_in_a_variants_folder_reads_the_table_above(tmp_path):
    rows = replaced(read_experiments(TRACK, out_dir=tmp_path), measured("run_08"))
    write_experiments(rows, TRACK, out_dir=tmp_path)
    assert read_experiments(TRACK, out_dir=tmp_path / "variants" / "run_07") == rows
    assert read_experiments(TRACK, out_dir=tmp_path / "variants" / "mine") != rows


def test_a_disk_that_fails_at_any_step_leaves_a_table(tmp_path):
    before, after = [measured("run_07")], [measured("run_07"), measured("run_08")]
    stored = []
    for rows in (before, after):
        write_experiments(rows, TRACK, out_dir=tmp_path)
        stored.append((tmp_path / TRACK / "smoke" / "variants.json").read_text())

    def folder_of(step):
        folder = tmp_path / str(step)
        write_experiments(before, TRACK, out_dir=folder)
        return folder

    def store(folder, _recipe):
        write_experiments(after, TRACK, out_dir=folder)

    for folder in failing_steps(store, folder_of, None, 1):
        files = {path.name: path.read_text() for path in (folder / TRACK / "smoke").iterdir()}
        assert set(files) == {"variants.json", "variants.csv", "variants.html"}
        assert files["variants.json"] in stored
        store(folder, None)
        assert (folder / TRACK / "smoke" / "variants.json").read_text() == stored[1]
    assert [row.run for row in read_experiments(TRACK, out_dir=folder) if row.metrics] == ["run_07", "run_08"]


def test_the_published_file_is_part_of_the_package():
    import tomllib
    from pathlib import Path

    from emlib.reproduction import published

    root = Path(published.__file__).resolve().parents[2]
    patterns = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]["emlib"]
    kept = {path for pattern in patterns for path in (root / "emlib").glob(pattern)}
    files = set(published.FOLDER.iterdir())
    assert files
    assert files <= kept
    assert all(yaml.safe_load(path.read_text())["scores"] for path in files)
