"""Tiles of an image as a network sees them: parts of the resized image that start where its coarsest map has points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from emlib.inference.image_tiles import ImageTiles, plan_image_tiles
from emlib.inference.image_windows import two_numbers
from emlib.models.mask_rcnn_images import resized_size


@dataclass(frozen=True)
class ScaledTiles:
    """Tiles in pixels of the image, and the same in pixels that the network sees.

    A tile is cut out of the resized image: resized by itself it would be a little larger or smaller than its part of
    the whole, and begin between two pixels. Only the pixels that a tile needs are read.

    Attributes:
        tiles: in pixels of the image, each as large as what the network sees of it, or up to two pixels larger.
        seen: in pixels that the network sees.
        smooth: whether images are shrunk with a filter that is as wide as the step.
    """

    tiles: ImageTiles
    seen: ImageTiles
    smooth: bool = True

    @property
    def scales(self) -> tuple[float, float]:
        """Pixels that the network sees for one of the image, along y and x."""
        return tuple(seen / own for seen, own in zip(self.seen.shape, self.tiles.shape, strict=True))

    def content(self, pixels: Any, number: int) -> torch.Tensor:
        """What the network sees of a tile.

        Args:
            pixels: (y, x, 3) uint8 or float32 from 0 to 1, sliced where needed.
            number: of the tile.

        Returns:
            (3, y, x) float32 from 0 to 1.
        """
        if self.seen.shape == self.tiles.shape:
            return _tensor(pixels[self.tiles.slices(number)])
        if len(self.seen) == 1:
            shrinks = self.smooth and min(self.seen.shape) < min(self.tiles.shape)
            whole = _tensor(pixels[self.tiles.slices(0)])[None]
            return functional.interpolate(
                whole, size=self.seen.shape, mode="bilinear", align_corners=False, antialias=shrinks
            )[0]
        parts, weights = [], []
        for part, length, scale in zip(self.seen.slices(number), self.tiles.shape, self.scales, strict=True):
            first, matrix = _resampling(part, length, scale, self.smooth)
            parts.append(slice(first, first + matrix.shape[1]))
            weights.append(matrix)
        return weights[0] @ _tensor(pixels[tuple(parts)]) @ weights[1].T

    def to_tile(self, number: int, boxes: np.ndarray) -> np.ndarray:
        """Boxes x0, y0, x1, y1 in what the network sees of a tile, in pixels of the tile."""
        if self.seen.shape == self.tiles.shape:
            return boxes
        (y, x), (scale_y, scale_x) = (one.start for one in self.seen.slices(number)), self.scales
        top, left = (one.start for one in self.tiles.slices(number))
        moved = (boxes + np.array((x, y, x, y), float)) / (scale_x, scale_y, scale_x, scale_y)
        return (moved - (left, top, left, top)).astype(np.float32)


def plan_scaled_tiles(
    model: nn.Module, shape: Sequence[int], window: int | Sequence[int] | None, overlap: float, scale: float | None
) -> ScaledTiles:
    """Lay tiles over an image for a network.

    Args:
        model: `tile_grid` says where tiles may start, in pixels that it sees; without it, anywhere.
        shape: (y, x) of the image.
        window, overlap: in pixels of the image, see `plan_image_tiles`.
        scale: pixels that the network sees for one of the image; None: it sees tiles as they are.

    Raises:
        TypeError: a scale for a network that does not resize; otherwise as `plan_image_tiles`.
        ValueError: no scale, but tiles that the network would enlarge; a scale that is none; otherwise as
            `plan_image_tiles`.

    Example:
        >>> from emlib.models import build_model
        >>> plan = plan_scaled_tiles(build_model("mask_rcnn_tiny"), (600, 1000), 400, 100, 1.5)
        >>> plan.seen.shape, plan.seen.starts, plan.tiles.starts
        ((900, 1500), ((0, 320), (0, 448, 896, 960)), ((0, 213), (0, 298, 597, 640)))
    """
    grid = getattr(model, "tile_grid", 1)
    tiles = plan_image_tiles(shape, window, overlap, grid=grid)
    own = getattr(model, "test_short_sides", ())
    if scale is None:
        if own and len(tiles) > 1:
            whole = resized_size(tiles.shape, own[0], model.long_side)[0] / tiles.shape[0]
            raise ValueError(
                f"The network resizes what it sees to a short side of {own[0]}, and would so enlarge every tile; give "
                f"scale, for example {whole:.4g}, by which it would resize this image as a whole."
            )
        return ScaledTiles(tiles, tiles)
    number = isinstance(scale, int | float | np.integer | np.floating) and not isinstance(scale, bool)
    if not number or not 0 < scale < np.inf:
        raise ValueError(f"scale is {scale!r}, but a number above 0 was expected.")
    if not hasattr(model, "test_short_sides"):
        raise TypeError(f"scale is for networks that resize their images; {type(model).__name__} does not.")
    smooth = getattr(getattr(model, "rules", None), "smooth_shrinking", True)
    size = resized_size(tiles.shape, max(1, round(min(tiles.shape) * scale)), None)
    if size == tiles.shape:
        return ScaledTiles(tiles, tiles, smooth)
    factors = [seen / length for seen, length in zip(size, tiles.shape, strict=True)]
    if window is not None:
        asked = two_numbers("window", window)
        window = tuple(max(1, round(side * factor)) for side, factor in zip(asked, factors, strict=True))
        if isinstance(overlap, int | np.integer):
            overlap = min(ceil(overlap * max(factors)), min(window) - 1)
    seen = plan_image_tiles(size, window, overlap, grid=grid)
    # Rounded outwards, so that the tiles at the end of what is seen reach the end of the image.
    starts = tuple(
        tuple(floor(start / factor) for start in each) for each, factor in zip(seen.starts, factors, strict=True)
    )
    sides = tuple(
        min(ceil(side / factor), length) for side, factor, length in zip(seen.sides, factors, tiles.shape, strict=True)
    )
    return ScaledTiles(ImageTiles(tiles.shape, sides, starts), seen, smooth)


def _resampling(part: slice, length: int, scale: float, smooth: bool) -> tuple[int, torch.Tensor]:
    """The first pixel that is needed of a side, and what each pixel from there on gives to each that is seen.

    Pixels give the less the farther their centres are; where the image ends, the others give more. As
    `torch.nn.functional.interpolate` has it for a whole image.
    """
    reach = max(1.0, 1 / scale) if smooth else 1.0
    centers = (np.arange(part.start, part.stop) + 0.5) / scale
    # With a reach of one, centres before the first pixel's see just that.
    centers = np.clip(centers, 0.5, length - 0.5) if reach == 1 else centers
    first = max(0, floor(centers[0] - reach))
    last = min(length, ceil(centers[-1] + reach))
    weights = np.clip(1 - np.abs(np.arange(first, last) + 0.5 - centers[:, None]) / reach, 0, None)
    return first, torch.from_numpy((weights / weights.sum(1, keepdims=True)).astype(np.float32))


def _tensor(content: np.ndarray) -> torch.Tensor:
    """float32 (c, y, x) in [0, 1]."""
    tensor = torch.from_numpy(np.array(content)).permute(2, 0, 1).to(torch.float32)
    return tensor / 255 if content.dtype == np.uint8 else tensor
