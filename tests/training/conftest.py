"""A network, a volume and a recipe that train in under a second."""

from __future__ import annotations

import numpy as np
import pytest

from emlib.recipe import load_recipe
from emlib.training import train


class TinyData:
    """Bright boxes on a noisy ground; the same volume trains and validates."""

    voxel_size = (30.0, 8.0, 8.0)

    def __init__(self):
        random = np.random.default_rng(0)
        self.labels = np.zeros((8, 40, 40), np.uint32)
        for number in range(1, 7):
            z, y, x = random.integers(0, 4), random.integers(0, 28), random.integers(0, 28)
            self.labels[z : z + 4, y : y + 10, x : x + 10] = number
        noise = random.normal(0, 10, self.labels.shape)
        self.image = (80 + 100 * (self.labels > 0) + noise).clip(0, 255).astype(np.uint8)

    def open(self, split):
        assert split in ("train", "validation")
        return self.image, self.labels


TINY = {
    "model": {"name": "rsunet", "widths": [4, 6], "input_mean": 0.0, "input_std": 1.0},
    "training.window": [4, 16, 16],
    "training.iterations": 12,
    "training.batch_size": 2,
    "training.log_every": 1,
    "training.image_every": 0,
    "training.save_every": 4,
    "training.validate_every": 6,
    "training.validation_samples": 2,
    "training.evaluate_every": 0,
    "training.keep_last": 2,
    "training.accumulate": 1,
    "training.workers": 0,
    "training.precision": "32",
    "training.clip_norm": None,
    "training.clip_value": None,
    "training.optimizer": {"name": "adam", "learning_rate": 0.003, "weight_decay": 0.0001},
    "training.schedule": {"name": "warmup_cosine", "warmup_iterations": 20, "milestones": []},
    "inference.window": [4, 16, 16],
}


@pytest.fixture
def tiny_data():
    return TinyData()


@pytest.fixture
def tiny_recipe():
    """Call it with changes: tiny_recipe({"training.iterations": 3})."""

    def build(changes=None):
        return load_recipe("1_mitochondria_contours", overrides=TINY | (changes or {}))

    return build


@pytest.fixture
def run(tiny_recipe, tiny_data, tmp_path):
    """Train into a folder: run("a", {"training.iterations": 3}) -> (folder, best checkpoint)."""

    def start(name="run", changes=None, **options):
        folder = tmp_path / name
        arguments = {"data": tiny_data, "progress": False, "device": "cpu"} | options
        return folder, train(tiny_recipe(changes), folder, **arguments)

    return start
