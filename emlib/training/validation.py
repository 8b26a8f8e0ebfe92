"""What is measured while training: the loss on fixed samples, and the score of whole-volume inference."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from emlib.losses import CompositeLoss
from emlib.recipe import Recipe
from emlib.targets import channel_names
from emlib.training.samples import ValidationSamples, make_loader

Evaluation = Callable[[nn.Module, int], dict[str, float]]


def validation_loss(fabric: Any, network: nn.Module, loss: CompositeLoss, samples: ValidationSamples) -> float:
    """Mean loss over all validation samples, shared out among the processes.

    Args:
        fabric: the launched Fabric.
        network: not wrapped for distributed training, so that processes may have unequal numbers of samples.
        loss: as in training.
        samples: see `ValidationSamples`.
    """
    indices = range(fabric.global_rank, len(samples), fabric.world_size)
    total = torch.zeros((), dtype=torch.float64, device=fabric.device)
    batches = make_loader(samples, indices, batch_size=samples.recipe.training.batch_size) if indices else ()
    network.eval()
    with torch.no_grad():
        for batch in batches:
            batch = fabric.to_device(batch)
            with fabric.autocast():
                prediction = network(batch["image"])
            value, _ = loss(prediction.float(), batch["target"])
            total += value.double() * len(batch["image"])
    network.train()
    return float(fabric.all_reduce(total, reduce_op="sum")) / len(samples)


def volume_evaluation(recipe: Recipe, data: Any) -> Evaluation:
    """The evaluation that a recipe describes, on its validation split.

    Args:
        recipe: sections target, inference, postprocessing and evaluation.
        data: what `train` was given or prepared; its split "validation" is used.

    Returns:
        A function of (network, iteration) that predicts the whole split, segments it, and returns ap75, ap and ap50.
    """

    def evaluate(network: nn.Module, _iteration: int) -> dict[str, float]:
        from emlib.evaluation import average_precision
        from emlib.inference import predict_from_recipe
        from emlib.postprocessing import segment

        image, labels = data.open("validation")
        names = channel_names(recipe.target.outputs)
        prediction = predict_from_recipe(network, image, recipe, progress=False)
        post, scoring = recipe.postprocessing, recipe.evaluation
        segmentation = segment(prediction, post.method, channels=names, **post.parameters())
        scores = average_precision(
            segmentation,
            labels[:],
            rules=scoring.rules,
            size_limits=scoring.size_limits,
            drop_truth_below=scoring.drop_truth_below,
        )
        return {"ap75": float(scores.ap75), "ap": float(scores.ap), "ap50": float(scores.ap50)}

    return evaluate
