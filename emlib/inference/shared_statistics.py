"""Group normalisation with the statistics of a whole image, for networks that see it tile by tile."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from functools import partial
from math import floor

import numpy as np
import torch
from torch import nn

from emlib.inference.image_tiles import ImageTiles
from emlib.models.mask_rcnn_images import PADDED, ImageBatch

# Pixels that the network looks at together for this, at most: 600 MB for a tiny backbone, 2 GB for a large one.
MOST_PIXELS = 4_000_000

Core = tuple[tuple[int, int, int, int, int], ...]


@contextlib.contextmanager
def shared_statistics(model: nn.Module, tiles: ImageTiles, look: Callable[[list[int]], ImageBatch]) -> Iterator[None]:
    """Inside the block a network normalises all tiles alike, as if it looked at the whole image at once.

    Group normalisation (Wu and He, "Group normalization", ECCV 2018) divides by the variance of all that the network
    sees: every tile is seen in a light of its own, and an empty one in a glaring one. Here the statistics are those of
    all tiles together, each without what its neighbors see better; of a large image, of some tiles spread over it.

    Args:
        model: a network; if it has no `backbone` with group normalisation, or there is but one tile, nothing is done.
        tiles: of the image, in pixels that the network sees.
        look: from the numbers of tiles to what the backbone takes.

    Example:
        >>> from emlib.inference.image_tiles import plan_image_tiles
        >>> from emlib.models.mask_rcnn_images import prepare_images
        >>> network, image = nn.Module(), torch.rand(2, 64, 96)
        >>> network.backbone, tiles = nn.GroupNorm(1, 2), plan_image_tiles((64, 96), 64, 32)
        >>> def look(numbers):
        ...     return prepare_images([image[(..., *tiles.slices(one))] for one in numbers], mean=[0, 0], std=[1, 1])
        >>> whole, tile = network.backbone(image[None])[..., 32:], look([1]).tensors
        >>> alone = network.backbone(tile)
        >>> with shared_statistics(network, tiles, look):
        ...     together = network.backbone(tile)
        >>> torch.allclose(alone, whole, atol=1e-5), torch.allclose(together, whole, atol=1e-5)
        (False, True)
    """
    backbone = getattr(model, "backbone", None)
    layers = [] if backbone is None else [one for one in backbone.modules() if isinstance(one, nn.GroupNorm)]
    if not layers or len(tiles) == 1:
        yield
        return
    training = model.training
    try:
        model.eval()
        first = look([0]).tensors
        most = max(1, MOST_PIXELS // first[0, 0].numel())
        numbers = np.linspace(0, len(tiles) - 1, min(len(tiles), most)).round().astype(int).tolist()
        batch = look(numbers)
        cores = [_core_in(batch, tiles, number) for number in numbers]
        for layer in layers:
            layer.forward = partial(_measure, layer, cores)
        with torch.no_grad():
            backbone(batch.tensors)
        model.train(training)
        yield
    finally:
        model.train(training)
        for layer in layers:
            layer.__dict__.pop("forward", None)


def _core_in(batch: ImageBatch, tiles: ImageTiles, number: int) -> Core:
    """Where a tile begins, its core begins and ends, and the tile ends with what pads it, along y and x; and the side
    of the batch. What pads the image belongs to a core."""
    sides = []
    for core, part, end, side in zip(
        tiles.core(number), tiles.slices(number), tiles.shape, batch.tensors.shape[2:], strict=True
    ):
        padded = part.start - (part.start - part.stop) // PADDED * PADDED
        stop = padded if part.stop == end else part.start + core.stop
        sides.append((part.start, part.start + core.start, stop, padded, side))
    return tuple(sides)


def _measure(layer: nn.GroupNorm, cores: list[Core], features: torch.Tensor) -> torch.Tensor:
    """Take the statistics of what lies in the cores, and normalise by them from now on."""
    count, total, owns = 0, 0.0, []
    for one, core in zip(features, cores, strict=True):
        parts, own = [], []
        for (*places, side), points in zip(core, one.shape[1:], strict=True):
            # Rounded in the whole image, so that neighbors agree where one core ends and the next begins.
            first, low, high, end = (floor(place * points / side + 0.5) for place in places)
            parts.append(slice(low - first, high - first))
            own.append(end - first)
        inside = one[:, parts[0], parts[1]].reshape(layer.num_groups, -1).double()
        count += inside.shape[1]
        total = total + torch.stack([inside.sum(1), inside.square().sum(1)])
        owns.append(own)
    mean, square = total / max(count, 1)
    factor = torch.rsqrt((square - mean.square()).clamp(min=0) + layer.eps)
    each = layer.num_channels // layer.num_groups
    factor, shift = (one.repeat_interleave(each).float() for one in (factor, -mean * factor))
    if layer.affine:
        factor, shift = factor * layer.weight, shift * layer.weight + layer.bias
    layer.forward = partial(_normalize, factor[:, None, None], shift[:, None, None])
    features = layer.forward(features)
    # A smaller tile has larger ones beside it in this batch only: what lies behind it does not exist, and is 0 for a
    # convolution, as it will be when the tile is alone.
    for one, (height, width) in zip(features, owns, strict=True):
        one[:, height:], one[:, :, width:] = 0, 0
    return features


def _normalize(factor: torch.Tensor, shift: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
    return torch.addcmul(shift.to(features.dtype), features, factor.to(features.dtype))
