"""Every mistake on the command line is one line on standard error, exit status 2, and leaves nothing behind."""

import errno
import sys

import numpy as np
import pytest
from cli.running import TRACK, emlib, refused

from emlib import cli
from emlib.volume import save_volume

WRONG = {
    "command": (("trian",), "No such command 'trian'", "Did you mean 'train'?", "(see emlib --help)"),
    "inner command": (("data", "ftch"), "No such command 'ftch'", "(see emlib data --help)"),
    "missing argument": (("train",), "Missing argument 'track'", "(see emlib train --help)"),
    "option": (("train", TRACK, "--iterations", 3), "No such option: --iterations"),
    "option value": (("evaluate", "a", "b", "--drop-truth-below", "x"), "'--drop-truth-below'", "integer"),
    "track": (("recipe", "show", "1_mito"), "There is no track '1_mito'", TRACK),
    "profile": (("recipe", "show", TRACK, "--profile", "smok"), "no profile 'smok'", "did you mean 'smoke'?"),
    "recipe key": (("train", TRACK, "-s", "training.itertions=3"), "did you mean 'training.iterations'?"),
    "recipe value": (("train", TRACK, "-s", "training.iterations=x"), "'training.iterations' is \"x\""),
    "override": (("train", TRACK, "-s", "training.iterations"), "not of the form key=value"),
    "data folder": (("train", TRACK, "--data", "nowhere", "--out", "{tmp}/run"), "nowhere holds no prepared data"),
    "device": (("train", TRACK, "--device", "gpu", "--out", "{tmp}/run"), "device is 'gpu'", "'cuda'"),
    "checkpoint": (("predict", "none", "{image}", "{tmp}/p.zarr"), "There is no checkpoint none"),
    "predict device": (("predict", "{run}", "{image}", "{tmp}/p.zarr", "--device", "gpu"), "device is 'gpu'"),
    "volume": (("predict", "{run}", "im.h5", "{tmp}/p.zarr"), "There is no file or folder im.h5"),
    "key": (("predict", "{run}", "{image}", "{tmp}/p.h5", "--key", "invertd"), "did you mean 'inverted'?"),
    "prediction name": (("predict", "{run}", "{image}", "{tmp}/p.tif"), "p.tif", ".zarr, .h5, .hdf5"),
    "answer of a volume": (("predict", "{run}", "{image}", "{tmp}/answer.json"), "answer.json", ".zarr, .h5, .hdf5"),
    "ids of a volume": (("predict", "{run}", "{image}", "{tmp}/p.h5", "--test-ids", "a.json"), "--test-ids are for"),
    "inference key": (("predict", "{run}", "{image}", "{tmp}/p.h5", "-s", "inference.overlp=0"), "inference.overlap"),
    "prediction": (("segment", "none.zarr", "{tmp}/l.zarr"), "There is no file or folder none.zarr"),
    "method": (("segment", "{made}", "{tmp}/l.zarr", "--method", "watershd"), "There is no method 'watershd'"),
    "method argument": (("segment", "{made}", "{tmp}/l.zarr", "-s", "seed=1"), "no parameter 'seed'"),
    "method value": (("segment", "{made}", "{tmp}/l.zarr", "-s", "seed_mask"), "'seed_mask'", "name=value"),
    "method YAML": (("segment", "{made}", "{tmp}/l.zarr", "-s", "seed_mask=["), "not valid YAML"),
    "labels name": (("segment", "{made}", "{tmp}/l.nii"), "l.nii has the suffix '.nii'"),
    "labels over prediction": (("segment", "{made}", "{made}"), "is the prediction itself"),
    "no prediction": (("segment", "{image}", "{tmp}/l.zarr"), "needs the channels mask and contour"),
    "segmentation": (("evaluate", "none.h5", "{image}"), "There is no file or folder none.h5"),
    "shapes": (("evaluate", "{image}", "{made}"), "must have the same shape", "(12, 40, 48)", "(2, 4, 8, 8)"),
    "rules": (("evaluate", "{image}", "{image}", "--rules", "coco"), "rules must be", "'coco'"),
    "notebooks": (("reproduce", "2_mito"), "There are no notebooks '2_mito'", TRACK),
    "parameter": (("reproduce", TRACK, "-p", "sead=3"), "no parameter 'sead'", "did you mean 'seed'?"),
    "parameter YAML": (("reproduce", TRACK, "-p", "seed=["), "not valid YAML"),
    "seeds": (("bands", TRACK, "--seeds", "0,one"), "--seeds is '0,one'"),
    "few seeds": (("bands", TRACK, "--seeds", "0,1"), "at least 5 different seeds"),
}


@pytest.mark.parametrize("name", WRONG)
def test_every_mistake_is_one_line_and_leaves_nothing(work, tmp_path, name):
    made = save_volume(tmp_path / "made.zarr", np.zeros((2, 4, 8, 8), np.uint8))
    places = {"tmp": tmp_path, "run": work / "run", "image": work / "image.h5", "made": made}
    arguments, *words = WRONG[name]
    line = refused(*(str(part).format(**places) if "{" in str(part) else part for part in arguments))
    for word in words:
        assert word in line
    assert [path.name for path in tmp_path.rglob("*") if path.is_file() and made not in path.parents] == []


def test_damaged_files_and_checkpoints_are_one_line(work, tmp_path):
    content = (work / "image.h5").read_bytes()
    (tmp_path / "cut.h5").write_bytes(content[: len(content) // 2])
    line = refused("predict", work / "run", tmp_path / "cut.h5", tmp_path / "p.zarr", "--device", "cpu")
    assert f"cut.h5 is a truncated HDF5 file: it has {len(content) // 2} of its {len(content)} bytes" in line
    folder = tmp_path / "checkpoint_000002"
    folder.mkdir()
    for file in (work / "run" / "checkpoint_000002").iterdir():
        (folder / file.name).write_bytes(file.read_bytes()[: 100 if file.suffix == ".pt" else None])
    line = refused("predict", folder, work / "image.h5", tmp_path / "p.zarr", "--device", "cpu")
    assert f"{folder} is damaged: state.pt was truncated" in line


@pytest.mark.parametrize(
    "error, line",
    [
        (PermissionError(errno.EACCES, "Permission denied", "/data/em.h5"), "/data/em.h5: permission denied"),
        (OSError(errno.EIO, "Input/output error"), "Input/output error"),
        (ValueError("first line\n  second line"), "first line second line"),
    ],
)
def test_errors_of_the_system_keep_the_file_name(monkeypatch, error, line):
    def fail():
        raise error

    monkeypatch.setattr("emlib.environment.describe_environment", fail)
    assert refused("check") == f"emlib: {line}\n"


def test_an_interruption_says_how_to_go_on(monkeypatch):
    def interrupt():
        raise KeyboardInterrupt

    monkeypatch.setattr("emlib.environment.describe_environment", interrupt)
    answer = emlib("check")
    assert (answer.status, answer.err) == (130, "emlib: interrupted; run the same command again to go on.\n")


def test_a_mistake_of_the_program_is_not_hidden(monkeypatch):
    def stumble():
        raise AssertionError("a defect")

    monkeypatch.setattr("emlib.environment.describe_environment", stumble)
    monkeypatch.setattr(sys, "argv", ["emlib", "check"])
    with pytest.raises(AssertionError, match="a defect"):
        cli.main()
