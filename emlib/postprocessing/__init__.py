"""Stage 4: from a network's prediction to instances, and clean-up of instances.

Arrays in, arrays out, without torch and without any training code: usable on anybody's predictions.
Labels are unsigned integers with 0 as background; thresholds are probabilities between 0 and 1.
"""

from emlib.postprocessing.contour_watershed import (
    contour_components,
    contour_watershed,
    mask_components,
    mask_watershed,
)
from emlib.postprocessing.methods import SEGMENTATION_METHODS, SegmentationMethod, segment
from emlib.postprocessing.small_objects import relabel_sequential, remove_small_objects

__all__ = [
    "SEGMENTATION_METHODS",
    "SegmentationMethod",
    "contour_components",
    "contour_watershed",
    "mask_components",
    "mask_watershed",
    "relabel_sequential",
    "remove_small_objects",
    "segment",
]
