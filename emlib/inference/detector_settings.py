"""Settings of a detector that hold while it looks at one image, and are as before afterwards."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from torch import nn

from emlib.inference.image_tiles import ImageTiles
from emlib.models.mask_rcnn_images import resized_size


def tile_grid(model: nn.Module, scale: float | None) -> float:
    """Pixels of the image between two places where a tile may start, so that the network looks at the same points.

    Args:
        model: says it by `tile_grid`, in pixels that it sees; 1 if it does not.
        scale: pixels that it sees for one of the image; checked by `resizing`.
    """
    grid = getattr(model, "tile_grid", 1)
    return grid / scale if is_scale(scale) and grid > 1 else grid


def is_scale(scale: object) -> bool:
    """Whether it is a number above 0."""
    number = isinstance(scale, int | float | np.integer | np.floating) and not isinstance(scale, bool)
    return number and 0 < scale < np.inf


@contextlib.contextmanager
def resizing(model: nn.Module, tiles: ImageTiles, scale: float | None) -> Iterator[Callable[[Sequence[int]], None]]:
    """Inside the block the network resizes every tile by `scale`; refuses what would change the size of the objects.

    Yields:
        A function to be told the size (y, x) of the tiles that come next.

    Raises:
        TypeError: a scale for a network that does not resize.
        ValueError: no scale, but tiles that the network would enlarge; a scale that is none.
    """
    own = getattr(model, "test_short_sides", ())
    if scale is None:
        if own and len(tiles) > 1:
            whole = resized_size(tiles.shape, own[0], model.long_side)[0] / tiles.shape[0]
            raise ValueError(
                f"The network resizes what it sees to a short side of {own[0]}, and would so enlarge every tile; give "
                f"scale, for example {whole:.4g}, by which it would resize this image as a whole."
            )
        yield lambda _size: None
        return
    if not is_scale(scale):
        raise ValueError(f"scale is {scale!r}, but a number above 0 was expected.")
    if not hasattr(model, "test_short_sides"):
        raise TypeError(f"scale is for networks that resize their images; {type(model).__name__} does not.")
    kept = model.test_short_sides, model.long_side

    def resize_for(size: Sequence[int]) -> None:
        model.test_short_sides, model.long_side = (max(1, round(min(size) * scale)),), None

    try:
        yield resize_for
    finally:
        model.test_short_sides, model.long_side = kept


@contextlib.contextmanager
def thresholds(model: nn.Module, nms: float | None, proposal: float | None) -> Iterator[None]:
    """Inside the block the network drops objects that overlap a better one by more than `nms`, and proposals that are
    no surer than `proposal`; None leaves its own threshold.

    Raises:
        TypeError: a threshold for something that is no Mask R-CNN.
    """
    kept = []
    for name, value, part, key in (
        ("nms_threshold", nms, "roi_heads", "nms_thresh"),
        ("proposal_threshold", proposal, "rpn", "score_thresh"),
    ):
        if value is None:
            continue
        if not hasattr(model, part):
            raise TypeError(f"{name} is for a Mask R-CNN; {type(model).__name__} is none.")
        kept.append((getattr(model, part), key, getattr(getattr(model, part), key), value))
    try:
        for part, key, _, value in kept:
            setattr(part, key, value)
        yield
    finally:
        for part, key, before, _ in kept:
            setattr(part, key, before)
