"""The objects of an image of any size, from a Mask R-CNN: in one look, or from tiles that overlap."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Sequence
from dataclasses import fields, replace
from itertools import groupby
from typing import Any

import numpy as np
import torch
from torch import nn

from emlib.inference.detector_settings import LIMITS, detector_settings
from emlib.inference.freed_memory import keep_freed_memory
from emlib.inference.image_pixels import Normalization, as_pixels
from emlib.inference.image_tiles import ImageTiles
from emlib.inference.instances import InstancePrediction, check_share
from emlib.inference.scaled_tiles import plan_scaled_tiles
from emlib.inference.shared_statistics import shared_statistics
from emlib.inference.tile_merging import SeenObject, merge_seen, see_object
from emlib.models.mask_rcnn_detection import detect
from emlib.models.mask_rcnn_images import resized_size
from emlib.models.mask_rcnn_limits import LimitsReached
from emlib.progress import progress as show_progress

REPORT = (
    "found more objects than it may report (detections_per_image); those of the lowest scores are missing. Smaller "
    "tiles (window) have fewer objects; limits 'area' allows more than most networks' own limits, and follow_objects "
    "raises those."
)
LOOK = (
    "had more likely regions than it may look at (proposals_after_nms), so that objects may be missing. Smaller tiles "
    "(window) have fewer; limits 'area' allows more than most networks' own limits, and follow_objects raises those."
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
    limits: str = "area",
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

    **Tiles say what one look says**, because a tile is cut out of the image as the network sees it, where all of its
    maps have points (without that, a quarter of the objects of a `mask_rcnn_tiny` differed; tiles overlap more for it
    where needed); normalisation by groups takes its statistics from all tiles (`shared_statistics`; without that,
    three or four of 100); and numbers that hold for a look do not decide (`limits`). What is around an object must be
    the same too: a network reaches more than a hundred pixels, so that the overlap should be 128 or more that the
    network sees. Then at least 99.5 % of 957 nuclei in 1000 x 1000 pixels were the same (IoU 0.9), in tiles of 512 all
    of them (`benchmarks/nuclei_tiles.py`).

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
            closer; None: the network's own threshold, but 0.05 if that is lower and `limits` is "area".
        limits: "area": a look may have a proposal for every 25 pixels and an object for every 50 that the network sees,
            or more where the network's own limits are higher. How sure the network is decides what is found, and a
            crowded or large image loses nothing. "network": its own limits hold for every look.
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
    if limits not in LIMITS:
        raise ValueError(f"limits is {limits!r}, but one of {', '.join(LIMITS)} was expected.")
    pixels = as_pixels(image, normalize)
    plan = plan_scaled_tiles(model, pixels.shape[:2], window, overlap, scale)
    tiles = plan.tiles
    if device is not None:
        model.to(device)
    before, cut_off, empty, seen = _counted(model), 0, 0, []
    place = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))

    def look(numbers: Sequence[int]) -> list[torch.Tensor]:
        contents = [plan.content(pixels, number) for number in numbers]
        return [one.mean(dim=0, keepdim=True) if channels == 1 else one for one in contents]

    settings = detector_settings(
        model,
        limits=limits,
        pixels=_most_pixels(model, plan.seen, scale),
        nms=nms_threshold,
        proposal=proposal_threshold,
        resizes=scale is None,
    )
    with (
        settings,
        shared_statistics(model, plan.seen, lambda numbers: model.prepare([one.to(place) for one in look(numbers)])),
        keep_freed_memory() if place.type == "cpu" else contextlib.nullcontext(),
    ):
        batches = _batches(plan.seen, batch_size)
        for batch in show_progress(batches, label="detecting", unit="batch", show=progress):
            for number, found in zip(batch, detect(model, look(batch), batch_size=batch_size), strict=True):
                shape = tuple(part.stop - part.start for part in tiles.slices(number))
                found = replace(found, boxes=plan.to_tile(number, found.boxes), shape=shape)
                masks = found.objects(threshold=mask_threshold, rule=rule)
                for one in np.flatnonzero(found.scores > score_threshold):
                    if not masks[one].mask.size:
                        empty += 1
                        continue
                    values = found.boxes[one], found.scores[one], found.labels[one]
                    seen.append(see_object(tiles, number, masks[one], *values))
                cut_off += found.cut_off
    reached = (
        LimitsReached(images=len(tiles), detections=cut_off) if before is None else _since(before, _counted(model))
    )
    for count, words in ((cut_off, REPORT), (reached.likely, LOOK)):
        if count:
            where = "the image" if len(tiles) == 1 else f"{count} of {len(tiles)} tiles"
            warnings.warn(f"In {where} the network {words}", stacklevel=2)
    return _collected(merge_seen(seen, tiles, merge_threshold), tiles.shape, reached, empty)


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


def _most_pixels(model: nn.Module, seen: ImageTiles, scale: float | None) -> int:
    """Of a look, as the network sees it, which may resize what it is given."""
    own = getattr(model, "test_short_sides", ()) if scale is None else ()
    size = resized_size(seen.sides, own[0], model.long_side) if own else seen.sides
    return size[0] * size[1]


def _counted(model: nn.Module) -> LimitsReached | None:
    found = getattr(model, "limits_reached", None)
    return found if isinstance(found, LimitsReached) else None


def _since(before: LimitsReached, after: LimitsReached) -> LimitsReached:
    """The network counts over its whole life."""
    return LimitsReached(*(getattr(after, one.name) - getattr(before, one.name) for one in fields(before)))
