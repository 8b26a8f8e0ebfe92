"""The objects of an image of any size, from a Mask R-CNN: in one look, or from tiles that overlap."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Sequence
from dataclasses import fields
from itertools import groupby
from typing import Any

import numpy as np
import torch
from torch import nn

from emlib.inference.detector_settings import resizing, thresholds, tile_grid
from emlib.inference.freed_memory import keep_freed_memory
from emlib.inference.image_pixels import Normalization, as_pixels
from emlib.inference.image_tiles import ImageTiles, plan_image_tiles
from emlib.inference.instances import InstancePrediction, check_share
from emlib.inference.shared_statistics import shared_statistics
from emlib.inference.tile_merging import SeenObject, merge_seen, see_object
from emlib.models.mask_rcnn_detection import detect
from emlib.models.mask_rcnn_images import ImageBatch
from emlib.models.mask_rcnn_limits import LimitsReached
from emlib.progress import progress as show_progress

REPORT = (
    "found more objects than it may report (detections_per_image); those of the lowest scores are missing. Smaller "
    "tiles (window) have fewer objects, and follow_objects raises the network's limits."
)
LOOK = (
    "had more likely regions than it may look at (proposals_after_nms), so that objects may be missing. Smaller tiles "
    "(window) have fewer, and follow_objects raises the limits that were not given by hand."
)


def predict_instances(
    model: nn.Module,
    image: Any,
    *,
    window: int | Sequence[int] | None = None,
    overlap: float = 0.25,
    score_threshold: float = 0.05,
    nms_threshold: float | None = None,
    proposal_threshold: float | None = None,
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

    **Tiles say what one look says** if what is around an object is the same for the network, and no limit is reached.
    It reaches more than a hundred pixels, so that the overlap should be 128 pixels or more. Tiles start only where the
    network's coarsest map has points, for which they overlap more where needed: without that, a quarter of the objects
    of a `mask_rcnn_tiny` differed. Normalisation by groups takes its statistics from all tiles, see
    `shared_statistics`. The numbers of proposals and detections are for a look, so that tiles report more than one
    look that reaches them; with `proposal_threshold=0.05` proposals are no longer a matter of numbers. Then of 1,000
    nuclei in 1000 x 1000 pixels at least 998 were the same (IoU 0.9) in tiles of 512 that overlap by a quarter
    (`benchmarks/nuclei_tiles.py`).

    Args:
        model: a Mask R-CNN, such as `build_model("mask_rcnn_r50_fpn")`.
        image: (y, x) or (y, x, c) of one to three channels, or the path of a picture; what does not fit in memory may
            be opened lazily, see `emlib.data.open_image`.
        window: pixels of a tile, one number or (y, x); None for the whole image in one look.
        overlap: share of a tile that the next one covers too, below 1, or a whole number of pixels.
        score_threshold: objects of this score or less are dropped, as are those below the network's own threshold.
        nms_threshold: objects of one look that overlap a better one more than this are dropped; None: the network's
            own threshold.
        proposal_threshold: regions of which the network's first stage is no surer than this, 0-1, are not looked at any
            closer; None: the network's own threshold. Such regions cost time and seldom become objects, except where
            the network has hardly learned.
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
        An `InstancePrediction`. Warnings say if the network had more objects for a tile than it may report, or more
        likely regions than it may look at: give smaller tiles, or raise the limits with `MaskRCNN.follow_objects`.

    Raises:
        TypeError, ValueError: a setting, the image or the network is wrong; the sentence says what.
        OSError: the picture is missing or damaged.

    Example:
        >>> from emlib.models import build_model
        >>> network, image = build_model("mask_rcnn_tiny"), np.zeros((80, 100, 3), np.uint8)
        >>> found = predict_instances(network, image, window=64, overlap=16, score_threshold=0.9, progress=False)
        >>> found.boxes.shape == (len(found), 4), found.shape, found.limits_reached.images
        (True, (80, 100), 6)
    """
    for name, share in (("score_threshold", score_threshold), ("mask_threshold", mask_threshold)):
        check_share(name, share, above_zero=name == "mask_threshold")
    for name, share in (("nms_threshold", nms_threshold), ("proposal_threshold", proposal_threshold)):
        if share is not None:
            check_share(name, share)
    check_share("merge_threshold", merge_threshold, above_zero=True)
    if isinstance(batch_size, bool) or not hasattr(batch_size, "__index__") or batch_size < 1:
        raise ValueError(f"batch_size must be a whole number of at least 1, not {batch_size!r}.")
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module, not {type(model).__name__}.")
    channels = int(getattr(model, "in_channels", 3))
    if channels not in (1, 3):
        raise ValueError(f"The network takes {channels} channels, but networks of 1 or 3 are used here.")
    pixels = as_pixels(image, normalize)
    tiles = plan_image_tiles(pixels.shape[:2], window, overlap, grid=tile_grid(model, scale))
    if device is not None:
        model.to(device)
    before, cut_off, empty, seen = _counted(model), 0, 0, []
    batches = _batches(tiles, batch_size)

    def look(numbers: Sequence[int]) -> ImageBatch:
        looks, place = [], next(model.parameters()).device
        for number in numbers:
            image = _tensor(pixels[tiles.slices(number)], channels)
            resize_for(image.shape[1:])
            looks.append(model.prepare([image.to(place)]))
        return ImageBatch.together(looks)

    on_cpu = next((parameter.device.type for parameter in model.parameters()), "cpu") == "cpu"
    with (
        resizing(model, tiles, scale) as resize_for,
        thresholds(model, nms_threshold, proposal_threshold),
        shared_statistics(model, tiles, look),
        keep_freed_memory() if on_cpu else contextlib.nullcontext(),
    ):
        for batch in show_progress(batches, label="detecting", unit="batch", show=progress):
            images = [_tensor(pixels[tiles.slices(number)], channels) for number in batch]
            resize_for(images[0].shape[1:])
            for number, found in zip(batch, detect(model, images, batch_size=batch_size), strict=True):
                masks = found.objects(threshold=mask_threshold, rule=rule)
                for place in np.flatnonzero(found.scores > score_threshold):
                    if not masks[place].mask.size:
                        empty += 1
                        continue
                    values = found.boxes[place], found.scores[place], found.labels[place]
                    seen.append(see_object(tiles, number, masks[place], *values))
                cut_off += found.cut_off
    limits = LimitsReached(images=len(tiles), detections=cut_off) if before is None else _since(before, _counted(model))
    for count, words in ((cut_off, REPORT), (limits.likely, LOOK)):
        if count:
            where = "the image" if len(tiles) == 1 else f"{count} of {len(tiles)} tiles"
            warnings.warn(f"In {where} the network {words}", stacklevel=2)
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


def _batches(tiles: ImageTiles, size: int) -> list[list[int]]:
    """Tiles that go through the network together, all of one size: it would pad the smaller ones."""
    same = groupby(range(len(tiles)), key=lambda number: [part.stop - part.start for part in tiles.slices(number)])
    groups = [list(group) for _, group in same]
    return [group[start : start + size] for group in groups for start in range(0, len(group), size)]


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
