"""Checkpoints are whole, verified, and belong to one network."""

import errno
import json
from importlib.metadata import version
from pathlib import Path

import pytest
import torch
from torch import nn

from emlib.models import build_model
from emlib.training import checkpoint as checkpoints
from emlib.training.checkpoint import (
    checkpoint_path,
    find_latest,
    list_checkpoints,
    prune_checkpoints,
    read_checkpoint,
    read_state,
    remove_leftovers,
    write_best,
    write_checkpoint,
)
from emlib.training.weights import load_model, load_weights

MODEL = {
    "name": "rsunet",
    "in_channels": 1,
    "out_channels": 2,
    "options": {"widths": [4, 6]},
    "channel_names": ["mask", "contour"],
}


def save(folder, iteration=8, seed=0):
    torch.manual_seed(seed)
    network = build_model("rsunet", widths=(4, 6))
    state = {"run": {"iteration": iteration}, "numbers": torch.arange(3)}
    path = checkpoint_path(folder, iteration)
    return write_checkpoint(path, network.state_dict(), state, {"iteration": iteration, "model": MODEL}), network


def test_what_is_written_is_read_back(tmp_path):
    path, network = save(tmp_path)
    assert path.name == "checkpoint_000008"
    assert sorted(file.name for file in path.iterdir()) == ["checkpoint.json", "state.pt", "weights.safetensors"]
    content = read_checkpoint(path)
    assert content["iteration"] == 8
    assert content["packages"]["safetensors"] == version("safetensors")
    assert torch.equal(read_state(path)["numbers"], torch.arange(3))
    model = load_model(path)
    assert not model.training
    assert model.channel_names == ["mask", "contour"]
    for key, tensor in network.state_dict().items():
        assert torch.equal(model.state_dict()[key], tensor)
    assert model(torch.zeros(1, 1, 2, 8, 8)).shape == (1, 2, 2, 8, 8)


def truncate(path):
    path.write_bytes(path.read_bytes()[:-7])


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


@pytest.mark.parametrize("file", ["weights.safetensors", "state.pt", "checkpoint.json"])
@pytest.mark.parametrize("harm", [truncate, flip_a_bit, lambda path: path.unlink()])
def test_a_damaged_file_is_refused_in_one_sentence_and_passed_over(tmp_path, file, harm):
    earlier, _ = save(tmp_path, 4)
    path, _ = save(tmp_path, 8)
    harm(path / file)
    for read in (read_checkpoint, load_model):
        with pytest.raises((ValueError, FileNotFoundError)) as caught:
            read(path)
        assert file in str(caught.value)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)
    lines = []
    assert find_latest(tmp_path, report=lines.append) == earlier
    assert len(lines) == 1
    assert file in lines[0]


def test_an_altered_description_is_noticed(tmp_path):
    path, _ = save(tmp_path)
    content = json.loads((path / "checkpoint.json").read_text())
    content["iteration"] = 9
    (path / "checkpoint.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"checkpoint\.json was truncated or altered"):
        read_checkpoint(path)


def test_no_checkpoint_is_said(tmp_path):
    assert find_latest(tmp_path) is None
    with pytest.raises(FileNotFoundError, match="There is no checkpoint"):
        load_model(tmp_path / "nothing")


@pytest.mark.parametrize("step", ["weights.safetensors", "state.pt", "rename"])
@pytest.mark.parametrize(("code", "says"), [(errno.ENOSPC, "the disk is full"), (errno.EROFS, "read-only")])
def test_a_failing_write_leaves_earlier_checkpoints_as_they_were(tmp_path, monkeypatch, step, code, says):
    path, _ = save(tmp_path)
    before = {file.name: file.read_bytes() for file in path.iterdir()}

    def fail(*_arguments, **_options):
        raise OSError(code, "no")

    def write(file, content, real=Path.write_bytes):
        return fail() if file.name == step else real(file, content)

    if step == "rename":
        monkeypatch.setattr("os.rename", fail)
    monkeypatch.setattr(Path, "write_bytes", write)
    with pytest.raises(OSError, match=says):
        save(tmp_path, 8, seed=1)
    monkeypatch.undo()
    assert [entry.name for entry in tmp_path.iterdir()] == ["checkpoint_000008"]
    assert {file.name: file.read_bytes() for file in path.iterdir()} == before


def test_newest_and_best_are_kept(tmp_path):
    for iteration in (2, 4, 6, 8):
        save(tmp_path, iteration)
    prune_checkpoints(tmp_path, keep_last=2, best="checkpoint_000002")
    assert [path.name for path in list_checkpoints(tmp_path)] == [f"checkpoint_00000{i}" for i in (8, 6, 2)]


def test_leftovers_of_a_killed_run_are_removed_and_nothing_else(tmp_path):
    for name in (
        ".partial-0a1b2c3d-checkpoint_000004",
        ".checkpoint_000004.old-0a1b2c3d",
        ".partial-checkpoint_000002",
    ):
        (tmp_path / name).mkdir()
    (tmp_path / ".partial-0a1b2c3d-prediction.zarr").mkdir()
    save(tmp_path, 8)
    remove_leftovers(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        ".partial-0a1b2c3d-prediction.zarr",
        "checkpoint_000008",
    ]


def test_a_training_folder_stands_for_its_best_checkpoint(tmp_path):
    _, best = save(tmp_path, 4, seed=1)
    save(tmp_path, 8, seed=2)
    write_best(tmp_path, {"checkpoint": "checkpoint_000004", "metric": "ap75", "value": 0.5})
    key = "embedding.0.weight"
    assert torch.equal(load_model(tmp_path).state_dict()[key], best.state_dict()[key])
    (tmp_path / checkpoints.BEST).write_text("{")
    with pytest.raises(ValueError, match=r"best\.json is damaged"):
        load_model(tmp_path)


@pytest.mark.parametrize(
    ("other", "layer"),
    [
        (lambda: build_model("rsunet", widths=(4, 8)), "bridge.flat.weight"),
        (lambda: build_model("rsunet", widths=(4, 6), out_channels=1), "decoders.output0"),
        (lambda: build_model("unet_residual_3d", widths=(4, 6)), "encoder.0.0.weight"),
        (lambda: nn.Sequential(), "absent here"),
    ],
)
def test_weights_of_another_network_are_refused(tmp_path, other, layer):
    path, _ = save(tmp_path)
    model = other()
    with pytest.raises(ValueError) as caught:
        load_weights(model, path)
    for part in ("'rsunet' {'widths': [4, 6]}", type(model).__name__, layer):
        assert part in str(caught.value)


def test_weights_of_the_same_network_are_taken(tmp_path):
    path, network = save(tmp_path)
    torch.manual_seed(99)
    other = build_model("rsunet", widths=(4, 6))
    report = load_weights(other, path)
    assert set(report.matched) == set(network.state_dict())
    assert (report.missing, report.unexpected, report.mismatched) == ((), (), ())
    image = torch.rand(1, 1, 2, 8, 8)
    assert torch.equal(other(image), network(image))
