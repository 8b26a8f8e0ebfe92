"""Random changes of training samples that imitate how EM volumes differ and fail.

Geometry (turns, zoom, elastic deformation, misaligned and missing sections) is one resampling of image and labels;
intensity artefacts (blur, noise, missing parts, contrast) follow on the image. Torch code for any device.
"""

from emlib.augmentation.pipeline import Augmentation, augmentation_names, build_augmentation, single_augmentation

__all__ = ["Augmentation", "augmentation_names", "build_augmentation", "single_augmentation"]
