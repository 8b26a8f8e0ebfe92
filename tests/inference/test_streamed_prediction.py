"""Predictions that are written to disk: equality, resuming, kills, a full disk, and memory."""

import errno
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from inference.networks import Identity, PlaceDependent, StopsAt, small_convolution

from emlib.inference import predict_volume, prediction_output
from emlib.volume import open_volume, save_volume

IMAGE = np.random.default_rng(0).integers(0, 256, (40, 20, 18)).astype(np.uint8)
SETTINGS = {"window": (6, 10, 9), "stride": (2, 5, 9), "augment": 4, "batch_size": 3, "dtype": "float32"}
FORWARD_PASSES = 18 * 2 * 4  # layers x batches of at most 3 of their 6 windows x symmetries
TESTS = Path(__file__).parents[1]


class Interruption(Exception):
    """What the tests interrupt a prediction with."""


def interrupt() -> None:
    raise Interruption


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture(autouse=True)
def shallow_chunks(monkeypatch):
    """Chunks of four planes, so that these small predictions are written in several goes."""
    monkeypatch.setattr(prediction_output, "_DEEPEST_CHUNK", 4)


@pytest.fixture(scope="module")
def expected() -> np.ndarray:
    return predict_volume(PlaceDependent(), IMAGE, progress=False, **SETTINGS)


@pytest.mark.parametrize("name", ["prediction.zarr", "prediction.h5"])
@pytest.mark.parametrize("key", [None, "probabilities"])
def test_file_equals_array(tmp_path, expected, name, key):
    source = save_volume(tmp_path / "image.zarr", IMAGE, voxel_size=(30, 8, 8))
    out = tmp_path / "new folder" / name
    result = predict_volume(
        PlaceDependent(), open_volume(source), out=out, key=key, channels=["mask", "contour"], progress=False,
        **SETTINGS,
    )  # fmt: skip
    for volume in (result, open_volume(out, key)):
        assert np.asarray(volume[...]).tobytes() == expected.tobytes()
        assert volume.axes == "czyx"
        assert tuple(volume.voxel_size) == (30, 8, 8)
        assert list(volume.attributes["channels"]) == ["mask", "contour"]
    assert names_in(out.parent) == [name]


@pytest.mark.parametrize("name", ["prediction.zarr", "prediction.h5"])
@pytest.mark.parametrize("count", [1, 9, 60, FORWARD_PASSES])
def test_interrupted_prediction_goes_on_where_it_stopped(tmp_path, expected, name, count):
    out = tmp_path / name
    model = StopsAt(count, interrupt)
    with pytest.raises(Interruption):
        predict_volume(model, IMAGE, out=out, progress=False, **SETTINGS)
    assert not out.exists()
    done_before = count - 1
    model.left = 0  # counts on below zero and never stops again
    resumed = predict_volume(model, IMAGE, out=out, progress=False, **SETTINGS)
    assert resumed[...].tobytes() == expected.tobytes()
    assert names_in(tmp_path) == [name]
    repeated = -model.left + done_before - FORWARD_PASSES
    assert -model.left <= FORWARD_PASSES
    # what is repeated is at most the layers that reach the first unwritten plane, and one that was under way
    assert 0 <= repeated <= (3 + 2 + 1) * 2 * 4


def test_interrupted_many_times(tmp_path, expected):
    out = tmp_path / "prediction.zarr"
    for _ in range(40):
        model = StopsAt(40, interrupt)
        model_state = predict_once(model, out)
        if model_state is not None:
            break
    assert model_state[...].tobytes() == expected.tobytes()


def predict_once(model, out):
    """The prediction, or None if it was interrupted."""
    try:
        return predict_volume(model, IMAGE, out=out, progress=False, **SETTINGS)
    except Interruption:
        return None


KILLED = """
import os, signal, sys
import numpy as np
sys.path.insert(0, sys.argv[1])
from inference.networks import StopsAt
from emlib.inference import predict_volume, prediction_output
prediction_output._DEEPEST_CHUNK = 4
image = np.random.default_rng(0).integers(0, 256, (40, 20, 18)).astype(np.uint8)
model = StopsAt(int(sys.argv[3]), lambda: os.kill(os.getpid(), signal.SIGKILL))
predict_volume(model, image, out=sys.argv[2], window=(6, 10, 9), stride=(2, 5, 9), augment=4, batch_size=3,
               dtype="float32", memory=1, progress=False)
"""


@pytest.mark.parametrize("name", ["prediction.zarr", "prediction.h5"])
def test_killed_prediction_goes_on_where_it_stopped(tmp_path, expected, name):
    out = tmp_path / name
    killed = subprocess.run([sys.executable, "-c", KILLED, TESTS, out, "90"], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert not out.exists()
    # the running sums were in a file (memory=1): it must be gone with the process
    assert not [found for found in names_in(tmp_path) if "sums" in found]
    model = StopsAt(0, interrupt)
    resumed = predict_volume(model, IMAGE, out=out, progress=False, **SETTINGS)
    assert -model.left < FORWARD_PASSES - 30
    assert resumed[...].tobytes() == expected.tobytes()
    assert names_in(tmp_path) == [name]


def test_kill_between_last_plane_and_rename(tmp_path, expected, monkeypatch):
    out = tmp_path / "prediction.h5"
    model = StopsAt(0, interrupt)
    with monkeypatch.context() as patch:
        patch.setattr(prediction_output.StreamedOutput, "finish", lambda self: interrupt())
        with pytest.raises(Interruption):
            predict_volume(model, IMAGE, out=out, progress=False, **SETTINGS)
    assert not out.exists()
    model.left = 0
    result = predict_volume(model, IMAGE, out=out, progress=False, **SETTINGS)
    assert model.left == 0  # nothing is predicted again
    assert result[...].tobytes() == expected.tobytes()


def _unfinished(out, model, image=IMAGE, **changes):
    model.register_forward_hook(lambda module, *_: interrupt() if module.stop_at == 0 else None)
    calls = iter(range(60, -1, -1))
    model.register_forward_pre_hook(lambda module, _: setattr(module, "stop_at", next(calls)))
    with pytest.raises(Interruption):
        predict_volume(model, image, out=out, progress=False, **(SETTINGS | changes))


@pytest.mark.parametrize("change", ["model", "volume", "overlap", "blending", "resume"])
def test_other_inputs_start_over(tmp_path, capsys, change):
    out = tmp_path / "prediction.zarr"
    arguments = {**SETTINGS, "augment": None, "batch_size": 1}
    _unfinished(out, small_convolution(), **arguments)
    capsys.readouterr()
    model = small_convolution(seed=1 if change == "model" else 0)
    image = IMAGE.copy()
    if change == "volume":
        image[39, 19, 17] ^= 1
    changes = {
        "overlap": {"stride": (3, 5, 9)}, "blending": {"blending": "bump"}, "resume": {"resume": False},
    }.get(change, {})  # fmt: skip
    arguments |= changes
    passes = []
    model.register_forward_hook(lambda *_: passes.append(1))
    result = predict_volume(model, image, out=out, progress=False, **arguments)
    printed = capsys.readouterr().out.splitlines()
    if change == "resume":
        assert printed == []
    else:
        name = {"overlap": "stride"}.get(change, change)
        assert printed == [f"prediction.zarr: an unfinished prediction is there with another {name}; starting over."]
    arguments.pop("resume", None)
    whole = predict_volume(model, image, progress=False, **arguments)
    assert result[...].tobytes() == whole.tobytes()
    assert len(passes) % 2 == 0  # both predictions took all their windows
    assert names_in(tmp_path) == ["prediction.zarr"]


def test_same_inputs_from_the_same_file_go_on(tmp_path, capsys):
    source = save_volume(tmp_path / "image.zarr", IMAGE)
    out = tmp_path / "prediction.zarr"
    model = StopsAt(90, interrupt)
    with pytest.raises(Interruption):
        predict_volume(model, source, out=out, progress=False, **SETTINGS)
    model.left = 0
    predict_volume(model, source, out=out, progress=False, memory="1GB", **SETTINGS)
    assert capsys.readouterr().out == ""
    assert -model.left < FORWARD_PASSES - 30


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"planes": 8}'])
def test_damaged_ledger_starts_over(tmp_path, expected, damage):
    out = tmp_path / "prediction.zarr"
    with pytest.raises(Interruption):
        predict_volume(StopsAt(90, interrupt), IMAGE, out=out, progress=False, **SETTINGS)
    (tmp_path / ".prediction.zarr.partial-prediction.json").write_text(damage)
    result = predict_volume(StopsAt(0, interrupt), IMAGE, out=out, progress=False, **SETTINGS)
    assert result[...].tobytes() == expected.tobytes()


class FullDisk:
    """A volume on a disk that has room for two more writes."""

    def __init__(self, volume) -> None:
        self.volume = volume
        self.room = 2

    def __getattr__(self, name):
        return getattr(self.volume, name)

    def __getitem__(self, index):
        return self.volume[index]

    def __setitem__(self, index, values) -> None:
        self.room -= 1
        if self.room < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.volume[index] = values


@pytest.mark.parametrize("name", ["prediction.zarr", "prediction.h5"])
@pytest.mark.parametrize("writes_before", [0, 1])
def test_full_disk_leaves_no_half_result_and_can_go_on(tmp_path, expected, monkeypatch, name, writes_before):
    """The first time the hidden file finds no room, the second time (HDF5) the copy into the final format."""
    import emlib.volume

    out = tmp_path / name
    create = emlib.volume.create_volume
    created = []

    def create_on_full_disk(path, *args, **kwargs):
        created.append(path)
        volume = create(path, *args, **kwargs)
        return FullDisk(volume) if len(created) > writes_before else volume

    with monkeypatch.context() as patch:
        patch.setattr(emlib.volume, "create_volume", create_on_full_disk)
        if name.endswith("h5") or writes_before == 0:
            with pytest.raises(OSError, match=f"Could not write .*{name}: the disk is full"):
                predict_volume(PlaceDependent(), IMAGE, out=out, progress=False, **SETTINGS)
            assert not out.exists()
            assert all(found.startswith(f".{name}.partial-prediction") for found in names_in(tmp_path))
    result = predict_volume(PlaceDependent(), IMAGE, out=out, progress=False, **SETTINGS)
    assert result[...].tobytes() == expected.tobytes()
    assert names_in(tmp_path) == [name]


def test_no_room_for_the_sums_is_one_sentence(tmp_path, monkeypatch):
    def no_room(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("emlib.inference.accumulator.os.posix_fallocate", no_room)
    with pytest.raises(OSError, match="the disk is full"):
        predict_volume(Identity(), IMAGE, window=8, out=tmp_path / "a.zarr", memory=1, progress=False)
    assert not (tmp_path / "a.zarr").exists()
    assert not [found for found in names_in(tmp_path) if "sums" in found]


def test_existing_result_stays_until_the_new_one_is_whole(tmp_path, expected):
    out = save_volume(tmp_path / "prediction.zarr", IMAGE)
    with pytest.raises(Interruption):
        predict_volume(StopsAt(100, interrupt), IMAGE, out=out, progress=False, **SETTINGS)
    np.testing.assert_array_equal(open_volume(out)[...], IMAGE)
    result = predict_volume(PlaceDependent(), IMAGE, out=out, progress=False, **SETTINGS)
    assert result[...].tobytes() == expected.tobytes()


def test_two_processes_cannot_write_the_same_file(tmp_path):
    pytest.importorskip("fcntl", reason="advisory locks are a POSIX feature")
    out = tmp_path / "prediction.zarr"
    seen = []

    def second_run():
        with pytest.raises(BlockingIOError, match="Another process is predicting into"):
            predict_volume(Identity(), IMAGE, window=8, out=out, progress=False)
        seen.append(True)

    predict_volume(StopsAt(5, second_run), IMAGE, out=out, progress=False, **SETTINGS)
    assert seen == [True]


def test_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"file/prediction\.zarr"):
        predict_volume(Identity(), IMAGE, window=8, out=tmp_path / "file" / "prediction.zarr", progress=False)


MEMORY = """
import sys
import numpy as np, torch
from emlib.inference import predict_volume
from emlib.volume import create_volume
depth, folder, memory = int(sys.argv[1]), sys.argv[2], sys.argv[3]
image = create_volume(folder + "/image.zarr", (depth, 192, 192), "uint8", chunks=(8, 192, 192))
for z in range(0, depth, 8):
    image[z : z + 8] = z % 251
predict_volume(torch.nn.Identity(), folder + "/image.zarr", window=(8, 96, 96), overlap=0, dtype="float32",
               out=folder + "/out.zarr", memory=memory, progress=False)
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads a process's peak memory from Linux's /proc")
@pytest.mark.parametrize("memory", ["64MiB", "3MB"])
def test_memory_does_not_grow_with_the_number_of_planes(tmp_path, memory):
    """400 planes are a 59 MB float32 prediction, and 64 planes a 9 MB one."""
    peaks = []
    for depth in (64, 400):
        folder = tmp_path / str(depth)
        folder.mkdir()
        command = [sys.executable, "-c", MEMORY, str(depth), str(folder), memory]
        run = subprocess.run(command, check=True, capture_output=True, text=True)
        peaks.append(int(run.stdout) / 1024)
    assert peaks[0] > 50  # MB: Python and torch at least
    assert peaks[1] - peaks[0] < 12, peaks
