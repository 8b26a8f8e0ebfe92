"""Every command of `emlib`: what it prints, what it writes, its exit status."""

import hashlib
import re
import sys

import numpy as np
import pytest
import typer
import yaml
from cli.running import TRACK, emlib, refused, said, settings

from emlib import cli
from emlib.data import registry
from emlib.evaluation import (
    adapted_rand_error,
    average_precision,
    ignore_border,
    match_instances,
    variation_of_information,
)
from emlib.inference import predict_from_recipe
from emlib.postprocessing import segment
from emlib.recipe import load_recipe
from emlib.reproduction.driver import StageResult
from emlib.training import load_model, load_recipe_of
from emlib.volume import open_volume, save_volume


def commands(command=None, names=()):
    command = command or typer.main.get_command(cli.app)
    yield names, command
    for name, inner in getattr(command, "commands", {}).items():
        yield from commands(inner, (*names, name))


COMMANDS = dict(commands())


def test_the_commands_are_these():
    assert {" ".join(names) for names in COMMANDS} == {
        "", "check", "data", "data list", "data fetch", "data map", "data coco", "data vast", "recipe", "recipe list",
        "recipe show", "train", "predict", "segment", "evaluate", "deploy", "slurm", "reproduce", "bands",
    }  # fmt: skip


@pytest.mark.parametrize("names", COMMANDS, ids=" ".join)
def test_help_explains_every_option(names):
    text = said(*names, "--help")
    command = COMMANDS[names]
    assert command.help.split(".")[0].split(":")[0] in text
    for parameter in command.params:
        explanation = getattr(parameter, "help", None)
        assert explanation, f"{parameter.name} of {names} is not explained"
        assert explanation.split()[0] in text
        assert (parameter.opts[0] if parameter.opts[0].startswith("--") else parameter.name) in text
    for name, inner in getattr(command, "commands", {}).items():
        assert re.search(rf"\b{name}\b +{re.escape(inner.help.split()[0])}", text)


def test_no_command_prints_the_help():
    for arguments, word in (((), "reproduce"), (("data",), "fetch"), (("recipe",), "show")):
        answer = emlib(*arguments)
        assert "Usage: emlib" in answer.out + answer.err
        assert word in answer.out + answer.err
        assert "emlib: " not in answer.err


def test_check_describes_the_machine():
    text = said("check")
    assert f"Python   {sys.version.split()[0]}" in text
    assert re.search(r"^device   (CPU, \d+ threads|.* GiB)$", text, re.MULTILINE)
    assert re.search(rf"^  numpy +{re.escape(np.__version__)}$", text, re.MULTILINE)


def test_data_list_shows_the_registry():
    lines = said("data", "list").splitlines()
    assert [line.split()[0] for line in lines] == [entry.name for entry in registry.list_datasets()]
    assert re.search(r"^vnc +\d+\.\d MB  50 x 4.6 x 4.6 nm +VNC: .*; .*CC BY 4.0", "\n".join(lines))
    assert re.search(r"^snemi3d +by hand  30 x 6 x 6 nm +SNEMI3D", "\n".join(lines), re.MULTILINE)


@pytest.fixture
def tiny_registry(tmp_path, monkeypatch):
    """A registry of one data set of one file, with a local copy of it."""
    content = b"voxels"
    entry = {
        "title": "A tiny set", "kind": "files", "modality": "SEM", "labels": "masks", "licence": "CC0", "doi": None,
        "citation": "Somebody, 2020.", "page": "https://example.org/", "voxel_size": [30.0, 8.0, 8.0],
        "files": "tiny.tsv", "base_urls": {"": "https://example.org/"},
    }  # fmt: skip
    digest = hashlib.sha256(content).hexdigest()
    (tmp_path / "tiny.tsv").write_text(f"path\tbytes\tsha256\nimage.raw\t{len(content)}\t{digest}\n")
    (tmp_path / "registry.yaml").write_text(yaml.safe_dump({"tiny": entry}))
    (tmp_path / "local" / "tiny").mkdir(parents=True)
    (tmp_path / "local" / "tiny" / "image.raw").write_bytes(content)
    monkeypatch.setenv("EMLIB_REGISTRY", str(tmp_path / "registry.yaml"))
    monkeypatch.setenv("EMLIB_DATA", str(tmp_path / "local"))
    return tmp_path / "local" / "tiny"


def test_data_fetch_finds_the_local_copy(tiny_registry, monkeypatch):
    assert " ".join(said("data", "list").split()) == "tiny 0.0 MB 30 x 8 x 8 nm A tiny set; CC0"
    assert said("data", "fetch", "tiny") == f"{tiny_registry}\n"
    assert "did you mean tiny?" in refused("data", "fetch", "tinny")
    (tiny_registry / "image.raw").write_bytes(b"vowels")
    assert "image.raw has another sha256 than registered" in refused("data", "fetch", "tiny")
    monkeypatch.setenv("EMLIB_DATA", str(tiny_registry / "nowhere"))
    assert "EMLIB_DATA names" in refused("data", "fetch", "tiny")
    monkeypatch.setenv("EMLIB_REGISTRY", str(tiny_registry / "nowhere.yaml"))
    assert "EMLIB_REGISTRY names" in refused("data", "list")


def test_recipes_are_listed_and_shown():
    assert re.search(rf"^{TRACK} +Mitochondria by mask and contour", said("recipe", "list"))
    text = said("recipe", "show", TRACK, "--profile", "paper", "-s", "training.batch_size=3")
    recipe = load_recipe(TRACK, profile="paper", overrides={"training.batch_size": 3})
    assert text.splitlines()[0] == f"# hash {recipe.hash}"
    assert type(recipe).from_mapping(yaml.safe_load(text)) == recipe


def test_the_whole_chain_on_files(work, tmp_path):
    network, recipe = load_model(work / "run"), load_recipe_of(work / "run", overrides={"inference.overlap": 0.25})
    options = ("--set", "inference.overlap=0.25", "--device", "cpu")
    prediction, labels, table = tmp_path / "prediction.zarr", tmp_path / "labels.tif", tmp_path / "labels.h5"

    assert said("predict", work / "run", work / "image.h5", prediction, *options).splitlines()[-1] == str(prediction)
    expected = predict_from_recipe(network, open_volume(work / "image.h5"), recipe, progress=False)
    volume = open_volume(prediction)
    np.testing.assert_array_equal(volume[:], expected)
    assert (volume.attributes["channels"], volume.voxel_size) == (["mask", "contour"], (30, 8, 8))

    parameters = {"seed_mask": 0.5, "seed_contour": 0.6, "foreground": 0.5, "min_size": 2}
    chosen = [part for key, value in parameters.items() for part in ("-s", f"{key}={value}")]
    found = segment(expected, channels=["mask", "contour"], **parameters)
    count = len(np.unique(found[found > 0]))
    assert count > 0
    assert said("segment", prediction, labels, *chosen) == f"{labels}: {count} objects\n"
    np.testing.assert_array_equal(open_volume(labels)[:], found)
    assert open_volume(labels).voxel_size == (30, 8, 8)
    assert said("segment", prediction, table, "--method", "mask_components").startswith(f"{table}: ")

    truth = open_volume(work / "labels.h5")[:]
    scores = average_precision(found, truth, rules="one-to-one", drop_truth_below=1)
    matches = match_instances(found, truth)
    text = said("evaluate", labels, work / "labels.h5", "--rules", "one-to-one", "--drop-truth-below", 1)
    assert f"AP {scores.ap:.4f}  AP-50 {scores.ap50:.4f}  AP-75 {scores.ap75:.4f}  (one-to-one rules)" in text
    assert f"{matches.tp} found, {matches.fp} spurious, {matches.fn} missed, F1 {matches.f1:.4f}" in text
    rand, voi = adapted_rand_error(found, truth), variation_of_information(found, truth)
    figures = f"precision {rand.precision:.4f}, recall {rand.recall:.4f}"
    assert f"adapted Rand error {rand.error:.4f}, {figures} (snemi3d)" in text
    assert f"VOI {voi.split + voi.merge:.4f}: split {voi.split:.4f}, merge {voi.merge:.4f} (bits)" in text
    options = ("--convention", "cremi", "--border", 1, 2.5)
    inner = adapted_rand_error(found, ignore_border(truth, 2.5, 1), convention="cremi")
    assert f"error {inner.error:.4f}, " in said("evaluate", labels, work / "labels.h5", *options)
    perfect = said("evaluate", work / "labels.h5", work / "labels.h5", "--drop-truth-below", 0)
    assert "adapted Rand error 0.0000" in perfect
    assert "VOI 0.0000: split 0.0000, merge 0.0000" in perfect
    assert "AP 1.0000  AP-50 1.0000  AP-75 1.0000  (challenge rules)" in perfect
    assert "3 found, 0 spurious, 0 missed, F1 1.0000" in perfect


def test_a_finished_training_is_not_done_again(work):
    answer = emlib("train", TRACK, *settings(), "--out", work / "run", "--data-dir", work, "--device", "cpu")
    assert answer.out.splitlines()[-2:] == [
        f"{work / 'run'} is trained: 2 iterations are done.",
        str(work / "run" / "checkpoint_000002"),
    ]
    other = ("train", TRACK, *settings("seed=1"), "--out", work / "run", "--data-dir", work, "--device", "cpu")
    assert "holds a training with seed = 0, but this recipe has 1" in refused(*other)


def test_keys_and_intensities(work, tmp_path):
    checkpoint = work / "run" / "checkpoint_000002"
    for name in ("plain", "inverted", "wide"):
        source = work / ("wide.h5" if name == "wide" else "image.h5")
        options = {"plain": (), "inverted": ("--key", "inverted"), "wide": ("--intensity-range", 0, 25500)}[name]
        said("predict", checkpoint, source, tmp_path / f"{name}.h5", *options, "--device", "cpu")
    plain, inverted, wide = (open_volume(tmp_path / f"{name}.h5")[:] for name in ("plain", "inverted", "wide"))
    assert np.abs(plain.astype(int) - wide).max() <= 1
    assert (plain != inverted).any()
    assert "intensity_range" in refused("predict", checkpoint, work / "wide.h5", tmp_path / "x.h5", "--device", "cpu")
    save_volume(tmp_path / "truth.h5", open_volume(work / "labels.h5"), key="cells")
    text = said("evaluate", work / "labels.h5", tmp_path / "truth.h5", "--key", "main", "--truth-key", "cells")
    assert "3 found, 0 spurious" in text


@pytest.mark.parametrize(
    "options, verdicts, status, words",
    [
        ((), ("reproduced", "reproduced"), 0, ("2 of 2 notebooks reproduced",)),
        ((), ("reproduced", "outside band"), 1, ("1 of 2 notebooks reproduced", "outside band")),
        ((), ("failed", "not run"), 1, ("0 of 2 notebooks reproduced",)),
        (("--control",), ("reproduced", "outside band"), 0, ("control: as it should",)),
        (("--control",), ("reproduced", "reproduced"), 1, ("control: NOT caught",)),
    ],
)
def test_reproduce_answers_with_its_exit_status(tmp_path, monkeypatch, options, verdicts, status, words):
    asked = {}

    def run(tracks, **settings):
        asked.update(settings, tracks=tracks)
        stages = zip(("1_data_prep", "5_evaluation"), verdicts, strict=True)
        return [StageResult(TRACK, stage, verdict, cause="a cause") for stage, verdict in stages]

    monkeypatch.setattr("emlib.reproduction.driver.reproduce", run)
    answer = emlib("reproduce", TRACK, "--profile", "tutorial", "-p", "seed=3", "--out", tmp_path, "--fresh", *options)
    assert answer.status == status
    for word in words:
        assert word in answer.out
    shuffled = {"shuffle_labels": True} if options else {}
    assert asked == {
        "tracks": [TRACK], "profile": "tutorial", "parameters": {"seed": 3} | shuffled, "out_dir": tmp_path,
        "fresh": True,
    }  # fmt: skip
    assert {path.name for path in tmp_path.iterdir()} == {"report.json", "report.xml", "report.html"}


def test_bands_names_what_it_wrote(tmp_path, monkeypatch):
    asked = {}

    def measure(tracks, **settings):
        asked.update(settings, tracks=tracks)
        return [tmp_path / "smoke-cpu.yaml"]

    monkeypatch.setattr("emlib.reproduction.calibration.measure_bands", measure)
    assert said("bands", TRACK, "--seeds", "0, 1,2,3,7", "--out", tmp_path) == f"written: {tmp_path}/smoke-cpu.yaml\n"
    assert (asked["tracks"], asked["seeds"], asked["out_dir"]) == ([TRACK], [0, 1, 2, 3, 7], tmp_path)
