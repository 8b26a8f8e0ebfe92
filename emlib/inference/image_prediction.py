"""Predict flows or classes of an image of any size with networks that see a window at a time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from emlib.inference.image_output import CLASSES, FLOWS, ImageOutput
from emlib.inference.image_pixels import Normalization
from emlib.inference.image_rows import ImageRows


def predict_flows(
    model: nn.Module | Sequence[nn.Module],
    image: np.ndarray | str | Path,
    *,
    window: int | Sequence[int] = 512,
    overlap: float = 0.6,
    blending: str = "gaussian",
    augment: str | None = None,
    batch_size: int | None = None,
    precision: str = "32",
    device: str | torch.device | None = None,
    normalize: Normalization = True,
    out: np.ndarray | None = None,
    progress: bool = True,
) -> np.ndarray:
    """Slide a window over an image and blend what one or several networks say where windows overlap.

    Sums are kept for one row of windows only, so that beyond the image and the result hardly any memory is used.

    Args:
        model: a network from float32 (n, c, y, x) in [0, 1] to (n, 3, y, x), flow along y and x in pixels per step and
            probability; several are an ensemble, whose flows and logits are averaged.
        image: (y, x) or (y, x, c) of one to three channels, or the path of a picture. Grey is repeated three times; of
            two channels the third is 0. Memory maps, Volumes, zarr arrays and large files are read some rows at a time,
            see `emlib.data.open_image`.
        window: pixels, one number or (y, x); smaller images are surrounded by zeros.
        overlap: share of a window that its neighbour covers too.
        blending: "gaussian" or "constant", see `image_window_weights`.
        augment: test-time augmentation: None, "published" or "all", see `flow_symmetries`.
        batch_size: windows per forward pass; None takes as many as fit into the free memory, and fewer if it was an
            error on a GPU.
        precision: "32", "16" or "bf16" (autocast; sums are always float32).
        device: where to run; None is where the (first) network is.
        normalize: True maps percentiles 0 and 99.5 to 0 and 1; a mapping holds other arguments of
            `normalize_percentiles`; False or None takes the image as it is, uint8 or float in [0, 1].
        out: float32 (3, y, x) to write to, for example a memory map; None makes one.
        progress: show how many windows are done.

    Returns:
        float32 (3, y, x): flow along y, flow along x, probability.

    Raises:
        TypeError, ValueError: a setting, the image or a network's output is wrong; the sentence says what.
        OSError: the picture is missing or damaged.

    Example:
        >>> class Still(nn.Module):
        ...     def forward(self, batch):
        ...         return torch.cat([torch.zeros_like(batch[:, :2]), batch[:, :1]], dim=1)
        >>> image = np.full((20, 30), 51, np.uint8)
        >>> prediction = predict_flows(Still(), image, window=16, normalize=None, progress=False)
        >>> prediction.shape, prediction[2].round(3).max()
        ((3, 20, 30), np.float32(0.2))
    """
    return _predicted(
        FLOWS, model, image, window=window, overlap=overlap, blending=blending, augment=augment, batch_size=batch_size,
        precision=precision, device=device, normalize=normalize, out=out, progress=progress,
    )  # fmt: skip


def predict_classes(
    model: nn.Module | Sequence[nn.Module],
    image: np.ndarray | str | Path,
    *,
    window: int | Sequence[int] = 256,
    overlap: float = 0.25,
    blending: str = "constant",
    augment: str | None = None,
    batch_size: int | None = None,
    precision: str = "32",
    device: str | torch.device | None = None,
    normalize: Normalization = True,
    out: np.ndarray | None = None,
    progress: bool = True,
) -> np.ndarray:
    """`predict_flows` for networks that predict the classes background, interior and boundary.

    Probabilities are averaged as they are, over windows, turned images and networks. The defaults are those of the
    baselines of the cell segmentation challenge, which average what the network says before its softmax instead.

    Args:
        model: a network from float32 (n, c, y, x) in [0, 1] to (n, 3, y, x), probabilities that add up to 1 in every
            pixel, such as `build_model("monai_unet", dimensions=2, output="softmax", ...)`; several are an ensemble.
        image, window, overlap, blending, augment, batch_size, precision, device, normalize, out, progress: as in
            `predict_flows`.

    Returns:
        float32 (3, y, x): probabilities of background, interior and boundary.

    Raises:
        TypeError, ValueError, OSError: as `predict_flows`; ValueError also for probabilities that do not add up to 1.

    Example:
        >>> class Bright(nn.Module):
        ...     def forward(self, batch):
        ...         return torch.cat([1 - batch[:, :1], batch[:, :1], torch.zeros_like(batch[:, :1])], dim=1)
        >>> image = np.full((20, 30), 51, np.uint8)
        >>> predict_classes(Bright(), image, window=16, normalize=None, progress=False)[:, 0, 0].round(2)
        array([0.8, 0.2, 0. ], dtype=float32)
    """
    return _predicted(
        CLASSES, model, image, window=window, overlap=overlap, blending=blending, augment=augment,
        batch_size=batch_size, precision=precision, device=device, normalize=normalize, out=out, progress=progress,
    )  # fmt: skip


def _predicted(output: ImageOutput, model: Any, image: Any, *, out: np.ndarray | None, **settings: Any) -> np.ndarray:
    rows = ImageRows(output, model, image, **settings)
    result = np.empty(rows.shape, np.float32) if out is None else out
    if result.shape != rows.shape or result.dtype != np.float32:
        raise ValueError(
            f"out is {result.dtype} of shape {result.shape}, but float32 of shape {rows.shape} was expected."
        )
    for part, values in rows:
        result[:, part] = values
    return result
