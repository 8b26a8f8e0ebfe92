"""Settings of a training of two iterations, and what the tests hand to it."""

import numpy as np

from emlib.training import train

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


CUBE = np.random.default_rng(0).integers(0, 255, (8, 32, 32), dtype=np.uint8)
WINDOW = (4, 16, 16)


class Pair:
    """Image and labels in memory, as `train` takes them: the same for every split."""

    voxel_size = (30.0, 8.0, 8.0)

    def __init__(self, image, labels):
        self.image, self.labels = image, labels

    def open(self, _split):
        return self.image, self.labels


def start(recipe, folder, data=None):
    """Train silently on the CPU."""
    return train(recipe, folder, data=data, device="cpu", progress=False)
