"""An image with the outlines of its cells drawn into it."""

from __future__ import annotations

from typing import Any

import numpy as np

from emlib.visualization.cells.outlines import check_label_image
from emlib.visualization.colors import colorize


def outline_overlay(image: Any, labels: Any, *, alpha: float = 0.0) -> np.ndarray:
    """Paint the outermost pixels of every cell in its colour.

    Args:
        image: (y, x) or (y, x, 3), uint8.
        labels: (y, x), any integer type, 0 = background.
        alpha: how much of its colour the inside of a cell gets, 0 to 1.

    Returns:
        uint8 (y, x, 3).

    Raises:
        TypeError, ValueError: another type or shape, or alpha out of range.

    Example:
        >>> picture = outline_overlay(np.zeros((3, 3), np.uint8), np.ones((3, 3), int))
        >>> bool(picture[0, 0].any()), bool(picture[1, 1].any())
        (True, False)
    """
    labels, image = check_label_image(labels), np.asarray(image)
    if image.dtype != np.uint8 or image.shape not in (labels.shape, (*labels.shape, 3)):
        raise ValueError(
            f"The image is {image.dtype} of shape {image.shape}, but uint8 (y, x) or (y, x, 3) of the labels' shape "
            f"{labels.shape} was expected."
        )
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha is {alpha}, but 0 to 1 was expected.")
    picture = np.array(np.broadcast_to(image.reshape(*labels.shape, -1), (*labels.shape, 3)))
    colors, framed = colorize(labels), np.pad(labels, 1)
    inner = framed[1:-1, 1:-1]
    outline = np.zeros(labels.shape, bool)
    for rows, columns in ((slice(0, -2), slice(1, -1)), (slice(2, None), slice(1, -1))):
        outline |= (framed[rows, columns] != inner) | (inner != framed.T[rows, columns].T)
    outline &= inner > 0
    if alpha:
        inside = inner > 0
        picture[inside] = np.rint((1 - alpha) * picture[inside] + alpha * colors[inside]).astype(np.uint8)
    picture[outline] = colors[outline]
    return picture
