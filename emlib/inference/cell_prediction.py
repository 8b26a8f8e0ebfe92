"""From an image to its cells in one call."""

from __future__ import annotations

import difflib
import inspect
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from emlib.atomic import explain_write_error
from emlib.formats.memory_size import memory_in_bytes
from emlib.inference.image_output import CHANNELS, FLOWS
from emlib.inference.image_pixels import Normalization, as_pixels
from emlib.inference.image_prediction import predict_classes, predict_flows
from emlib.inference.image_rows import ImageRows
from emlib.inference.instance_recipe import paint_image_from_recipe
from emlib.inference.label_output import check_label_path, write_blocks, write_labels
from emlib.recipe import ImageRecipe, InstanceRecipe

PREDICTORS = {"masks_from_flows": predict_flows, "cells_from_classes": predict_classes}
# What prediction and segmentation of a pixel take at once: three floats, and what the method's function says.
BYTES_PER_PIXEL = {"masks_from_flows": 3 * 4 + 24 + 40, "cells_from_classes": 3 * 4 + 12}


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
    method: str = "masks_from_flows",
    memory: int | str = "2GiB",
    block: int | Sequence[int] | None = None,
    halo: int = 256,
    out: str | os.PathLike | None = None,
    details: bool = False,
    progress: bool = True,
    **parameters: Any,
) -> Any:
    """The cells of an image, or of each of several: `predict_flows`, then `emlib.postprocessing.masks_from_flows`.

    Or, of a network that predicts classes, `predict_classes` and `emlib.postprocessing.cells_from_classes`.

    Args:
        model: a network such as `load_model` returns, or several: an ensemble.
        image: array (y, x) or (y, x, c), the path of a picture, or a list of such. What does not fit in memory may be a
            memory map, a Volume, a zarr array, or the path of a .zarr, .npy or TIFF: see `emlib.data.open_image`.
        window, overlap, blending, augment, batch_size, precision, device, normalize, progress: as in `predict_flows`.
        method: "masks_from_flows" for networks of flows, "cells_from_classes" for networks of classes.
        memory: where prediction and segmentation would need more, flows are predicted some rows at a time and segmented
            block by block (`masks_from_flows_blocks`), without seams; numbering then follows the blocks. Classes are
            kept in a temporary file and segmented whole, in about 12 bytes a pixel. The network's own needs, and labels
            that are returned as an array, come on top.
        block: pixels of a block, one number or (y, x), to segment flows block by block whatever the image's size; None
            chooses by `memory`.
        halo: pixels that a block sees beyond its border. The result does not depend on the blocks if it is twice the
            width of the widest cell plus 16; a warning says how many cells were too wide.
        out: .zarr or .tif (.tiff: compressed tiles, BigTIFF where needed) to write the labels to, whole or not at all;
            what was there before is replaced. For one image.
        details: return a `CellPrediction` or `ClassPrediction` instead of labels alone; it is made in memory, whatever
            its size.
        parameters: of the method, such as `flow_threshold` or `min_size`.

    Returns:
        Labels (y, x) uint32, 0 = background; for a list, a list of these; with `out`, a Volume that reads them from
        there. (uint64 where a file of labels could hold 2**32 cells.)

    Raises:
        TypeError, ValueError: a setting, an image or a network's output is wrong; the sentence says what.
        OSError: a picture is missing or damaged, or the disk is full; nothing half-written is left at `out`.

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
    if out is not None and (details or isinstance(image, (list, tuple))):
        raise ValueError("out takes the labels of one image, without details.")
    if isinstance(image, (list, tuple)):
        more = {"normalize": normalize, "method": method, "memory": memory, "block": block, "halo": halo}
        return [predict_image(model, one, details=details, **settings, **more, **parameters) for one in image]
    path = None if out is None else check_label_path(out, image)
    _check_parameters(method, parameters)
    if isinstance(halo, bool) or not hasattr(halo, "__index__") or halo < 0:
        raise ValueError(f"halo must be a whole number of pixels, at least 0, not {halo!r}.")
    if block is not None and (details or method != "masks_from_flows"):
        raise ValueError(f"block={block!r} is for labels from flows, without details.")
    pixels = as_pixels(image, normalize)
    height, width = pixels.shape[:2]
    voxel_size = getattr(pixels, "voxel_size", None)
    from emlib.postprocessing import cells_from_classes, masks_from_flows

    too_large = height * width * BYTES_PER_PIXEL[method] > budget and not details
    if method == "masks_from_flows" and not details and (too_large or block is not None):
        from emlib.inference.streamed_cells import choose_block, segment_rows

        rows = ImageRows(FLOWS, model, pixels, normalize=None, **settings)
        block = choose_block(width, rows.plan.window[0], halo, budget) if block is None else block
        blocks = {"block": block, "halo": halo, "voxel_size": voxel_size}
        return write_blocks(path, lambda place: segment_rows(rows, place, **blocks, **parameters), voxel_size)
    if too_large:
        labels = _classes_on_disk(model, pixels, settings, parameters)
    else:
        prediction = PREDICTORS[method](model, pixels, normalize=None, **settings)
        if method == "cells_from_classes":
            labels = cells_from_classes(prediction, **parameters)
        else:
            labels = masks_from_flows(prediction[:2], prediction[2], **parameters)
        if details and method == "cells_from_classes":
            return ClassPrediction(labels, prediction)
        if details:
            return CellPrediction(labels, prediction[:2], prediction[2])
    return labels if path is None else write_labels(path, labels, voxel_size)


def predict_image_from_recipe(
    model: nn.Module | Sequence[nn.Module], image: Any, recipe: ImageRecipe, **changes: Any
) -> Any:
    """`predict_image` with the recipe's sections data (normalisation), target, inference and postprocessing.

    Args:
        model, image: as in `predict_image`.
        recipe: of images; one of detected objects finds them with `predict_instances` and paints them.
        changes: further arguments of `predict_image` (or `predict_instances`, and `out`), which come before those of
            the recipe.

    Raises:
        TypeError: a recipe of volumes.
        TypeError, ValueError, OSError: as `predict_image`.
    """
    if not isinstance(recipe, ImageRecipe):
        raise TypeError(f"The recipe {recipe.track} is one of volumes; predict_from_recipe applies it.")
    if isinstance(recipe, InstanceRecipe):
        if isinstance(image, list | tuple):
            return [paint_image_from_recipe(model, one, recipe, **changes) for one in image]
        return paint_image_from_recipe(model, image, recipe, **changes)
    settings = recipe.inference.model_dump() | {"normalize": recipe.data.normalization.model_dump()}
    settings |= {"method": recipe.postprocessing.method} | recipe.postprocessing.parameters()
    settings |= {} if recipe.target.has_classes else {"rule": recipe.target.rule}
    return predict_image(model, image, **(settings | changes))


def _check_parameters(method: str, parameters: dict[str, Any]) -> None:
    """Refuse misspelt names before the network runs."""
    from emlib import postprocessing

    if method not in PREDICTORS:
        raise ValueError(f"method is {method!r}, but {' or '.join(map(repr, PREDICTORS))} was expected.")
    items = inspect.signature(getattr(postprocessing, method)).parameters.items()
    known = [name for name, item in items if item.kind is item.KEYWORD_ONLY]
    for name in parameters:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            raise TypeError(
                f"predict_image has no parameter {name!r}"
                + (f"; did you mean {near[0]!r}?" if near else f"; {method} has {', '.join(known)}.")
            )


def _classes_on_disk(model: Any, pixels: Any, settings: dict[str, Any], parameters: dict[str, Any]) -> np.ndarray:
    from emlib.postprocessing import cells_from_classes

    shape = (CHANNELS, *pixels.shape[:2])
    with tempfile.TemporaryDirectory(prefix="emlib-") as folder:
        prediction = _map_of_file(Path(folder) / "prediction.npy", shape)
        predict_classes(model, pixels, normalize=None, out=prediction, **settings)
        prediction.flush()
        return cells_from_classes(prediction, **parameters)


def _map_of_file(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    """A float32 array in a new file for which there is room: without, writing to the map would end the process."""
    try:
        values = np.lib.format.open_memmap(path, "w+", np.float32, shape)
        if hasattr(os, "posix_fallocate"):
            with open(path, "r+b") as file:
                os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    except OSError as error:
        raise explain_write_error(error, path) from error
    return values


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


@dataclass(frozen=True)
class ClassPrediction:
    """What was predicted for an image by a network of classes.

    Attributes:
        labels: (y, x) uint32, 0 = background.
        probabilities: (3, y, x) float32, of background, interior and boundary.
    """

    labels: np.ndarray
    probabilities: np.ndarray
