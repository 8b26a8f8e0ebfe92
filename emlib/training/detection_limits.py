"""How many proposals and detections a network may have of an image: as the data needs it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from torch import nn

from emlib.recipe import InstanceRecipe

KEY = "objects_per_image"


def follow_fullest_image(
    network: nn.Module,
    recipe: InstanceRecipe,
    data: Any,
    options: dict[str, Any],
    fabric: Any,
    say: Callable[[str], None],
) -> None:
    """Set the limits that the recipe leaves open, and warn of those that it gives and that are too low.

    Args:
        network: a Mask R-CNN; its limits change.
        recipe: its section training.
        data: of the training; the fullest of its images that train or validate counts.
        options: of the network. Where "objects_per_image" is missing, as it is not in those of a checkpoint, it is put
            there.
        fabric: process 0 looks at the data for all.
        say: where one line about the limits is printed.
    """
    unknown = options.get(KEY) is None
    settings = recipe.training
    if fabric.is_global_zero:
        measured = settings.validate_every or settings.evaluate_every
        splits = ("train", "validation") if measured else ("train",)
        counts = np.concatenate([count_objects(data.open(split)) for split in splits])
    if unknown:
        options[KEY] = fabric.broadcast(int(counts.max(initial=0)) if fabric.is_global_zero else None)
    network.follow_objects(options[KEY])
    if fabric.is_global_zero:
        say(_line(network, int(counts.max(initial=0))))
        _warn_of_low_limits(network, counts)


def count_objects(images: Sequence[Any]) -> np.ndarray:
    """Number of objects of each image, (n,) int64.

    Args:
        images: what `PreparedImages.open` gave, which knows them; or pairs of image and labels, which are counted.

    Example:
        >>> count_objects([(None, np.array([[0, 7, 7, 3]])), (None, np.zeros((2, 2), int))]).tolist()
        [2, 0]
    """
    rows = getattr(images, "rows", None)
    if rows is not None:
        return np.array([row.cells for row in rows], np.int64)
    return np.array([np.count_nonzero(np.unique(labels)) for _, labels in images], np.int64)


def _line(network: nn.Module, most: int) -> str:
    before, after = network.rpn.most_candidates[0], network.rpn.most_proposals[0]
    return (
        f"the fullest image has {most} objects; kept of an image are {before} candidates a level, {after} proposals "
        f"and {network.roi_heads.detections_per_img} detections"
    )


def _warn_of_low_limits(network: nn.Module, counts: np.ndarray) -> None:
    limits = {
        "proposals_after_nms": min(network.rpn.most_proposals),
        "detections_per_image": network.roi_heads.detections_per_img,
    }
    key = min(limits, key=lambda name: limits[name])
    fuller = counts[counts > limits[key]]
    if fuller.size:
        warnings.warn(
            f"The network's {key} is {limits[key]}, but {fuller.size} of {counts.size} images have more objects, up to "
            f"{fuller.max()}; what is above it can never be found.",
            stacklevel=2,
        )
