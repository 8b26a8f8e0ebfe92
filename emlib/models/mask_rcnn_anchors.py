"""Anchors of a feature pyramid, and which object each of them has to find."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from emlib.models.mask_rcnn_rules import PUBLISHED, DetectionRules

NOTHING, UNDECIDED = -1, -2
_PAIRS_AT_ONCE = 1 << 22


def cell_anchors(sizes: Sequence[float], ratios: Sequence[float], *, rounded: bool = False) -> torch.Tensor:
    """The anchors around one point: width = size / sqrt(ratio), height = ratio x width.

    Args:
        sizes: pixels; the side of a square of the anchor's area.
        ratios: height / width.
        rounded: round the corners to whole pixels, as torchvision does.

    Returns:
        (ratios x sizes, 4) float32: x0, y0, x1, y1 relative to the point; all sizes of the first ratio come first.

    Example:
        >>> cell_anchors([32], [0.5, 1, 2])
        tensor([[-22.6274, -11.3137,  22.6274,  11.3137],
                [-16.0000, -16.0000,  16.0000,  16.0000],
                [-11.3137, -22.6274,  11.3137,  22.6274]])
    """
    tall = torch.tensor(ratios, dtype=torch.float32).sqrt()
    side = torch.tensor(sizes, dtype=torch.float32)
    width, height = ((1 / tall)[:, None] * side).flatten(), (tall[:, None] * side).flatten()
    corners = torch.stack([-width, -height, width, height], 1) / 2
    return corners.round() if rounded else corners


class PyramidAnchors:
    """The anchors of all levels of a pyramid. A point of a level lies at (index x stride), the image's corner first.

    Args:
        sizes: for each level one size, or several.
        ratios: height / width, the same at all levels.
        strides: pixels of the image from point to point, for each level.
        rules: whether sides are rounded, and strides fixed.

    Raises:
        ValueError: not one entry of sizes a level, levels with different numbers of sizes, or values that are not
            above 0.

    Example:
        >>> anchors = PyramidAnchors((8, 16), (1.0,), (4, 8))
        >>> anchors.per_point, anchors.counts([(2, 3), (1, 2)])
        (1, [6, 2])
        >>> anchors((8, 12), [(2, 3), (1, 2)], torch.device("cpu"))[5:7]
        tensor([[ 4.,  0., 12.,  8.],
                [-8., -8.,  8.,  8.]])
    """

    def __init__(
        self,
        sizes: Sequence[float | Sequence[float]],
        ratios: Sequence[float],
        strides: Sequence[int],
        rules: DetectionRules = PUBLISHED,
    ) -> None:
        levels = [[size] if isinstance(size, int | float) else list(size) for size in sizes]
        if len(levels) != len(strides) or len(set(map(len, levels))) != 1 or not levels[0]:
            raise ValueError(
                f"anchor_sizes is {_plain(sizes)}, but {len(strides)} entries, one a level, each one size or "
                "equally many, were expected."
            )
        for key, values in (
            ("anchor_sizes", [size for level in levels for size in level]),
            ("aspect_ratios", list(ratios)),
        ):
            if not values or not all(isinstance(value, int | float) and 0 < value < 1e6 for value in values):
                raise ValueError(f"{key} holds {_plain(values)}, but numbers above 0 were expected.")
        self.strides, self.fixed = tuple(strides), rules.fixed_strides
        self.cells = [cell_anchors(level, ratios, rounded=rules.rounded_anchors) for level in levels]
        self.per_point = len(self.cells[0])

    def counts(self, grids: Sequence[tuple[int, int]]) -> list[int]:
        """Number of anchors of each level, from the sizes (rows, columns) of their feature maps."""
        return [rows * columns * self.per_point for rows, columns in grids]

    def __call__(
        self, image_size: tuple[int, int], grids: Sequence[tuple[int, int]], device: torch.device
    ) -> torch.Tensor:
        """All anchors, (n, 4) float32: level by level, row by row, point by point."""
        parts = []
        for stride, (rows, columns), cell in zip(self.strides, grids, self.cells, strict=True):
            step_y, step_x = (stride, stride) if self.fixed else (image_size[0] // rows, image_size[1] // columns)
            y = torch.arange(rows, dtype=torch.float32, device=device) * step_y
            x = torch.arange(columns, dtype=torch.float32, device=device) * step_x
            y, x = torch.meshgrid(y, x, indexing="ij")
            points = torch.stack([x, y, x, y], -1).view(-1, 1, 4)
            parts.append((points + cell.to(device)).view(-1, 4))
        return torch.cat(parts)


def match_boxes(truth: torch.Tensor, boxes: torch.Tensor, *, low: float, high: float) -> torch.Tensor:
    """Which object each anchor belongs to.

    An anchor belongs to the object that it overlaps most, if their intersection over union is at least `high`; to none
    if it is below `low`; in between it is not used. The best anchors of an object (all, if several are equally good)
    are used in any case. The overlaps are worked off in blocks: 800 objects and 360,000 anchors need no gigabytes.

    Args:
        truth: (t, 4), x0, y0, x1, y1.
        boxes: (n, 4).
        low, high: 0-1.

    Returns:
        (n,) int64: the object's place in `truth`, or `NOTHING` (-1), or `UNDECIDED` (-2).

    Example:
        >>> truth = torch.tensor([[0.0, 0, 10, 10]])
        >>> boxes = torch.tensor([[0.0, 0, 10, 8], [0, 0, 10, 5], [20, 0, 30, 10]])
        >>> match_boxes(truth, boxes, low=0.3, high=0.7)
        tensor([ 0, -2, -1])
    """
    matches = torch.full((len(boxes),), NOTHING, dtype=torch.int64, device=boxes.device)
    if not len(truth):
        return matches
    best = torch.zeros_like(matches)
    best_of_object = torch.zeros(len(truth), dtype=truth.dtype, device=truth.device)
    found = []
    step = max(1, _PAIRS_AT_ONCE // len(truth))
    for start in range(0, len(boxes), step):
        overlap = box_overlaps(truth, boxes[start : start + step])
        value, best[start : start + step] = overlap.max(0)
        part = matches[start : start + step]
        part[value >= low] = UNDECIDED
        certain = value >= high
        part[certain] = best[start : start + step][certain]
        best_of_object = torch.maximum(best_of_object, overlap.max(1).values)
        # What does not reach the best so far cannot be the best at the end.
        rows, columns = torch.nonzero((overlap >= best_of_object[:, None]) & (overlap > 0), as_tuple=True)
        found.append((rows, columns + start, overlap[rows, columns]))
    rows, columns, values = (torch.cat(part) for part in zip(*found, strict=True))
    forced = columns[values == best_of_object[rows]]
    matches[forced] = best[forced]
    return matches


def box_overlaps(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """(n, m) intersection over union of the boxes x0, y0, x1, y1 of two lists; 0 for two empty boxes.

    Example:
        >>> box_overlaps(torch.tensor([[0.0, 0, 4, 2]]), torch.tensor([[2.0, 0, 6, 2], [4, 0, 5, 1]]))
        tensor([[0.3333, 0.0000]])
    """
    left, top, right, bottom = (column[:, None] for column in first.unbind(1))
    lefts, tops, rights, bottoms = second.unbind(1)
    width = torch.minimum(right, rights).sub_(torch.maximum(left, lefts)).clamp_(min=0)
    height = torch.minimum(bottom, bottoms).sub_(torch.maximum(top, tops)).clamp_(min=0)
    intersection = width.mul_(height)
    union = torch.add((right - left) * (bottom - top), (rights - lefts) * (bottoms - tops), out=height)
    return torch.div(intersection, union.sub_(intersection), out=intersection).nan_to_num_(nan=0.0)


def _plain(values: Sequence) -> list:
    return [list(value) if isinstance(value, list | tuple) else value for value in values]
