"""Apply a network as a recipe says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn

from emlib.inference.nearest_prototype import NearestPrototypeMask
from emlib.inference.volume_prediction import predict_volume
from emlib.recipe import Recipe
from emlib.targets import channel_names, channel_pairs, output_channel_count
from emlib.volume import Volume


def predict_from_recipe(
    model: nn.Module,
    volume: Volume | np.ndarray | str | Path,
    recipe: Recipe,
    *,
    out: str | Path | None = None,
    device: str | torch.device | None = None,
    intensity_range: tuple[float, float] | None = None,
    progress: bool = True,
) -> np.ndarray | Volume:
    """`predict_volume` with the settings of the recipe's section `inference` and the channels of its targets.

    Their names are stored, and test-time augmentation turns affinities back along their offsets. Targets that run from
    -1 to 1 (option 22) are stored from 0 on, as published. With `inference.classify` an embedding and its mask become
    one probability, under the mask's name.

    Args:
        model: network with the output channels of the recipe's targets. One that wants a prior has to be joined with
            one that guesses it, see `PriorFrom` and `emlib.training.with_prior`.
        volume: (z, y, x) image.
        recipe: its sections `inference` and `target` are used.
        out, device, intensity_range, progress: as in `predict_volume`.

    Returns:
        (c, z, y, x): an array, or the Volume written to `out`; its channels are `prediction_channels(recipe)`.

    Raises:
        ValueError: test-time augmentation of a target that is a flow (option 7) or an embedding, an embedding as uint8,
            nothing that `inference.classify` could classify, no prior, and as `predict_volume`.
    """
    outputs, settings = recipe.target.outputs, recipe.inference.settings()
    if getattr(model, "needs_prior", False):
        raise ValueError(
            f"The network {type(model).__name__} wants a prior beside the image: set inference.prior, and join it with "
            "the network that guesses by emlib.training.with_prior(network, recipe)."
        )
    flows = [output.name for output in outputs if (output.option or "").startswith("7")]
    if flows and recipe.inference.augment is not None:
        raise ValueError(
            f"The target '{flows[0]}' is a flow, and augmentation of volumes does not turn its arrows; set "
            "inference.augment to null."
        )
    names = prediction_channels(recipe)
    if recipe.inference.classify is not None:
        _, mask, embedding = _mask_and_embedding(recipe)
        model = NearestPrototypeMask(model, mask=mask, embedding=embedding)
        return predict_volume(
            model, volume, **settings, channels=names, out=out, device=device, intensity_range=intensity_range,
            progress=progress,
        )  # fmt: skip
    _check_embeddings(recipe)
    pairs = channel_pairs(outputs)
    offsets = None if all(pair is None for pair in pairs) else pairs
    signed = [o.option == "22" for o in outputs for _ in range(output_channel_count(o))]
    return predict_volume(
        model, volume, **settings, channels=names, offsets=offsets, out=out, device=device,
        intensity_range=intensity_range, progress=progress, non_negative=[i for i, flag in enumerate(signed) if flag],
    )  # fmt: skip


def prediction_channels(recipe: Recipe) -> list[str]:
    """Names of the channels of `predict_from_recipe`: those of the targets, or of what `inference.classify` makes.

    Raises:
        ValueError: nothing that `inference.classify` could classify.

    Example:
        >>> from emlib.recipe import load_recipe
        >>> prediction_channels(load_recipe("1_mitochondria_contours"))
        ['mask', 'contour']
    """
    if recipe.inference.classify is not None:
        return [_mask_and_embedding(recipe)[0]]
    return channel_names(recipe.target.outputs)


def _mask_and_embedding(recipe: Recipe) -> tuple[str, int, slice]:
    """Name and channel of the first embedding's mask, and the channels of its vectors."""
    first = 0
    for output in recipe.target.outputs:
        count = output_channel_count(output)
        if output.embedding is not None and output.mask is not None:
            return output.mask, first, slice(first + 1, first + count)
        first += count
    raise ValueError(
        f"inference.classify is '{recipe.inference.classify}', but no target of the recipe is an embedding with a mask."
    )


def _check_embeddings(recipe: Recipe) -> None:
    names, settings = [output.name for output in recipe.target.outputs if output.embedding], recipe.inference
    if names and settings.dtype == "uint8":
        raise ValueError(f"The target '{names[0]}' is an embedding, which uint8 cannot hold; set inference.dtype.")
    if names and settings.augment is not None:
        raise ValueError(
            f"The target '{names[0]}' is an embedding, and nothing ties the vectors of a turned window to those of the "
            "window as it is; set inference.augment to null."
        )
