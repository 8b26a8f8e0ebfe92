"""The exact outline of every object of a label image: along the edges of its pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from emlib.compilation import compiled


def cell_outlines(labels: Any) -> list[CellOutline]:
    """Polygons that enclose just the pixels of each object.

    Corners lie between pixels: a single pixel at (y, x) has the corners (y, x) ... (y + 1, x + 1). Pixels that touch at
    a corner only belong to different pieces.

    Args:
        labels: (y, x), any integer type, 0 = background.

    Returns:
        One entry for each object, by increasing id.

    Raises:
        TypeError, ValueError: labels that are not integers, not (y, x), or negative.

    Example:
        >>> outline, = cell_outlines(np.array([[0, 5, 5]]))
        >>> outline.id, outline.pieces[0][0].tolist()
        (5, [[0, 1], [0, 3], [1, 3], [1, 1]])
    """
    labels = check_label_image(labels)
    # Two types, so that the tracing is compiled twice at most.
    wide = np.uint32 if labels.dtype.itemsize <= 4 else np.uint64
    corners, starts, owners = _trace(np.pad(labels.astype(wide, copy=False), 1))
    rings: dict[int, list[np.ndarray]] = {}
    for number, owner in enumerate(owners.tolist()):
        rings.setdefault(owner, []).append(corners[starts[number] : starts[number + 1]])
    return [CellOutline(owner, _sorted_into_pieces(rings[owner])) for owner in sorted(rings)]


def enclosed_area(ring: np.ndarray) -> float:
    """Pixels that a ring of corners (n, 2) encloses; negative for a hole.

    Example:
        >>> enclosed_area(np.array([[0, 0], [0, 3], [2, 3], [2, 0]]))
        6.0
    """
    y, x = ring[:, 0].astype(np.float64), ring[:, 1].astype(np.float64)
    return float((x * np.roll(y, -1) - np.roll(x, -1) * y).sum() / 2)


def check_label_image(labels: Any) -> np.ndarray:
    """The labels as an array, if they are ids (y, x).

    Raises:
        TypeError, ValueError: they are not.
    """
    labels = np.asarray(labels)
    if labels.dtype.kind not in "iu":
        raise TypeError(f"labels are {labels.dtype}, but whole numbers (one id a cell) were expected.")
    if labels.ndim != 2 or labels.size == 0:
        raise ValueError(f"labels have shape {labels.shape}, but (y, x) was expected.")
    if labels.dtype.kind == "i" and labels.min() < 0:
        raise ValueError(f"labels hold the negative id {labels.min()}, but ids from 0 were expected.")
    return labels


def _sorted_into_pieces(rings: list[np.ndarray]) -> tuple[tuple[np.ndarray, ...], ...]:
    """Each outer ring with its holes, the largest piece first."""
    outer = sorted((ring for ring in rings if enclosed_area(ring) > 0), key=enclosed_area, reverse=True)
    pieces = [[ring] for ring in outer]
    for hole in (ring for ring in rings if enclosed_area(ring) < 0):
        # The pixel beyond the hole's first edge belongs to the piece. Of nested pieces the smallest is the owner.
        inside = [number for number, ring in enumerate(outer) if _encloses(ring, hole)]
        pieces[inside[-1]].append(hole)
    return tuple(tuple(piece) for piece in pieces)


def _encloses(ring: np.ndarray, hole: np.ndarray) -> bool:
    """Whether the cell's pixel at the first edge of a hole lies inside a ring.

    Rings run to the right along the upper edge of a pixel first, with the cell to their right: below.
    """
    y, x = hole[0, 0] + 0.5, hole[0, 1] + 0.5
    y0, x0 = ring[:, 0], ring[:, 1]
    y1 = np.roll(y0, -1)
    vertical = x0 == np.roll(x0, -1)
    crossed = vertical & (np.minimum(y0, y1) < y) & (y < np.maximum(y0, y1)) & (x0 > x)
    return bool(np.count_nonzero(crossed) % 2)


@compiled
def _trace(labels):
    """Rings of all labels of a framed image: corners (n, 2), where each ring starts, and its label."""
    height, width = labels.shape
    edges = 0
    for y in range(1, height - 1):
        for x in range(1, width - 1):
            one = labels[y, x]
            if one:
                edges += labels[y - 1, x] != one
                edges += labels[y + 1, x] != one
                edges += labels[y, x - 1] != one
                edges += labels[y, x + 1] != one
    corners = np.empty((edges, 2), np.int32)
    starts = np.empty(edges + 1, np.int64)
    owners = np.empty(edges, labels.dtype)
    visited = np.zeros((height, width), np.uint8)
    step_y, step_x = (0, 1, 0, -1), (1, 0, -1, 0)
    # Of the four pixels around a corner, the one ahead to the left and ahead to the right, by direction.
    left_y, left_x = (-1, 0, 0, -1), (0, 0, -1, -1)
    right_y, right_x = (0, 0, -1, -1), (0, -1, -1, 0)
    count = rings = 0
    for first_y in range(1, height - 1):
        for first_x in range(1, width - 1):
            one = labels[first_y, first_x]
            if one == 0 or labels[first_y - 1, first_x] == one or visited[first_y, first_x]:
                continue
            starts[rings], owners[rings] = count, one
            rings += 1
            y, x, direction = first_y, first_x, 0
            corners[count, 0], corners[count, 1] = y - 1, x - 1
            count += 1
            while True:
                if direction == 0:
                    visited[y, x] = 1
                y += step_y[direction]
                x += step_x[direction]
                if labels[y + right_y[direction], x + right_x[direction]] != one:
                    turned = (direction + 1) % 4
                elif labels[y + left_y[direction], x + left_x[direction]] == one:
                    turned = (direction + 3) % 4
                else:
                    turned = direction
                if y == first_y and x == first_x and turned == 0:
                    break
                if turned != direction:
                    corners[count, 0], corners[count, 1] = y - 1, x - 1
                    count += 1
                direction = turned
    starts[rings] = count
    return corners[:count], starts[: rings + 1], owners[:rings]


@dataclass(frozen=True)
class CellOutline:
    """The outline of one object.

    Attributes:
        id: in the labels.
        pieces: for each connected piece, the largest first, its outer ring and then its holes: int32 (n, 2) corners
            (y, x), not closed; outer rings run clockwise on the screen, holes the other way.
    """

    id: int
    pieces: tuple[tuple[np.ndarray, ...], ...]
