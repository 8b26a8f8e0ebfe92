"""Heatmap of objects that is highest on the middle line of each."""

from __future__ import annotations

import cc3d
import edt
import numpy as np
import torch

from emlib.compilation import compiled
from emlib.targets.label_arrays import as_label_tensor, like
from emlib.targets.thinning import thin_shape

HOLE = 16
POWER = 0.8
SMALLEST_RADIUS = 2.0
OUTSIDE = -1.0


def skeleton_distance(labels: np.ndarray | torch.Tensor) -> np.ndarray | torch.Tensor:
    """1 on the skeleton of an object, 0 where it is thickest at its border, -1 outside.

    For every 8-connected component of an id in a section by itself:

    1. Holes of the shape, which are 4-connected and have fewer than 16 pixels, are filled.
    2. The shape is thinned to its skeleton, see `thin_shape`.
    3. With d the distance of a pixel to the nearest one of the skeleton and dmax its largest value in the shape, the
       value is 1 - (d / max(dmax, 2)) ** 0.8.

    Background in a filled hole belongs to the shape, other objects in it do not: they have their own values. A piece of
    background that the shape cuts off at the section's border counts as a hole, as published.

    Args:
        labels: (z, y, x), any integer type, 0 = background; not changed.

    Returns:
        float32 (z, y, x), on the labels' device; values from 0 to 1, and -1. Computed on the CPU.

    Raises:
        TypeError: labels that are not whole numbers.
        ValueError: labels without three axes, empty labels or negative ids.

    Source: EM Mitochondria Pipeline, task 22; the skeletons are those of Zhang and Suen (1984).

    Example:
        >>> labels = np.zeros((1, 7, 9), dtype=int)
        >>> labels[0, 2:5, 1:8] = 3
        >>> skeleton_distance(labels)[0, 1:4].round(2)
        array([[-1.  , -1.  , -1.  , -1.  , -1.  , -1.  , -1.  , -1.  , -1.  ],
               [-1.  ,  0.24,  0.43,  0.43,  0.43,  0.43,  0.43,  0.24, -1.  ],
               [-1.  ,  0.43,  1.  ,  1.  ,  1.  ,  1.  ,  1.  ,  0.43, -1.  ]],
              dtype=float32)
    """
    tensor = as_label_tensor(labels)
    ids = tensor.cpu().numpy()
    # Whether ids are equal is all that counts, but cc3d expects them without a sign.
    ids = ids.view(f"u{ids.itemsize}")
    target = np.full(ids.shape, OUTSIDE, dtype=np.float32)
    for section, heat in zip(ids, target, strict=True):
        _draw_section(np.ascontiguousarray(section), heat)
    return like(labels)(torch.from_numpy(target).to(tensor.device))


def _draw_section(section: np.ndarray, heat: np.ndarray) -> None:
    components, count = cc3d.connected_components(section, connectivity=8, out_dtype=np.uint32, return_N=True)
    components = np.ascontiguousarray(components)
    boxes = _boxes(components, count)
    for number in range(1, count + 1):
        # A hole of fewer pixels than the margin cannot reach beyond it.
        start = np.maximum(boxes[number, :2] - HOLE, 0)
        stop = np.minimum(boxes[number, 2:] + HOLE, section.shape)
        part = slice(start[0], stop[0]), slice(start[1], stop[1])
        shape = components[part] == number
        _fill_holes(shape)
        distance = edt.edt(~thin_shape(shape), parallel=1)
        value = 1 - (distance / max(float(distance[shape].max()), SMALLEST_RADIUS)) ** np.float32(POWER)
        own = components[part] == number
        heat[part][own] = value[own]
        filled = shape & (components[part] == 0)
        heat[part][filled] = np.maximum(heat[part][filled], value[filled])


@compiled
def _boxes(components, count):
    """(count + 1, 4): y and x where each component starts and, exclusively, stops."""
    boxes = np.zeros((count + 1, 4), dtype=np.int64)
    boxes[:, 0], boxes[:, 1] = components.shape
    for y in range(components.shape[0]):
        for x in range(components.shape[1]):
            number = components[y, x]
            boxes[number, 0] = min(boxes[number, 0], y)
            boxes[number, 1] = min(boxes[number, 1], x)
            boxes[number, 2] = max(boxes[number, 2], y + 1)
            boxes[number, 3] = max(boxes[number, 3], x + 1)
    return boxes


@compiled
def _fill_holes(shape):
    """Set, in place, the 4-connected regions outside the shape that have fewer than `HOLE` pixels."""
    rows, columns = shape.shape
    seen = shape.copy()
    members = np.empty((shape.size, 2), dtype=np.int64)
    for first_y in range(rows):
        for first_x in range(columns):
            if seen[first_y, first_x]:
                continue
            seen[first_y, first_x] = True
            members[0, 0], members[0, 1] = first_y, first_x
            count, done = 1, 0
            while done < count:
                y, x = members[done, 0], members[done, 1]
                done += 1
                for near_y, near_x in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
                    if 0 <= near_y < rows and 0 <= near_x < columns and not seen[near_y, near_x]:
                        seen[near_y, near_x] = True
                        members[count, 0], members[count, 1] = near_y, near_x
                        count += 1
            if count < HOLE:
                for index in range(count):
                    shape[members[index, 0], members[index, 1]] = True
