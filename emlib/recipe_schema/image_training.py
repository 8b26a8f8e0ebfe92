"""Training and use of a network of images."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from emlib.recipe_schema.section import Count, Fraction, Pair, Positive, Section
from emlib.recipe_schema.training import ModelRecipe, RejectionRecipe, ScheduleRecipe, TrainingRecipe

# What only one of the methods has.
POSTPROCESSING_KEYS = {
    "masks_from_flows": ("probability_threshold", "flow_threshold", "steps", "fill_holes", "peak"),
    "cells_from_classes": ("threshold", "fill_holes_below", "grow"),
}


class ImageModelRecipe(ModelRecipe):
    in_channels: Positive = 3
    encoder_weights: str | None = Field(
        None,
        description="weights that the encoder starts from, see emlib.models.mediar_weights; for example ImageNet's",
    )

    @model_validator(mode="after")
    def _start_is_no_setting(self) -> ImageModelRecipe:
        if "encoder_weights_file" in self.settings:
            # A checkpoint repeats the settings, and must be usable where that file is not.
            raise ValueError(
                "model.settings holds 'encoder_weights_file', which is a key of its own here: model.encoder_weights"
            )
        if self.encoder_weights is not None and self.pretrained is not None:
            raise ValueError(
                "model.encoder_weights and model.pretrained are both set; training starts from one of them"
            )
        return self


class ImageScheduleRecipe(ScheduleRecipe):
    name: Literal["cosine", "warmup_multistep", "warmup_cosine", "constant"] = "cosine"
    warmup_iterations: Count = 0
    period: Positive | None = Field(
        None, description="cosine: iterations until the lowest rate, after which it rises again; None: the whole run"
    )
    lowest_rate: Annotated[float, Field(ge=0)] = Field(0.0, description="cosine: where it ends")


class ReplayRecipe(Section):
    """Memory replay: a part of every batch are images that were learned before, so that they are not forgotten."""

    data: str = Field(description="folder of prepared images, as 1_data_prep leaves it; its split 'train' is taken")
    samples: Positive = Field(1, description="how many of each batch_size samples come from there")
    boundary_exclusion: bool = Field(True, description="leave the boundaries of cells out of their labels")


class ImageTrainingRecipe(TrainingRecipe):
    """How the network is trained."""

    window: Pair = Field(description="pixels (y, x) of one sample")
    schedule: ImageScheduleRecipe = ImageScheduleRecipe()
    amplify: Count = Field(
        0, description="images of a modality are repeated until there are this many of them in an epoch; 0 switches off"
    )
    groups: str | None = Field(
        None,
        description="for amplify: a table of groups by image name, see emlib.data.save_groups; None: the modalities",
    )
    replay: ReplayRecipe | None = Field(None, description="some of the samples come from earlier data; None: all new")

    @model_validator(mode="after")
    def _nothing_of_volumes(self) -> ImageTrainingRecipe:
        if self.rejection != RejectionRecipe():
            raise ValueError("training.rejection is for volumes, but this recipe is for images")
        return self

    @model_validator(mode="after")
    def _groups_are_used(self) -> ImageTrainingRecipe:
        if self.groups is not None and not self.amplify:
            raise ValueError("training.groups is set, but training.amplify, which would use it, is 0")
        return self

    @model_validator(mode="after")
    def _something_is_new(self) -> ImageTrainingRecipe:
        if self.replay is not None and self.replay.samples >= self.batch_size:
            raise ValueError(
                f"training.replay.samples is {self.replay.samples}, but must be less than training.batch_size, "
                f"{self.batch_size}"
            )
        return self


class ImageInferenceRecipe(Section):
    """How the trained network is applied."""

    window: Pair = (512, 512)
    overlap: Annotated[float, Field(ge=0, lt=1)] = 0.6
    blending: Literal["gaussian", "constant"] = "gaussian"
    augment: Literal["published", "all"] | None = Field(
        None, description="test-time augmentation: as it is and both flips; or these, turned by 90 degrees too"
    )
    batch_size: Positive | None = Field(None, description="None: as many windows as fit into the free memory")
    precision: Literal["32", "16", "bf16"] = "32"
    memory: str = Field("2GiB", description="a larger prediction is kept on the disk and segmented block by block")


class ImagePostprocessingRecipe(Section):
    """Flows or classes to cells. None leaves a value at the default of the method's function."""

    method: Literal["masks_from_flows", "cells_from_classes"] = "masks_from_flows"
    min_size: Count | None = None
    probability_threshold: Fraction | None = Field(None, description="masks_from_flows only")
    flow_threshold: Annotated[float, Field(ge=0)] | None = Field(
        None, description="masks_from_flows only; 0 switches the check off"
    )
    steps: Positive | None = Field(None, description="masks_from_flows only")
    fill_holes: bool | None = Field(None, description="masks_from_flows only")
    peak: Count | None = Field(None, description="masks_from_flows only")
    threshold: Fraction | None = Field(None, description="cells_from_classes only: probability of interior")
    fill_holes_below: Count | None = Field(None, description="cells_from_classes only: pixels")
    grow: Count | None = Field(
        None, description="cells_from_classes only: pixels by which cells get back the boundary that they lack"
    )

    @model_validator(mode="after")
    def _only_the_methods_own(self) -> ImagePostprocessingRecipe:
        others = POSTPROCESSING_KEYS.keys() - {self.method}
        for key in self.parameters():
            if any(key in POSTPROCESSING_KEYS[method] for method in others):
                raise ValueError(f"postprocessing.{key} is set, but postprocessing.method, {self.method}, has no {key}")
        return self

    def parameters(self) -> dict[str, Any]:
        """The keyword arguments of the method's function that the recipe sets."""
        return {key: value for key, value in self.model_dump(exclude={"method"}).items() if value is not None}


class ImageEvaluationRecipe(Section):
    """How cells are compared with the truth, see emlib.evaluation.cell_f1."""

    thresholds: tuple[Fraction, ...] = Field((0.5, 0.6, 0.7, 0.8, 0.9), min_length=1, description="IoU")
    remove_border: Count = Field(2, description="pixels: cells that reach this near to the image's border do not count")
    tile: Positive | None = Field(2000, description="pixels: images of 25 million pixels or more are scored in tiles")
