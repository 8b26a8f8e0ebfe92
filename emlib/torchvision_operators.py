"""torchvision's detection operators in plain torch, for installations whose compiled ones cannot load.

`emlib.torchvision_hook` uses this module; `non_maximum_suppression` and `roi_align` can also be called directly.
"""

from __future__ import annotations

import importlib
import math
import os
import types
from collections.abc import Callable, Iterable
from importlib.machinery import EXTENSION_SUFFIXES

import torch
from torch.nn import functional

_BOXES_PER_BLOCK = 1024
_SAMPLES_PER_CHUNK = 1 << 24
_ROI_ALIGN = (
    "(Tensor input, Tensor rois, float spatial_scale, SymInt pooled_height, SymInt pooled_width, "
    "int sampling_ratio, bool aligned) -> Tensor"
)
_NMS = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
# Operators of torchvision that are not replaced. They are declared so that a call raises torchvision's own error.
_MISSING = {
    "box_iou_rotated": "(Tensor boxes1, Tensor boxes2) -> Tensor",
    "deform_conv2d": (
        "(Tensor input, Tensor weight, Tensor offset, Tensor mask, Tensor bias, SymInt stride_h, SymInt stride_w, "
        "SymInt pad_h, SymInt pad_w, SymInt dilation_h, SymInt dilation_w, SymInt groups, SymInt offset_groups, "
        "bool use_mask) -> Tensor"
    ),
    "ps_roi_align": (
        "(Tensor input, Tensor rois, float spatial_scale, SymInt pooled_height, SymInt pooled_width, "
        "int sampling_ratio) -> (Tensor, Tensor)"
    ),
    "ps_roi_pool": (
        "(Tensor input, Tensor rois, float spatial_scale, SymInt pooled_height, SymInt pooled_width)"
        " -> (Tensor, Tensor)"
    ),
    "qroi_align": (
        "(Tensor input, Tensor rois, float input_scale, int input_zero_point, float rois_scale, "
        "int rois_zero_point, float spatial_scale, SymInt pooled_height, SymInt pooled_width, int sampling_ratio, "
        "bool aligned) -> Tensor"
    ),
    "roi_pool": (
        "(Tensor input, Tensor rois, float spatial_scale, SymInt pooled_height, SymInt pooled_width)"
        " -> (Tensor, Tensor)"
    ),
}
# torch drops a library's operators when the library object dies, so it is kept here.
_libraries: list[torch.library.Library] = []


def load_compiled(folders: Iterable[str]) -> bool:
    """Load torchvision's compiled operators from its package folder; False if they are absent or cannot load."""
    candidates = [os.path.join(folder, "_C" + suffix) for folder in folders for suffix in [*EXTENSION_SUFFIXES, ".so"]]
    for path in filter(os.path.isfile, candidates):
        try:
            torch.ops.load_library(path)
        except (ImportError, OSError):
            continue
        return True
    return False


def define() -> None:
    """Define `torchvision::nms`, `qnms` and `roi_align` in plain torch (CPU and CUDA), once in a process."""
    if _libraries:
        return
    library = torch.library.Library("torchvision", "FRAGMENT")
    for name in ("nms", "qnms"):
        library.define(name + _NMS)
        for backend in ("CPU", "CUDA"):
            library.impl(name, non_maximum_suppression, backend)
    library.define("roi_align" + _ROI_ALIGN)
    library.impl("roi_align", roi_align, "CompositeImplicitAutograd")
    for name, schema in _MISSING.items():
        library.define(name + schema)
        library.impl(name, _refuse, "CompositeImplicitAutograd")
    _libraries.append(library)


def announce() -> None:
    """Tell the imported torchvision that its operators are there; those not replaced keep raising its own error."""
    for name in ("torchvision.extension", "torchvision.ops.roi_align"):
        importlib.import_module(name)._has_ops = _has_operators


def non_maximum_suppression(boxes: torch.Tensor, scores: torch.Tensor, threshold: float) -> torch.Tensor:
    """Indices of the boxes that survive greedy non-maximum suppression, best score first.

    A box is dropped if its intersection over union with a better box that was kept is greater than `threshold`;
    equal scores are taken in the order given. The boxes are worked off in blocks: within a block the survivors are
    the fixed point of "kept unless a kept better box overlaps it" on the upper triangle of the overlap matrix,
    then the block's survivors drop what they overlap further down. Memory: one block against all boxes.

    Args:
        boxes: (n, 4), x1, y1, x2, y2.
        scores: (n,).
        threshold: intersection over union, 0-1.

    Raises:
        RuntimeError: the shapes do not fit (the type that torchvision's own operator raises).

    Example:
        >>> boxes = torch.tensor([[0.0, 0, 10, 10], [1, 0, 11, 10], [20, 0, 30, 10]])
        >>> non_maximum_suppression(boxes, torch.tensor([0.5, 0.9, 0.1]), 0.5)
        tensor([1, 2])
    """
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise RuntimeError(f"Boxes must have shape (n, 4), not {tuple(boxes.shape)}.")
    if scores.shape != boxes.shape[:1]:
        raise RuntimeError(f"Scores must have shape ({len(boxes)},) like the boxes, not {tuple(scores.shape)}.")
    with torch.no_grad():
        order = torch.argsort(scores, descending=True, stable=True)
        sorted_boxes = boxes[order]
        if sorted_boxes.dtype != torch.float64:
            sorted_boxes = sorted_boxes.float()
        limit = _largest_not_above(threshold, sorted_boxes)
        remaining = torch.arange(len(order), device=boxes.device)
        kept = [remaining[:0]]
        while len(remaining):
            block, rest = remaining[:_BOXES_PER_BLOCK], remaining[_BOXES_PER_BLOCK:]
            survivors = block[_fixed_point(_overlaps(sorted_boxes[block], sorted_boxes[block], limit).triu(1))]
            dropped = _overlaps(sorted_boxes[survivors], sorted_boxes[rest], limit).any(0)
            remaining = rest[~dropped]
            kept.append(survivors)
        return order[torch.cat(kept)]


def roi_align(
    features: torch.Tensor,
    rois: torch.Tensor,
    spatial_scale: float,
    pooled_height: int,
    pooled_width: int,
    sampling_ratio: int,
    aligned: bool,
) -> torch.Tensor:
    """Average of bilinear samples in every bin of every region of interest (RoIAlign; He et al., Mask R-CNN, 2017).

    All sample points of the regions that share an image and a sampling grid are read with one `grid_sample`.
    Points up to one pixel outside take the border value, those further out count as 0, as in the compiled operator.
    The gradient flows to `features`, not to `rois`.

    Args:
        features: (n, c, height, width), floating point.
        rois: (k, 5): image index, x1, y1, x2, y2.
        spatial_scale: factor from box to feature coordinates.
        pooled_height, pooled_width: bins of the output.
        sampling_ratio: samples along each axis of a bin; 0 or less means as many as the bin is pixels long, rounded up.
        aligned: shift by half a pixel, and let regions be smaller than one pixel.

    Returns:
        (k, c, pooled_height, pooled_width), of the dtype of `features`.

    Raises:
        RuntimeError: `rois` is not (k, 5), or names an image that is not there.

    Example:
        >>> features = torch.arange(64.0).reshape(1, 1, 8, 8)
        >>> roi_align(features, torch.tensor([[0.0, 1, 1, 6, 5]]), 1.0, 2, 2, 2, True).flatten().round(decimals=3)
        tensor([13.7500, 16.2500, 29.7500, 32.2500])
    """
    if rois.ndim != 2 or rois.shape[1] != 5:
        raise RuntimeError(f"Regions of interest must have shape (k, 5), not {tuple(rois.shape)}.")
    dtype = torch.float64 if features.dtype == torch.float64 else torch.float32
    source, boxes = features.to(dtype), rois.detach().to(dtype)
    corners = boxes[:, 1:] * spatial_scale - (0.5 if aligned else 0.0)
    sizes = corners[:, 2:] - corners[:, :2]
    if not aligned:
        sizes = sizes.clamp(min=1)
    bins = torch.tensor([pooled_width, pooled_height], dtype=dtype, device=boxes.device)
    if sampling_ratio > 0:
        counts = torch.full_like(sizes, sampling_ratio, dtype=torch.int64)
    else:
        counts = torch.ceil(sizes / bins).to(torch.int64).clamp(min=0)
    groups, members = torch.unique(torch.cat([boxes[:, :1].to(torch.int64), counts], 1), dim=0, return_inverse=True)
    shape = (source.shape[1], pooled_height, pooled_width)
    parts, results = [rois.new_zeros(0, dtype=torch.int64)], [source.new_zeros((0, *shape))]
    for number, (image, columns, rows) in enumerate(groups.tolist()):
        if not 0 <= image < len(source):
            raise RuntimeError(f"A region of interest lies in image {image}, but there are {len(source)} images.")
        indices = torch.nonzero(members == number)[:, 0]
        samples_of_one = math.prod(shape) * rows * columns
        for part in indices.split(max(1, _SAMPLES_PER_CHUNK // max(samples_of_one, 1))):
            parts.append(part)
            if not columns or not rows:  # an empty region has no sample point: its average is 0
                results.append(source.new_zeros((len(part), *shape)))
                continue
            x = _sample_points(corners[part, 0], sizes[part, 0], pooled_width, columns)
            y = _sample_points(corners[part, 1], sizes[part, 1], pooled_height, rows)
            samples = _sample(source[image], y, x)
            samples = samples.unflatten(3, (pooled_width, columns)).unflatten(2, (pooled_height, rows))
            results.append(samples.mean((3, 5)).transpose(0, 1))
    output = torch.cat(results)[torch.argsort(torch.cat(parts))]
    return output.to(features.dtype)


def _sample_points(start: torch.Tensor, size: torch.Tensor, bins: int, per_bin: int) -> torch.Tensor:
    """(k, bins * per_bin) positions: the centres of the equal parts of every region along one axis."""
    steps = (torch.arange(bins * per_bin, device=start.device, dtype=start.dtype) + 0.5) / (bins * per_bin)
    return start[:, None] + size[:, None] * steps


def _sample(image: torch.Tensor, y: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Bilinear samples (c, k, len y, len x) of one (c, height, width) image at the outer product of y and x."""
    height, width = image.shape[1:]
    inside = ((y >= -1) & (y <= height))[:, :, None] & ((x >= -1) & (x <= width))[:, None, :]
    grid_y = (2 * y / max(height - 1, 1) - 1)[:, :, None].expand(inside.shape)
    grid_x = (2 * x / max(width - 1, 1) - 1)[:, None, :].expand(inside.shape)
    grid = torch.stack([grid_x, grid_y], -1).flatten(0, 1)[None]
    # autocast would hand grid_sample another dtype than the grid's
    with torch.autocast(image.device.type, enabled=False):
        values = functional.grid_sample(image[None], grid, padding_mode="border", align_corners=True)[0]
    return values.unflatten(1, inside.shape[:2]) * inside


def _overlaps(first: torch.Tensor, second: torch.Tensor, limit: torch.Tensor) -> torch.Tensor:
    """(n, m) bool: is the intersection over union of box i of `first` and box j of `second` greater than `limit`?"""
    # column by column and in place: four times as fast as on the boxes' short last axis
    left, top, right, bottom = (column[:, None] for column in first.unbind(1))
    lefts, tops, rights, bottoms = second.unbind(1)
    width = torch.minimum(right, rights).sub_(torch.maximum(left, lefts)).clamp_(min=0)
    height = torch.minimum(bottom, bottoms).sub_(torch.maximum(top, tops)).clamp_(min=0)
    intersection = width.mul_(height)
    union = torch.add((right - left) * (bottom - top), (rights - lefts) * (bottoms - tops), out=height)
    # two empty boxes give 0 / 0 = nan, which is not greater: they do not overlap
    return torch.div(intersection, union.sub_(intersection), out=union) > limit


def _fixed_point(overlaps: torch.Tensor) -> torch.Tensor:
    """Which boxes stay: i stays unless a staying box before it overlaps it. `overlaps` is strictly upper triangular.

    Each round settles at least one more link of every chain of overlaps, so it ends, and what it ends at is unique.
    """
    weights = overlaps.float()
    keep = torch.ones(len(overlaps), dtype=torch.bool, device=overlaps.device)
    while True:
        better = keep.float() @ weights == 0
        if torch.equal(better, keep):
            return keep
        keep = better


def _largest_not_above(threshold: float, like: torch.Tensor) -> torch.Tensor:
    """`threshold` rounded down to the dtype of `like`: comparing with it is comparing with `threshold` itself."""
    limit = torch.tensor(threshold, dtype=like.dtype, device=like.device)
    return limit if limit.item() <= threshold else torch.nextafter(limit, torch.full_like(limit, -torch.inf))


def _has_operators() -> bool:
    return True


def _refuse(*_: object) -> None:
    """Raise what torchvision raises where its compiled operators are missing."""
    check: Callable[[], None] = importlib.import_module("torchvision.extension")._assert_has_ops
    types.FunctionType(check.__code__, {**check.__globals__, "_has_ops": lambda: False})()
