"""How samples are changed at random."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from emlib.recipe_schema.section import Fraction, Positive, Section


class Augment(Section):
    """An augmentation applied with this probability."""

    probability: Fraction = 0.0


class Rotate(Augment):
    right_angles: bool = Field(False, description="multiples of 90 degrees only")


class Rescale(Augment):
    low: Annotated[float, Field(gt=0)] = 0.8
    high: Annotated[float, Field(gt=0)] = 1.25


class Flip(Augment):
    z: bool = True
    transpose: bool = True


class Elastic(Augment):
    amplitude: Annotated[float, Field(ge=0)] = Field(16.0, description="voxels")
    sigma: Annotated[float, Field(gt=0)] = Field(4.0, description="voxels")


class Grayscale(Augment):
    contrast: Annotated[float, Field(ge=0)] = 0.3
    brightness: Annotated[float, Field(ge=0)] = 0.3
    per_section: Fraction = Field(0.5, description="share of samples in which every section gets its own change")


class MissingParts(Augment):
    section_probability: Fraction = 0.1


class MissingSection(Augment):
    sections: Positive = 2


class Misalign(Augment):
    displacement: Positive = Field(16, description="voxels")
    rotation: Fraction = Field(0.5, description="share of rotations, the rest are shifts")


class MotionBlur(Augment):
    sections: Positive = 2
    size: Positive = 11


class CutBlur(Augment):
    extent: Fraction = Field(0.4, description="side length as a share of the sample")
    factors: tuple[Positive, Positive] = (2, 8)


class CutNoise(Augment):
    extent: Fraction = 0.4
    amplitude: Fraction = 0.3


class AugmentationRecipe(Section):
    """EM augmentations (VIDAR / PyTorch Connectomics v1); a probability of 0 switches one off."""

    rotate: Rotate = Rotate()
    rescale: Rescale = Rescale()
    elastic: Elastic = Elastic()
    grayscale: Grayscale = Grayscale()
    missing_parts: MissingParts = MissingParts()
    missing_section: MissingSection = MissingSection()
    misalign: Misalign = Misalign()
    motion_blur: MotionBlur = MotionBlur()
    cut_blur: CutBlur = CutBlur()
    cut_noise: CutNoise = CutNoise()
    flip: Flip = Flip()
