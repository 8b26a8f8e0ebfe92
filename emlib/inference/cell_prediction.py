"""From an image to its cells in one call."""

from __future__ import annotations

import difflib
import inspect
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from emlib.inference.flow_predictor import CHANNELS
from emlib.inference.image_prediction import Normalization, as_pixels, predict_flows
from emlib.inference.memory_budget import memory_in_bytes
from emlib.recipe import ImageRecipe

# What prediction and segmentation of a pixel take at once: three floats, and what `masks_from_flows` says.
BYTES_PER_PIXEL = 3 * 4 + 24 + 40


def predict_image(
    model: nn.Module | Sequence[nn.Module],
    image: Any,
    *,
    window: int | Sequence[int] = 512,
    overlap: float = 0.6,
    blending: str = "gaussian",
    augment: str | None = None,
    batch_size: int | None = None,
    precision: str = "32",
    device: str | torch.device | None = None,
    normalize: Normalization = True,
    memory: int | str = "2GiB",
    details: bool = False,
    progress: bool = True,
    **parameters: Any,
) -> Any:
    """The cells of an image, or of each of several: `predict_flows`, then `emlib.postprocessing.masks_from_flows`.

    Args:
        model: a network such as `load_model` returns, or several: an ensemble.
        image: array (y, x) or (y, x, c), the path of a picture, or a list of such.
        window, overlap, blending, augment, batch_size, precision, device, normalize, progress: as in `predict_flows`.
        memory: where prediction and segmentation would need more, the prediction is kept in a temporary file and
            segmented block by block (`masks_from_flows_blocks`), without seams; numbering then follows the blocks.
        details: return a `CellPrediction` instead of labels alone; it is made in memory, whatever its size.
        parameters: of `masks_from_flows`, such as `flow_threshold` or `min_size`.

    Returns:
        Labels (y, x) uint32, 0 = background; for a list, a list of these.

    Raises:
        TypeError, ValueError: a setting, an image or a network's output is wrong; the sentence says what.
        OSError: a picture is missing or damaged, or there is no room for the temporary file.

    Example:
        >>> class Bright(nn.Module):
        ...     def forward(self, batch):
        ...         return torch.cat([torch.zeros_like(batch[:, :2]), batch[:, :1]], dim=1)
        >>> image = np.zeros((32, 32), np.uint8)
        >>> image[4:9, 4:9] = 255
        >>> labels = predict_image(Bright(), image, window=32, flow_threshold=None, peak=0, min_size=1, progress=False)
        >>> labels.shape, labels.dtype, int((labels > 0).sum())
        ((32, 32), dtype('uint32'), 25)
    """
    settings = {
        "window": window,
        "overlap": overlap,
        "blending": blending,
        "augment": augment,
        "batch_size": batch_size,
        "precision": precision,
        "device": device,
        "progress": progress,
    }
    budget = memory_in_bytes(memory)
    if isinstance(image, (list, tuple)):
        more = {"normalize": normalize, "memory": memory, "details": details}
        return [predict_image(model, one, **settings, **more, **parameters) for one in image]
    pixels = as_pixels(image, normalize)
    height, width = pixels.shape[:2]
    _check_parameters(parameters)
    from emlib.postprocessing import masks_from_flows

    if height * width * BYTES_PER_PIXEL > budget and not details:
        return _predict_on_disk(model, pixels, settings, parameters)
    prediction = predict_flows(model, pixels, normalize=None, **settings)
    labels = masks_from_flows(prediction[:2], prediction[2], **parameters)
    return CellPrediction(labels, prediction[:2], prediction[2]) if details else labels


def predict_image_from_recipe(
    model: nn.Module | Sequence[nn.Module], image: Any, recipe: ImageRecipe, **changes: Any
) -> Any:
    """`predict_image` with the recipe's sections data (normalisation), target, inference and postprocessing.

    Args:
        model, image: as in `predict_image`.
        recipe: of images.
        changes: further arguments of `predict_image`, which come before those of the recipe.

    Raises:
        TypeError: a recipe of volumes.
        TypeError, ValueError, OSError: as `predict_image`.
    """
    if not isinstance(recipe, ImageRecipe):
        raise TypeError(f"The recipe {recipe.track} is one of volumes; predict_from_recipe applies it.")
    settings = recipe.inference.model_dump() | {"normalize": recipe.data.normalization.model_dump()}
    settings |= recipe.postprocessing.parameters() | {"rule": recipe.target.rule}
    return predict_image(model, image, **(settings | changes))


def _check_parameters(parameters: dict[str, Any]) -> None:
    """Refuse misspelt names before the network runs."""
    from emlib.postprocessing import masks_from_flows

    known = [
        name for name, item in inspect.signature(masks_from_flows).parameters.items() if item.kind is item.KEYWORD_ONLY
    ]
    for name in parameters:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            raise TypeError(
                f"predict_image has no parameter {name!r}"
                + (f"; did you mean {near[0]!r}?" if near else f"; masks_from_flows has {', '.join(known)}.")
            )


def _predict_on_disk(
    model: Any, pixels: np.ndarray, settings: dict[str, Any], parameters: dict[str, Any]
) -> np.ndarray:
    from emlib.postprocessing import masks_from_flows_blocks
    from emlib.volume import open_volume

    shape = (CHANNELS, *pixels.shape[:2])
    with tempfile.TemporaryDirectory(prefix="emlib-") as folder:
        prediction = np.lib.format.open_memmap(Path(folder) / "prediction.npy", "w+", np.float32, shape)
        predict_flows(model, pixels, normalize=None, out=prediction, **settings)
        prediction.flush()
        found = masks_from_flows_blocks(
            prediction[:2], prediction[2], Path(folder) / "cells.zarr", show=settings["progress"], **parameters
        )
        return open_volume(found.path)[:]


@dataclass(frozen=True)
class CellPrediction:
    """What was predicted for an image.

    Attributes:
        labels: (y, x) uint32, 0 = background.
        flow: (2, y, x) float32, along y and x.
        probability: (y, x) float32.
    """

    labels: np.ndarray
    flow: np.ndarray
    probability: np.ndarray
