"""Connected pieces of cells, with the box, the centre and the number of diffusion steps of each."""

from __future__ import annotations

from dataclasses import dataclass

import cc3d
import fastremap
import numpy as np

from emlib.compilation import compiled
from emlib.diffusion.rules import DiffusionRule

CENTRES = ("mean", "median", "rounded-mean")
# One step moves heat by a pixel along each axis in 2-D, but along one axis only in 3-D.
STEPS_PER_PIXEL = {2: 2, 3: 6}


@dataclass(frozen=True)
class CellPieces:
    """The parts of a label image that diffuse by themselves.

    Attributes:
        labels: uint32 (z, y, x), C-contiguous, ids 1 ... n; 2-D images have one section.
        boxes: int64 (n, 3, 2), first and behind-last voxel of each piece along z, y, x.
        centres: int64 (n, 3), a voxel of each piece.
        steps: int64 (n,).
    """

    labels: np.ndarray
    boxes: np.ndarray
    centres: np.ndarray
    steps: np.ndarray


def cell_pieces(labels: np.ndarray, rule: DiffusionRule, *, separate: bool = True) -> CellPieces:
    """Boxes, centres and steps of the cells of a label image (y, x) or volume (z, y, x).

    Args:
        labels: whole numbers that are not negative, 0 = background.
        rule: see `DiffusionRule`.
        separate: a cell in several pieces (8-connected in 2-D, 6-connected in 3-D, as heat spreads) is taken as that
            many cells; otherwise the pieces of one id share one box and one centre.

    Example:
        >>> from emlib.diffusion.rules import diffusion_rule
        >>> pieces = cell_pieces(np.array([[7, 7, 7, 0, 7]]), diffusion_rule("cellpose3"))
        >>> pieces.centres.tolist(), pieces.steps.tolist()
        ([[0, 0, 1], [0, 0, 4]], [16, 12])
    """
    dimensions = labels.ndim
    # "W": cc3d refuses read-only memory, although nothing is written to it here.
    volume = np.require(labels, labels.dtype.newbyteorder("="), ["C", "W"]).reshape((-1, *labels.shape[-2:]))
    volume = volume.view(np.uint8) if volume.dtype == np.bool_ else volume
    if separate:
        numbered, count = cc3d.connected_components(
            volume, connectivity=26 if dimensions == 2 else 6, out_dtype=np.uint32, return_N=True
        )
    else:
        numbered, table = fastremap.renumber(volume, preserve_zero=True, in_place=False)
        count = len(table) - (0 in table)
    numbered = np.ascontiguousarray(numbered.reshape(volume.shape), dtype=np.uint32)
    boxes = _boxes(numbered, int(count))
    centres = np.empty((len(boxes), 3), dtype=np.int64)
    _find_centres(numbered, boxes, CENTRES.index(rule.centre), centres)
    sides = (boxes[:, :, 1] - boxes[:, :, 0])[:, 3 - dimensions :]
    steps = STEPS_PER_PIXEL[dimensions] * (sides + rule.margin).sum(axis=1)
    if not rule.own_steps and len(steps):
        steps[:] = steps.max()
    return CellPieces(numbered, boxes, centres, steps)


@compiled
def _boxes(labels, count):
    boxes = np.empty((count, 3, 2), dtype=np.int64)
    boxes[:, :, 0], boxes[:, :, 1] = np.int64(2**62), 0
    for z in range(labels.shape[0]):
        for y in range(labels.shape[1]):
            x = 0
            while x < labels.shape[2]:
                label = labels[z, y, x]
                start = x
                x += 1
                while x < labels.shape[2] and labels[z, y, x] == label:
                    x += 1
                if label == 0:
                    continue
                box = boxes[label - 1]
                box[0, 0], box[0, 1] = min(box[0, 0], z), max(box[0, 1], z + 1)
                box[1, 0], box[1, 1] = min(box[1, 0], y), max(box[1, 1], y + 1)
                box[2, 0], box[2, 1] = min(box[2, 0], start), max(box[2, 1], x)
    return boxes


@compiled
def _find_centres(labels, boxes, kind, centres):
    for cell in range(boxes.shape[0]):
        box = boxes[cell]
        part = labels[box[0, 0] : box[0, 1], box[1, 0] : box[1, 1], box[2, 0] : box[2, 1]]
        wanted = _wanted_centre(part, cell + 1, kind)
        if kind == 2:
            z, y, x = np.round(wanted[0]), np.round(wanted[1]), np.round(wanted[2])
            wanted[0], wanted[1], wanted[2] = z, y, x
        # The first in raster order of equally near ones.
        nearest = np.inf
        for z in range(part.shape[0]):
            for y in range(part.shape[1]):
                for x in range(part.shape[2]):
                    if part[z, y, x] == cell + 1:
                        distance = (y - wanted[1]) ** 2 + (x - wanted[2]) ** 2 + (z - wanted[0]) ** 2
                        if distance < nearest:
                            nearest = distance
                            centres[cell, 0] = box[0, 0] + z
                            centres[cell, 1] = box[1, 0] + y
                            centres[cell, 2] = box[2, 0] + x


@compiled
def _wanted_centre(part, label, kind):
    """Mean, or median (kind 1), of the positions of a label, counted from the corner of its box."""
    planes = np.zeros(part.shape[0], dtype=np.int64)
    rows = np.zeros(part.shape[1], dtype=np.int64)
    columns = np.zeros(part.shape[2], dtype=np.int64)
    for z in range(part.shape[0]):
        for y in range(part.shape[1]):
            for x in range(part.shape[2]):
                if part[z, y, x] == label:
                    planes[z] += 1
                    rows[y] += 1
                    columns[x] += 1
    centre = np.empty(3)
    for axis, counts in enumerate((planes, rows, columns)):
        total = counts.sum()
        if kind == 1:
            centre[axis] = (_ranked(counts, (total - 1) // 2) + _ranked(counts, total // 2)) / 2
        else:
            centre[axis] = (counts * np.arange(counts.size)).sum() / total
    return centre


@compiled
def _ranked(counts, rank):
    """The position that has this rank when all are sorted."""
    before = 0
    for position in range(counts.size):
        before += counts[position]
        if before > rank:
            return position
    return counts.size - 1
