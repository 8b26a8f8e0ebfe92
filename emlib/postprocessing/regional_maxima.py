"""Regional maxima: connected voxels of one value with nothing higher beside them, each a seed of its own."""

from __future__ import annotations

import numpy as np

from emlib.compilation import compiled


def label_regional_maxima(values: np.ndarray, labels: np.ndarray, *, lowest: float = 0.0, first: int = 1) -> int:
    """Number the regional maxima of `values` in raster order, in place; a plateau is one maximum.

    Neighbours are the 6 that share a face (4 in a volume of one section), as in scikit-image's
    `local_maxima(values, connectivity=1)`, except that a volume of one value is one maximum here.

    Args:
        values: (Z, Y, X) float32, not NaN.
        labels: (Z, Y, X) uint32 or uint64, C-contiguous, all 0; gets the numbers.
        lowest: maxima that are not above this value are left out.
        first: number of the first maximum.

    Returns:
        How many maxima there are.

    Example:
        >>> values = np.array([[[1, 2, 2, 1, 3, 1, 1]]], dtype=np.float32)
        >>> labels = np.zeros(values.shape, dtype=np.uint32)
        >>> label_regional_maxima(values, labels)
        2
        >>> labels
        array([[[0, 1, 1, 0, 2, 0, 0]]], dtype=uint32)
    """
    _, rows, columns = values.shape
    flat = np.ascontiguousarray(values).reshape(-1)
    return _label(flat, labels.reshape(-1), rows, columns, np.float32(lowest), first)


@compiled
def _label(values, labels, rows, columns, lowest, first):
    plane = rows * columns
    size = values.size
    members = np.empty(256, dtype=np.int64)
    offsets = np.array([-plane, -columns, -1, 1, columns, plane])
    inside = np.empty(6, dtype=np.bool_)
    # The number for plateaus that turned out not to be maxima; taken away again at the end.
    refused = labels.dtype.type(-1)
    any_refused = False
    found = 0
    for start in range(0, size, columns):
        y = (start // columns) % rows
        for x in range(columns):
            position = start + x
            value = values[position]
            # Nearly every voxel has a higher neighbour and ends here; only the others walk over their plateau.
            if (
                value <= lowest
                or labels[position] != 0
                or (x > 0 and values[position - 1] > value)
                or (x < columns - 1 and values[position + 1] > value)
                or (y > 0 and values[position - columns] > value)
                or (y < rows - 1 and values[position + columns] > value)
                or (position >= plane and values[position - plane] > value)
                or (position < size - plane and values[position + plane] > value)
            ):
                continue
            number = labels.dtype.type(first + found)
            highest, count, members = _walk_plateau(
                values, labels, rows, columns, position, number, members, offsets, inside
            )
            if highest:
                found += 1
                continue
            any_refused = True
            for index in range(count):
                labels[members[index]] = refused
    if any_refused:
        for position in range(size):
            if labels[position] == refused:
                labels[position] = 0
    return found


@compiled
def _walk_plateau(values, labels, rows, columns, start, number, members, offsets, inside):
    """Give all voxels of one plateau the number; returns if nothing beside it is higher, its size, and its members."""
    plane = rows * columns
    size = values.size
    value = values[start]
    labels[start] = number
    members[0] = start
    count = 1
    done = 0
    highest = True
    while done < count:
        position = members[done]
        done += 1
        row = position // columns
        x = position - row * columns
        y = row % rows
        inside[0] = position >= plane
        inside[1] = y > 0
        inside[2] = x > 0
        inside[3] = x < columns - 1
        inside[4] = y < rows - 1
        inside[5] = position < size - plane
        for side in range(6):
            if not inside[side]:
                continue
            neighbour = position + offsets[side]
            if values[neighbour] > value:
                highest = False
            elif values[neighbour] == value and labels[neighbour] == 0:
                labels[neighbour] = number
                if count == members.size:
                    longer = np.empty(2 * count, dtype=np.int64)
                    longer[:count] = members
                    members = longer
                members[count] = neighbour
                count += 1
    return highest, count, members
