"""The score of a network that detects objects, measured while it trains."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from torch import nn

from emlib.recipe import InstanceRecipe
from emlib.training.detection_limits import count_objects

# COCO's own number of results of an image, at which many images of nuclei are capped.
USUAL_LIMIT = 100


def instance_evaluation(recipe: InstanceRecipe, data: Any) -> Callable[[nn.Module, int], dict[str, float]]:
    """The evaluation that a recipe of detected objects describes, on its validation split.

    Args:
        recipe: sections inference, postprocessing and evaluation.
        data: what `train` was given or prepared; its split "validation" is used.

    Returns:
        A function of (network, iteration) that finds the objects of every image and returns ap, ap50 and ap75 of
        their masks with all results counted; ap50_100, with the best 100 of an image; and f1, of the label images that
        are painted of them, at the first of the recipe's thresholds (mean over the images).

    Raises:
        ValueError: no image, or no object in any of them.
    """
    images = data.open("validation")
    if not len(images):
        raise ValueError("The split 'validation' has no image; set training.evaluate_every to 0, or divide anew.")
    if not count_objects(images).any():
        raise ValueError("The images of the split 'validation' have no object, so nothing can be scored on them.")

    def evaluate(network: nn.Module, _iteration: int) -> dict[str, float]:
        from emlib.evaluation import coco_evaluate, coco_truth_from_labels, match_instances
        from emlib.inference import instances_as_coco, labels_from_instances, predict_instances_from_recipe

        truth, results, f1 = {}, [], []
        for number, (image, labels) in enumerate(images, start=1):
            found = predict_instances_from_recipe(network, np.asarray(image), recipe, normalize=None, progress=False)
            painted = labels_from_instances(found, **recipe.postprocessing.parameters())
            truth[number] = np.asarray(labels)
            results += instances_as_coco(found, number)
            f1.append(match_instances(painted, truth[number], threshold=recipe.evaluation.thresholds[0]).f1)
        coco = coco_truth_from_labels(truth)
        everything = coco_evaluate(coco, results, max_dets=None)
        return {
            "ap": everything["AP"],
            "ap50": everything["AP50"],
            "ap75": everything["AP75"],
            "ap50_100": coco_evaluate(coco, results, max_dets=USUAL_LIMIT)["AP50"],
            "f1": float(np.mean(f1)),
        }

    return evaluate
