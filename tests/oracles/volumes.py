"""Small volumes made by formula, on which the published implementations' figures are known.

Every function returns fresh arrays, so that a test may write into them. Axes are (z, y, x) or (row, column).
"""

from __future__ import annotations

import numpy as np

SMALL_SHAPE = (8, 48, 48)
SMALL_RADIUS = 11.0
BOX_VOLUME_SHAPE = (40, 200, 200)
CELL_IMAGE_SHAPE = (96, 120)
# (row, column, row radius, column radius, angle in degrees) of the cells with ids 1 ... 10
CELL_ELLIPSES = (
    (20, 22, 12, 9, 0),
    (20, 40, 10, 9, 0),
    (24, 70, 8, 20, 20),
    (60, 20, 14, 14, 0),
    (62, 60, 18, 10, 45),
    (58, 95, 15, 12, 0),
    (85, 40, 7, 16, 0),
    (90, 100, 12, 15, 0),
    (8, 110, 6, 6, 0),
    (40, 112, 3, 3, 0),
)


def small_volume() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Twelve touching anisotropic cells and what an ideal network would say about them.

    Returns:
        labels (uint32), mask, contour and distance (uint8), each of shape (8, 48, 48).
    """
    random = np.random.RandomState(0)
    centres = np.stack([random.randint(0, length, size=12) for length in SMALL_SHAPE], axis=1).astype(np.float64)
    voxels = np.moveaxis(np.indices(SMALL_SHAPE), 0, -1).astype(np.float64)
    offsets = (voxels[..., np.newaxis, :] - centres) * np.array([3.0, 1.0, 1.0])
    distances = np.sqrt((offsets**2).sum(axis=-1))
    nearest, second = np.moveaxis(np.sort(distances, axis=-1)[..., :2], -1, 0)

    labels = (distances.argmin(axis=-1) + 1).astype(np.uint32)
    labels[nearest > SMALL_RADIUS] = 0
    mask = _to_uint8(255 / (1 + np.exp(-(SMALL_RADIUS - nearest))))
    contour = _to_uint8(255 * np.exp(-(((second - nearest) / 3) ** 2)))
    distance = _to_uint8(255 * np.clip(1 - nearest / SMALL_RADIUS, 0, 1))
    return labels, mask, contour, distance


def shifted_segmentation() -> np.ndarray:
    """An imperfect segmentation (int64) of `small_volume`: shifted, one merge (2 into 1), one split (3 into 3, 50)."""
    segmentation = np.roll(small_volume()[0], (2, 3), axis=(1, 2)).astype(np.int64)
    segmentation[segmentation == 2] = 1
    right_half = segmentation[:, :, 24:]
    right_half[right_half == 3] = 50
    return segmentation


def box_volumes() -> tuple[np.ndarray, np.ndarray]:
    """Sixteen boxes (truth) and a prediction with shifts, two splits, two misses and two false objects.

    Returns:
        truth and prediction (uint32), each of shape (40, 200, 200).
    """
    random = np.random.RandomState(1)
    truth = np.zeros(BOX_VOLUME_SHAPE, dtype=np.uint32)
    boxes = []
    for index in range(16):
        row, column = divmod(index, 4)
        depth, height, width = (int(random.randint(*limits)) for limits in ((6, 38), (12, 44), (12, 44)))
        y, x = row * 50 + 2, column * 50 + 2
        boxes.append((1 + depth, y, y + height, x, x + width))
        truth[1 : 1 + depth, y : y + height, x : x + width] = index + 1

    prediction = np.zeros_like(truth)
    next_id = 1
    for index, (z1, y0, y1, x0, x1) in enumerate(boxes):
        shift = int(random.randint(0, 5))
        kind = index % 8
        if kind == 7:
            continue
        if kind == 6:
            middle = (x0 + x1) // 2
            prediction[1:z1, y0:y1, x0:middle] = next_id
            prediction[1:z1, y0:y1, middle:x1] = next_id + 1
            next_id += 2
        else:
            prediction[1:z1, y0 + shift : y1 + shift, x0:x1] = next_id
            next_id += 1
    prediction[0:30, 190:199, 100:199] = next_id
    prediction[39, 0:49, 0:49] = next_id + 1
    return truth, prediction


def cells_2d() -> tuple[np.ndarray, np.ndarray]:
    """Eleven cells (one a crescent, some cut by the border) and a shifted, merged and incomplete prediction.

    Returns:
        labels and prediction (int32), each of shape (96, 120).
    """
    rows, columns = np.indices(CELL_IMAGE_SHAPE)
    labels = np.zeros(CELL_IMAGE_SHAPE, dtype=np.int32)
    for cell, (row, column, row_radius, column_radius, degrees) in enumerate(CELL_ELLIPSES, start=1):
        angle = np.deg2rad(degrees)
        along = (columns - column) * np.cos(angle) + (rows - row) * np.sin(angle)
        across = (rows - row) * np.cos(angle) - (columns - column) * np.sin(angle)
        inside = (along / column_radius) ** 2 + (across / row_radius) ** 2 <= 1
        labels[inside & (labels == 0)] = cell
    labels[(labels == 4) & ((rows - 60) ** 2 + (columns - 26) ** 2 <= 100)] = 0
    labels[50:52, 40:42] = 11

    shifted = np.zeros_like(labels)
    shifted[:, 3:] = labels[:, :-3]
    shifted[shifted == 2] = 1
    shifted[shifted == 5] = 0
    shifted[70:78, 60:70] = 12
    present = np.unique(shifted)
    return labels, np.searchsorted(present, shifted).astype(np.int32)


def _to_uint8(values: np.ndarray) -> np.ndarray:
    return np.rint(values).astype(np.uint8)
