"""Training samples that are whole images, of any size, all from (seed, index) alone."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Any

import torch
from torch.utils.data import Dataset, default_collate

from emlib.augmentation.cells import build_cell_augmentation
from emlib.data.amplified_sampling import EpochOrder, amplify
from emlib.randomness import derive_seed, torch_generator
from emlib.recipe import InstanceRecipe
from emlib.recipe_schema import CellAugmentationRecipe
from emlib.training.image_samples import finish_sample, groups_of


def collate_images(samples: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """A batch of samples of unequal sizes: images and targets as lists, numbers and positions as usual.

    Example:
        >>> samples = [{"image": torch.zeros(3, side, 8), "target": torch.zeros(1, side, 8), "index": side,
        ...             "position": torch.zeros(3)} for side in (4, 6)]
        >>> batch = collate_images(samples)
        >>> [tuple(image.shape) for image in batch["image"]], batch["index"].tolist()
        ([(3, 4, 8), (3, 6, 8)], [4, 6])
    """
    lists = {key: [sample[key] for sample in samples] for key in ("image", "target")}
    return lists | {key: default_collate([sample[key] for sample in samples]) for key in ("index", "position")}


class GroupedOrder:
    """An order of images, changed as little as needed for every batch to hold images of one kind only.

    Images are taken as they come and wait until there are enough of their kind for a batch, as in Detectron2.

    Args:
        order: the number of the image of place 0, 1, 2, ..., without end.
        kinds: of each image.
        batch_size: images of a batch.

    Example:
        >>> grouped = GroupedOrder(EpochOrder(range(4), seed=0), ["up", "up", "wide", "wide"], 2)
        >>> [sorted(grouped[place] for place in batch) for batch in ((0, 1), (2, 3))] in ([[0, 1], [2, 3]],
        ...                                                                             [[2, 3], [0, 1]])
        True
    """

    def __init__(self, order: EpochOrder, kinds: Sequence[Any], batch_size: int) -> None:
        self.order, self.kinds, self.batch_size = order, list(kinds), batch_size
        self._taken, self._waiting, self._dealt = 0, {kind: [] for kind in kinds}, array("q")

    def __getitem__(self, index: int) -> int:
        while len(self._dealt) <= index:
            number = self.order[self._taken]
            waiting = self._waiting[self.kinds[number]]
            waiting.append(number)
            self._taken += 1
            if len(waiting) == self.batch_size:
                self._dealt.extend(waiting)
                waiting.clear()
        return self._dealt[index]


class WholeImageSamples(Dataset):
    """Whole images, each once in an epoch (or more often with `training.amplify`), flipped and in other grey values.

    With `training.aspect_grouping` a batch holds only images that are higher than wide, or only others.

    Args:
        recipe: with `training.whole_images`.
        images: as in `ImageTrainingSamples`.
        length: number of samples in the run.
        batch_size: samples of one iteration, of all processes together.

    Items are those of `ImageTrainingSamples`, of the size of their images.

    Raises:
        FileNotFoundError, ValueError: as `ImageTrainingSamples`.
    """

    voxel_size = None
    collate = staticmethod(collate_images)

    def __init__(self, recipe: InstanceRecipe, images: Sequence[Any], *, length: int, batch_size: int) -> None:
        settings = recipe.training
        self.recipe, self.images, self.length = recipe, images, length
        items = amplify(groups_of(images, settings), settings.amplify)
        self.order: Any = EpochOrder(items, seed=derive_seed(recipe.seed, "images"))
        if settings.aspect_grouping:
            upright = [height > width for height, width in _shapes(images)]
            self.order = GroupedOrder(self.order, upright, batch_size)

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, Any]:
        generator = torch_generator(self.recipe.seed, "sample", index)
        return _whole(self.recipe, self.images, self.order[index], self.recipe.augmentation, generator, index)


class WholeImageValidationSamples(Dataset):
    """The validation images, each in turn, whole and without any change.

    Raises:
        ValueError: no image.
    """

    collate = staticmethod(collate_images)

    def __init__(self, recipe: InstanceRecipe, images: Sequence[Any]) -> None:
        if not len(images):
            raise ValueError("The split 'validation' has no image; set training.validate_every to 0, or divide anew.")
        self.recipe, self.images = recipe, images

    def __len__(self) -> int:
        return self.recipe.training.validation_samples

    def __getitem__(self, index: int) -> dict[str, Any]:
        generator = torch_generator(self.recipe.seed, "validation", index)
        return _whole(self.recipe, self.images, index % len(self.images), CellAugmentationRecipe(), generator, index)


def _whole(
    recipe: InstanceRecipe,
    images: Sequence[Any],
    number: int,
    changes: CellAugmentationRecipe,
    generator: torch.Generator,
    index: int,
) -> dict[str, Any]:
    image, labels = images[number]
    # The window is the image: nothing is cut off.
    augmentation = build_cell_augmentation(changes, window=tuple(int(side) for side in labels.shape))
    pixels, ids, geometry = augmentation.sample(image, labels, generator)
    return finish_sample(recipe, pixels, ids, geometry, index, number)


def _shapes(images: Sequence[Any]) -> list[tuple[int, int]]:
    rows = getattr(images, "rows", None)
    if rows is not None:
        return [(row.height, row.width) for row in rows]
    return [tuple(labels.shape) for _, labels in images]
