"""Images on their way into a detector: checked, standardised, resized, and put together into one batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.nn import functional

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
LEAST, MOST = -1.0, 2.0
# Batches are padded to multiples of this: as often as four stages and a stem halve the size.
PADDED = 32


@dataclass(frozen=True)
class ImageBatch:
    """Images as the network sees them.

    Attributes:
        tensors: (n, c, y, x) float32, standardised, padded with 0 at the far ends.
        sizes: (y, x) of each image, resized, before the padding.
        scales: resized size / original size of each image, along y and x.
    """

    tensors: torch.Tensor
    sizes: tuple[tuple[int, int], ...]
    scales: tuple[tuple[float, float], ...]

    def to_network(self, number: int, boxes: torch.Tensor) -> torch.Tensor:
        """Boxes x0, y0, x1, y1 of an original image, in pixels of the resized one."""
        return boxes * self._factors(number, boxes)

    def to_image(self, number: int, boxes: torch.Tensor) -> torch.Tensor:
        """Boxes of the resized image, in pixels of the original one."""
        return boxes / self._factors(number, boxes)

    def _factors(self, number: int, like: torch.Tensor) -> torch.Tensor:
        y, x = self.scales[number]
        return torch.tensor((x, y, x, y), dtype=like.dtype, device=like.device)


def check_images(name: str, images: Sequence[torch.Tensor] | torch.Tensor, channels: int) -> list[torch.Tensor]:
    """The images as a list, after a look at each.

    Args:
        name: of the network, for the sentence of an error.
        images: (c, y, x) each, or one batch (n, c, y, x).
        channels: that the network was built for.

    Raises:
        TypeError: something else than tensors of floating point numbers.
        ValueError: another shape or number of channels, NaN or infinity, or values far outside 0 to 1.
    """
    images = list(images)
    if not images:
        raise ValueError(f"{name} was given no image.")
    for number, image in enumerate(images):
        where = f"{name}: image {number}"
        if not isinstance(image, torch.Tensor) or not image.is_floating_point():
            kind = image.dtype if isinstance(image, torch.Tensor) else type(image).__name__
            raise TypeError(f"{where} is {kind}, but a tensor of floating point numbers from 0 to 1 was expected.")
        if image.ndim != 3 or 0 in image.shape:
            raise ValueError(f"{where} has shape {tuple(image.shape)}, but (channels, y, x) was expected.")
        if image.shape[0] != channels:
            raise ValueError(f"{where} has {image.shape[0]} channels, but the network was built for {channels}.")
    # One look at the values of all, since each waits for the device.
    extremes = torch.stack([torch.stack(torch.aminmax(image)) for image in images]).float().tolist()
    for number, (low, high) in enumerate(extremes):
        if not (low >= LEAST and high <= MOST):
            raise ValueError(
                f"{name}: image {number} has values from {low:g} to {high:g}, but numbers from 0 to 1 were expected."
            )
    return images


def resized_size(size: tuple[int, int], short_side: int, long_side: int | None) -> tuple[int, int]:
    """Size (y, x) at which the shorter side has the wanted length, or the longer one its largest.

    Example:
        >>> resized_size((1000, 1000), 1200, 1500), resized_size((500, 1000), 1200, 1500)
        ((1200, 1200), (750, 1500))
    """
    scale = short_side / min(size)
    if long_side is not None:
        scale = min(scale, long_side / max(size))
    return max(1, int(size[0] * scale + 0.5)), max(1, int(size[1] * scale + 0.5))


def prepare_images(
    images: Sequence[torch.Tensor],
    *,
    mean: Sequence[float],
    std: Sequence[float],
    short_sides: Sequence[int] = (),
    long_side: int | None = None,
    smooth_shrinking: bool = True,
    divisor: int = PADDED,
) -> ImageBatch:
    """Standardise, resize and pad images.

    Args:
        images: (c, y, x) each, 0-1.
        mean, std: of each channel; 0 after the standardisation is the mean.
        short_sides: lengths of which one is drawn from torch's global generator for each image; empty: no resizing.
        long_side: at most this long.
        smooth_shrinking: shrink with a filter that is as wide as the step.
        divisor: the batch is padded to a multiple of it.

    Example:
        >>> batch = prepare_images([torch.zeros(1, 20, 30)], mean=[0.5], std=[0.5], short_sides=[40])
        >>> batch.tensors.shape, batch.sizes, batch.to_network(0, torch.tensor([[0.0, 0, 30, 20]])).tolist()
        (torch.Size([1, 1, 64, 64]), ((40, 60),), [[0.0, 0.0, 60.0, 40.0]])
    """
    resized, scales = [], []
    for image in images:
        size, image = tuple(image.shape[1:]), image.float()
        center = torch.tensor(tuple(mean), device=image.device)[:, None, None]
        image = (image - center) / torch.tensor(tuple(std), device=image.device)[:, None, None]
        if short_sides:
            # A draw only where there is a choice: a single size leaves the generator as it is.
            place = int(torch.randint(len(short_sides), (1,))) if len(short_sides) > 1 else 0
            wanted = resized_size(size, short_sides[place], long_side)
            if wanted != size:
                shrinks = smooth_shrinking and min(wanted) < min(size)
                image = functional.interpolate(
                    image[None], size=wanted, mode="bilinear", align_corners=False, antialias=shrinks
                )[0]
        resized.append(image)
        scales.append((image.shape[1] / size[0], image.shape[2] / size[1]))
    sizes = tuple(tuple(image.shape[1:]) for image in resized)
    height, width = (-(-max(size[axis] for size in sizes) // divisor) * divisor for axis in (0, 1))
    batch = resized[0].new_zeros((len(resized), resized[0].shape[0], height, width))
    for number, image in enumerate(resized):
        batch[number, :, : image.shape[1], : image.shape[2]] = image
    return ImageBatch(batch, sizes, tuple(scales))
