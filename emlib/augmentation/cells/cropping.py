"""A random window of an image and its labels, zoomed, turned and flipped together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from emlib.augmentation.draws import Draws
from emlib.recipe_schema import CellAugmentationRecipe


@dataclass(frozen=True)
class CropGeometry:
    """Where a sample comes from and how it is turned.

    Attributes:
        start, size: the box (y, x) in the image.
        factor: zoom; 0.5 shows everything at half its size.
        flip: axis (0 for y, 1 for x) that is reversed, or None.
        turns: by 90 degrees, after flipping.
    """

    start: tuple[int, int]
    size: tuple[int, int]
    factor: float = 1.0
    flip: int | None = None
    turns: int = 0


def draw_crop(
    shape: Sequence[int], window: Sequence[int], settings: CellAugmentationRecipe, draws: Draws
) -> CropGeometry:
    """Draw a place, a zoom and an orientation.

    MEDIAR zooms the whole image, pads it and crops; here only the box that the window will show is read, which has
    the same distribution. Of an image that is smaller than the box all is shown.

    Args:
        shape: (y, x) of the image.
        window: (y, x) of the sample; square if `settings.rotate` is to be used.
        settings: the recipe's section.
        draws: a fixed number of draws, whatever comes of them.
    """
    zoom = draws.chance(settings.zoom.probability)
    factor = draws.uniform(settings.zoom.low, settings.zoom.high)
    factor = factor if zoom else 1.0
    flips, axis = draws.chance(settings.flip.probability), draws.integer(0, 2)
    turned, turns = draws.chance(settings.rotate.probability), draws.integer(1, 4)
    turns = turns if turned else 0
    # Turned by 90 degrees, a window of unequal sides comes from a box of exchanged sides.
    sides = tuple(window)[::-1] if turns % 2 else tuple(window)
    size = tuple(min(length, math.ceil(side / factor)) for length, side in zip(shape, sides, strict=True))
    start = tuple(draws.integer(0, length - box + 1) for length, box in zip(shape, size, strict=True))
    return CropGeometry(start, size, factor, axis if flips else None, turns)


def take_crop(
    image: Any, labels: Any, geometry: CropGeometry, window: Sequence[int]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Read the box, and bring it into the form of the window; where the image ends, both are 0.

    Args:
        image: (y, x, c) uint8, an array or anything that is sliced like one.
        labels: (y, x) ids below 2**63.
        geometry: what was drawn.
        window: (y, x) of the result.

    Returns:
        image float32 (c, y, x) in [0, 1] and labels int64 (y, x). The image is averaged over the area that a pixel
        covers, labels are those of the nearest pixel.
    """
    box = tuple(slice(first, first + length) for first, length in zip(geometry.start, geometry.size, strict=True))
    pixels = torch.from_numpy(np.array(image[box])).permute(2, 0, 1).to(torch.float32).div_(255)
    ids = torch.from_numpy(np.ascontiguousarray(labels[box]).astype(np.int64))
    if geometry.factor != 1.0:
        new = [max(1, round(length * geometry.factor)) for length in geometry.size]
        pixels = functional.interpolate(pixels[None], size=new, mode="area")[0]
        rows, columns = (_nearest(length, wanted) for length, wanted in zip(geometry.size, new, strict=True))
        ids = ids[rows][:, columns]
    if geometry.flip is not None:
        pixels, ids = pixels.flip(geometry.flip + 1), ids.flip(geometry.flip)
    if geometry.turns:
        pixels, ids = (torch.rot90(part, geometry.turns, (-2, -1)) for part in (pixels, ids))
    return _fit(pixels, window), _fit(ids, window)


def _nearest(length: int, wanted: int) -> torch.Tensor:
    """For each new pixel the old one in which its centre lies."""
    return ((torch.arange(wanted) + 0.5) * (length / wanted)).floor().long().clamp_(max=length - 1)


def _fit(array: torch.Tensor, window: Sequence[int]) -> torch.Tensor:
    """Cut to the window, or pad with zeros, the array in the middle."""
    for axis, wanted in ((-2, window[0]), (-1, window[1])):
        array = array.narrow(axis, 0, min(wanted, array.shape[axis]))
    missing = [wanted - length for wanted, length in zip(window, array.shape[-2:], strict=True)]
    (above, left), (below, right) = [m // 2 for m in missing], [m - m // 2 for m in missing]
    return functional.pad(array, (left, right, above, below)) if any(missing) else array.contiguous()
