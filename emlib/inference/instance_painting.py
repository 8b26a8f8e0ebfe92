"""From objects that may overlap to a label image, in which every pixel has one owner."""

from __future__ import annotations

import numpy as np

from emlib.inference.instances import InstancePrediction, check_share


def labels_from_instances(
    prediction: InstancePrediction,
    *,
    score_threshold: float = 0.5,
    min_size: int = 1,
    least_share: float = 0.5,
) -> np.ndarray:
    """Paint the objects, the best first; a pixel belongs to the object of the best score that covers it.

    What better objects leave of an object is kept if it is large enough, else the object is dropped and its pixels are
    free for those after it. What is left may be in several parts.

    Args:
        prediction: from `predict_instances`.
        score_threshold: objects of this score or less are not painted.
        min_size: pixels that an object must have, after the better ones.
        least_share: share of its own pixels that it must have then.

    Returns:
        uint32 (y, x), 0 = background, else 1, 2, ... in the order of the scores.

    Raises:
        ValueError: a threshold or share outside 0 to 1, a negative size.

    Example:
        >>> from emlib.models import ObjectMask
        >>> masks = tuple(ObjectMask((0, x), np.ones((1, 4), bool)) for x in (0, 1, 3))
        >>> boxes = np.array([[x, 0, x + 4, 1] for x in (0, 1, 3)], np.float32)
        >>> scores = np.array([0.9, 0.8, 0.7], np.float32)
        >>> labels_from_instances(InstancePrediction(boxes, scores, np.ones(3, np.int64), masks, (1, 8)))
        array([[1, 1, 1, 1, 2, 2, 2, 0]], dtype=uint32)
    """
    check_share("least_share", least_share)
    if isinstance(min_size, bool) or not hasattr(min_size, "__index__") or min_size < 0:
        raise ValueError(f"min_size is {min_size!r}, but a whole number of pixels from 0 was expected.")
    labels = np.zeros(prediction.shape, np.uint32)
    number = 0
    for one in prediction.above(score_threshold).masks:
        part = labels[one.slices]
        left = one.mask & (part == 0)
        pixels = np.count_nonzero(left)
        if pixels >= max(min_size, 1, least_share * np.count_nonzero(one.mask)):
            number += 1
            part[left] = number
    return labels
