"""From the small masks of detections to pixels of the image, object by object."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, floor

import numpy as np


@dataclass(frozen=True, eq=False)
class ObjectMask:
    """The pixels of one object.

    Attributes:
        corner: (y, x) of the crop's first pixel in the image.
        mask: (height, width) bool, no larger than the object; (0, 0) if it has no pixel.
    """

    corner: tuple[int, int]
    mask: np.ndarray

    @property
    def slices(self) -> tuple[slice, slice]:
        """Where the crop lies: `image[object.slices][object.mask]` are the object's pixels.

        Example:
            >>> ObjectMask((3, 5), np.ones((2, 4), bool)).slices
            (slice(3, 5, None), slice(5, 9, None))
        """
        (y, x), (height, width) = self.corner, self.mask.shape
        return slice(y, y + height), slice(x, x + width)


def paste_masks(
    masks: np.ndarray,
    boxes: np.ndarray,
    shape: tuple[int, int],
    *,
    threshold: float = 0.5,
    rule: str = "published",
) -> list[ObjectMask]:
    """Draw each object's mask into its box, without ever making masks of the whole image.

    800 nuclei of an image of 1000 x 1000 take 3.2 GB as torchvision's float masks; their crops take a megabyte.

    Args:
        masks: (n, side, side) probabilities inside the boxes, 0-1.
        boxes: (n, 4), x0, y0, x1, y1 in pixels.
        shape: (y, x) of the image; what lies outside it is cut off.
        threshold: a pixel belongs to the object if its probability is at least this, above 0 and at most 1.
        rule: "published" reads the mask bilinearly at the centre of each pixel, with 0 around it (Detectron2);
            "torchvision" first rounds the box, a little larger, down to whole pixels.

    Returns:
        One `ObjectMask` for each box, in their order. Objects may overlap.

    Raises:
        ValueError: shapes that do not belong together, an unknown rule, a threshold out of range, or a box that is not
            finite or has no area.

    Example:
        >>> objects = paste_masks(np.ones((1, 28, 28)), np.array([[2.0, 1.0, 5.0, 3.0]]), (10, 4))
        >>> objects[0].corner, objects[0].mask.shape
        ((1, 2), (2, 2))
    """
    masks, boxes = np.asarray(masks), np.asarray(boxes, dtype=np.float64)
    _check(masks, boxes, shape, threshold, rule)
    draw = _published if rule == "published" else _torchvision
    # A float64 of the decimal threshold may lie above the float32 that was meant.
    limit = np.float32(threshold)
    return [_trimmed(*draw(mask, box, shape, limit)) for mask, box in zip(masks, boxes, strict=True)]


def _published(
    mask: np.ndarray, box: np.ndarray, shape: tuple[int, int], threshold: np.float32
) -> tuple[tuple[int, int], np.ndarray]:
    """Pixel centres in units of the mask; whatever is more than one of its pixels outside is 0."""
    weights, corner = [], []
    for low, high, size, side in ((box[1], box[3], shape[0], mask.shape[0]), (box[0], box[2], shape[1], mask.shape[1])):
        unit = (high - low) / side
        first = max(0, floor(low - unit / 2 - 0.5))
        last = min(size, ceil(high + unit / 2 + 0.5))
        centres = np.arange(first, max(first, last)) + 0.5
        # In the mask's pixels, whose centres lie at whole numbers; one ring of zeros lies around it.
        weights.append(_weights((centres - low) / unit - 0.5 + 1, side + 2))
        corner.append(first)
    return tuple(corner), _interpolate(np.pad(mask, 1), *weights) >= threshold


def _torchvision(
    mask: np.ndarray, box: np.ndarray, shape: tuple[int, int], threshold: np.float32
) -> tuple[tuple[int, int], np.ndarray]:
    """The mask with its ring of zeros is stretched over a whole number of pixels."""
    weights, corner = [], []
    for low, high, size, side in ((box[1], box[3], shape[0], mask.shape[0]), (box[0], box[2], shape[1], mask.shape[1])):
        # In float32, as there: what the box is rounded down to depends on it.
        low, high = np.float32(low), np.float32(high)
        center, half = (low + high) * np.float32(0.5), (high - low) * np.float32(0.5) * np.float32((side + 2) / side)
        first, last = int(center - half), int(center + half)
        length = max(last - first + 1, 1)
        start, stop = max(first, 0), min(first + length, size)
        places = (np.arange(start, max(start, stop)) - first + 0.5) * ((side + 2) / length) - 0.5
        weights.append(_weights(np.clip(places, 0, None), side + 2))
        corner.append(start)
    return tuple(corner), _interpolate(np.pad(mask, 1), *weights) >= threshold


def _weights(places: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The points below and above each place, and how near it is to the one above; beyond the last the last."""
    places = np.clip(places, 0, side - 1)
    low = np.minimum(places.astype(np.int64), side - 1)
    return low, np.minimum(low + 1, side - 1), (places - low).astype(np.float32)


def _interpolate(mask: np.ndarray, rows: tuple, columns: tuple) -> np.ndarray:
    top, bottom, down = rows
    left, right, along = columns
    mask = mask.astype(np.float32, copy=False)
    across = mask[:, left] * (1 - along) + mask[:, right] * along
    return across[top] * (1 - down)[:, None] + across[bottom] * down[:, None]


def _trimmed(corner: tuple[int, int], mask: np.ndarray) -> ObjectMask:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not rows.size:
        return ObjectMask(corner, np.zeros((0, 0), bool))
    crop = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return ObjectMask((corner[0] + int(rows[0]), corner[1] + int(columns[0])), np.ascontiguousarray(crop))


def _check(masks: np.ndarray, boxes: np.ndarray, shape: tuple[int, int], threshold: float, rule: str) -> None:
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ValueError(f"boxes has shape {boxes.shape}, but (n, 4) was expected.")
    if masks.ndim != 3 or len(masks) != len(boxes) or 0 in masks.shape[1:] or masks.dtype.kind != "f":
        raise ValueError(
            f"masks is {masks.dtype} {masks.shape}, but floating point ({len(boxes)}, side, side), one for each box, "
            "was expected."
        )
    if len(shape) != 2 or min(shape) < 1:
        raise ValueError(f"shape is {tuple(shape)}, but the image's (y, x) was expected.")
    if not 0 < threshold <= 1:
        raise ValueError(f"threshold is {threshold}, but a number above 0 and at most 1 was expected.")
    if rule not in ("published", "torchvision"):
        raise ValueError(f"rule is {rule!r}, but 'published' or 'torchvision' was expected.")
    bad = ~np.isfinite(boxes).all(1) | (boxes[:, 2:] <= boxes[:, :2]).any(1)
    if bad.any():
        place = int(np.flatnonzero(bad)[0])
        raise ValueError(f"box {place} is {boxes[place].tolist()}, but x0 < x1 and y0 < y1 were expected.")
