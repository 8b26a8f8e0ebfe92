"""What a network's encoder makes of whole images: one vector each, near to each other for images that look alike."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from emlib.inference.image_pixels import Normalization, as_pixels
from emlib.inference.image_windows import plan_image_windows
from emlib.progress import progress as show_progress

# Windows wait for others of their shape; of all shapes together at most this many batches.
WAITING_BATCHES = 4


def embed_images(
    model: nn.Module,
    images: Sequence[Any],
    *,
    window: int | Sequence[int] = 512,
    normalize: Normalization = None,
    batch_size: int = 8,
    device: str | torch.device | None = None,
    progress: bool = True,
) -> np.ndarray:
    """The mean over the image of the last feature map of `model.encoder`, for each image.

    From such vectors of its pre-trained encoder MEDIAR found out which images are of one modality (see
    `emlib.data.discover_modalities`). Which layer it took, and how it was averaged, is not published; with its encoder
    this gives 512 figures an image.

    An image that is larger than the window is seen in several windows, next to each other and the last one moved back
    to the image's end, and the mean of their vectors is taken. A smaller one is surrounded by as few zeros as the
    encoder needs, not by as many as the window has room for.

    Args:
        model: a network of images whose attribute `encoder` returns feature maps (n, d, y, x), or a list of such with
            the coarsest last, as `mediar_former`. What it does to its input before the encoder is done here too.
        images: arrays (y, x) or (y, x, c) of one to three channels, paths of pictures, or pairs (image, labels) such as
            `PreparedImages.open("train")` has.
        window: pixels, one number or (y, x), each a multiple of the network's `min_divisor`.
        normalize: None takes images as they are, as training does with prepared ones: uint8, seen as 0 to 1, or float
            in [0, 1]. True, or a mapping of arguments of `normalize_percentiles`, for images that are not prepared.
        batch_size: windows per forward pass.
        device: where to run; None is where the network is.
        progress: show a bar.

    Returns:
        float32 (images, d).

    Raises:
        TypeError: a network without encoder, or something that is no image.
        ValueError: no image, an image or window of another form, or features that are not finite.
        OSError: a picture is missing or damaged.

    Example:
        >>> class Halving(nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.encoder = nn.AvgPool2d(2)
        ...     def forward(self, batch):
        ...         return self.encoder(batch)
        >>> embed_images(Halving(), [np.full((4, 6, 3), 51, np.uint8)], progress=False).round(2)
        array([[0.2, 0.2, 0.2]], dtype=float32)
    """
    divisor = _check_network(model)
    largest = _checked_window(window, divisor)
    if isinstance(batch_size, bool) or not hasattr(batch_size, "__index__") or batch_size < 1:
        raise ValueError(f"batch_size must be a whole number of at least 1, not {batch_size!r}.")
    if isinstance(images, np.ndarray) and images.ndim < 4:
        raise TypeError("images is one array, but several images were expected; put it into a list.")
    if not len(images):
        raise ValueError("There is no image to embed.")
    sums: list[Any] = [0.0] * len(images)
    counts = np.zeros(len(images), np.int64)
    with _ready(model, device) as home:
        shown = show_progress(range(len(images)), label="embedding", unit="image", show=progress)
        windows = _windows(images, shown, largest, divisor, getattr(model, "in_channels", 3), normalize)
        for numbers, batch in _batches(windows, int(batch_size)):
            for number, vector in zip(numbers, _mean_features(model, batch.to(home)), strict=True):
                if not np.isfinite(vector).all():
                    raise ValueError(f"The features of image {number} are not finite.")
                sums[number] = sums[number] + vector
                counts[number] += 1
    return (np.stack(sums) / counts[:, None]).astype(np.float32)


def _check_network(model: nn.Module) -> tuple[int, int]:
    if not isinstance(getattr(model, "encoder", None), nn.Module):
        raise TypeError(f"{type(model).__name__} has no encoder, but a network such as mediar_former was expected.")
    divisor = tuple(getattr(model, "min_divisor", (1, 1)))
    if len(divisor) != 2:
        raise TypeError(f"{type(model).__name__} is a network of volumes, but one of images was expected.")
    return divisor


def _checked_window(window: Any, divisor: tuple[int, int]) -> tuple[int, int]:
    sides = plan_image_windows((1, 1), window, 0.0).window
    if any(side % step for side, step in zip(sides, divisor, strict=True)):
        raise ValueError(f"window is {window!r}, but multiples of {divisor} (y, x) were expected.")
    return sides


@contextlib.contextmanager
def _ready(model: nn.Module, device: str | torch.device | None) -> Iterator[torch.device]:
    """The network on its device and in evaluation mode; each module's mode is put back afterwards."""
    parameter = next(iter([*model.parameters(), *model.buffers()]), None)
    home = torch.device("cpu") if parameter is None else parameter.device
    home = home if device is None else torch.device(device)
    modes = [(module, module.training) for module in model.modules()]
    model.to(home).eval()
    try:
        yield home
    finally:
        for module, training in modes:
            module.training = training


def _windows(
    images: Sequence[Any],
    numbers: Iterator[int],
    largest: tuple[int, int],
    divisor: tuple[int, int],
    channels: int,
    normalize: Normalization,
) -> Iterator[tuple[int, torch.Tensor]]:
    """Number of the image and window float32 (c, y, x) in [0, 1], for each window of each image."""
    for number in numbers:
        item = images[number]
        try:
            pixels = as_pixels(item[0] if isinstance(item, tuple) else item, normalize)
        except (TypeError, ValueError) as error:
            raise type(error)(f"Image {number}: {error}") from None
        fitting = [-(-length // step) * step for length, step in zip(pixels.shape[:2], divisor, strict=True)]
        sides = [min(side, fit) for side, fit in zip(largest, fitting, strict=True)]
        plan = plan_image_windows(pixels.shape[:2], sides, 0.0)
        for y in plan.positions[0]:
            for x in plan.positions[1]:
                part = np.array(pixels[y : y + sides[0], x : x + sides[1]])
                content = torch.from_numpy(part).permute(2, 0, 1).to(torch.float32)
                content = content / 255 if part.dtype == np.uint8 else content
                content = content if channels == 3 else content.mean(dim=0, keepdim=True)
                above, left = plan.before
                below, right = sides[0] - part.shape[0] - above, sides[1] - part.shape[1] - left
                yield number, functional.pad(content, (left, right, above, below))


def _batches(windows: Iterator[tuple[int, torch.Tensor]], batch_size: int) -> Iterator[tuple[list[int], torch.Tensor]]:
    """Windows of one shape together, with the numbers of their images."""
    waiting: dict[torch.Size, list[tuple[int, torch.Tensor]]] = {}

    def take(shape: torch.Size) -> tuple[list[int], torch.Tensor]:
        numbers, parts = zip(*waiting.pop(shape), strict=True)
        return list(numbers), torch.stack(parts)

    for number, part in windows:
        waiting.setdefault(part.shape, []).append((number, part))
        if len(waiting[part.shape]) == batch_size:
            yield take(part.shape)
        elif sum(len(group) for group in waiting.values()) >= WAITING_BATCHES * batch_size:
            yield take(max(waiting, key=lambda shape: len(waiting[shape])))
    for shape in list(waiting):
        yield take(shape)


class _EncoderIsDone(Exception):
    """Carries the encoder's output out of the network, whose decoder need not run."""

    def __init__(self, features: Any) -> None:
        super().__init__("the encoder is done")
        self.features = features


def _stop_after(_module: nn.Module, _inputs: object, features: Any) -> None:
    raise _EncoderIsDone(features)


def _mean_features(model: nn.Module, batch: torch.Tensor) -> np.ndarray:
    """float64 (n, d): the last feature map's means."""
    handle = model.encoder.register_forward_hook(_stop_after)
    try:
        with torch.inference_mode():
            model(batch)
        raise TypeError(f"{type(model).__name__} does not use its encoder, so there are no features to take.")
    except _EncoderIsDone as done:
        features = done.features
    finally:
        handle.remove()
    last = features[-1] if isinstance(features, (list, tuple)) and features else features
    if not isinstance(last, torch.Tensor) or last.ndim != 4 or len(last) != len(batch):
        raise TypeError(f"The encoder of {type(model).__name__} does not end in a feature map (n, d, y, x).")
    return last.double().mean(dim=(2, 3)).cpu().numpy()
