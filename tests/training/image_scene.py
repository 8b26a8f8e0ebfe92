"""A network, images and a recipe that train in about a second."""

import numpy as np

from emlib.recipe import load_recipe

TINY = {
    "model.settings": {"encoder": "mit_b0", "decoder_channels": [12, 10, 8, 8, 8], "attention_channels": 8},
    "augmentation.noise.probability": 0.5,
    "training.window": [64, 64],
    "training.iterations": 4,
    "training.batch_size": 2,
    "training.amplify": 0,
    "training.log_every": 1,
    "training.image_every": 0,
    "training.save_every": 2,
    "training.validate_every": 2,
    "training.validation_samples": 2,
    "inference.window": [64, 64],
}


class TinyImages(list):
    """Pairs of (image, labels): bright discs of two sizes."""

    modalities = ("small", "large", "small")


class TinyData:
    """The same images train and validate."""

    def __init__(self):
        self.images = TinyImages()
        y, x = np.mgrid[:70, :90]
        for number in range(3):
            labels = np.zeros((70, 90), np.uint32)
            for one, (cy, cx) in enumerate([(20, 20), (20, 45), (45, 30), (48, 70)], start=1):
                labels[(y - cy - number) ** 2 + (x - cx) ** 2 <= (7 + 4 * (number == 1)) ** 2] = one
            image = np.repeat((60 + 150 * (labels > 0)).astype(np.uint8)[..., None], 3, axis=2)
            self.images.append((image, labels))

    def open(self, split):
        assert split in ("train", "validation")
        return self.images


def tiny_recipe(changes=None):
    return load_recipe("5_cells_flows", overrides=TINY | (changes or {}))
