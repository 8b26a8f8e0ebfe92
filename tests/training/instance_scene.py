"""A detector, images and a recipe that train in about a second."""

import numpy as np
from training.image_scene import TinyImages

from emlib.recipe import load_recipe

TINY = {
    "model.settings": {"roi_batch": 8, "anchor_batch": 32, "proposals_before_nms": 40, "proposals_after_nms": 20},
    "training.window": [64, 64],
    "training.iterations": 4,
    "training.batch_size": 2,
    "training.amplify": 0,
    "training.log_every": 1,
    "training.image_every": 0,
    "training.save_every": 2,
    "training.validate_every": 2,
    "training.evaluate_every": 0,
    "training.validation_samples": 2,
    "training.workers": 0,
}
WHOLE = {
    "training.window": None,
    "training.whole_images": True,
    "augmentation.zoom.probability": 0.0,
    "augmentation.rotate.probability": 0.0,
    "model.settings.short_side": [40, 48],
}


class TinyData:
    """Bright discs on images of unequal shapes; the last image has none. The same images train and validate."""

    shapes = ((64, 80), (80, 64), (64, 96), (96, 64), (64, 64))

    def __init__(self):
        self.images = TinyImages()
        for number, shape in enumerate(self.shapes):
            y, x = np.mgrid[: shape[0], : shape[1]]
            labels = np.zeros(shape, np.uint32)
            centres = [(20, 20), (45, 42), (20, 50)] if number < 4 else []
            for one, (cy, cx) in enumerate(centres, start=70000):
                labels[(y - cy) ** 2 + (x - cx - number) ** 2 <= (8 + number) ** 2] = one
            image = np.repeat((60 + 150 * (labels > 0)).astype(np.uint8)[..., None], 3, axis=2)
            self.images.append((image, labels))

    def open(self, split):
        assert split in ("train", "validation")
        return self.images


def tiny_recipe(changes=None):
    return load_recipe("4_nuclei_maskrcnn", overrides=TINY | (changes or {}))
