"""Where images and labels come from."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from emlib.recipe_schema.section import Count, Margin, Nanometres, Positive, Range, Section, Triple


class SplitRecipe(Section):
    """Which sections (z, first and one past the last) train, validate and test.

    Training sections take part in nothing else. Validation and test are disjoint, or identical where the published
    system picks its checkpoint on the very sections that it reports (MitoEM, whose test labels are not public).
    """

    train: Range
    validation: Range
    test: Range

    @model_validator(mode="after")
    def _ordered(self) -> SplitRecipe:
        for name in ("train", "validation", "test"):
            start, stop = getattr(self, name)
            if start >= stop:
                raise ValueError(f"split.{name} is ({start}, {stop}), but its start must lie before its end")
        for one, other in (("train", "validation"), ("train", "test"), ("validation", "test")):
            a, b = getattr(self, one), getattr(self, other)
            if a[0] < b[1] and b[0] < a[1] and (one == "train" or a != b):
                raise ValueError(f"split.{one} {a} overlaps split.{other} {b}")
        return self


class DataRecipe(Section):
    """Where images and labels come from and how they are divided."""

    source: Literal["phantom", "registry", "files"] = "phantom"
    name: str | None = Field(None, description="registry: the data set's name in data/registry.yaml")
    image: str | None = Field(None, description="files: path of the image volume")
    labels: str | None = Field(None, description="files: path of the label volume")
    valid: str | None = Field(
        None, description="files: path of a mask, not 0 where the labels are known; None: everywhere"
    )
    image_key: str | None = None
    labels_key: str | None = None
    valid_key: str | None = None
    structure: Literal["mitochondria", "neurites"] = "mitochondria"
    instances: Literal["as_labelled", "components"] = Field(
        "as_labelled", description="components: labels are a mask; instances are its 3-D 26-connected components"
    )
    voxel_size: Nanometres | None = Field(None, description="nm (z, y, x); None takes what the file says")
    shape: Triple | None = Field(None, description="phantom: voxels (z, y, x)")
    downsample: Triple = Field((1, 1, 1), description="coarser voxels: factors (z, y, x); the split counts coarse ones")
    min_object_size: Count = Field(0, description="objects with fewer voxels are dropped from the truth")
    split: SplitRecipe
    chunks: Triple | None = Field(None, description="chunk plan (z, y, x) of the tile data set; None loads crops")
    chunk_iterations: Positive = Field(2500, description="iterations that one chunk serves")
    chunk_overlap: bool = Field(True, description="chunks overlap by one half")
    pad: Margin = Field((0, 0, 0), description="reflected margin around the volume or each chunk, voxels (z, y, x)")
    shuffle_labels: bool = Field(False, description="control run: moves the truth away from its image; must fail")

    @model_validator(mode="after")
    def _complete(self) -> DataRecipe:
        needs = {"phantom": ("shape", "voxel_size"), "registry": ("name",), "files": ("image", "labels")}
        missing = [f"data.{key}" for key in needs[self.source] if getattr(self, key) is None]
        if missing:
            raise ValueError(f"data.source is '{self.source}', which also needs {' and '.join(missing)}")
        if self.valid is not None and self.source != "files":
            raise ValueError(
                f"data.valid is set, but data.source is '{self.source}', whose labels are known everywhere"
            )
        return self
