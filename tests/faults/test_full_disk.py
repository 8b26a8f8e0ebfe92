"""A disk that fails at every step in which something is written, once by injection and once for real.

Whatever step fails: one sentence with the reason, no half-written output under any name, what was there before is
still there, and the same call works afterwards.

Tests may run as root, for whom no folder is read-only, so a read-only file system is simulated as well: by the same
injection with EROFS and EACCES, and by paths below a regular file, which the operating system itself refuses.
"""

import errno
import io
import os
import subprocess
import sys
import threading

import numpy as np
import pytest
from faults.conftest import TRACK, Pair
from faults.sentences import as_sentence, listing, refused

from emlib.data import load_prepared, prepare_data
from emlib.inference import predict_volume
from emlib.models import build_model
from emlib.reproduction import open_stage, read_manifest
from emlib.training import load_model, read_checkpoint, read_training_log, train
from emlib.training.checkpoint import list_checkpoints
from emlib.volume import create_volume, open_volume, save_volume

REASONS = {errno.ENOSPC: "the disk is full", errno.EROFS: "read-only", errno.EACCES: "not writable for this user"}
SMALL = np.random.default_rng(1).integers(0, 255, (4, 16, 16), dtype=np.uint8)
CUBE = np.random.default_rng(0).integers(0, 255, (8, 32, 32), dtype=np.uint8)


class Disk:
    """Counts the steps that write below a folder; from step `fails_at` on they fail, renaming fails that once.

    (A full disk still renames and deletes, so whoever cleans up may rename back.)
    """

    def __init__(self, patch, folder, *, fails_at=None, code=errno.ENOSPC):
        self.folder, self.fails_at, self.code = str(folder), fails_at, code
        self.steps, self.lock = 0, threading.Lock()
        for owner, name in ((io, "open"), (os, "mkdir"), (os, "rename"), (os, "replace"), (os, "fsync")):
            patch.setattr(owner, name, self.watched(name, getattr(owner, name)))

    def watched(self, name, real):
        def call(first, *arguments, **options):
            if self.writes(name, first, *arguments, **options):
                with self.lock:
                    self.steps += 1
                    step = self.steps
                if self.fails_at == step or (self.fails_at and step > self.fails_at and name in ("open", "mkdir")):
                    raise OSError(self.code, os.strerror(self.code), str(first))
            return real(first, *arguments, **options)

        return call

    def writes(self, name, first, mode="r", *_arguments, **options):
        if name == "fsync":
            return True
        if name == "open" and not set("wax+") & set(str(options.get("mode", mode))):
            return False
        return not isinstance(first, int) and str(first).startswith(self.folder)


def save(name):
    def action(folder, _recipe):
        save_volume(folder / name, CUBE, chunks=(4, 32, 32) if name.endswith(".zarr") else None)

    def check(folder):
        np.testing.assert_array_equal(open_volume(folder / name)[:], CUBE)

    return action, check, (name,), ()


def predict(name):
    network = build_model("rsunet", widths=(4, 6)).eval()
    # The planes that are finished wait, hidden, for the next run.
    hidden = (f".{name}.partial-prediction.zarr/", f".{name}.partial-prediction.json")

    def action(folder, _recipe):
        predict_volume(network, SMALL, window=(2, 16, 16), out=folder / name, memory="64KiB", progress=False)

    def check(folder):
        expected = predict_volume(network, SMALL, window=(2, 16, 16), progress=False)
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


ACTIONS = {
    "zarr": save("a.zarr"), "predict zarr": predict("p.zarr"), "predict h5": predict("p.h5"),
    "prepare_data": prepare(), "Stage.finish": finish(),
}  # fmt: skip


def count_steps(action, folder, recipe):
    with pytest.MonkeyPatch.context() as patch:
        disk = Disk(patch, folder)
        action(folder, recipe)
    return disk.steps


@pytest.mark.parametrize("what", ACTIONS)
def test_every_step_may_fail(tmp_path, recipe, what):
    action, check, final, may_stay = ACTIONS[what]
    recipe = recipe()
    steps = count_steps(action, tmp_path / "clean", recipe)
    assert steps >= 4
    print(steps)
    for step in range(1, steps + 1):
        folder = tmp_path / f"{step}"
        with pytest.MonkeyPatch.context() as patch:
            disk = Disk(patch, folder, fails_at=step, code=list(REASONS)[step % 3])
            with pytest.raises(OSError) as caught:
                action(folder, recipe)
        assert REASONS[disk.code] in as_sentence(caught.value), step
        assert str(folder) in str(caught.value), step
        assert caught.value.errno == disk.code, step
        left = {name for name in listing(folder) if not name.startswith(may_stay)} if folder.exists() else set()
        if left:
            # Only the last step, flushing the folder's entry, comes after the output has its name; it is whole then.
            assert all(name.startswith(final) for name in left), (step, left)
            check(folder)
        action(folder, recipe)
        check(folder)
        assert not [name for name in listing(folder) if ".partial" in name or ".old-" in name], step


@pytest.mark.parametrize("what", ACTIONS)
def test_what_was_there_stays(tmp_path, recipe, what):
    if what in ("prepare_data", "Stage.finish"):
        pytest.skip("these remove what was there first, on purpose: a stage that is redone has no valid result")
    action, check, _, _ = ACTIONS[what]
    recipe()
    steps = count_steps(action, tmp_path / "old", recipe)
    before = listing(tmp_path / "old")
    for step in range(1, steps):
        with pytest.MonkeyPatch.context() as patch:
            Disk(patch, tmp_path / "old", fails_at=step)
            try:
                action(tmp_path / "old", recipe)
            except OSError as error:
                as_sentence(error)
        check(tmp_path / "old")
        assert {name for name in listing(tmp_path / "old") if ".partial-prediction" not in name} == before, step


def test_a_training_stops_and_goes_on(tmp_path, recipe, scene):
    settings, data = recipe(), Pair(*scene)

    def run(folder):
        return train(settings, folder, data=data, device="cpu", progress=False)

    steps = count_steps(lambda folder, _: run(folder), tmp_path / "clean", None)
    expected = load_model(tmp_path / "clean").state_dict()
    # TensorBoard writes in a thread, at moments of its own; every third step meets all other writers.
    for step in range(1, steps, 3):
        folder = tmp_path / str(step)
        with pytest.MonkeyPatch.context() as patch:
            Disk(patch, folder, fails_at=step)
            with pytest.raises(OSError) as caught:
                run(folder)
        assert REASONS[errno.ENOSPC] in as_sentence(caught.value)
        for path in list_checkpoints(folder):
            read_checkpoint(path)
        assert not [name for name in listing(folder) if name.startswith((".partial", "checkpoint_000003"))]
        model = load_model(run(folder)).state_dict()
        assert all((model[key] == expected[key]).all() for key in expected)
        assert read_training_log(folder / "training.csv")["iteration"] == [2]


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
    "save_volume zarr": lambda: save_volume(out / "a.zarr", cube),
    "save_volume h5": lambda: save_volume(out / "a.h5", cube),
    "save_volume tif": lambda: save_volume(out / "a.tif", cube),
    "save_volume npy": lambda: save_volume(out / "a.npy", cube),
    "predict_volume zarr": lambda: predict_volume(network, cube, window=(4, 64, 64), out=out / "p.zarr"),
    "predict_volume h5": lambda: predict_volume(network, cube, window=(4, 64, 64), out=out / "p.h5"),
    "prepare_data": lambda: prepare_data(recipe, out / "prepared"),
    "weights": lambda: write_checkpoint(out / "checkpoint_000001", numbers, {}, {}),
    "state": lambda: write_checkpoint(out / "checkpoint_000001", {}, numbers, {}),
    "train": lambda: train(recipe, out / "run", data=sys.argv[3], device="cpu"),
}
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
    yaml = tmp_path / "own.yaml"
    settings = recipe().to_yaml().replace("\n", "\n  ").replace("track: 1_mitochondria_contours", "track: own")
    yaml.write_text(f"base:\n  {settings}\nprofiles:\n  smoke: {{}}\n")
    prepared = prepare_data(recipe(), tmp_path / "prepared").folder
    out = tmp_path / "out"
    out.mkdir()
    command = [sys.executable, "-c", REAL, str(out), str(yaml), str(prepared)]
    done = subprocess.run(command, capture_output=True, text=True)
    said = dict(line.split("|") for line in done.stdout.splitlines() if "|" in line)
    print(done.stdout, done.stderr)
    assert list(said) == REAL.split("actions = {")[1].split("}\nsignal")[0].split('"')[1::2][: len(said)]
    for text in said.values():
        assert "the file would be larger than is allowed" in as_sentence(OSError(text))
    left = {name for name in listing(out) if not name.startswith("run/tensorboard/")}
    assert left == {"run/training.csv"}


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
        lambda: train(settings, place / "run", data=Pair(*scene), device="cpu", progress=False),
        lambda: open_stage(TRACK, "1_data_prep", out_dir=place, device="cpu"),
    ):
        with refused(OSError, "Could not write", str(place), "a part of the path is a file", folder=tmp_path):
            action()
