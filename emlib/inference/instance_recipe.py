"""Find the objects of an image as a recipe says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import nn

from emlib.inference.instance_painting import labels_from_instances
from emlib.inference.instance_prediction import predict_instances
from emlib.inference.instances import InstancePrediction
from emlib.inference.label_output import check_label_path, write_labels
from emlib.recipe import InstanceRecipe
from emlib.volume import Volume


def predict_instances_from_recipe(
    model: nn.Module, image: Any, recipe: InstanceRecipe, **changes: Any
) -> InstancePrediction:
    """`predict_instances` with the recipe's sections data (normalisation) and inference.

    Args:
        model, image: as in `predict_instances`.
        recipe: of detected objects.
        changes: further arguments of `predict_instances`, which come before those of the recipe.

    Raises:
        TypeError: another kind of recipe.
        TypeError, ValueError, OSError: as `predict_instances`.

    Example:
        >>> from emlib.models import build_model
        >>> from emlib.recipe import load_recipe
        >>> image, recipe = np.zeros((64, 64, 3), np.uint8), load_recipe("4_nuclei_maskrcnn")
        >>> network = build_model("mask_rcnn_tiny")
        >>> predict_instances_from_recipe(network, image, recipe, score_threshold=1.0, progress=False).shape
        (64, 64)
    """
    if not isinstance(recipe, InstanceRecipe):
        raise TypeError(
            f"The recipe {recipe.track} is not one of detected objects, so it does not say how to find them."
        )
    settings = recipe.inference.parameters() | {"normalize": recipe.data.normalization.model_dump()}
    return predict_instances(model, image, **(settings | changes))


def paint_image_from_recipe(
    model: nn.Module | Sequence[nn.Module], image: Any, recipe: InstanceRecipe, *, out: Any = None, **changes: Any
) -> np.ndarray | Volume:
    """The label image of what `predict_instances_from_recipe` finds, painted as the recipe's postprocessing says.

    Args:
        model: a network, or a sequence of one.
        image: as in `predict_instances`.
        recipe: of detected objects.
        out: .zarr or .tif to write the labels to, whole or not at all.
        changes: further arguments of `predict_instances`.

    Returns:
        uint32 (y, x), 0 = background; with `out`, a Volume that reads it from there.

    Raises:
        ValueError: several networks, whose objects cannot be averaged.
        TypeError, ValueError, OSError: as `predict_instances`; `out` cannot be written.
    """
    models = list(model) if isinstance(model, list | tuple) else [model]
    if len(models) != 1:
        raise ValueError(f"There are {len(models)} networks, but objects of several cannot be averaged; give one.")
    path = None if out is None else check_label_path(out, image)
    found = predict_instances_from_recipe(models[0], image, recipe, **changes)
    labels = labels_from_instances(found, **recipe.postprocessing.parameters())
    return labels if path is None else write_labels(path, labels, getattr(image, "voxel_size", None))
