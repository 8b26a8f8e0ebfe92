"""A small scene, its recipe, and a network that was trained on it for two iterations."""

import numpy as np
import pytest
from faults.scene import SHAPE, TINY, TRACK, Pair, start

from emlib.models import build_model
from emlib.recipe import load_recipe
from emlib.volume import save_volume


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
    start(load_recipe(TRACK, overrides=TINY | names), folder, Pair(*scene))
    return folder


@pytest.fixture
def network():
    return build_model("rsunet", widths=(4, 6))


@pytest.fixture
def out(tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    return folder
