"""Heat inside each cell, and its gradient."""

from __future__ import annotations

import numpy as np

from emlib.compilation import compiled
from emlib.diffusion.heat import heat_in_section, heat_in_volume
from emlib.diffusion.pieces import cell_pieces
from emlib.diffusion.rules import diffusion_rule

# A gradient this much smaller than the heat is rounding: both neighbours are equally warm.
ROUNDING = 1e-12


def diffusion_flow(
    labels: np.ndarray, rule: str = "cellpose3", *, separate_pieces: bool = True, as_published: bool = False
) -> np.ndarray:
    """Unit vectors that lead from every pixel of a cell to its centre; see `emlib.targets.gradient_flow`.

    Args:
        labels: (y, x) or (z, y, x), whole numbers that are not negative, 0 = background; any memory order.
        rule: "cellpose3", "mediar" or "cellpose4".
        separate_pieces: every connected piece of a cell has its own centre.
        as_published: keep the quirks of the published code, which knows no pieces either.

    Returns:
        float32 (2, y, x) or (3, z, y, x).

    Example:
        >>> diffusion_flow(np.array([[0, 5, 5, 5, 0]]))[1] + 0
        array([[ 0.,  1.,  0., -1.,  0.]], dtype=float32)
    """
    chosen = diffusion_rule(rule)
    pieces = cell_pieces(labels, chosen, separate=separate_pieces and not as_published)
    flow = np.zeros((labels.ndim, *labels.shape), dtype=np.float32)
    if not len(pieces.boxes):
        return flow
    # Only a leaking gradient looks beyond the cell; everything else fits into one cell's box.
    leaks = as_published and chosen.leaks
    everywhere = np.zeros(pieces.labels.shape if leaks else (0, 0, 0))
    fill = _section_flow if labels.ndim == 2 else _volume_flow
    cells = (pieces.labels, pieces.boxes, pieces.centres, pieces.steps)
    volume_flow = flow.reshape((labels.ndim, *pieces.labels.shape))
    fill(*cells, chosen.logarithm, everywhere, volume_flow)
    if leaks:
        _published_gradient(pieces.labels, everywhere, chosen.epsilon, volume_flow)
    return flow


@compiled
def _section_flow(labels, boxes, centres, steps, logarithm, everywhere, flow):
    sides = boxes[:, :, 1] - boxes[:, :, 0] + 2
    room = (sides[:, 1] * sides[:, 2]).max()
    buffers = (np.empty(room), np.empty(room), np.empty(room))
    direction = np.empty(2)
    for cell in range(boxes.shape[0]):
        top, left = boxes[cell, 1, 0] - 1, boxes[cell, 2, 0] - 1
        rows, columns = sides[cell, 1], sides[cell, 2]
        part = labels[0, top + 1 : top + rows - 1, left + 1 : left + columns - 1]
        centre = (centres[cell, 1] - top, centres[cell, 2] - left)
        heat = heat_in_section(part, cell + 1, centre, steps[cell], buffers)
        if logarithm and everywhere.size == 0:
            for k in range(heat.size):
                heat[k] = np.log1p(heat[k])
        for y in range(1, rows - 1):
            for x in range(1, columns - 1):
                if part[y - 1, x - 1] != cell + 1:
                    continue
                k = y * columns + x
                if everywhere.size:
                    everywhere[0, top + y, left + x] = np.log(1 + heat[k]) if logarithm else heat[k]
                    continue
                direction[0] = heat[k + columns] - heat[k - columns]
                direction[1] = heat[k + 1] - heat[k - 1]
                _store_unit(direction, heat[k] * ROUNDING, flow[:, 0, top + y, left + x])


@compiled
def _volume_flow(labels, boxes, centres, steps, logarithm, everywhere, flow):
    sides = boxes[:, :, 1] - boxes[:, :, 0] + 2
    room = (sides[:, 0] * sides[:, 1] * sides[:, 2]).max()
    buffers = (np.empty(room), np.empty(room), np.empty(room))
    direction = np.empty(3)
    for cell in range(boxes.shape[0]):
        front, top, left = boxes[cell, 0, 0] - 1, boxes[cell, 1, 0] - 1, boxes[cell, 2, 0] - 1
        planes, rows, columns = sides[cell, 0], sides[cell, 1], sides[cell, 2]
        part = labels[front + 1 : front + planes - 1, top + 1 : top + rows - 1, left + 1 : left + columns - 1]
        centre = (centres[cell, 0] - front, centres[cell, 1] - top, centres[cell, 2] - left)
        heat = heat_in_volume(part, cell + 1, centre, steps[cell], buffers)
        if logarithm and everywhere.size == 0:
            for k in range(heat.size):
                heat[k] = np.log1p(heat[k])
        plane = rows * columns
        for z in range(1, planes - 1):
            for y in range(1, rows - 1):
                for x in range(1, columns - 1):
                    if part[z - 1, y - 1, x - 1] != cell + 1:
                        continue
                    k = z * plane + y * columns + x
                    if everywhere.size:
                        everywhere[front + z, top + y, left + x] = np.log(1 + heat[k]) if logarithm else heat[k]
                        continue
                    direction[0] = heat[k + plane] - heat[k - plane]
                    direction[1] = heat[k + columns] - heat[k - columns]
                    direction[2] = heat[k + 1] - heat[k - 1]
                    _store_unit(direction, heat[k] * ROUNDING, flow[:, front + z, top + y, left + x])


@compiled
def _store_unit(direction, noise, flow):
    # Divided by the largest component first: far ends of thin cells hold less heat than a square can express.
    largest = 0.0
    for axis in range(direction.size):
        if abs(direction[axis]) <= noise:
            direction[axis] = 0.0
        largest = max(largest, abs(direction[axis]))
    if largest == 0:
        return
    length = 0.0
    for axis in range(direction.size):
        direction[axis] /= largest
        length += direction[axis] ** 2
    length = np.sqrt(length)
    for axis in range(direction.size):
        flow[axis] = np.float32(direction[axis] / length)


@compiled
def _published_gradient(labels, heat, epsilon, flow):
    dimensions = flow.shape[0]
    planes, rows, columns = heat.shape
    direction = np.zeros(3)
    for z in range(planes):
        for y in range(rows):
            for x in range(columns):
                if labels[z, y, x] == 0:
                    continue
                if dimensions == 3:
                    before = heat[z - 1, y, x] if z > 0 else 0.0
                    behind = heat[z + 1, y, x] if z + 1 < planes else 0.0
                    direction[0] = behind - before
                before = heat[z, y - 1, x] if y > 0 else 0.0
                behind = heat[z, y + 1, x] if y + 1 < rows else 0.0
                direction[1] = behind - before
                before = heat[z, y, x - 1] if x > 0 else 0.0
                behind = heat[z, y, x + 1] if x + 1 < columns else 0.0
                direction[2] = behind - before
                length = epsilon + np.sqrt(direction[0] ** 2 + direction[1] ** 2 + direction[2] ** 2)
                for axis in range(dimensions):
                    flow[axis, z, y, x] = np.float32(direction[3 - dimensions + axis] / length)
