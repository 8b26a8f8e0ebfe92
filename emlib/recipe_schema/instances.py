"""What recipes of detected objects have in place of the other recipes of images."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from emlib.recipe_schema.image_data import ImageDataRecipe
from emlib.recipe_schema.image_training import ImageTrainingRecipe
from emlib.recipe_schema.section import Count, Fraction, Pair, Positive, Section
from emlib.recipe_schema.training import ModelRecipe

Weight = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(gt=0, le=1)]


class InstanceDataRecipe(ImageDataRecipe):
    """Images and labels; what is learned is each object with its box and mask."""

    kind: Literal["instances"] = Field(description="instances: this is a recipe for networks that detect objects")


class DetectionLosses(Section):
    """By what each loss of Mask R-CNN is multiplied."""

    classifier: Weight = 1.0
    box: Weight = 1.0
    mask: Weight = 1.0
    objectness: Weight = Field(1.0, description="of the region proposals: object or not")
    proposal: Weight = Field(1.0, description="of the region proposals: their boxes")

    @model_validator(mode="after")
    def _something_to_learn(self) -> DetectionLosses:
        if not any(self.model_dump().values()):
            raise ValueError("target.losses are all 0, so there is nothing to learn")
        return self


class InstanceTargetRecipe(Section):
    """What is learned of the objects."""

    losses: DetectionLosses = DetectionLosses()


class InstanceModelRecipe(ModelRecipe):
    in_channels: Positive = 3
    backbone_weights: str | None = Field(
        None, description="weights that the backbone starts from, see emlib.models.load_backbone_weights"
    )

    @model_validator(mode="after")
    def _of_a_detector(self) -> InstanceModelRecipe:
        if "backbone_weights_file" in self.settings:
            # A checkpoint repeats the settings, and must be usable where that file is not.
            raise ValueError(
                "model.settings holds 'backbone_weights_file', which is a key of its own here: model.backbone_weights"
            )
        if self.backbone_weights is not None and self.pretrained is not None:
            raise ValueError(
                "model.backbone_weights and model.pretrained are both set; training starts from one of them"
            )
        if self.widths is not None or (self.input_mean, self.input_std) != (0.0, 1.0):
            raise ValueError(
                "model.widths, model.input_mean and model.input_std are not for networks that detect objects; "
                "model.settings.image_mean and image_std standardise their images"
            )
        return self


class InstanceTrainingRecipe(ImageTrainingRecipe):
    """How the network is trained: on windows of the images, or on whole ones."""

    window: Pair | None = Field(None, description="pixels (y, x) of one sample; None with whole_images")
    whole_images: bool = Field(
        False, description="samples are whole images of any size, which model.settings.short_side brings to its sizes"
    )
    aspect_grouping: bool = Field(
        True, description="whole_images: a batch holds only upright images or only others, so that little is padded"
    )

    @model_validator(mode="after")
    def _window_or_whole(self) -> InstanceTrainingRecipe:
        if self.whole_images and self.window is not None:
            raise ValueError("training.whole_images is true, so training.window must be null")
        if not self.whole_images and self.window is None:
            raise ValueError("training.window is missing; give one, or set training.whole_images")
        if self.whole_images and self.replay is not None:
            raise ValueError("training.replay is for windows, but training.whole_images is true")
        return self


class InstanceInferenceRecipe(Section):
    """How objects are found in an image, see emlib.inference.predict_instances."""

    window: Pair | None = Field(None, description="pixels (y, x) of a tile; None: the whole image in one look")
    overlap: Annotated[float, Field(ge=0, lt=1)] = 0.25
    score_threshold: Fraction = Field(0.05, description="objects of this score or less are dropped")
    nms_threshold: Fraction | None = Field(
        None, description="objects that overlap a better one more are dropped; None: model.settings.nms_threshold"
    )
    merge_threshold: Share = Field(0.5, description="share of an object that tells that two tiles saw the same one")
    mask_threshold: Share = 0.5
    scale: Annotated[float, Field(gt=0)] | None = Field(
        None, description="pixels that the network sees for one of the image; None: as model.settings.short_side says"
    )
    batch_size: Positive = Field(1, description="tiles")

    def parameters(self) -> dict[str, Any]:
        """The keyword arguments of `emlib.inference.predict_instances`."""
        return self.model_dump()


class InstancePostprocessingRecipe(Section):
    """From objects that may overlap to a label image, see emlib.inference.labels_from_instances."""

    score_threshold: Fraction = Field(0.5, description="objects of this score or less are not painted")
    min_size: Count = Field(1, description="pixels that an object must have after better ones")
    least_share: Fraction = Field(0.5, description="share of its pixels that it must have then")

    def parameters(self) -> dict[str, Any]:
        """The keyword arguments of `emlib.inference.labels_from_instances`."""
        return self.model_dump()


class InstanceEvaluationRecipe(Section):
    """How objects are compared with the truth: by COCO's rules, and as label images."""

    max_dets: tuple[Positive | Literal["all"], ...] = Field(
        (1, 10, 100, "all"), min_length=1, description="numbers of results of an image that count"
    )
    thresholds: tuple[Fraction, ...] = Field(
        (0.5, 0.6, 0.7, 0.8, 0.9), min_length=1, description="IoU, of label images"
    )
