"""What a training reads and measures, by what its recipe is of: volumes, images or their objects."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import nn
from torch.utils.data import Dataset

from emlib.recipe import ImageRecipe, InstanceRecipe, Recipe
from emlib.training.image_samples import ImageTrainingSamples, ImageValidationSamples
from emlib.training.instance_validation import instance_evaluation
from emlib.training.samples import TrainingSamples, ValidationSamples
from emlib.training.validation import image_evaluation, volume_evaluation
from emlib.training.whole_image_samples import WholeImageSamples, WholeImageValidationSamples
from emlib.volume import open_volume


def data_functions(recipe: Recipe) -> tuple[Callable[..., Any], Callable[[str | Path], Any]]:
    """What prepares the recipe's data, and what opens it when it is prepared."""
    from emlib import data

    if isinstance(recipe, ImageRecipe):
        return data.prepare_image_data, data.load_prepared_images
    return data.prepare_data, data.load_prepared


def training_samples(recipe: Recipe, data: Any, *, length: int, batch_size: int) -> Dataset:
    """The samples of a run; their attribute `voxel_size` is nm (z, y, x), or None where nobody said."""
    if _of_whole_images(recipe):
        return WholeImageSamples(recipe, data.open("train"), length=length, batch_size=batch_size)
    if isinstance(recipe, ImageRecipe):
        return ImageTrainingSamples(recipe, data.open("train"), length=length)
    image, labels = (open_volume(volume) for volume in data.open("train"))
    valid = None
    if recipe.training.rejection.min_valid is not None and (opening := getattr(data, "open_valid", None)) is not None:
        valid = opening("train")
    samples = TrainingSamples(recipe, image, labels, length=length, batch_size=batch_size, valid=valid)
    samples.voxel_size = image.voxel_size or getattr(data, "voxel_size", None)
    return samples


def validation_samples(recipe: Recipe, data: Any, network: nn.Module) -> Dataset:
    """The samples of which the validation loss is taken."""
    if _of_whole_images(recipe):
        return WholeImageValidationSamples(recipe, data.open("validation"))
    if isinstance(recipe, ImageRecipe):
        return ImageValidationSamples(recipe, data.open("validation"))
    image, labels = (open_volume(volume) for volume in data.open("validation"))
    return ValidationSamples(recipe, image, labels, divisor=network.min_divisor)


def own_evaluation(recipe: Recipe, data: Any) -> Callable[[nn.Module, int], dict[str, float]]:
    """The evaluation that the recipe itself describes."""
    if isinstance(recipe, InstanceRecipe):
        return instance_evaluation(recipe, data)
    return (image_evaluation if isinstance(recipe, ImageRecipe) else volume_evaluation)(recipe, data)


def _of_whole_images(recipe: Recipe) -> bool:
    return isinstance(recipe, InstanceRecipe) and recipe.training.whole_images
