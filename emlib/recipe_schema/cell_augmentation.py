"""How samples of cell images are changed at random: MEDIAR's list, in its order."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from emlib.recipe_schema.augmentation import Augment
from emlib.recipe_schema.section import Count, Fraction, Positive, Section

Width = Annotated[float, Field(ge=0)]
Widths = tuple[Width, Width]


class BoundaryExclusion(Augment):
    small_area: Count = Field(196, description="pixels below which a cell stays whole")


class Zoom(Augment):
    low: Annotated[float, Field(gt=0, le=8)] = 0.25
    high: Annotated[float, Field(gt=0, le=8)] = 1.5

    @model_validator(mode="after")
    def _ordered(self) -> Zoom:
        if self.low > self.high:
            raise ValueError(
                f"augmentation.zoom runs from {self.low:g} to {self.high:g}, but low must not be above high"
            )
        return self


class CellIntensity(Augment):
    share: Fraction = Field(0.4, description="of the cells")
    strength: Width = Field(0.7, description="factors are 1 to 1 + strength")
    darken: bool = False
    published: bool = Field(False, description="the published program's rule: one factor for all, and its quirks")


class Noise(Augment):
    std: Width = Field(0.1, description="the largest standard deviation; the image is 0 to 1")


class Gamma(Augment):
    low: Annotated[float, Field(gt=0)] = 1.0
    high: Annotated[float, Field(gt=0)] = 2.0


class Smooth(Augment):
    sigma_y: Widths = Field((1.0, 2.0), description="pixels")
    sigma_x: Widths = Field((0.25, 1.5), description="pixels")


class HistogramShift(Augment):
    control_points: Positive = 3


class Sharpen(Augment):
    sigma: Widths = Field((0.5, 1.0), description="pixels, of the first blur; that of the second is 0.5 to this")
    strength: Widths = (10.0, 30.0)


class CellAugmentationRecipe(Section):
    """Random changes of a sample; a probability of 0 switches one off. First geometry, then grey values."""

    boundary_exclusion: BoundaryExclusion = BoundaryExclusion()
    zoom: Zoom = Zoom()
    flip: Augment = Augment()
    rotate: Augment = Field(Augment(), description="by 90, 180 or 270 degrees")
    cell_intensity: CellIntensity = CellIntensity()
    noise: Noise = Noise()
    gamma: Gamma = Gamma()
    smooth: Smooth = Smooth()
    histogram_shift: HistogramShift = HistogramShift()
    sharpen: Sharpen = Sharpen()
