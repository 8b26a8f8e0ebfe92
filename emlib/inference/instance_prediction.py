"""The objects of an image of any size, from a Mask R-CNN: in one look, or from tiles that overlap."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import fields
from typing import Any

import numpy as np
import torch
from torch import nn

from emlib.inference.freed_memory import keep_freed_memory
from emlib.inference.image_pixels import Normalization, as_pixels
from emlib.inference.image_tiles import ImageTiles, plan_image_tiles
from emlib.inference.instances import InstancePrediction, check_share
from emlib.inference.tile_merging import SeenObject, merge_seen, see_object
from emlib.models.mask_rcnn_detection import detect
from emlib.models.mask_rcnn_images import resized_size
from emlib.models.mask_rcnn_limits import LimitsReached
from emlib.progress import progress as show_progress


def predict_instances(
    model: nn.Module,
    image: Any,
    *,
    window: int | Sequence[int] | None = None,
    overlap: float = 0.25,
    score_threshold: float = 0.05,
    nms_threshold: float | None = None,
    merge_threshold: float = 0.5,
    mask_threshold: float = 0.5,
    rule: str = "published",
    scale: float | None = None,
    normalize: Normalization = True,
    device: str | torch.device | None = None,
    batch_size: int = 1,
    progress: bool = True,
) -> InstancePrediction:
    """Find the objects of an image, each with box, score and mask.

    Without a window the network sees the whole image at once. With one it sees tile after tile; memory then grows with
    the tile and the objects only. An object that several tiles saw is left once, as the tile saw it that shows most
    around it; one that a tile's border cuts is left to the tile that sees all of it; see `merge_seen`.

    **The overlap must be at least the side of the largest object plus 4 pixels.** Larger ones are joined from pieces,
    which is as good as the pieces agree, and are counted in `cut`.

    Args:
        model: a Mask R-CNN, such as `build_model("mask_rcnn_r50_fpn")`.
        image: (y, x) or (y, x, c) of one to three channels, or the path of a picture; what does not fit in memory may
            be opened lazily, see `emlib.data.open_image`.
        window: pixels of a tile, one number or (y, x); None for the whole image in one look.
        overlap: share of a tile that the next one covers too, below 1, or a whole number of pixels.
        score_threshold: objects of this score or less are dropped, as are those below the network's own threshold.
        nms_threshold: objects of one look that overlap a better one more than this are dropped; None: the network's
            own threshold.
        merge_threshold: share of an object's pixels, above 0, that tells that two tiles saw the same one.
        mask_threshold: probability from which on a pixel belongs to an object.
        rule: how masks are drawn, see `paste_masks`.
        scale: pixels that the network sees for a pixel of the image, for example 1.2 for networks trained with
            `short_side=1200` on images of 1000; None lets the network resize as it was built to, which it cannot do for
            tiles, since it would enlarge every tile to the size of an image.
        normalize: True maps percentiles 0 and 99.5 to 0 and 1; a mapping holds other arguments of
            `normalize_percentiles`; False or None takes the image as it is, uint8 or float in [0, 1].
        device: where to run; None is where the network is.
        batch_size: tiles that go through the network together.
        progress: show how many tiles are done.

    Returns:
        An `InstancePrediction`. A warning says if the network had more objects for a tile than it may report.

    Raises:
        TypeError, ValueError: a setting, the image or the network is wrong; the sentence says what.
        OSError: the picture is missing or damaged.

    Example:
        >>> from emlib.models import build_model
        >>> network, image = build_model("mask_rcnn_tiny"), np.zeros((80, 100, 3), np.uint8)
        >>> found = predict_instances(network, image, window=64, overlap=16, score_threshold=0.9, progress=False)
        >>> found.boxes.shape == (len(found), 4), found.shape, found.limits_reached.images
        (True, (80, 100), 4)
    """
    for name, share in (("score_threshold", score_threshold), ("mask_threshold", mask_threshold)):
        check_share(name, share, above_zero=name == "mask_threshold")
    if nms_threshold is not None:
        check_share("nms_threshold", nms_threshold)
    check_share("merge_threshold", merge_threshold, above_zero=True)
    if isinstance(batch_size, bool) or not hasattr(batch_size, "__index__") or batch_size < 1:
        raise ValueError(f"batch_size must be a whole number of at least 1, not {batch_size!r}.")
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module, not {type(model).__name__}.")
    channels = int(getattr(model, "in_channels", 3))
    if channels not in (1, 3):
        raise ValueError(f"The network takes {channels} channels, but networks of 1 or 3 are used here.")
    pixels = as_pixels(image, normalize)
    tiles = plan_image_tiles(pixels.shape[:2], window, overlap)
    if device is not None:
        model.to(device)
    before, cut_off, empty, seen = _counted(model), 0, 0, []
    batches = [range(start, min(start + batch_size, len(tiles))) for start in range(0, len(tiles), batch_size)]
    on_cpu = next((parameter.device.type for parameter in model.parameters()), "cpu") == "cpu"
    with (
        _resized(model, tiles, scale),
        _suppressing(model, nms_threshold),
        keep_freed_memory() if on_cpu else contextlib.nullcontext(),
    ):
        for batch in show_progress(batches, label="detecting", unit="batch", show=progress):
            images = [_tensor(pixels[tiles.slices(number)], channels) for number in batch]
            for number, found in zip(batch, detect(model, images, batch_size=batch_size), strict=True):
                masks = found.objects(threshold=mask_threshold, rule=rule)
                for place in np.flatnonzero(found.scores > score_threshold):
                    if not masks[place].mask.size:
                        empty += 1
                        continue
                    values = found.boxes[place], found.scores[place], found.labels[place]
                    one = see_object(tiles, number, masks[place], *values)
                    if one is not None:
                        seen.append(one)
                cut_off += found.cut_off
    limits = LimitsReached(images=len(tiles), detections=cut_off) if before is None else _since(before, _counted(model))
    if cut_off:
        where = "the image" if len(tiles) == 1 else f"{cut_off} of {len(tiles)} tiles"
        warnings.warn(
            f"In {where} the network found more objects than it may report (detections_per_image); those of the lowest "
            "scores are missing.",
            stacklevel=2,
        )
    return _collected(merge_seen(seen, tiles, merge_threshold), tiles.shape, limits, empty)


def _collected(
    objects: list[SeenObject], shape: tuple[int, int], limits: LimitsReached, empty: int
) -> InstancePrediction:
    return InstancePrediction(
        boxes=np.array([one.box for one in objects], np.float32).reshape(-1, 4),
        scores=np.array([one.score for one in objects], np.float32),
        labels=np.array([one.label for one in objects], np.int64),
        masks=tuple(one.mask for one in objects),
        shape=shape,
        limits_reached=limits,
        cut=sum(one.is_cut for one in objects),
        empty=empty,
    )


def _tensor(content: np.ndarray, channels: int) -> torch.Tensor:
    """float32 (c, y, x) in [0, 1]."""
    tensor = torch.from_numpy(np.array(content)).permute(2, 0, 1).to(torch.float32)
    tensor = tensor / 255 if content.dtype == np.uint8 else tensor
    return tensor if channels == 3 else tensor.mean(dim=0, keepdim=True)


def _counted(model: nn.Module) -> LimitsReached | None:
    found = getattr(model, "limits_reached", None)
    return found if isinstance(found, LimitsReached) else None


def _since(before: LimitsReached, after: LimitsReached) -> LimitsReached:
    """The network counts over its whole life."""
    return LimitsReached(*(getattr(after, one.name) - getattr(before, one.name) for one in fields(before)))


@contextlib.contextmanager
def _resized(model: nn.Module, tiles: ImageTiles, scale: float | None) -> Iterator[None]:
    """Inside the block the network resizes every tile by `scale`; refuses what would change the size of the objects."""
    own = getattr(model, "test_short_sides", ())
    if scale is None:
        if own and len(tiles) > 1:
            whole = resized_size(tiles.shape, own[0], model.long_side)[0] / tiles.shape[0]
            raise ValueError(
                f"The network resizes what it sees to a short side of {own[0]}, and would so enlarge every tile; give "
                f"scale, for example {whole:.4g}, by which it would resize this image as a whole."
            )
        yield
        return
    number = isinstance(scale, int | float | np.integer | np.floating) and not isinstance(scale, bool)
    if not number or not 0 < scale < np.inf:
        raise ValueError(f"scale is {scale!r}, but a number above 0 was expected.")
    if not hasattr(model, "test_short_sides"):
        raise TypeError(f"scale is for networks that resize their images; {type(model).__name__} does not.")
    kept = model.test_short_sides, model.long_side
    model.test_short_sides, model.long_side = (max(1, round(min(tiles.sides) * scale)),), None
    try:
        yield
    finally:
        model.test_short_sides, model.long_side = kept


@contextlib.contextmanager
def _suppressing(model: nn.Module, threshold: float | None) -> Iterator[None]:
    """Inside the block the network drops objects that overlap a better one by more than the threshold."""
    heads = getattr(model, "roi_heads", None)
    if threshold is None:
        yield
        return
    if heads is None:
        raise TypeError(f"nms_threshold is for a Mask R-CNN; {type(model).__name__} is none.")
    kept, heads.nms_thresh = heads.nms_thresh, threshold
    try:
        yield
    finally:
        heads.nms_thresh = kept
