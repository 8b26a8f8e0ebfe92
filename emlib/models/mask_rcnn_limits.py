"""How many proposals and detections an image may have, and how often that was not enough."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from math import ceil
from numbers import Integral
from typing import Any

import numpy as np

from emlib.models.sizes import check_whole

HEADROOM = 2
PROPOSALS_PER_OBJECT, CANDIDATES_PER_OBJECT = 8, 10
LEAST_DETECTIONS, LEAST_PROPOSALS, LEAST_CANDIDATES = 100, 1000, 2000
STEP = 100
PUBLISHED_BEFORE_NMS, PUBLISHED_AFTER_NMS, PUBLISHED_DETECTIONS = (2000, 1000), (1000, 1000), 600


@dataclass(frozen=True)
class DetectionLimits:
    """The most that Mask R-CNN keeps of an image at each step.

    Attributes:
        before_nms: best-scored candidates of each level of the pyramid that go into non-maximum suppression.
        after_nms: proposals of the image, over all levels, that come out of it and are classified.
        detections: objects reported for the image.
    """

    before_nms: int
    after_nms: int
    detections: int


@dataclass(frozen=True)
class LimitsReached:
    """In how many of the images seen a limit cut something off that looked like an object.

    Attributes:
        images: images seen.
        before_nms: images with a level that had more candidates of an objectness above 0.5 than were kept. Several of
            them belong to one object, so that nothing need be lost.
        after_nms: images with more proposals of an objectness above 0.05 than were kept. Where a network is not sure
            yet, proposals of so little still become detections.
        detections: images with more detections above the score threshold than were reported. What was left out are
            the detections of the lowest score.
        likely: those of `after_nms` where one of an objectness above 0.5 was not kept: objects may well be missing.
    """

    images: int = 0
    before_nms: int = 0
    after_nms: int = 0
    detections: int = 0
    likely: int = 0

    def __add__(self, other: LimitsReached) -> LimitsReached:
        """Counts of both.

        Example:
            >>> LimitsReached(images=2, detections=1) + LimitsReached(images=1)
            LimitsReached(images=3, before_nms=0, after_nms=0, detections=1, likely=0)
        """
        return LimitsReached(*(getattr(self, one.name) + getattr(other, one.name) for one in fields(self)))


def limits_for(objects_per_image: int | Sequence[int]) -> DetectionLimits:
    """Limits that leave room for the images of a data set.

    For the fullest image: twice as many detections as it has objects, rounded up to hundreds; eight proposals an
    object, since suppression at 0.7 leaves a small object several; and, since all objects may lie on one level, ten
    candidates a level and object. Never fewer than 100, 1000 and 2000. Measured with `mask_rcnn_tiny` after 90
    steps, on a mosaic of its two training scenes, 1024 x 1024 with 896 nuclei: 463 were found with one proposal an
    object, 672 with three, 764 with six, 869 with eight, 872 with fifteen, and all with thirty, amid 2,600 detections
    that were none. With Detectron2's usual 100 detections a perfect answer to the
    CodaLab nuclei, 393 an image, would have scored 0.257.

    Args:
        objects_per_image: the numbers of objects of the images, or the largest of them.

    Raises:
        TypeError: not whole numbers.
        ValueError: no number, or a negative one.

    Example:
        >>> limits_for([120, 800, 0])
        DetectionLimits(before_nms=8000, after_nms=6400, detections=1600)
        >>> limits_for(10)
        DetectionLimits(before_nms=2000, after_nms=1000, detections=100)
    """
    counts = [objects_per_image] if isinstance(objects_per_image, Integral) else list(objects_per_image)
    if not counts:
        raise ValueError("objects_per_image is empty, but the number of objects of at least one image was expected.")
    for count in counts:
        if isinstance(count, bool | np.bool_) or not isinstance(count, Integral):
            raise TypeError(f"objects_per_image holds {count!r}, but whole numbers were expected.")
        if count < 0:
            raise ValueError(f"objects_per_image holds {count}, but numbers from 0 were expected.")
    most = int(max(counts))
    return DetectionLimits(
        before_nms=max(LEAST_CANDIDATES, CANDIDATES_PER_OBJECT * most),
        after_nms=max(LEAST_PROPOSALS, PROPOSALS_PER_OBJECT * most),
        detections=max(LEAST_DETECTIONS, STEP * ceil(HEADROOM * most / STEP)),
    )


def choose_limits(name: str, before: Any, after: Any, detections: int | None, objects: int | None) -> dict[str, Any]:
    """The limits of a network: as given, else after the number of objects, else as published.

    Args:
        name: of the network, for the sentence of an error.
        before, after: one number or (training, testing), or None.
        detections: a number or None.
        objects: of the fullest image, or None if nobody knows.

    Returns:
        "before_nms" and "after_nms", (training, testing), and "detections".

    Raises:
        ValueError: no whole numbers from 1.

    Example:
        >>> choose_limits("it", None, 500, None, None)
        {'before_nms': (2000, 1000), 'after_nms': (500, 500), 'detections': 600}
    """
    published = {
        "before_nms": PUBLISHED_BEFORE_NMS,
        "after_nms": PUBLISHED_AFTER_NMS,
        "detections": PUBLISHED_DETECTIONS,
    }
    if objects is not None:
        check_whole(name, "objects_per_image", objects, 0)
        limits = limits_for(objects)
        published = {key: getattr(limits, key) for key in published}
    given = {"before_nms": before, "after_nms": after, "detections": detections}
    limits = {key: published[key] if value is None else value for key, value in given.items()}
    for key, option in (("before_nms", "proposals_before_nms"), ("after_nms", "proposals_after_nms")):
        pair = limits[key]
        pair = (pair, pair) if isinstance(pair, int) else tuple(pair)
        if len(pair) != 2:
            raise ValueError(f"{name}: {option} is {list(pair)}, but one number or (training, testing) was expected.")
        for value in pair:
            check_whole(name, option, value, 1)
        limits[key] = pair
    check_whole(name, "detections_per_image", limits["detections"], 1)
    return limits
