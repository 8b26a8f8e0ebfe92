"""Training samples of images: a crop, its changes and its targets, all from (seed, index) alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.utils.data import Dataset

from emlib.augmentation.cells import CropGeometry, build_cell_augmentation
from emlib.data.amplified_sampling import EpochOrder, amplify
from emlib.data.modality_discovery import load_groups
from emlib.data.prepared_images import load_prepared_images
from emlib.randomness import derive_seed, torch_generator
from emlib.recipe import ImageRecipe, InstanceRecipe
from emlib.recipe_schema import CellAugmentationRecipe, ImageTrainingRecipe, ReplayRecipe
from emlib.targets import build_image_targets


def finish_sample(
    recipe: ImageRecipe, image: torch.Tensor, labels: torch.Tensor, geometry: CropGeometry, index: int, number: int
) -> dict[str, Any]:
    """A sample as the loop takes it, with the target that the recipe wants."""
    is_detected = isinstance(recipe, InstanceRecipe)
    target = number_objects(labels) if is_detected else build_image_targets(labels, recipe.target)
    return {"image": image, "target": target, "index": index, "position": torch.tensor([number, *geometry.start])}


def number_objects(labels: torch.Tensor) -> torch.Tensor:
    """The target of a network that detects objects: int32 (1, y, x), ids 1 ... n in their order, 0 = background.

    Example:
        >>> number_objects(torch.tensor([[0, 70000, 7]])).tolist()
        [[[0, 2, 1]]]
    """
    ids, numbers = torch.unique(labels, return_inverse=True)
    return (numbers + int(int(ids[0]) != 0)).to(torch.int32)[None]


def groups_of(images: Any, settings: ImageTrainingRecipe) -> Sequence[str | int]:
    """The group of each image, for amplified sampling."""
    if not settings.amplify:
        return [0] * len(images)
    if settings.groups is None:
        if (modalities := getattr(images, "modalities", None)) is None:
            raise ValueError("training.amplify is set, but the data does not say which modality its images have.")
        return modalities
    if (names := getattr(images, "names", None)) is None:
        raise ValueError("training.groups is set, but the data does not say how its images are called.")
    groups = load_groups(settings.groups)
    missing = [name for name in names if name not in groups]
    if missing:
        raise ValueError(
            f"training.groups, {settings.groups}, has no group for {len(missing)} of {len(names)} training images, "
            f"such as {missing[0]}."
        )
    return [groups[name] for name in names]


def _replayed_images(settings: ReplayRecipe, given: Sequence[Any] | None) -> Sequence[Any]:
    images = load_prepared_images(settings.data).open("train") if given is None else given
    if not len(images):
        where = "what was given" if given is not None else f"the split 'train' of {settings.data}"
        raise ValueError(f"training.replay is set, but {where} has no image to replay.")
    return images


def _replay_changes(recipe: ImageRecipe) -> CellAugmentationRecipe:
    """As in pre-training: flips and turns, and labels without boundaries; grey values and size stay."""
    own = recipe.augmentation
    thin = own.boundary_exclusion.model_copy(update={"probability": float(recipe.training.replay.boundary_exclusion)})
    return CellAugmentationRecipe(boundary_exclusion=thin, flip=own.flip, rotate=own.rotate)


class ImageTrainingSamples(Dataset):
    """What a network of images is trained on: item i depends on the recipe, its seed and i, not on workers or history.

    Every image comes once in an epoch, in an order of its own in each; with `training.amplify` those of rare modalities
    come more often, or of rare groups, if `training.groups` names a table of them.

    With `training.replay`, of every `training.batch_size` samples the last ones come from images that the network has
    learned before, changed as in pre-training (cell memory replay of MEDIAR). These have epochs of their own.

    Args:
        recipe: sections target, augmentation and training.
        images: a sequence of (image uint8 (y, x, c), labels (y, x)), such as `PreparedImages.open("train")`; its
            attribute `modalities` names each image's group, `names` the images.
        length: number of samples in the run.
        replay: a sequence like `images`, for a recipe with `training.replay`; None opens the folder that it names.

    An item is a dictionary of `image` float32 (c, Y, X), `target` float32 (C, Y, X), `index`, and `position` int64
    (number of the image, y, x) of the crop; images for replay are counted after the others. The target of objects that
    are to be detected is int32 (1, Y, X), see `number_objects`.

    Raises:
        FileNotFoundError: there is no such table of groups, or no prepared data for replay.
        ValueError: no image, `training.amplify` without modalities, or an image without group.
    """

    voxel_size = None

    def __init__(
        self, recipe: ImageRecipe, images: Sequence[Any], *, length: int, replay: Sequence[Any] | None = None
    ) -> None:
        settings = recipe.training
        if replay is not None and settings.replay is None:
            raise ValueError("There are images for replay, but training.replay is not set.")
        self.recipe, self.images, self.length = recipe, images, length
        self.augmentation = build_cell_augmentation(recipe.augmentation, window=settings.window)
        groups = groups_of(images, settings)
        self.order = EpochOrder(amplify(groups, settings.amplify), seed=derive_seed(recipe.seed, "images"))
        self.replay = None
        if settings.replay is not None:
            self.replay = _replayed_images(settings.replay, replay)
            self.replay_augmentation = build_cell_augmentation(_replay_changes(recipe), window=settings.window)
            seed = derive_seed(recipe.seed, "replayed images")
            self.replay_order = EpochOrder(range(len(self.replay)), seed=seed)

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, Any]:
        number, replayed = self._image_of(index)
        generator = torch_generator(self.recipe.seed, "sample", index)
        images, augmentation = self.images, self.augmentation
        if replayed:
            images, augmentation = self.replay, self.replay_augmentation
        image, labels, geometry = augmentation.sample(*images[number], generator)
        return finish_sample(self.recipe, image, labels, geometry, index, number + replayed * len(self.images))

    def _image_of(self, index: int) -> tuple[int, bool]:
        """The number of a sample's image, and whether it is one for replay."""
        if self.replay is None:
            return self.order[index], False
        size, replayed = self.recipe.training.batch_size, self.recipe.training.replay.samples
        batch, place = divmod(index, size)
        if place < size - replayed:
            return self.order[batch * (size - replayed) + place], False
        return self.replay_order[batch * replayed + place - (size - replayed)], True


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
        return finish_sample(self.recipe, image, labels, geometry, index, number)
