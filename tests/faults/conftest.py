"""A small scene, its recipe, and a network that was trained on it for two iterations."""

import numpy as np
import pytest

from emlib.recipe import load_recipe
from emlib.training import train
from emlib.volume import save_volume

TRACK = "1_mitochondria_contours"
SHAPE = (12, 40, 48)
TINY = {
    "model": {"name": "rsunet", "widths": [4, 6], "input_mean": 0.0, "input_std": 1.0},
    "training.window": [4, 16, 16],
    "training.iterations": 2,
    "training.batch_size": 1,
    "training.image_every": 0,
    "training.save_every": 1,
    "training.validate_every": 0,
    "training.evaluate_every": 0,
    "training.clip_norm": None,
    "inference.window": [4, 16, 16],
    "inference.augment": None,
    "data.source": "files",
    "data.split": {"train": [0, 6], "validation": [6, 8], "test": [8, 12]},
    "data.voxel_size": [30.0, 8.0, 8.0],
}


class Pair:
    """Image and labels in memory, as `train` takes them: the same for every split."""

    voxel_size = (30.0, 8.0, 8.0)

    def __init__(self, image, labels):
        self.image, self.labels = image, labels

    def open(self, _split):
        return self.image, self.labels


@pytest.fixture(scope="session")
def scene():
    """Image (uint8) and labels (uint32) of bright boxes."""
    random = np.random.default_rng(0)
    labels = np.zeros(SHAPE, np.uint32)
    for number in range(1, 7):
        z, y, x = (int(random.integers(0, length)) for length in (8, 30, 38))
        labels[z : z + 4, y : y + 10, x : x + 10] = number
    noise = random.normal(0, 10, SHAPE)
    image = (80 + 100 * (labels > 0) + noise).clip(0, 255).astype(np.uint8)
    image.flags.writeable = labels.flags.writeable = False
    return image, labels


@pytest.fixture
def recipe(tmp_path, scene):
    """Call it with an image and labels (default: the scene) and changed keys; the volumes are written to files."""

    def build(image=scene[0], labels=scene[1], **changes):
        files = tmp_path / "source"
        for name, array in (("image", image), ("labels", labels)):
            changes.setdefault(f"data.{name}", str(files / f"{name}.h5"))
            if array is not None:
                save_volume(files / f"{name}.h5", array)
        return load_recipe(TRACK, overrides=TINY | changes)

    return build


@pytest.fixture(scope="session")
def trained(tmp_path_factory, scene):
    """Folder of a finished training of two iterations, with two checkpoints. Not to be written to."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    names = {"data.image": "image", "data.labels": "labels"}
    train(load_recipe(TRACK, overrides=TINY | names), folder, data=Pair(*scene), device="cpu", progress=False)
    return folder
