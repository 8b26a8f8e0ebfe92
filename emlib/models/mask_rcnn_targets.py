"""What Mask R-CNN learns from: boxes, classes and masks of an image's objects."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import ArrayLike

_SAMPLES_AT_ONCE = 1 << 22


def detection_target(labels: ArrayLike) -> dict[str, torch.Tensor]:
    """The objects of a label image, for `forward(images, targets)` of a Mask R-CNN of one class.

    Args:
        labels: (y, x) whole numbers, 0 = background; ids of any size, in any order, with gaps.

    Returns:
        "boxes": (n, 4) float32, x0, y0, x1, y1 in pixels; x1 and y1 are the far edges of the last pixels, so that an
        object of one pixel has width 1. "labels": (n,) int64, all 1. "instances": (y, x) int32, in which the object of
        the k-th box is k + 1. Objects come in the order of their ids. Masks one by one, 600 of 1000 x 1000 pixels,
        would be 600 MB.

    Raises:
        TypeError: fractions.
        ValueError: not two axes.

    Example:
        >>> target = detection_target(np.array([[0, 7, 7], [5, 5, 0]]))
        >>> target["boxes"].tolist(), target["instances"].tolist()
        ([[0.0, 1.0, 2.0, 2.0], [1.0, 0.0, 3.0, 1.0]], [[0, 2, 2], [1, 1, 0]])
    """
    array = np.asarray(labels)
    if array.dtype.kind not in "bui":
        raise TypeError(f"The labels are {array.dtype}, but whole numbers were expected.")
    if array.ndim != 2:
        raise ValueError(f"The labels have shape {array.shape}, but (y, x) was expected.")
    ids, numbers = np.unique(array, return_inverse=True)
    numbers = numbers.reshape(array.shape)
    if not ids.size or ids[0] != 0:
        numbers = numbers + 1
    count = int(numbers.max(initial=0))
    sides = np.zeros((count, 4), np.float32)
    y, x = np.nonzero(numbers)
    order = numbers[y, x] - 1
    for column, values, first in ((0, x, True), (1, y, True), (2, x + 1, False), (3, y + 1, False)):
        edge = np.full(count, np.inf if first else -np.inf)
        (np.minimum if first else np.maximum).at(edge, order, values)
        sides[:, column] = edge
    return {
        "boxes": torch.from_numpy(sides),
        "labels": torch.ones(count, dtype=torch.int64),
        "instances": torch.from_numpy(numbers.astype(np.int32)),
    }


def check_targets(
    name: str, targets: list[Mapping[str, torch.Tensor]], sizes: list[tuple[int, int]], classes: int
) -> None:
    """Refuse targets that do not fit their images.

    Args:
        name: of the network, for the sentence of an error.
        targets: one an image.
        sizes: (y, x) of the images.
        classes: with background.

    Raises:
        TypeError: not one mapping an image.
        ValueError: a missing entry, a wrong shape or dtype, a box without width or height, a class that there is not.
    """
    if not isinstance(targets, list | tuple) or not all(isinstance(target, Mapping) for target in targets):
        raise TypeError(
            f"{name}: targets is a {type(targets).__name__}, but a list of one mapping an image was expected."
        )
    if len(targets) != len(sizes):
        raise ValueError(f"{name} was given {len(sizes)} images, but {len(targets)} targets.")
    for number, (target, size) in enumerate(zip(targets, sizes, strict=True)):
        where = f"{name}: target {number}"
        missing = [key for key in ("boxes", "labels") if key not in target]
        if "masks" not in target and "instances" not in target:
            missing.append("masks (or instances)")
        if missing:
            raise ValueError(f"{where} has no {', '.join(missing)}.")
        boxes, labels = target["boxes"], target["labels"]
        if boxes.ndim != 2 or boxes.shape[1] != 4 or not boxes.is_floating_point():
            raise ValueError(f"{where}: boxes is {_form(boxes)}, but floating point (n, 4) was expected.")
        if labels.shape != boxes.shape[:1] or labels.dtype != torch.int64:
            raise ValueError(f"{where}: labels is {_form(labels)}, but int64 ({len(boxes)},) was expected.")
        if "masks" in target:
            masks = target["masks"]
            if tuple(masks.shape) != (len(boxes), *size) or masks.dtype not in (torch.uint8, torch.bool):
                raise ValueError(
                    f"{where}: masks is {_form(masks)}, but uint8 or bool {(len(boxes), *size)} was expected."
                )
        else:
            instances = target["instances"]
            if tuple(instances.shape) != size or instances.dtype not in (torch.uint8, torch.int32, torch.int64):
                raise ValueError(f"{where}: instances is {_form(instances)}, but int32 {size} was expected.")
        if not len(boxes):
            continue
        # One look at the values, since each waits for the device.
        bad = ~torch.isfinite(boxes).all(1) | (boxes[:, 2:] <= boxes[:, :2]).any(1)
        wrong = (labels < 1) | (labels >= classes)
        if bool((bad | wrong).any()):
            place = int(torch.nonzero(bad | wrong)[0, 0])
            if bad[place]:
                raise ValueError(
                    f"{where}: box {place} is {boxes[place].tolist()}, but x0 < x1 and y0 < y1 were expected."
                )
            raise ValueError(f"{where}: label {place} is {labels[place]}, but 1 to {classes - 1} was expected.")


def sample_masks(
    target: Mapping[str, torch.Tensor],
    objects: torch.Tensor,
    boxes: torch.Tensor,
    size: int,
    *,
    aligned: bool = True,
    binary: bool = True,
) -> torch.Tensor:
    """Masks of objects as seen through boxes: what the mask head has to put out.

    As RoIAlign of the masks, with as many samples a bin as it is pixels long, but it reads no more of the masks than
    these samples: torchvision turns all masks of an image into float32 first.

    Args:
        target: with "masks" (n, y, x), 0 = outside, or "instances" (y, x), where object k is k + 1.
        objects: (k,) int64, the object of each box.
        boxes: (k, 4), x0, y0, x1, y1 in pixels of the masks.
        size: bins along each side.
        aligned: pixel (0, 0) is the square from 0 to 1, not that around 0.
        binary: put out whether the object covers at least half of a bin, not how much of it.

    Returns:
        (k, size, size) float32, 0-1.

    Example:
        >>> target = {"instances": torch.tensor([[0, 1, 1, 0], [0, 1, 0, 0]])}
        >>> sample_masks(target, torch.tensor([0]), torch.tensor([[1.0, 0, 3, 2]]), 2).int().tolist()
        [[[1, 1], [1, 0]]]
    """
    shift = 0.5 if aligned else 0.0
    corners, sides = boxes[:, :2] - shift, boxes[:, 2:] - boxes[:, :2]
    if not aligned:
        sides = sides.clamp(min=1)
    samples = torch.ceil(sides / size).to(torch.int64).clamp(min=1)
    output = torch.zeros((len(boxes), size, size), device=boxes.device)
    for columns, rows in torch.unique(samples, dim=0).tolist():
        members = torch.nonzero((samples[:, 0] == columns) & (samples[:, 1] == rows))[:, 0]
        for part in members.split(max(1, _SAMPLES_AT_ONCE // (size * size * rows * columns))):
            y = _positions(corners[part, 1], sides[part, 1], size * rows)
            x = _positions(corners[part, 0], sides[part, 0], size * columns)
            values = _bilinear(target, objects[part], y, x)
            output[part] = values.unflatten(2, (size, columns)).unflatten(1, (size, rows)).mean((2, 4))
    return (output >= 0.5).float() if binary else output


def _positions(start: torch.Tensor, length: torch.Tensor, count: int) -> torch.Tensor:
    """(k, count) centres of the equal parts of every side."""
    return start[:, None] + length[:, None] * (torch.arange(count, device=start.device) + 0.5) / count


def _bilinear(target: Mapping[str, torch.Tensor], objects: torch.Tensor, y: torch.Tensor, x: torch.Tensor):
    """(k, len y, len x): the masks at all crossings of y and x; beyond a pixel's width outside the image 0."""
    stored = target["masks"] if "masks" in target else target["instances"]
    height, width = stored.shape[-2:]
    inside = ((y >= -1) & (y <= height))[:, :, None] & ((x >= -1) & (x <= width))[:, None, :]
    y, x = y.clamp(0, height - 1), x.clamp(0, width - 1)
    top, left = y.long(), x.long()
    down, right = (y - top)[:, :, None], (x - left)[:, None, :]
    number = objects[:, None, None]

    def corner(rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
        rows, columns = rows.clamp(max=height - 1)[:, :, None], columns.clamp(max=width - 1)[:, None, :]
        if "masks" in target:
            return (stored[number, rows, columns] != 0).float()
        return (stored[rows, columns] == number + 1).float()

    upper = corner(top, left) * (1 - right) + corner(top, left + 1) * right
    lower = corner(top + 1, left) * (1 - right) + corner(top + 1, left + 1) * right
    return (upper * (1 - down) + lower * down) * inside


def _form(tensor: torch.Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"
