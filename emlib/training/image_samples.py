"""Training samples of images: a crop, its changes and its targets, all from (seed, index) alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.utils.data import Dataset

from emlib.augmentation.cells import CropGeometry, build_cell_augmentation
from emlib.data.amplified_sampling import EpochOrder, amplify
from emlib.randomness import derive_seed, torch_generator
from emlib.recipe import ImageRecipe
from emlib.recipe_schema import CellAugmentationRecipe
from emlib.targets import build_image_targets


def _finish(
    recipe: ImageRecipe, image: torch.Tensor, labels: torch.Tensor, geometry: CropGeometry, index: int, number: int
) -> dict[str, Any]:
    target = build_image_targets(labels, recipe.target)
    return {"image": image, "target": target, "index": index, "position": torch.tensor([number, *geometry.start])}


class ImageTrainingSamples(Dataset):
    """What a network of images is trained on: item i depends on the recipe, its seed and i, not on workers or history.

    Every image comes once in an epoch, in an order of its own in each; with `training.amplify` those of rare modalities
    come more often.

    Args:
        recipe: sections target, augmentation and training.
        images: a sequence of (image uint8 (y, x, c), labels (y, x)), such as `PreparedImages.open("train")`; its
            attribute `modalities` names each image's group.
        length: number of samples in the run.

    An item is a dictionary of `image` float32 (c, Y, X), `target` float32 (C, Y, X), `index`, and `position` int64
    (number of the image, y, x) of the crop.

    Raises:
        ValueError: no image, or `training.amplify` without modalities.
    """

    voxel_size = None

    def __init__(self, recipe: ImageRecipe, images: Sequence[Any], *, length: int) -> None:
        groups, minimum = getattr(images, "modalities", None), recipe.training.amplify
        if groups is None and minimum:
            raise ValueError("training.amplify is set, but the data does not say which modality its images have.")
        self.recipe, self.images, self.length = recipe, images, length
        self.augmentation = build_cell_augmentation(recipe.augmentation, window=recipe.training.window)
        self.order = EpochOrder(amplify(groups or [0] * len(images), minimum), seed=derive_seed(recipe.seed, "images"))

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, Any]:
        number = self.order[index]
        generator = torch_generator(self.recipe.seed, "sample", index)
        image, labels, geometry = self.augmentation.sample(*self.images[number], generator)
        return _finish(self.recipe, image, labels, geometry, index, number)


class ImageValidationSamples(Dataset):
    """A fixed set of crops of the validation images, each in turn, without any change.

    Items are as in `ImageTrainingSamples`.

    Raises:
        ValueError: no image.
    """

    def __init__(self, recipe: ImageRecipe, images: Sequence[Any]) -> None:
        if not len(images):
            raise ValueError("The split 'validation' has no image; set training.validate_every to 0, or divide anew.")
        self.recipe, self.images = recipe, images
        self.augmentation = build_cell_augmentation(CellAugmentationRecipe(), window=recipe.training.window)

    def __len__(self) -> int:
        return self.recipe.training.validation_samples

    def __getitem__(self, index: int) -> dict[str, Any]:
        number = index % len(self.images)
        generator = torch_generator(self.recipe.seed, "validation", index)
        image, labels, geometry = self.augmentation.sample(*self.images[number], generator)
        return _finish(self.recipe, image, labels, geometry, index, number)
