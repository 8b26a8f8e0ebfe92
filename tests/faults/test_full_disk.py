"""A disk that fails at every step in which something is written, once by injection and once for real.

Whatever step fails: one sentence with the reason, no half-written output under any name, what was there before is
still there, and the same call works afterwards.

Tests may run as root, for whom no folder is read-only, so a read-only file system is simulated as well: by the same
injection with EROFS and EACCES, and by paths below a regular file, which the operating system itself refuses.
"""

import errno
import json
import subprocess
import sys

import numpy as np
import pytest
from faults.disk import failing_steps
from faults.scene import CUBE, TRACK, Pair, start
from faults.sentences import as_sentence, listing, refused

from emlib import atomic
from emlib.data import load_prepared, prepare_data
from emlib.inference import predict_volume, prediction_output
from emlib.models import build_model
from emlib.reproduction import open_stage, read_manifest
from emlib.training import load_model, read_checkpoint, read_training_log
from emlib.training.checkpoint import list_checkpoints
from emlib.volume import create_volume, open_volume, save_volume

SMALL = np.random.default_rng(1).integers(0, 255, (4, 16, 16), dtype=np.uint8)


def save(name):
    def action(folder, _recipe):
        save_volume(folder / name, CUBE, chunks=(4, 32, 32))

    def check(folder):
        np.testing.assert_array_equal(open_volume(folder / name)[:], CUBE)

    return action, check, (name,), ()


def predict(name):
    network = build_model("rsunet", widths=(4, 6)).eval()
    expected = predict_volume(network, SMALL, window=(2, 16, 16), progress=False)
    # The planes that are finished wait, hidden, for the next run.
    hidden = (f".{name}.partial-prediction.zarr/", f".{name}.partial-prediction.json")

    def action(folder, _recipe):
        predict_volume(network, SMALL, window=(2, 16, 16), out=folder / name, memory="64KiB", progress=False)

    def check(folder):
        np.testing.assert_array_equal(open_volume(folder / name)[:], expected)

    return action, check, (name,), hidden


def prepare():
    def action(folder, recipe):
        prepare_data(recipe, folder)

    def check(folder):
        load_prepared(folder).open("test")[1][:]

    # Whole volumes may stay; what says that the folder is prepared is prepared.json, written last.
    return action, check, ("prepared.json",), ("image.zarr/", "labels.zarr/")


def finish():
    def action(folder, _recipe):
        stage = open_stage(TRACK, "1_data_prep", out_dir=folder, device="cpu")
        stage.finish(outputs={}, metrics={"objects": 3})

    def check(folder):
        assert read_manifest(folder / TRACK / "smoke" / "1_data_prep").metrics == {"objects": 3}

    return action, check, (f"{TRACK}/smoke/1_data_prep/manifest.json",), ()


# Every how many steps a failure is tried: everywhere, and less often where a try takes long.
EVERYWHERE = [
    pytest.param(save("a.zarr"), 1, id="save_volume zarr"),
    pytest.param(save("a.h5"), 1, id="save_volume h5"),
    pytest.param(predict("p.zarr"), 3, id="predict_volume zarr"),
    pytest.param(predict("p.h5"), 4, id="predict_volume h5"),
    pytest.param(prepare(), 3, id="prepare_data"),
    pytest.param(finish(), 1, id="Stage.finish"),
]


@pytest.mark.parametrize("case, stride", EVERYWHERE)
def test_every_step_may_fail(tmp_path, recipe, case, stride):
    action, check, final, may_stay = case
    recipe = recipe()
    for folder in failing_steps(action, lambda step: tmp_path / f"{step:04d}", recipe, stride):
        left = {name for name in listing(folder) if not name.startswith(may_stay)}
        if left:
            # Only flushing the folder's entry comes after the output has its name; it is whole then.
            assert all(name.startswith(final) for name in left), (folder.name, left)
            check(folder)
        action(folder, recipe)
        check(folder)
        assert not [name for name in listing(folder) if ".partial" in name or ".old-" in name], folder.name


# Not prepare_data and Stage.finish: a stage that is redone has no valid result until it ends.
@pytest.mark.parametrize("case, stride", EVERYWHERE[:4])
def test_what_was_there_stays(tmp_path, recipe, case, stride):
    action, check, _, hidden = case
    recipe = recipe()
    action(tmp_path / "old", recipe)
    before = listing(tmp_path / "old")
    for folder in failing_steps(action, lambda _: tmp_path / "old", recipe, stride):
        check(folder)
        assert {name for name in listing(folder) if not name.startswith(hidden)} == before


def test_a_training_stops_and_goes_on(tmp_path, recipe, scene):
    data = Pair(*scene)

    def action(folder, recipe):
        return start(recipe, folder, data)

    recipe = recipe()
    expected = load_model(action(tmp_path / "clean", recipe)).state_dict()
    for folder in failing_steps(action, lambda step: tmp_path / f"{step:04d}", recipe, 5):
        for path in list_checkpoints(folder):
            read_checkpoint(path)
        assert not [name for name in listing(folder) if ".partial" in name]
        model = load_model(action(folder, recipe)).state_dict()
        assert all((model[key] == expected[key]).all() for key in expected)
        assert read_training_log(folder / "training.csv")["iteration"] == [2]


@pytest.mark.parametrize("name", ["p.zarr", "p.h5"])
def test_a_finished_prediction_outlives_a_failing_last_step(tmp_path, network, monkeypatch, name):
    def predict():
        return predict_volume(network, SMALL, window=(2, 16, 16), out=tmp_path / name, progress=False)

    def last_step(temporary, target, real=atomic.replace):
        if target.name == name:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(temporary, target)

    with monkeypatch.context() as patch:
        for module in (atomic, prediction_output):
            patch.setattr(module, "replace", last_step)
        with pytest.raises(OSError, match=r"the disk is full; nothing was left half-written there\.$"):
            predict()
    assert not (tmp_path / name).exists()
    seen = []
    network.register_forward_hook(lambda *_: seen.append(1))
    assert predict().shape == (2, *SMALL.shape)
    assert seen == []


REAL = """
import resource, signal, sys
from pathlib import Path
import numpy as np, torch
from emlib.data import prepare_data
from emlib.inference import predict_volume
from emlib.models import build_model
from emlib.recipe import load_recipe
from emlib.training import train
from emlib.training.checkpoint import write_checkpoint
from emlib.volume import save_volume

out, recipe = Path(sys.argv[1]), load_recipe(sys.argv[2])
network = build_model("rsunet", widths=(4, 6))
cube = np.random.default_rng(0).integers(0, 255, (16, 128, 128), dtype=np.uint8)
numbers = {"a": torch.zeros(50_000)}
actions = {
    "zarr": lambda: save_volume(out / "a.zarr", cube),
    "h5": lambda: save_volume(out / "a.h5", cube),
    "tif": lambda: save_volume(out / "a.tif", cube),
    "npy": lambda: save_volume(out / "a.npy", cube),
    "p zarr": lambda: predict_volume(network, cube, window=(4, 64, 64), out=out / "p.zarr"),
    "p h5": lambda: predict_volume(network, cube, window=(4, 64, 64), out=out / "p.h5"),
    "prepare": lambda: prepare_data(recipe, out / "prepared"),
    "weights": lambda: write_checkpoint(out / "checkpoint_000001", numbers, {}, {}),
    "state": lambda: write_checkpoint(out / "checkpoint_000001", {}, numbers, {}),
    "train": lambda: train(recipe, out / "run", data=sys.argv[3], device="cpu"),
}
# The limit would leave half of a module's bytecode in the caches, where others find it.
sys.dont_write_bytecode = True
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
for name, action in actions.items():
    try:
        action()
    except OSError as error:
        print(f"{name}|{error}", flush=True)
"""


def test_the_operating_system_refuses(tmp_path, recipe):
    # In a process of its own no file may grow beyond 20 kB; the error comes from write(), as on a full disk.
    settings = recipe().model_dump(mode="json")
    (tmp_path / "own.yaml").write_text(json.dumps({"base": settings, "profiles": {"smoke": {}}}))
    prepared = prepare_data(recipe(), tmp_path / "prepared").folder
    (out := tmp_path / "out").mkdir()
    command = [sys.executable, "-c", REAL, str(out), str(tmp_path / "own.yaml"), str(prepared)]
    done = subprocess.run(command, capture_output=True, text=True)
    said = dict(line.split("|") for line in done.stdout.splitlines() if "|" in line)
    assert list(said) == ["zarr", "h5", "tif", "npy", "p zarr", "p h5", "prepare", "weights", "state", "train"], done
    for text in said.values():
        assert "Could not write" in text
        assert "the file would be larger than is allowed" in as_sentence(OSError(text))
    assert {name for name in listing(out) if not name.startswith("run/tensorboard/")} == {"run/training.csv"}


@pytest.mark.parametrize("below", ["file", "file/deeper"])
def test_output_below_a_file(tmp_path, recipe, scene, below):
    settings, network = recipe(), build_model("rsunet", widths=(4, 6))
    (tmp_path / "file").write_text("not a folder")
    place = tmp_path / below
    calls = [
        lambda name: lambda: save_volume(place / name, CUBE),
        lambda name: lambda: create_volume(place / name, CUBE.shape, "uint8"),
        lambda name: lambda: predict_volume(network, CUBE, window=(4, 16, 16), out=place / name, progress=False),
    ]
    for name in ("a.zarr", "a.h5"):
        for call in calls:
            with refused(OSError, "Could not write", str(place), "a part of the path is a file", folder=tmp_path):
                call(name)()
    for action in (
        lambda: save_volume(place / "a.tif", CUBE),
        lambda: save_volume(place / "a.npy", CUBE),
        lambda: prepare_data(settings, place / "prepared"),
        lambda: start(settings, place / "run", Pair(*scene)),
        lambda: open_stage(TRACK, "1_data_prep", out_dir=place, device="cpu"),
    ):
        with refused(OSError, "Could not write", str(place), "a part of the path is a file", folder=tmp_path):
            action()
