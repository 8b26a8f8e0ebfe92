"""Where Detectron2's Mask R-CNN and torchvision's calculate differently."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class DetectionRules:
    """The small print of a Mask R-CNN.

    Attributes:
        smooth_l1_beta: below this difference the loss of a box is squared; 0: the absolute difference everywhere.
        fixed_normalizer: the proposal losses are divided by the number of anchors that an image should give; else by
            the number that it gave, which is smaller where an image is small.
        aligned: regions are shifted by the half pixel between pixel corners and pixel centres (RoIAlign "V2").
        sampling_ratio: samples along each side of a bin; 0: as many as the bin is pixels long.
        rounded_anchors: sides of anchors are rounded to whole pixels.
        fixed_strides: anchors are 4, 8, ... 64 pixels apart; else the image's size by the feature map's, rounded down,
            which moves the coarsest anchors where that map's size was odd.
        binary_masks: what the mask head learns is 0 or 1; else the share of the bin that the object covers.
        small_first_weights: the last layers begin near 0, with standard deviations 0.01 (class) and 0.001 (box, mask).
        smooth_shrinking: images are shrunk with a filter that is as wide as the step, as PIL does it.
        level_epsilon: added to side / 224 before the logarithm (published), or to the level itself (torchvision).
    """

    smooth_l1_beta: float
    fixed_normalizer: bool
    aligned: bool
    sampling_ratio: int
    rounded_anchors: bool
    fixed_strides: bool
    binary_masks: bool
    small_first_weights: bool
    smooth_shrinking: bool
    level_epsilon: float


PUBLISHED = DetectionRules(
    smooth_l1_beta=0.0,
    fixed_normalizer=True,
    aligned=True,
    sampling_ratio=0,
    rounded_anchors=False,
    fixed_strides=True,
    binary_masks=True,
    small_first_weights=True,
    smooth_shrinking=True,
    level_epsilon=1e-8,
)
TORCHVISION = DetectionRules(
    smooth_l1_beta=1 / 9,
    fixed_normalizer=False,
    aligned=False,
    sampling_ratio=2,
    rounded_anchors=True,
    fixed_strides=False,
    binary_masks=False,
    small_first_weights=False,
    smooth_shrinking=False,
    level_epsilon=1e-6,
)
RULES = {"published": PUBLISHED, "torchvision": TORCHVISION}
