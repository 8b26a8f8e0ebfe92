"""The AP that a limit on the detections of an image leaves within reach."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral

import numpy as np

from emlib.evaluation.coco_curves import reachable_ceiling


def ceiling_of_limit(objects_per_image: int | Sequence[int], max_dets: int | None) -> float:
    """The COCO score of a perfect answer of which only the best `max_dets` of each image count.

    Perfect detections have a precision of 1 as far as they go, up to the recall r = sum(min(n, max_dets)) / sum(n) over
    the numbers n of objects, and of 0 beyond: AP is the share of the 101 recalls 0, 0.01, ..., 1 that are at most r.
    It is the same at every IoU threshold. COCO's own limit is 100.

    Args:
        objects_per_image: of one category.
        max_dets: None for no limit.

    Returns:
        0 to 1; 1 where there is no object.

    Raises:
        TypeError: no whole numbers.
        ValueError: negative numbers of objects, or a limit below 1.

    Example:
        >>> nuclei = [393, 393, 393, 393, 394, 394]  # 2,360 in six images
        >>> [round(ceiling_of_limit(nuclei, limit), 6) for limit in (100, 300, 600, None)]
        [0.257426, 0.762376, 1.0, 1.0]
    """
    counts = [objects_per_image] if isinstance(objects_per_image, Integral) else list(objects_per_image)
    for one in [*counts, *(() if max_dets is None else (max_dets,))]:
        if isinstance(one, bool | np.bool_) or not isinstance(one, Integral):
            raise TypeError(f"Numbers of objects and max_dets must be whole numbers, got {one!r}.")
    if min(counts, default=0) < 0:
        raise ValueError(f"objects_per_image holds {min(counts)}, but numbers from 0 were expected.")
    if max_dets is None:
        return 1.0
    if max_dets < 1:
        raise ValueError(
            f"max_dets is {max_dets}, but a whole number of at least 1, or None for no limit, was expected."
        )
    return reachable_ceiling(np.array(counts, np.int64)[:, np.newaxis], int(max_dets))
