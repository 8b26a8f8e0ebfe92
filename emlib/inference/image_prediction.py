"""Predict flows and probabilities of an image of any size with networks that see a window at a time."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from emlib.data.image_files import read_image
from emlib.data.image_normalization import percentile_limits, scale_to_bytes
from emlib.inference.flow_predictor import CHANNELS, FlowPredictor
from emlib.inference.freed_memory import keep_freed_memory
from emlib.inference.image_windows import ImagePlan, image_window_weights, plan_image_windows
from emlib.progress import progress as show_progress

# From so many values on, pixels are normalised when they are read, so that there is no copy of the whole image.
LARGE = 1 << 27
Normalization = bool | Mapping[str, Any] | None


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
            two channels the third is 0.
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
    if batch_size is not None and (
        isinstance(batch_size, bool) or not hasattr(batch_size, "__index__") or batch_size < 1
    ):
        raise ValueError(f"batch_size must be a whole number of at least 1, or None, not {batch_size!r}.")
    pixels = image if isinstance(image, _NormalizedPixels) else as_pixels(image, normalize)
    plan = plan_image_windows(pixels.shape[:2], window, overlap)
    weights = torch.from_numpy(image_window_weights(blending, plan.window))
    predictor = FlowPredictor(model, plan.window, augment=augment, precision=precision, device=device)
    if predictor.in_channels not in (1, 3):
        raise ValueError(f"The network takes {predictor.in_channels} channels, but networks of 1 or 3 are used here.")
    shape = (CHANNELS, *plan.shape)
    result = np.empty(shape, np.float32) if out is None else out
    if result.shape != shape or result.dtype != np.float32:
        raise ValueError(f"out is {result.dtype} of shape {result.shape}, but float32 of shape {shape} was expected.")
    with contextlib.ExitStack() as stack:
        stack.enter_context(predictor.ready())
        if predictor.device.type == "cpu":
            stack.enter_context(keep_freed_memory())
        size = predictor.choose_batch_size() if batch_size is None else int(batch_size)
        for rows, values in _finished_rows(plan, pixels, predictor, weights, size, batch_size is None, progress):
            result[:, rows] = values
    return result


def as_pixels(image: np.ndarray | str | Path, normalize: Normalization = True) -> np.ndarray:
    """An image as uint8 0 ... 255, or float32 0 ... 1, of three channels; a large one is normalised as it is sliced.

    Args:
        image, normalize: as in `predict_flows`.

    Raises:
        TypeError, ValueError, OSError: as there.

    Example:
        >>> as_pixels(np.array([[0, 500, 1000]], dtype=np.uint16), {"high": 100.0})[0, :, 2]
        array([  0,   0, 255], dtype=uint8)
    """
    if isinstance(image, (str, Path)):
        image = read_image(image)
    if not isinstance(image, np.ndarray):
        raise TypeError(f"The image is a {type(image).__name__}, but an array or a path was expected.")
    if image.ndim not in (2, 3) or image.size == 0:
        raise ValueError(f"The image has shape {image.shape}, but pixels (y, x) or (y, x, c) were expected.")
    if image.ndim == 3 and image.shape[2] > 3:
        raise ValueError(
            f"The image has shape {image.shape}, but one to three channels (y, x, c) were expected; choose some."
        )
    if normalize:
        limits = percentile_limits(image, **(normalize if isinstance(normalize, Mapping) else {}))
        if image.size > LARGE:
            return _NormalizedPixels(image, limits)
        image = scale_to_bytes(image, limits)
    elif image.dtype != np.uint8:
        if image.dtype.kind != "f":
            raise TypeError(f"The image is {image.dtype}; without normalisation, uint8 or floats were expected.")
        # Written so that NaN is refused too.
        if not (image.min() >= 0 and image.max() <= 1):
            raise ValueError("The image has values outside [0, 1], or NaN; normalise it.")
        image = image.astype(np.float32, copy=False)
    return _three_channels(image)


def _three_channels(image: np.ndarray) -> np.ndarray:
    if image.ndim == 2 or image.shape[2] == 1:
        return np.broadcast_to(image.reshape(*image.shape[:2], 1), (*image.shape[:2], 3))
    if image.shape[2] == 2:
        return np.concatenate([image, np.zeros_like(image[..., :1])], axis=2)
    return image


def _finished_rows(
    plan: ImagePlan,
    pixels: np.ndarray,
    predictor: FlowPredictor,
    weights: torch.Tensor,
    batch_size: int,
    shrink: bool,
    progress: bool,
) -> Iterator[tuple[slice, np.ndarray]]:
    """Rows of the image and their values, float32 (3, rows, x), from top to bottom."""
    height, width = plan.window
    sums = torch.zeros((CHANNELS, height, plan.padded[1]))
    total = torch.zeros((height, plan.padded[1]))
    rows, columns = plan.positions
    bar = show_progress(range(len(plan)), label="predicting", unit="windows", show=progress)
    steps = iter(bar)
    for number, y in enumerate(rows):
        left = list(columns)
        while left:
            now = left[:batch_size]
            batch = torch.stack([_window(plan, pixels, y, x, predictor.in_channels) for x in now])
            try:
                predictions = predictor.predict(batch)
            except torch.OutOfMemoryError:
                if not shrink or batch_size == 1:
                    raise
                torch.cuda.empty_cache()
                batch_size = max(1, batch_size // 2)
                continue
            for prediction, x in zip(predictions, now, strict=True):
                sums[:, :, x : x + width] += prediction * weights
                total[:, x : x + width] += weights
                next(steps)
            left = left[len(now) :]
        done = (rows[number + 1] if number + 1 < len(rows) else y + height) - y
        values = sums[:, :done] / total[:done]
        values[2] = torch.sigmoid(values[2])
        first, last = max(0, y - plan.before[0]), min(plan.shape[0], y + done - plan.before[0])
        if last > first:
            inside = slice(first + plan.before[0] - y, last + plan.before[0] - y)
            across = slice(plan.before[1], plan.before[1] + plan.shape[1])
            yield slice(first, last), values[:, inside, across].numpy()
        for sheet in (sums, total[None]):
            sheet[:, : height - done] = sheet[:, done:].clone()
            sheet[:, height - done :] = 0
    # The bar is closed when its iterator ends.
    next(steps, None)


def _window(plan: ImagePlan, pixels: np.ndarray, y: int, x: int, channels: int) -> torch.Tensor:
    """float32 (c, y, x) in [0, 1]; what lies outside the image is 0."""
    window = torch.zeros((channels, *plan.window))
    starts = [place - before for place, before in zip((y, x), plan.before, strict=True)]
    box = tuple(
        slice(max(0, start), min(length, start + side))
        for start, length, side in zip(starts, plan.shape, plan.window, strict=True)
    )
    inner = tuple(slice(part.start - start, part.stop - start) for part, start in zip(box, starts, strict=True))
    content = torch.from_numpy(np.array(pixels[box])).permute(2, 0, 1).to(torch.float32)
    content = content / 255 if pixels.dtype == np.uint8 else content
    window[(slice(None), *inner)] = content if channels == 3 else content.mean(dim=0, keepdim=True)
    return window


class _NormalizedPixels:
    """A large image that is normalised where it is read."""

    dtype = np.dtype(np.uint8)

    def __init__(self, image: np.ndarray, limits: tuple[tuple[float, float], ...]) -> None:
        self.image, self.limits, self.shape = image, limits, (*image.shape[:2], 3)

    def __getitem__(self, box: tuple[slice, slice]) -> np.ndarray:
        return _three_channels(scale_to_bytes(self.image[box], self.limits))
