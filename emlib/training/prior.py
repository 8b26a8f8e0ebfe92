"""Where the prior of a trained network comes from once the truth is not known."""

from __future__ import annotations

import torch
from torch import nn

from emlib.inference import PriorFrom
from emlib.recipe import Recipe
from emlib.training.checkpoint import load_recipe_of
from emlib.training.weights import load_model

SIGNED = "22"  # a target that is above 0 inside objects and -1 outside


def with_prior(network: nn.Module, recipe: Recipe) -> nn.Module:
    """A network as it is applied: one that wants a prior joined with that of `inference.prior`, any other as it is.

    The prior is the first mask that the other network puts out, where it is above 0.5; of a network that learned
    distances to a skeleton, where the distance is above 0.

    Raises:
        ValueError: the network wants a prior and `inference.prior` is not set, or the other way round; or the network
            there has no mask, or wants a prior itself.
        FileNotFoundError: there is no such checkpoint.
    """
    path, needed = recipe.inference.prior, getattr(network, "needs_prior", False)
    if not needed:
        if path is not None:
            raise ValueError(f"inference.prior is set, but model.name is '{recipe.model.name}', which wants no prior.")
        return network
    if path is None:
        raise ValueError(
            f"model.name is '{recipe.model.name}', which wants a prior of the mask: set inference.prior to the folder "
            "of a training whose network guesses it from the image."
        )
    parameter = next(network.parameters(), torch.empty(0))
    first, there = load_model(path, device=parameter.device), load_recipe_of(path)
    if getattr(first, "needs_prior", False):
        raise ValueError(f"inference.prior is {path}, whose network, '{there.model.name}', wants a prior itself.")
    for channel, name in enumerate(first.channel_names):
        for output in there.target.outputs:
            is_mask = (output.option or "").startswith("0") and output.name == name
            if is_mask or (output.embedding is not None and output.mask == name):
                return PriorFrom(network, first, channel=channel)
            if output.option == SIGNED and output.name == name:
                return PriorFrom(network, first, channel=channel, threshold=0.0)
    raise ValueError(
        f"inference.prior is {path}, whose network puts out no mask, but {', '.join(first.channel_names)}."
    )
