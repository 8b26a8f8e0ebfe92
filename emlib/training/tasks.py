"""What a network learns from a batch, by what its recipe is of: maps of values, or objects."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from emlib.losses import CompositeLoss, list_losses, loss_input, takes_auxiliary
from emlib.models import AuxiliaryOutput, noisy_prior
from emlib.models.mask_rcnn_detection import Detections, detect
from emlib.models.mask_rcnn_targets import detection_target
from emlib.randomness import torch_generator
from emlib.recipe import InstanceRecipe, Recipe
from emlib.targets import channel_names, class_weights, output_channel_count, target_channel_count
from emlib.training.detection_limits import follow_fullest_image
from emlib.training.shown_maps import shades, shown_maps, shown_pairs

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

    A network that wants a prior (`needs_prior`) gets the true mask with a share of its voxels turned to the other
    class, the same ones whenever the sample of this number comes: in training as published, and for the validation loss
    too, which is therefore too good; the evaluation of whole volumes has to guess the prior (`with_prior`).

    Attributes:
        channel_names: what the network's output channels are.
        out_channels: how many there are.
        pairs: for each channel that is shown the voxel pair that it compares, or None; see `Pictures`.
        loss_names: the parts of the loss, as in the table of the training.
        takes_auxiliary: the losses of weight above 0 that want an auxiliary output.
    """

    def __init__(self, recipe: Recipe) -> None:
        outputs = recipe.target.outputs
        self.recipe, self.needs_prior = recipe, False
        self.channel_names, self.pairs = channel_names(outputs), shown_pairs(outputs)
        self.out_channels = len(self.channel_names)
        for output in outputs:
            _check_losses(output)
        terms = [(o.name, output_channel_count(o), o.losses, target_channel_count(o)) for o in outputs]
        self.loss = CompositeLoss(terms, class_weights=class_weights)
        used = [(output.name, term.name) for output in outputs for term in output.losses if term.weight > 0]
        self.loss_names = [f"{name}/{loss}" for name, loss in used]
        self.takes_auxiliary = [loss for _, loss in used if takes_auxiliary(loss)]

    def follow_data(self, network: nn.Module, data: Any, options: dict[str, Any], fabric: Any, say: Callable) -> None:
        """Remember whether the network wants a prior; nothing of it depends on the data."""
        self.needs_prior = getattr(network, "needs_prior", False)

    def losses(self, model: Callable[..., Any], batch: dict[str, Any]) -> Losses:
        """Total, parts before their weights, and what the network said."""
        inputs = [batch["image"], self._prior(batch)] if self.needs_prior else [batch["image"]]
        said = model(*inputs)
        if isinstance(said, AuxiliaryOutput):
            prediction, said = AuxiliaryOutput(*(part.float() for part in said)), said.output
        else:
            prediction = said.float()
        total, parts = self.loss(prediction, batch["target"], batch.get("valid"))
        return total, parts, said

    def panels(self, network: nn.Module, batch: dict[str, Any], said: Any) -> tuple[torch.Tensor, ...]:
        """Image, target and prediction of the first sample, each with its channels first."""
        return batch["image"][0], *shown_maps(self.recipe.target.outputs, batch["target"][0], said[0])

    def _prior(self, batch: dict[str, Any]) -> torch.Tensor:
        """(n, 1, z, y, x): a first guess of the mask, the first channel of the target."""
        masks = zip(batch["target"][:, :1] > 0, batch["index"].tolist(), strict=True)
        seed = self.recipe.seed
        return torch.stack([noisy_prior(mask, generator=torch_generator(seed, "prior", i)) for mask, i in masks])


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
        return image, shades(labels), shades(_painted(found)[None])

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


def _check_losses(output: Any) -> None:
    """Refuse a loss of embeddings for maps, and the other way round."""
    given = "map"
    if getattr(output, "embedding", None) is not None:
        given = "embedding" if output.mask is None else "mask and embedding"
    for term in output.losses:
        if term.name in list_losses() and (wanted := loss_input(term.name)) != given:
            raise ValueError(
                f"The loss {term.name} is for the kind of output '{wanted}', but target.outputs '{output.name}' is of "
                f"the kind '{given}': its keys 'embedding' and 'mask' say so."
            )
