"""Stages: a missing, truncated or mismatching predecessor is refused in one sentence that names the notebook."""

import json

import pytest

from emlib.reproduction import open_stage, read_manifest
from emlib.reproduction.manifest import hash_path

TRACK = "1_mitochondria_contours"


def start(tmp_path, name, **options):
    return open_stage(TRACK, name, out_dir=tmp_path, device="cpu", **options)


def finish(stage, text="data", **metrics):
    path = stage.folder / "file.txt"
    path.write_text(text)
    return stage.finish(outputs={"file": path}, metrics=metrics)


@pytest.fixture
def chain(tmp_path):
    finish(start(tmp_path, "1_data_prep"))
    stage = start(tmp_path, "2_training", overrides={"training.iterations": 9})
    stage.input("1_data_prep", "file")
    finish(stage, loss=0.5)
    return tmp_path


def test_the_next_stage_inherits_the_recipe(chain):
    stage = start(chain, "3_inference")
    assert stage.recipe.training.iterations == 9
    assert repr(stage).startswith("1_mitochondria_contours / 3_inference (smoke, seed 0, cpu)")


def test_missing_predecessor(tmp_path):
    with pytest.raises(FileNotFoundError, match="run notebook 1_data_prep first"):
        start(tmp_path, "2_training")


def test_truncated_manifest(chain):
    path = chain / TRACK / "smoke" / "2_training" / "manifest.json"
    path.write_text(path.read_text()[:100])
    with pytest.raises(ValueError, match=r"2_training/manifest.json is damaged .* run notebook 2_training again"):
        start(chain, "3_inference")
    path.write_text(json.dumps({"surprise": 1}))
    with pytest.raises(ValueError, match="damaged"):
        start(chain, "3_inference")


def test_other_recipe_than_the_predecessors(chain):
    with pytest.raises(ValueError, match=r"training.iterations: 9 there, 10 here.*run notebook 2_training again"):
        start(chain, "3_inference", overrides={"training.iterations": 10})


def test_other_seed_than_the_predecessors(chain):
    with pytest.raises(ValueError, match="was run with seed 0, this notebook has seed 4"):
        start(chain, "3_inference", seed=4)


def test_predecessor_rerun_in_between(chain):
    finish(start(chain, "1_data_prep"), text="other data")
    with pytest.raises(ValueError, match="2_training was made before 1_data_prep was run again"):
        start(chain, "3_inference")


def test_changed_and_missing_outputs(chain):
    path = chain / TRACK / "smoke" / "2_training" / "file.txt"
    stage = start(chain, "3_inference")
    assert stage.input("2_training", "file") == path
    path.write_text("date")
    with pytest.raises(ValueError, match="changed after it was written; run notebook 2_training again"):
        stage.input("2_training", "file")
    path.unlink()
    with pytest.raises(FileNotFoundError, match="is missing; run notebook 2_training again"):
        stage.input("2_training", "file")
    with pytest.raises(ValueError, match="has no output 'weights'; it has file"):
        stage.input("2_training", "weights")


def test_a_stage_that_is_redone_has_no_valid_result_until_it_ends(chain):
    start(chain, "2_training")
    with pytest.raises(FileNotFoundError, match="2_training has not finished"):
        read_manifest(chain / TRACK / "smoke" / "2_training")


def test_finish_refuses_what_is_not_there_or_not_a_number(chain):
    stage = start(chain, "3_inference")
    with pytest.raises(FileNotFoundError, match="'a' of 3_inference was not written"):
        stage.finish(outputs={"a": stage.folder / "absent"}, metrics={})
    with pytest.raises(ValueError, match="outside the stage's folder"):
        stage.finish(outputs={"a": chain}, metrics={})
    with pytest.raises(ValueError, match="metric 'loss' of 3_inference is nan"):
        stage.finish(outputs={}, metrics={"loss": float("nan")})


def test_unknown_device(tmp_path):
    with pytest.raises(ValueError, match="device is 'gpu'"):
        open_stage(TRACK, "1_data_prep", out_dir=tmp_path, device="gpu")


def test_folder_hash_sees_names_and_bytes(tmp_path):
    (tmp_path / "a").write_text("1")
    before = hash_path(tmp_path)
    (tmp_path / "a").rename(tmp_path / "b")
    assert hash_path(tmp_path) != before
    (tmp_path / "b").rename(tmp_path / "a")
    assert hash_path(tmp_path) == before
    (tmp_path / "a").write_text("2")
    assert hash_path(tmp_path) != before


def test_a_metric_that_is_shown_must_be_recorded(chain, capsys):
    stage = start(chain, "3_inference")
    assert stage.show_metric("invented", 0.5) is None
    assert "no band was measured for profile smoke on cpu" in capsys.readouterr().out
    with pytest.raises(ValueError, match="showed the metric 'invented' against its band, but does not record it"):
        stage.finish(outputs={}, metrics={"dice": 0.5})
    assert stage.finish(outputs={}, metrics={"invented": 0.5}).judged == ["invented"]


def test_a_metric_with_a_band_is_shown_in_it(chain):
    figure = start(chain, "3_inference").show_metric("dice", 0.6)
    assert figure is not None
    assert any("inside" in text.get_text().lower() for axes in figure.axes for text in [*axes.texts, axes.title])


def test_the_recipe_of_a_variant_follows_the_run(tmp_path):
    options = {"out_dir": tmp_path, "device": "cpu", "seed": 4}
    changes = {"data.shuffle_labels": True, "training.iterations": 9}
    stage = open_stage("2_mitochondria_pipeline", "1_data_prep", overrides=changes, **options)
    recipe = stage.variant_recipe("ohem", {"training.iterations": 5, "training.batch_size": None})
    assert (recipe.variant, recipe.profile, recipe.seed) == ("ohem", "smoke", 4)
    assert recipe.data == stage.recipe.data
    assert recipe.data.shuffle_labels
    assert recipe.training.iterations == 5
    assert stage.variant_recipe("skeleton").hash == stage.recipe.hash
    with pytest.raises(ValueError, match="did you mean 'ohem'"):
        stage.variant_recipe("ohen")
    with pytest.raises(ValueError, match=r"other data than this run \(data.pad"):
        stage.variant_recipe("ohem", {"data.pad": [1, 1, 1]})
    # A run of one variant compares others all the same.
    one = open_stage("2_mitochondria_pipeline", "1_data_prep", overrides={"variant": "bce"}, **options)
    assert (one.recipe.variant, one.variant_recipe("nnc").variant) == ("bce", "nnc")
