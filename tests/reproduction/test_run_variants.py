"""Variants: each is run in a folder of its own, one table keeps what was measured, whatever happens in between."""

import functools
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from faults.sentences import listing, refused
from reproduction.stand_in import TRACK, stages, width

from emlib import cli, recipe
from emlib.recipe import load_recipe
from emlib.reproduction import open_stage, read_experiments, read_manifest, run_variants, variants

NAMES = ["unet", "long_range", "fpn", "unetr"]


@pytest.fixture(scope="session")
def small_recipe(tmp_path_factory):
    """Folder with the track's recipe, cut down to one profile and four variants, as reading all takes a while."""
    content = yaml.safe_load((recipe.FOLDER / f"{TRACK}.yaml").read_text())
    content["profiles"] = {"smoke": content["profiles"]["smoke"]}
    content["variants"] = {name: content["variants"][name] for name in NAMES}
    folder = tmp_path_factory.mktemp("recipes")
    (folder / f"{TRACK}.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    return folder


@pytest.fixture
def run(neurons, tmp_path, monkeypatch, small_recipe):
    """Call it with names, and with what the stand-in of the notebooks should do; gives the results and the table."""
    monkeypatch.setattr(recipe, "FOLDER", small_recipe)
    lines = []

    def call(*names, fail=(), before=None, metrics=None, out=None, **options):
        fake = functools.partial(stages, fail=fail, before=before, metrics=metrics)
        monkeypatch.setattr(variants, "reproduce", fake)
        place = {"out_dir": out or tmp_path / "runs", "profile": "smoke"}
        done = run_variants(TRACK, names, notebooks=neurons, report=lines.append, **place, **options)
        return done, {row.run: row for row in read_experiments(TRACK, **place)}

    call.lines = lines
    return call


def test_notebooks_of_variants_fill_the_table_and_one_that_fails_stops_no_other(neurons, tmp_path, monkeypatch, capsys):
    out = tmp_path / "runs"
    monkeypatch.setattr("emlib.reproduction.variants.find_notebooks_folder", lambda: neurons)
    command = ["emlib", "reproduce", TRACK, "--variants", "fpn", "--variants", "unet,fpn ", "--out", str(out)]
    monkeypatch.setattr("sys.argv", command)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 1
    text = capsys.readouterr().out
    assert "1 of 8 runs measured; 1 failed." in text
    lines = {line.split()[0]: " ".join(line.split()) for line in text.splitlines() if line}
    assert lines["run"] == "run model iterations measured metric seed device date minutes verdict note description"
    assert re.fullmatch(r"unet unet_3d 300 32 width 0 cpu [\d-]{10} 0\.\d no band squeeze-and-.*", lines["unet"])
    assert "failed 1_data_prep: In [4]: AssertionError: the plug was pulled feature pyramid network" in lines["fpn"]
    assert lines["swin_unetr"].startswith("swin_unetr swin_unetr 300 not run shifted-window")
    table = out / TRACK / "smoke"
    assert {path.name for path in table.iterdir()} == {"variants.json", "variants.csv", "variants.html"}
    for name in ("json", "csv", "html"):
        assert f"written: {table}/variants.{name}" in text
    row = {row.run: row for row in read_experiments(TRACK, out_dir=out)}["unet"]
    assert (row.metric, row.measured, row.metrics) == ("width", 32.0, {"outputs": 1.0, "width": 32.0})
    assert row.recipe_hash == load_recipe(TRACK, variant="unet").hash
    place = out / "variants" / "unet" / TRACK / "smoke"
    assert read_manifest(place / "2_training").recipe["variant"] == "unet"
    assert (place / "executed" / "2_training.ipynb").is_file()
    stored = json.loads((out / "variants" / "unet" / "report.json").read_text())
    # The bands of the track's real notebooks hold neither for these figures nor for any variant.
    assert [book["verdict"] for book in stored["notebooks"]] == ["no band", "no band"]


def test_stages_with_a_variant_have_no_bands(tmp_path, capsys):
    place = {"out_dir": tmp_path, "device": "cpu"}
    plain = open_stage(TRACK, "1_data_prep", **place)
    assert plain.band("rand_bound") is not None
    stage = open_stage(TRACK, "1_data_prep", overrides={"variant": "fpn"}, **place)
    assert stage.band("rand_bound") is None
    assert stage.show_metric("rand_bound", 0.5) is None
    assert "no band was measured for profile smoke, variant fpn, on cpu" in capsys.readouterr().out


def test_calls_add_up_and_the_base_run_stays(run, tmp_path):
    base = open_stage(TRACK, "1_data_prep", out_dir=tmp_path / "runs", device="cpu")
    base.finish(outputs={}, metrics={"objects": 1})
    before = (base.folder / "manifest.json").read_bytes()
    done, rows = run("fpn", "unet")
    assert list(done) == ["fpn", "unet"]
    assert [name for name in NAMES if rows[name].metrics] == ["unet", "fpn"]
    done, rows = run("long_range", parameters={"seed": 4}, fresh=True)
    assert list(done) == ["long_range"]
    assert {name: rows[name].seed for name in NAMES if rows[name].metrics} == {"unet": 0, "long_range": 4, "fpn": 0}
    assert rows["long_range"].measured == width("long_range")
    done, rows = run("unet", parameters={"seed": 7})
    assert rows["unet"].seed == 7
    assert (base.folder / "manifest.json").read_bytes() == before
    assert run.lines == [f"variant {n} ({i} of {k})" for n, i, k in [
        ("fpn", 1, 2), ("unet", 2, 2), ("long_range", 1, 1), ("unet", 1, 1)]]  # fmt: skip


def test_all_and_missing(run):
    _, rows = run("unet", "fpn", fail=("fpn",))
    done, rows = run("missing", fail=NAMES)
    assert list(done) == [name for name in NAMES if name != "unet"]
    done, rows = run("all", "unet")
    assert list(done) == NAMES
    assert all(rows[name].measured == width(name) if width_of(name) else rows[name].metrics for name in NAMES)
    assert run("missing")[0] == {}


def test_a_failing_run_keeps_earlier_figures_and_says_so(run):
    _, rows = run("fpn", fail=("fpn",))
    cause = "2_training: In [5]: RuntimeError: the plug was pulled"
    assert (rows["fpn"].verdict, rows["fpn"].note, rows["fpn"].metrics) == ("failed", cause, {})
    run("fpn", parameters={"iterations": 9})
    _, rows = run("fpn", fail=("fpn",))
    assert rows["fpn"].measured == width("fpn")
    assert rows["fpn"].note == f"with training.iterations=9; a later run failed: {cause}"
    assert (rows["fpn"].verdict, rows["fpn"].settings["iterations"]) == ("no band", 9)
    _, rows = run("fpn")
    assert (rows["fpn"].note, rows["fpn"].overrides, rows["fpn"].settings["iterations"]) == ("", {}, 300)


def test_another_recipe_is_marked_and_replaced(run, tmp_path, monkeypatch):
    run("fpn", "unet")
    folder = tmp_path / "recipes"
    folder.mkdir()
    text = (recipe.FOLDER / f"{TRACK}.yaml").read_text()
    (folder / f"{TRACK}.yaml").write_text(text.replace("backbone: resnet", "backbone: repvgg"))
    monkeypatch.setattr(recipe, "FOLDER", folder)
    old = {row.run: row for row in read_experiments(TRACK, out_dir=tmp_path / "runs")}
    assert (old["fpn"].verdict, old["unet"].verdict) == ("other recipe", "no band")
    assert old["fpn"].note == "the recipe has changed since; run it again"
    assert old["fpn"].measured == width("fpn")
    done, rows = run("missing", fail=[name for name in NAMES if name != "fpn"])
    assert "fpn" in done
    assert "unet" not in done
    assert (rows["fpn"].verdict, rows["fpn"].note) == ("no band", "")
    (folder / f"{TRACK}.yaml").write_text(text.replace("  fpn:\n", "  pyramid:\n"))
    rows = read_experiments(TRACK, out_dir=tmp_path / "runs")
    assert [row.run for row in rows] == [*(n.replace("fpn", "pyramid") for n in NAMES), "fpn"]
    assert (rows[-1].verdict, rows[-1].measured) == ("other recipe", width_of_stored(tmp_path))


def width_of(name):
    return load_recipe(TRACK, variant=name).model.widths


def width_of_stored(tmp_path):
    return json.loads((tmp_path / "runs" / "variants" / "fpn" / TRACK / "smoke" / "2_training" / "manifest.json")
                      .read_text())["metrics"]["width"]  # fmt: skip


def test_minutes_are_those_of_the_run_and_not_of_a_repetition(run, tmp_path):
    run("unet")
    path = tmp_path / "runs" / TRACK / "smoke" / "variants.json"
    stored = json.loads(path.read_text())
    for row in stored["rows"]:
        row["minutes"] = 90.5 if row["run"] == "unet" else None
    path.write_text(json.dumps(stored))
    assert run("unet")[1]["unet"].minutes == 90.5  # its training was found finished
    assert run("unet", parameters={"iterations": 5})[1]["unet"].minutes < 1
    path.write_text(json.dumps(stored))
    assert run("unet", fresh=True)[1]["unet"].minutes < 1


def test_rows_that_another_process_stores_meanwhile_are_kept(run, tmp_path):
    others = []

    def other_process(name):
        if name == "unet" and not others:
            others.append("fpn")
            assert run("fpn")[1]["fpn"].metrics

    _, rows = run("unet", before=other_process)
    assert rows["unet"].metrics
    assert rows["fpn"].metrics


def test_a_run_of_another_recipe_is_no_result(run, monkeypatch):
    real = variants.read_manifest

    def as_of(folder):
        manifest = real(folder)
        return type(manifest)(**{**manifest.__dict__, "recipe": {**manifest.recipe, "variant": None}})

    monkeypatch.setattr(variants, "read_manifest", as_of)
    done, rows = run("unet")
    assert done["unet"][-1].verdict == "output missing"
    assert rows["unet"].note.startswith("2_training: its recipe is that of no variant, so a notebook does not pass")
    assert rows["unet"].metrics == {}


def test_a_run_without_metrics_is_no_result(run):
    done, rows = run("unet", metrics={})
    assert (done["unet"][-1].verdict, rows["unet"].note) == ("output missing", "2_training: no metric was reported")


# ------------------------------------------------------------------------------------------------------------ faults


def test_killed_in_between_the_table_keeps_what_was_finished(run, neurons, tmp_path):
    code = """
import functools, os, signal, sys
from reproduction.stand_in import TRACK, stages
from pathlib import Path
from emlib import recipe
from emlib.reproduction import run_variants, variants
recipe.FOLDER = Path(sys.argv[3])
def pull_the_plug(name):
    if name == "fpn":
        os.kill(os.getpid(), signal.SIGKILL)
variants.reproduce = functools.partial(stages, before=pull_the_plug)
run_variants(TRACK, ["unet", "fpn", "long_range"], out_dir=sys.argv[1], notebooks=sys.argv[2])
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[1])}
    command = [sys.executable, "-c", code, tmp_path / "runs", neurons, recipe.FOLDER]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == -signal.SIGKILL, done.stderr
    rows = {row.run: row for row in read_experiments(TRACK, out_dir=tmp_path / "runs")}
    assert [name for name in NAMES if rows[name].metrics] == ["unet"]
    again, rows = run("missing", fail=("unetr",))
    assert "unet" not in again
    assert [name for name in NAMES if not rows[name].metrics] == ["unetr"]


def test_finished_runs_that_the_table_lacks_enter_it(run, tmp_path):
    _, rows = run("unet", "fpn", "long_range")
    path = tmp_path / "runs" / TRACK / "smoke" / "variants.json"
    path.unlink()
    # One was begun again and did not end: what lies there belongs to two runs.
    open_stage(TRACK, "1_data_prep", overrides={"variant": "fpn"}, out_dir=tmp_path / "runs/variants/fpn", device="cpu")
    _, found = run("unetr")
    assert {name for name in NAMES if found[name].metrics} == {"unet", "long_range", "unetr"}
    assert found["unet"] == rows["unet"]


@pytest.mark.parametrize(
    "harm, words",
    [
        (lambda text: text[: len(text) // 2], "is damaged ("),
        (lambda text: "", "is damaged ("),
        (lambda text: "[]", "is damaged ("),
        (lambda text: text.replace('"rows"', '"row"'), "no entry 'rows'"),
        (lambda text: text.replace('"metrics": {}', '"metrics": 3'), "'metrics' of"),
        (lambda text: text.replace('"smoke"', '"paper"'), f"it is the table of {TRACK} (paper)"),
        (lambda text: text.replace('"seed": 0,', '"seed": "0",'), "'seed' of unet is '0'"),
        (lambda text: text.replace('"width": ', '"width": "x", "w": '), "a metric of unet is not a number"),
        (lambda text: text.replace('"device"', '"machine"'), "machine"),
    ],
)
def test_a_damaged_table_is_one_sentence_and_stays(run, tmp_path, harm, words):
    run("unet")
    path = tmp_path / "runs" / TRACK / "smoke" / "variants.json"
    path.write_text(harm(path.read_text()))
    before, text = listing(tmp_path), path.read_text()
    with refused(ValueError, f"{path} is damaged", words, "move it away", "'variants'"):
        run("fpn")
    with refused(ValueError, "is damaged"):
        read_experiments(TRACK, out_dir=tmp_path / "runs")
    assert (listing(tmp_path), path.read_text()) == (before, text)
    path.rename(tmp_path / "aside.json")
    _, rows = run("fpn")
    assert {name for name in NAMES if rows[name].metrics} == {"unet", "fpn"}


def test_a_folder_that_cannot_be_written_is_known_before_anything_is_run(run, tmp_path):
    (tmp_path / "file").write_text("")
    with refused(OSError, "Could not write", "variants.json", "not a folder"):
        run("fpn", out=tmp_path / "file" / "runs")
    assert run.lines == []


def test_one_run_that_cannot_be_written_stops_no_other(run, tmp_path):
    (tmp_path / "runs" / "variants").mkdir(parents=True)
    (tmp_path / "runs" / "variants" / "unet").write_text("a file where its folder should be")
    done, rows = run("unet", "fpn")
    assert [result.verdict for result in done["unet"]] == ["failed"]
    assert "Could not write" in rows["unet"].cause
    assert rows["fpn"].metrics


def test_a_disk_that_fills_up_keeps_the_table_as_it_was(run, tmp_path, monkeypatch):
    _, rows = run("unet")

    def full_disk(path, text):
        raise OSError(28, f"Could not write {path}: the disk is full")

    def fill(name):
        monkeypatch.setattr("emlib.reproduction.experiment_table.write_text", full_disk)

    with pytest.raises(OSError, match="the disk is full"):
        run("fpn", before=fill)
    assert {row.run: row for row in read_experiments(TRACK, out_dir=tmp_path / "runs")} == rows


@pytest.mark.parametrize(
    "names, options, words",
    [
        (
            ("fpm",),
            {},
            ("has no variant 'fpm' (did you mean 'fpn'?)", "it has unet, long_range, fpn, unetr, and", "'missing'"),
        ),
        (("unet", "?"), {}, ("has no variant '?'; it has unet",)),
        ((), {}, ("No variant of 3_neurons_affinities was named",)),
        (("fpn",), {"parameters": {"sead": 3}}, ("no parameter 'sead'", "did you mean 'seed'?")),
        (("missing",), {"parameters": {"seed": -3}}, ("parameter 'seed' is -3",)),
        (("fpn",), {"parameters": {"variant": "unet"}}, ("The parameter 'variant' follows from",)),
        (("fpn",), {"parameters": {"device": "gpu"}}, ("'device' is 'gpu'",)),
    ],
)
def test_mistakes_are_refused_before_anything_is_written(run, tmp_path, names, options, words):
    with refused(ValueError, *words, folder=tmp_path):
        run(*names, **options)
    assert not (tmp_path / "runs").exists()


def test_tracks_and_notebooks_without_variants_are_refused(neurons, track, tmp_path):
    place = {"out_dir": tmp_path / "runs"}
    with refused(ValueError, "The recipe of 1_mitochondria_contours has no variants"):
        run_variants("1_mitochondria_contours", ["all"], **place)
    with refused(FileNotFoundError, "There is no track '3_neurons'"):
        run_variants("3_neurons", ["all"], **place)
    for path in (neurons / TRACK).iterdir():
        path.write_text(path.read_text().replace("variant = None", "kind = None"))
    with refused(ValueError, f"No notebook of {TRACK} takes the parameter 'variant'", "emlib train"):
        run_variants(TRACK, ["all"], notebooks=neurons, **place)
    assert not (tmp_path / "runs").exists()
