"""Apply a network as a recipe says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn

from emlib.inference.volume_prediction import predict_volume
from emlib.recipe import Recipe
from emlib.targets import channel_names, channel_pairs
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

    Their names are stored, and test-time augmentation turns affinities back along their offsets.

    Args:
        model: network with the output channels of the recipe's targets.
        volume: (z, y, x) image.
        recipe: its sections `inference` and `target` are used.
        out, device, intensity_range, progress: as in `predict_volume`.

    Returns:
        (c, z, y, x): an array, or the Volume written to `out`.

    Raises:
        ValueError: test-time augmentation of a target that is a flow (option 7), and as `predict_volume`.
    """
    flows = [output.name for output in recipe.target.outputs if (output.option or "").startswith("7")]
    if flows and recipe.inference.augment is not None:
        raise ValueError(
            f"The target '{flows[0]}' is a flow, and augmentation of volumes does not turn its arrows; set "
            "inference.augment to null."
        )
    settings, names = recipe.inference.model_dump(), channel_names(recipe.target.outputs)
    pairs = channel_pairs(recipe.target.outputs)
    offsets = None if all(pair is None for pair in pairs) else pairs
    return predict_volume(
        model, volume, **settings, channels=names, offsets=offsets, out=out, device=device,
        intensity_range=intensity_range, progress=progress,
    )  # fmt: skip
