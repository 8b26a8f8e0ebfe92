"""The optimizer that a recipe names, with weight decay on weights only."""

from __future__ import annotations

import torch
from torch import nn

from emlib.recipe_schema import OptimizerRecipe


def build_optimizer(model: nn.Module, settings: OptimizerRecipe) -> torch.optim.Optimizer:
    """Optimizer over the trained parameters of `model`.

    Vectors (biases, and the scales of normalisation layers) get no weight decay: pulling them to zero shifts the
    activations without making the function simpler. Frozen parameters are left out.

    Raises:
        ValueError: the model has no parameter to train.

    Example:
        >>> optimizer = build_optimizer(nn.Linear(2, 2), OptimizerRecipe(name="sgd", weight_decay=0.1))
        >>> [(len(group["params"]), group["weight_decay"]) for group in optimizer.param_groups]
        [(1, 0.1), (1, 0.0)]
    """
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not trained:
        raise ValueError(f"{type(model).__name__} has no parameter that is trained.")
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": settings.weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if settings.name == "sgd":
        return torch.optim.SGD(groups, lr=settings.learning_rate, momentum=settings.momentum)
    kinds = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
    options = {"betas": settings.betas, "amsgrad": settings.amsgrad}
    return kinds[settings.name](groups, lr=settings.learning_rate, **options)
