"""What a network learns from a batch, by what its recipe is of: maps of values, or objects."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from emlib.losses import CompositeLoss
from emlib.models.mask_rcnn_detection import Detections, detect
from emlib.models.mask_rcnn_targets import detection_target
from emlib.recipe import InstanceRecipe, Recipe
from emlib.targets import channel_names, channel_pairs, class_weights, output_channel_count
from emlib.training.detection_limits import follow_fullest_image

# What the five losses of Mask R-CNN are called in a recipe and in the table of a training.
DETECTION_LOSSES = {
    "classifier": "loss_classifier",
    "box": "loss_box_reg",
    "mask": "loss_mask",
    "objectness": "loss_objectness",
    "proposal": "loss_rpn_box_reg",
}
SHOWN_SCORE = 0.5

Losses = tuple[torch.Tensor, dict[str, torch.Tensor], Any]


def training_task(recipe: Recipe) -> PixelTask | InstanceTask:
    """How the recipe's network learns.

    Raises:
        ValueError: losses that cannot work, see `CompositeLoss`.

    Example:
        >>> from emlib.recipe import load_recipe
        >>> training_task(load_recipe("5_cells_flows")).loss_names
        ['flow/WeightedMSE', 'probability/WeightedBCE']
        >>> training_task(load_recipe("4_nuclei_maskrcnn")).loss_names
        ['classifier', 'box', 'mask', 'objectness', 'proposal']
    """
    return InstanceTask(recipe) if isinstance(recipe, InstanceRecipe) else PixelTask(recipe)


class PixelTask:
    """A value for every voxel or pixel and target, compared with the truth's.

    Attributes:
        channel_names: what the network's output channels are.
        out_channels: how many there are.
        pairs: for each of them the voxel pair that it compares, or None; see `Pictures`.
        loss_names: the parts of the loss, as in the table of the training.
    """

    def __init__(self, recipe: Recipe) -> None:
        outputs = recipe.target.outputs
        self.channel_names, self.pairs = channel_names(outputs), channel_pairs(outputs)
        self.out_channels = len(self.channel_names)
        terms = [(output.name, output_channel_count(output), output.losses) for output in outputs]
        self.loss = CompositeLoss(terms, class_weights=class_weights)
        self.loss_names = [f"{o.name}/{term.name}" for o in outputs for term in o.losses if term.weight > 0]

    def follow_data(self, network: nn.Module, data: Any, options: dict[str, Any], fabric: Any, say: Callable) -> None:
        """Nothing of such a network depends on the data."""

    def losses(self, model: Callable[..., Any], batch: dict[str, Any]) -> Losses:
        """Total, parts before their weights, and what the network said."""
        prediction = model(batch["image"])
        total, parts = self.loss(prediction.float(), batch["target"], batch.get("valid"))
        return total, parts, prediction

    def panels(self, network: nn.Module, batch: dict[str, Any], said: Any) -> tuple[torch.Tensor, ...]:
        """Image, target and prediction of the first sample, each with its channels first."""
        return batch["image"][0], batch["target"][0], said[0]


class InstanceTask:
    """Objects with box, class and mask: the five losses of Mask R-CNN, each times its weight.

    Attributes: as of `PixelTask`.
    """

    channel_names = ("background", "object")
    out_channels = 2
    pairs = (None,)

    def __init__(self, recipe: InstanceRecipe) -> None:
        self.recipe, self.weights = recipe, recipe.target.losses.model_dump()
        self.loss_names = [name for name in DETECTION_LOSSES if self.weights[name] > 0]

    def follow_data(self, network: nn.Module, data: Any, options: dict[str, Any], fabric: Any, say: Callable) -> None:
        """Let the limits of the network follow the fullest image, and store that in the options of its checkpoints."""
        follow_fullest_image(network, self.recipe, data, options, fabric, say)

    def losses(self, model: Callable[..., Any], batch: dict[str, Any]) -> Losses:
        """Total, and parts before their weights; in training and in evaluation."""
        targets = [self._target(labels) for labels in batch["target"]]
        found = model(batch["image"], targets)
        # Those of weight 0 too, so that every parameter has a gradient, as distributed training wants it.
        total = sum(self.weights[name] * found[key].float() for name, key in DETECTION_LOSSES.items())
        return total, {name: found[DETECTION_LOSSES[name]].detach() for name in self.loss_names}, None

    def panels(self, network: nn.Module, batch: dict[str, Any], said: Any) -> tuple[torch.Tensor, ...]:
        """Image, objects and detections of the first sample; neighbours differ in brightness."""
        image, labels = batch["image"][0], batch["target"][0]
        found = detect(network, [image])[0]
        return image, _shades(labels), _shades(_painted(found)[None])

    @staticmethod
    def _target(labels: torch.Tensor) -> dict[str, torch.Tensor]:
        target = detection_target(labels[0].cpu().numpy())
        return {key: value.to(labels.device) for key, value in target.items()}


def _painted(found: Detections) -> torch.Tensor:
    """(y, x) int64: the detections of a good score, the best on top."""
    labels = torch.zeros(found.shape, dtype=torch.int64)
    number = int((found.scores > SHOWN_SCORE).sum())
    for place, one in reversed(list(enumerate(found.objects()[:number], start=1))):
        labels[one.slices][torch.from_numpy(one.mask)] = place
    return labels


def _shades(labels: torch.Tensor) -> torch.Tensor:
    """0 for background, else 0.4 to 1, far apart for numbers that follow each other (the golden ratio)."""
    return torch.where(labels > 0, 0.4 + 0.6 * (labels * 0.618034 % 1), 0.0)
