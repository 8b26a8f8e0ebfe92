"""Two processes started by torchrun learn what one process learns on the same global batch."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from emlib.training import read_training_log, train

SCRIPT = """
import sys
sys.path.insert(0, {tests!r})
from conftest import TINY, TinyData
from emlib.recipe import load_recipe
from emlib.training import train

recipe = load_recipe("1_mitochondria_contours", overrides=TINY | {changes!r})
print("best", train(recipe, {folder!r}, data=TinyData(), device="cpu"))
"""
PLAIN = {"training.optimizer.name": "sgd", "training.validate_every": 3}
TERMS = [{"name": "WeightedBCE", "class_weight": "1"}, {"name": "DiceLoss", "weight": 0.5}]
AFFINITIES = {
    "target": {
        "outputs": [
            {"name": "near", "option": "2", "losses": TERMS},
            {"name": "far", "offsets": [[0, -3, 0], [0, 0, -3]], "losses": TERMS},
        ]
    }
}


@pytest.mark.slow
@pytest.mark.parametrize("target", [{}, AFFINITIES], ids=["mask and contour", "affinities"])
def test_two_processes_equal_one_with_twice_the_batch(tiny_recipe, tiny_data, tmp_path, target):
    """Without batch norm, whose statistics are each process's own on the CPU."""
    changes = PLAIN | target | {"training.batch_size": 1, "training.accumulate": 2, "training.iterations": 4}
    folder = tmp_path / "two"
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(tests=str(Path(__file__).parent), changes=changes, folder=str(folder)))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", str(script)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("best") >= 2
    assert done.stdout.count("2 processes") == 1
    assert "Warning" not in done.stderr

    one = tiny_recipe(changes | {"training.batch_size": 2})
    best = train(one, tmp_path / "one", data=tiny_data, device="cpu", progress=False)
    together, alone = (load_file(path / best.name / "weights.safetensors") for path in (folder, tmp_path / "one"))
    for key, tensor in alone.items():
        torch.testing.assert_close(together[key], tensor, atol=1e-6, rtol=1e-6)
    logs = [read_training_log(path / "training.csv") for path in (folder, tmp_path / "one")]
    assert logs[0]["loss"] == pytest.approx(logs[1]["loss"], rel=1e-6)
    measured = [[value for value in log["validation_loss"] if value is not None] for log in logs]
    assert measured[0] == pytest.approx(measured[1], rel=1e-5)


DETECTOR = """
import sys
sys.path.insert(0, {tests!r})
from training.instance_scene import WHOLE, TinyData, tiny_recipe
from emlib.training import train

print("best", train(tiny_recipe(WHOLE | {changes!r}), {folder!r}, data=TinyData(), device="cpu"))
"""


@pytest.mark.slow
def test_two_processes_that_detect_objects_give_up_together(tmp_path):
    changes = {"training.evaluate_every": 1, "training.patience": 1, "training.iterations": 9, "seed": 1}
    changes |= {"training.batch_size": 1, "training.validate_every": 0, "training.optimizer.learning_rate": 1e-9}
    script = tmp_path / "script.py"
    tests = str(Path(__file__).parents[1])
    script.write_text(DETECTOR.format(tests=tests, changes=changes, folder=str(tmp_path / "run")))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", str(script)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("best") >= 2
    assert done.stdout.count("the fullest image has 3 objects") == 1
    # Weights that do not move score the same, so the second measurement is no better.
    assert read_training_log(tmp_path / "run" / "training.csv")["iteration"] == [1, 2]
