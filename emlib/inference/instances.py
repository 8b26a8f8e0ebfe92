"""The objects of one image: boxes, scores and small masks, never as large as the image."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from emlib.models.mask_rcnn_limits import LimitsReached
from emlib.models.mask_rcnn_pasting import ObjectMask


@dataclass(frozen=True, eq=False)
class InstancePrediction:
    """The objects that were found in an image, best first; they may overlap.

    Attributes:
        boxes: (n, 4) float32, x0, y0, x1, y1 in pixels, as the network says; they need not be those of the masks.
        scores: (n,) float32, 0-1, falling.
        labels: (n,) int64, classes from 1.
        masks: one `ObjectMask` each, with a corner in the image and a bool crop of at least one pixel.
        shape: (y, x) of the image.
        limits_reached: in how many tiles a limit of the network cut something off.
        cut: how many of the objects no tile saw whole. They are joined from pieces, or pieces. If it is not 0, the
            overlap is too small for them.
        empty: how many detections were left out because no pixel was inside them; in every tile that saw them.

    Raises:
        ValueError: parts that do not belong together, masks without a pixel or outside the image.

    Example:
        >>> one = ObjectMask((2, 3), np.ones((4, 5), bool))
        >>> boxes = np.array([[3, 2, 8, 6]], np.float32)
        >>> found = InstancePrediction(boxes, np.ones(1, np.float32), np.ones(1, np.int64), (one,), (10, 10))
        >>> len(found), len(found.above(1.0))
        (1, 0)
    """

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    masks: tuple[ObjectMask, ...]
    shape: tuple[int, int]
    limits_reached: LimitsReached = field(default_factory=LimitsReached)
    cut: int = 0
    empty: int = 0

    def __post_init__(self) -> None:
        number = len(self.masks)
        wanted = {
            "boxes": ((number, 4), np.float32),
            "scores": ((number,), np.float32),
            "labels": ((number,), np.int64),
        }
        for name, (shape, dtype) in wanted.items():
            array = getattr(self, name)
            if array.shape != shape or array.dtype != dtype:
                raise ValueError(
                    f"{name} is {array.dtype} {array.shape}, but {np.dtype(dtype)} {shape} was expected for {number} "
                    "masks."
                )
        if not np.isfinite(self.boxes).all():
            raise ValueError("boxes holds numbers that are NaN or infinite.")
        if number and not (self.scores.min() >= 0 and self.scores.max() <= 1):
            raise ValueError("scores holds numbers outside 0 to 1, or NaN.")
        if number > 1 and (np.diff(self.scores) > 0).any():
            raise ValueError("scores rise, but the best object was expected first.")
        for place, one in enumerate(self.masks):
            rows, columns = one.slices
            if min(one.corner) < 0 or rows.stop > self.shape[0] or columns.stop > self.shape[1]:
                raise ValueError(f"Mask {place} reaches beyond the image of {tuple(self.shape)} pixels.")
            if one.mask.dtype != bool or not one.mask.any():
                raise ValueError(
                    f"Mask {place} is {one.mask.dtype} or has no pixel; bool with at least one was expected."
                )

    def __len__(self) -> int:
        return len(self.masks)

    def above(self, score_threshold: float) -> InstancePrediction:
        """Only the objects of a higher score. The counts stay those of all.

        Raises:
            ValueError: a threshold outside 0 to 1.
        """
        check_share("score_threshold", score_threshold)
        kept = int((self.scores > score_threshold).sum())
        return replace(
            self,
            boxes=self.boxes[:kept],
            scores=self.scores[:kept],
            labels=self.labels[:kept],
            masks=self.masks[:kept],
        )


def check_share(name: str, value: float, *, above_zero: bool = False) -> None:
    """Refuse anything but a number from 0 to 1.

    Raises:
        ValueError: it is none.

    Example:
        >>> check_share("score_threshold", 50)
        Traceback (most recent call last):
        ...
        ValueError: score_threshold is 50, but a number from 0 to 1 was expected.
    """
    number = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    if not number or not 0 <= value <= 1 or (above_zero and value == 0):
        raise ValueError(
            f"{name} is {value!r}, but a number {'above 0, at most 1,' if above_zero else 'from 0 to 1'} was expected."
        )
