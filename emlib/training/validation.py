"""What is measured while training: the loss on fixed samples, and the score of whole-volume inference."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from emlib.randomness import derive_seed, random_state, restore_random_state, seed_everything
from emlib.recipe import ImageRecipe, Recipe
from emlib.recipe_schema import EvaluationRecipe
from emlib.targets import channel_pairs
from emlib.training.samples import ValidationSamples, make_loader

Evaluation = Callable[[nn.Module, int], dict[str, float]]


def validation_loss(fabric: Any, network: nn.Module, task: Any, samples: ValidationSamples) -> float:
    """Mean loss over all validation samples, shared out among the processes.

    What a loss draws at random (the regions that Mask R-CNN looks at) is the same each time, and nothing else is
    changed by it. A network that wants a prior gets the true mask with some errors, as in training, so that its loss
    here is better than with a prior that is guessed.

    Args:
        fabric: the launched Fabric.
        network: not wrapped for distributed training, so that processes may have unequal numbers of samples.
        task: as in training, see `training_task`.
        samples: see `ValidationSamples`.
    """
    recipe = samples.recipe
    indices = range(fabric.global_rank, len(samples), fabric.world_size)
    total = torch.zeros((), dtype=torch.float64, device=fabric.device)
    batches = make_loader(samples, indices, batch_size=recipe.training.batch_size) if indices else ()

    def apply(*inputs: Any) -> Any:
        with fabric.autocast():
            return network(*inputs)

    before = random_state()
    network.eval()
    with torch.no_grad():
        for number, batch in enumerate(batches):
            seed_everything(derive_seed(recipe.seed, "validation loss", number, fabric.global_rank))
            batch = fabric.to_device(batch)
            value, _, _ = task.losses(apply, batch)
            total += value.double() * len(batch["image"])
    network.train()
    restore_random_state(before)
    return float(fabric.all_reduce(total, reduce_op="sum")) / len(samples)


def measure(evaluate: Evaluation, network: nn.Module, iteration: int) -> dict[str, float]:
    """Call an evaluation with the network in evaluation mode, and check what it returns.

    Raises:
        ValueError: something else than figures by name.
    """
    network.eval()
    with torch.no_grad():
        figures = evaluate(network, iteration)
    network.train()
    if not isinstance(figures, Mapping) or not figures or "validation_loss" in figures:
        raise ValueError(
            f"evaluate returned {figures!r}, but names (other than validation_loss) and figures were expected."
        )
    return {str(name): float(value) for name, value in figures.items()}


def volume_evaluation(recipe: Recipe, data: Any) -> Evaluation:
    """The evaluation that a recipe describes, on its validation split.

    Objects among background (`data.structure` mitochondria) are scored by average precision. Neurites fill the space,
    and are scored by how they divide it: adapted Rand error and variation of information. With `evaluation.measure`
    "foreground" only what is object at all is compared, voxel by voxel.

    Args:
        recipe: sections data, target, inference, postprocessing and evaluation.
        data: what `train` was given or prepared; its split "validation" is used.

    Returns:
        A function of (network, iteration) that predicts the whole split, segments it, and returns ap75, ap and ap50;
        or rand_f_score (1 - adapted Rand error), voi_split and voi_merge (bits); or foreground_f1, precision and
        recall. The first is better when higher.
    """
    scores = _partition_scores if recipe.data.structure == "neurites" else _object_scores
    if recipe.evaluation.measure == "foreground":
        scores = _foreground_scores

    def evaluate(network: nn.Module, _iteration: int) -> dict[str, float]:
        from emlib.inference import predict_from_recipe, prediction_channels
        from emlib.postprocessing import SEGMENTATION_METHODS, segment
        from emlib.training.prior import with_prior

        image, labels = data.open("validation")
        outputs, post = recipe.target.outputs, recipe.postprocessing
        prediction = predict_from_recipe(with_prior(network, recipe), image, recipe, progress=False)
        parameters, method = post.parameters(), SEGMENTATION_METHODS.get(post.method)
        if method is not None and "offsets" in method.parameters:
            pairs = [pair for pair in channel_pairs(outputs) if pair is not None and pair.group in method.channels]
            parameters["offsets"] = [pair.offset for pair in pairs]
        segmentation = segment(prediction, post.method, channels=prediction_channels(recipe), **parameters)
        return scores(segmentation, labels[:], recipe.evaluation)

    return evaluate


def image_evaluation(recipe: ImageRecipe, data: Any) -> Evaluation:
    """The evaluation that a recipe of images describes, on its validation split.

    Args:
        recipe: sections data, target, inference, postprocessing and evaluation.
        data: what `train` was given or prepared; its split "validation" is used.

    Returns:
        A function of (network, iteration) that segments every image and returns, at the first of the recipe's
        thresholds, f1 (mean over the images), median_f1, precision and recall.
    """

    def evaluate(network: nn.Module, _iteration: int) -> dict[str, float]:
        from emlib.evaluation import cell_f1
        from emlib.inference import predict_image_from_recipe

        settings, scores = recipe.evaluation, []
        for image, truth in data.open("validation"):
            # A batch that followed the free memory could round differently from run to run.
            options = {"batch_size": recipe.inference.batch_size or recipe.training.batch_size, "progress": False}
            found = predict_image_from_recipe(network, np.asarray(image), recipe, normalize=None, **options)
            scores.append(
                cell_f1(
                    found,
                    truth,
                    threshold=settings.thresholds[0],
                    remove_border=settings.remove_border,
                    tile=settings.tile,
                )
            )
        if not scores:
            raise ValueError("The split 'validation' has no image; set training.evaluate_every to 0, or divide anew.")
        f1, precision, recall = (
            np.array([getattr(score, name) for score in scores]) for name in ("f1", "precision", "recall")
        )
        means = {"f1": f1.mean(), "median_f1": np.median(f1), "precision": precision.mean(), "recall": recall.mean()}
        return {name: float(value) for name, value in means.items()}

    return evaluate


def _object_scores(segmentation: np.ndarray, truth: np.ndarray, settings: EvaluationRecipe) -> dict[str, float]:
    from emlib.evaluation import average_precision

    scores = average_precision(
        segmentation,
        truth,
        rules=settings.rules,
        size_limits=settings.size_limits,
        drop_truth_below=settings.drop_truth_below,
    )
    return {"ap75": float(scores.ap75), "ap": float(scores.ap), "ap50": float(scores.ap50)}


def _foreground_scores(segmentation: np.ndarray, truth: np.ndarray, _settings: EvaluationRecipe) -> dict[str, float]:
    from emlib.evaluation import foreground_precision_recall

    scores = foreground_precision_recall(segmentation, truth)
    return {"foreground_f1": scores.f1, "precision": scores.precision, "recall": scores.recall}


def _partition_scores(segmentation: np.ndarray, truth: np.ndarray, settings: EvaluationRecipe) -> dict[str, float]:
    from emlib.evaluation import adapted_rand_error, ignore_border, overlap_table, variation_of_information

    if any(settings.border):
        sections, distance = settings.border
        truth = ignore_border(truth, distance, sections)
    table = overlap_table(segmentation, truth)
    rand, voi = adapted_rand_error(table, convention=settings.convention), variation_of_information(table)
    return {"rand_f_score": 1 - float(rand.error), "voi_split": float(voi.split), "voi_merge": float(voi.merge)}
