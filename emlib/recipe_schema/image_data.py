"""Where images of cells and their labels come from, for the tracks that work on images instead of volumes."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field, model_validator

from emlib.recipe_schema.section import Count, Fraction, Pair, Positive, Section

SplitName = Literal["train", "validation", "test"]
SizeFactor = Annotated[float, Field(ge=0.25, le=4)]


class ImageSplitRecipe(Section):
    """Which share of the images of every modality trains, validates and tests."""

    train: Fraction = 0.7
    validation: Fraction = 0.1
    test: Fraction = 0.2

    @model_validator(mode="after")
    def _whole(self) -> ImageSplitRecipe:
        total = self.train + self.validation + self.test
        if not math.isclose(total, 1.0, abs_tol=1e-6):
            raise ValueError(f"data.split adds up to {total:g}, but the three shares must add up to 1")
        if self.train == 0:
            raise ValueError("data.split.train is 0, but something has to be trained on")
        return self


class ImageSetRecipe(Section):
    """One data set."""

    name: str = Field(description="registry: a name in data/registry.yaml; files: a folder")
    folder: str | None = Field(None, description="the part of it to read, such as a folder below it")
    layout: str = Field("auto", description="a layout of emlib.data.open_cell_set")
    modality: str | None = Field(
        None,
        description="of all its images; None: what its modalities.csv says, else its name and the look of an image",
    )
    images: Positive | None = Field(None, description="how many of its images to take, drawn by the seed; None: all")
    split: SplitName | None = Field(None, description="all its images go there; None: they are divided")


class NormalizationRecipe(Section):
    """Grey values to 0 ... 255 by percentiles of the non-zero values, as emlib.data.normalize_percentiles does it."""

    low: Annotated[float, Field(ge=0, lt=100)] = 0.0
    high: Annotated[float, Field(gt=0, le=100)] = 99.5
    per_channel: bool = False

    @model_validator(mode="after")
    def _ordered(self) -> NormalizationRecipe:
        if not self.low < self.high:
            raise ValueError(f"data.normalization runs from {self.low:g} to {self.high:g}, but low must be below high")
        return self


class FoldsRecipe(Section):
    """Division for cross-validation: every image tests once in `count` runs."""

    count: Annotated[int, Field(ge=2)] = Field(description="runs; data.folds.fold goes from 0 to count - 1")
    fold: Count = 0

    @model_validator(mode="after")
    def _one_of_them(self) -> FoldsRecipe:
        if self.fold >= self.count:
            raise ValueError(f"data.folds.fold is {self.fold}, but must be below data.folds.count, {self.count}")
        return self


class ImageDataRecipe(Section):
    """Where images and labels come from and how they are divided."""

    kind: Literal["images"] = Field(description="images: this is a recipe for images, not for volumes")
    source: Literal["phantom", "registry", "files"] = "phantom"
    sets: tuple[ImageSetRecipe, ...] = Field((), description="registry and files: the data sets")
    images: Positive | None = Field(None, description="phantom: number of images")
    modalities: dict[str, Annotated[float, Field(gt=0)]] | None = Field(
        None, description="phantom: name -> weight; None: six, of which three are rare"
    )
    shapes: tuple[Pair, Pair] = Field(((192, 192), (320, 320)), description="phantom: smallest and largest (y, x)")
    scale: Annotated[float, Field(ge=0.25, le=8)] = Field(1.0, description="phantom: size of the cells")
    touching: Fraction = Field(0.5, description="phantom: share of cells that are placed against another one")
    cells: Positive | None = Field(None, description="phantom: cells of an image; None: the usual density")
    sizes: tuple[SizeFactor, SizeFactor] | None = Field(
        None, description="phantom: smallest and largest factor of the size of a single cell; None: all 1"
    )
    pieces: Literal["as_labelled", "largest", "all"] = Field(
        "as_labelled", description="ids that lie in several pieces: the largest is the cell, or each piece is one"
    )
    min_cell_size: Count = Field(0, description="cells with fewer pixels are dropped from the truth")
    normalization: NormalizationRecipe = NormalizationRecipe()
    split: ImageSplitRecipe = ImageSplitRecipe()
    folds: FoldsRecipe | None = Field(
        None, description="one fold tests; train and validation share the others as data.split says of them"
    )
    shuffle_labels: bool = Field(False, description="control run: moves the truth away from its image; must fail")

    @model_validator(mode="after")
    def _complete(self) -> ImageDataRecipe:
        if self.source == "phantom" and self.images is None:
            raise ValueError("data.source is 'phantom', which also needs data.images")
        if self.source != "phantom" and not self.sets:
            raise ValueError(f"data.source is '{self.source}', which also needs data.sets")
        if self.sizes is not None and self.sizes[0] > self.sizes[1]:
            raise ValueError(f"data.sizes is {list(self.sizes)}, but the smallest must not be above the largest")
        return self
