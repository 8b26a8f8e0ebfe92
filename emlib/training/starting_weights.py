"""What a training starts from: fresh weights, pretrained ones, or its own last checkpoint."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import nn

from emlib.models.mask_rcnn_weights import load_backbone_weights
from emlib.models.mediar_weights import load_encoder_weights
from emlib.recipe_schema import ModelRecipe
from emlib.training.checkpoint import read_checkpoint
from emlib.training.weights import load_weights


def start_weights(
    network: nn.Module, latest: Path | None, settings: ModelRecipe, say: Callable[[str], None]
) -> dict[str, Any] | None:
    """Load what the training goes on from, or what its recipe starts from.

    Args:
        network: with fresh weights; changed in place.
        latest: the training's own newest checkpoint, which comes before pretrained weights.
        settings: the recipe's section.
        say: where the table of the layers that matched is printed.

    Returns:
        The report on pretrained weights (see `WeightReport`), also that of a run that is resumed; None without.

    Raises:
        FileNotFoundError, ValueError: as `load_weights`, `emlib.models.mediar_weights.load_encoder_weights` and
            `emlib.models.load_backbone_weights`.
    """
    if latest is not None:
        load_weights(network, latest)
        return read_checkpoint(latest).get("pretrained")
    if (file := getattr(settings, "encoder_weights", None)) is not None:
        if not hasattr(network, "encoder"):
            raise ValueError(f"model.encoder_weights is set, but {type(network).__name__} has no encoder of that kind.")
        load_encoder_weights(network.encoder, file)
        say(f"weights of {file} taken for the encoder")
    if (file := getattr(settings, "backbone_weights", None)) is not None:
        load_backbone_weights(network, file)
        say(f"weights of {file} taken for the backbone")
    if settings.pretrained is None:
        return None
    report = load_weights(network, settings.pretrained, match=settings.pretrained_match)
    say(str(report))
    return report.to_dict()
