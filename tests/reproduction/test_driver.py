"""The driver: verdicts, and every way in which a run can be off gives a failing verdict with its cause in one line."""

import json
import xml.etree.ElementTree as ElementTree

import nbformat
import pytest
import yaml

from emlib import cli
from emlib.reproduction import read_manifest, reproduce
from emlib.reproduction.driver import list_notebooks
from emlib.reproduction.refresh import store_outputs
from emlib.reproduction.report import format_table, write_reports

TRACK = "1_mitochondria_contours"


def bands(folder, low=0.4, high=0.6):
    entry = {"low": low, "high": high, "seeds": [0, 1, 2, 3, 4], "values": []}
    content = {"smoke": {"cpu": {"2_training": {"loss": entry}}}}
    folder.mkdir(exist_ok=True)
    (folder / f"{TRACK}.yaml").write_text(yaml.safe_dump(content))
    return folder


def run(track, tmp_path, **options):
    options.setdefault("bands", bands(tmp_path / "bands"))
    return reproduce(notebooks=track[0], out_dir=tmp_path / "runs", report=lambda line: None, **options)


def test_two_stages_are_run_judged_and_reported(track, tmp_path):
    results = run(track, tmp_path)
    assert [result.verdict for result in results] == ["no band", "reproduced"]
    manifest = read_manifest(tmp_path / "runs" / TRACK / "smoke" / "2_training")
    assert set(manifest.inputs) == {"1_data_prep", "1_data_prep/image"}
    assert manifest.peak_memory > 10**7
    assert manifest.versions["numpy"]
    table = format_table(results)
    assert "0.4 to 0.6" in table
    assert "1 of 2 notebooks reproduced; 1 ran, with no band to check against." in table
    paths = write_reports(results, tmp_path / "report", profile="smoke")
    stored = json.loads(paths["json"].read_text())
    assert stored["passed"] is True
    assert stored["notebooks"][1]["metrics"][0]["band"] == [0.4, 0.6]
    suite = ElementTree.parse(paths["xml"]).getroot()
    assert (suite.get("tests"), suite.get("failures")) == ("2", "0")
    assert "0.4 to 0.6" in paths["html"].read_text()


def test_a_broken_stage_fails_with_its_cell_and_stops_its_track(track, tmp_path):
    (track[0] / TRACK / "1_data_prep.ipynb").unlink()
    track[1]("raise RuntimeError('the plug was pulled')")
    broken = track[0] / TRACK / "2_training.ipynb"
    broken.rename(broken.with_name("1_data_prep.ipynb"))
    # The first notebook opens stage 2 with no stage 1 before it, which is refused; the next one is not run at all.
    track[1]()
    results = run(track, tmp_path)
    assert [result.verdict for result in results] == ["failed", "not run"]
    assert results[0].cause.startswith("In [3]: FileNotFoundError: Stage 1_data_prep has not finished")


def test_an_error_in_a_cell_is_the_cause(track, tmp_path):
    track[1]("x = 1", "raise RuntimeError('the plug was pulled')")
    results = run(track, tmp_path)
    assert results[1].verdict == "failed"
    assert results[1].cause == "In [5]: RuntimeError: the plug was pulled"
    suite = ElementTree.parse(write_reports(results, tmp_path / "r", profile="smoke")["xml"]).getroot()
    assert suite.get("failures") == "1"


def test_a_killed_kernel_is_told_as_such(track, tmp_path):
    track[1]("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    results = run(track, tmp_path)
    assert (results[1].verdict, results[1].cause) == ("failed", "the kernel died (killed, or out of memory)")


@pytest.mark.parametrize("low, high", [(0.6, 0.9), (0.1, 0.4)])
def test_a_metric_outside_its_band_on_either_side_fails(track, tmp_path, low, high):
    results = run(track, tmp_path, bands=bands(tmp_path / "other", low, high))
    assert results[1].verdict == "outside band"
    assert results[1].cause == f"loss is 0.5, outside its band {low} to {high}"
    assert not results[1].passed


def test_a_banded_metric_that_is_not_reported_fails(track, tmp_path):
    track[1](SECOND_WITHOUT_LOSS)
    results = run(track, tmp_path)
    assert (results[1].verdict, results[1].cause) == (
        "output missing",
        "the metric 'loss' has a band but was not reported",
    )


SECOND_WITHOUT_LOSS = """path = stage.folder / "weights.txt"
path.write_text("")
manifest = stage.finish(outputs={"weights": path}, metrics={"other": 1.0})"""


SECOND_DELETED = """path = stage.folder / "weights.txt"
path.write_text("w")
manifest = stage.finish(outputs={"weights": path}, metrics={"loss": 0.5})
path.unlink()"""


def test_a_notebook_that_never_finishes_its_stage_is_missing_its_output(track, tmp_path):
    track[1]("x = 1")
    results = run(track, tmp_path)
    assert results[1].verdict == "output missing"
    assert "2_training has not finished" in results[1].cause


def test_an_output_deleted_after_finish_is_noticed(track, tmp_path):
    track[1](SECOND_DELETED)
    results = run(track, tmp_path)
    assert results[1].verdict == "output missing"
    assert "weights.txt) is missing; run notebook 2_training again" in results[1].cause


@pytest.mark.parametrize(
    "parameters, words",
    [
        ({"iteration": 3}, "no parameter 'iteration'; did you mean 'iterations'?"),
        ({"iterations": "many"}, "parameter 'iterations' is 'many', but a whole number from 1 to 1000 was expected."),
        ({"iterations": 0}, "parameter 'iterations' is 0, but"),
        ({"iterations": 2.5}, "parameter 'iterations' is 2.5, but"),
        ({"iterations": True}, "parameter 'iterations' is True, but"),
        ({"seed": -1}, "parameter 'seed' is -1, but"),
        ({"device": "gpu"}, "parameter 'device' is 'gpu', but auto or cpu or cuda was expected."),
        ({"data_dir": 3}, "parameter 'data_dir' is 3, but text was expected."),
    ],
)
def test_bad_parameters_are_refused_before_any_kernel_starts(track, tmp_path, parameters, words):
    with pytest.raises(ValueError) as caught:
        run(track, tmp_path, parameters=parameters)
    assert words in str(caught.value)
    assert not (tmp_path / "runs").exists()


def test_unknown_track_is_refused(track, tmp_path):
    with pytest.raises(FileNotFoundError, match="there are 1_mitochondria_contours"):
        run(track, tmp_path, tracks=["2_unknown"])


def test_knobs_reach_the_recipe_and_later_seeds_change_the_result(track, tmp_path):
    run(track, tmp_path, parameters={"iterations": 12, "seed": 3})
    weights = tmp_path / "runs" / TRACK / "smoke" / "2_training" / "weights.txt"
    assert weights.read_text() == "image 312"


def test_fresh_removes_only_this_run(track, tmp_path):
    run(track, tmp_path)
    place = tmp_path / "runs" / TRACK / "smoke"
    (place / "2_training" / "stale.txt").write_text("old")
    (place / "notes.txt").write_text("mine")
    run(track, tmp_path, fresh=True)
    assert not (place / "2_training" / "stale.txt").exists()
    assert (place / "notes.txt").read_text() == "mine"


def test_outputs_go_back_into_the_notebooks_without_machine_paths(track, tmp_path):
    finish = "stage.finish(outputs={}, metrics={})"
    track[1]("print('hello')", "import sys; print('noise', file=sys.stderr)", finish)
    results = run(track, tmp_path)
    written = store_outputs(results, list_notebooks(track[0]))
    assert len(written) == 2
    cells = nbformat.read(track[0] / TRACK / "2_training.ipynb", as_version=4).cells
    assert cells[2].outputs[0].text == "hello\n"
    assert cells[3].outputs == []
    assert all("injected-parameters" not in cell.metadata.get("tags", []) for cell in cells)
    track[1]("print(stage.folder.resolve())", finish)
    with pytest.raises(ValueError, match="names a path of this machine"):
        store_outputs(run(track, tmp_path), list_notebooks(track[0]))


def test_command_line_exit_status(track, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("emlib.reproduction.driver.find_notebooks_folder", lambda: track[0])
    # The made-up notebooks report other metrics than those that the real track's bands are for.
    monkeypatch.setattr("emlib.reproduction.driver.load_bands", lambda track, folder: {})
    monkeypatch.setattr("sys.argv", ["emlib", "reproduce", "--out", str(tmp_path / "runs")])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 0
    track[1]("raise RuntimeError('the plug was pulled')")
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 1
    assert "RuntimeError: the plug was pulled" in capsys.readouterr().out
    monkeypatch.setattr("sys.argv", ["emlib", "reproduce", "-p", "iteration=3"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    assert "did you mean 'iterations'" in capsys.readouterr().err
