"""A disk that fails while the labels of an image are written: one sentence, nothing half-written, and it works again.

Every step fails once by injection, as in test_full_disk.py; and once the operating system itself refuses.
"""

import subprocess
import sys

import numpy as np
import pytest
import torch
from faults.disk import failing_steps
from faults.sentences import as_sentence, listing
from torch import nn

from emlib.inference import predict_image
from emlib.volume import open_volume

IMAGE = np.zeros((60, 70), np.uint8)
IMAGE[5:20, 5:20] = IMAGE[30:50, 40:60] = 255


class Bright(nn.Module):
    """Finds what is bright, and sees no direction in it: every pixel stays where it is."""

    def forward(self, batch):
        return torch.cat([torch.zeros_like(batch[:, :2]), batch[:, :1]], dim=1)


def predict(out, **options):
    settings = {"window": 32, "flow_threshold": None, "peak": 0, "min_size": 1, "normalize": None, "progress": False}
    return predict_image(Bright(), IMAGE, out=out, **(settings | options))


CASES = [("a.zarr", {"block": 40}, 3), ("a.tif", {"block": 40}, 4), ("a.zarr", {}, 3), ("a.tif", {}, 1)]


@pytest.mark.parametrize("name, options, stride", CASES)
def test_every_step_may_fail(tmp_path, name, options, stride):
    expected = predict(None, **options)

    def action(folder, _recipe):
        predict(folder / name, **options)

    for folder in failing_steps(action, lambda step: tmp_path / f"{step:04d}", None, stride):
        if left := listing(folder):
            # Only flushing the folder's entry comes after the file has its name; it is whole then.
            assert all(one.startswith(name) for one in left), left
            np.testing.assert_array_equal(open_volume(folder / name)[:], expected)
        action(folder, None)
        np.testing.assert_array_equal(open_volume(folder / name)[:], expected)
        assert [path.name for path in folder.iterdir()] == [name]


@pytest.mark.parametrize("name, options, stride", CASES)
def test_what_was_there_stays(tmp_path, name, options, stride):
    def action(folder, _recipe):
        predict(folder / name, **options)

    action(tmp_path, None)
    before, expected = listing(tmp_path), predict(None, **options)
    for folder in failing_steps(action, lambda _: tmp_path, None, stride):
        np.testing.assert_array_equal(open_volume(folder / name)[:], expected)
        assert set(listing(folder)) == set(before)


REAL = """
import resource, signal, sys
from pathlib import Path
import numpy as np, torch
from faults.test_label_output import Bright
from emlib.inference import predict_image

image = np.random.default_rng(0).integers(0, 256, (200, 200), np.uint8)
options = {"window": 100, "overlap": 0.0, "flow_threshold": None, "peak": 0, "min_size": 1, "progress": False}
classes = torch.nn.Softmax(dim=1)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (5_000, 5_000))
for name, changes in (("a.zarr", {}), ("a.tif", {}), ("b.zarr", {"block": 100}), ("b.tif", {"block": 100})):
    try:
        predict_image(Bright(), image, out=Path(sys.argv[1]) / name, **options, **changes)
    except OSError as error:
        print(f"{name}|{error}", flush=True)
try:
    # The temporary file of a prediction: a map of a file that has no room ends the process without a word.
    predict_image(classes, image, method="cells_from_classes", memory=1000, window=100, progress=False)
except OSError as error:
    print(f"prediction.npy|{error}", flush=True)
"""


def test_the_operating_system_refuses(tmp_path):
    out, tests = tmp_path / "out", str(__file__).rpartition("/faults/")[0]
    out.mkdir()
    # No bytecode: the limit would leave half of it in the caches, where others find it.
    environment = {"PYTHONPATH": tests, "PATH": "", "TMPDIR": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-c", REAL, str(out)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    said = dict(line.split("|") for line in done.stdout.splitlines() if "|" in line)
    assert list(said) == ["a.zarr", "a.tif", "b.zarr", "b.tif", "prediction.npy"], done
    for name, text in said.items():
        assert name in text
        assert "the file would be larger than is allowed" in as_sentence(OSError(text))
    assert not list(out.iterdir())
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
