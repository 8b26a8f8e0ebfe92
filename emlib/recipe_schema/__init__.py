"""The sections of a recipe: every value that a run can vary, with its type, its range and its meaning."""

from emlib.recipe_schema.application import EvaluationRecipe, InferenceRecipe, PostprocessingRecipe
from emlib.recipe_schema.augmentation import (
    Augment,
    AugmentationRecipe,
    CutBlur,
    CutNoise,
    Elastic,
    Flip,
    Grayscale,
    Misalign,
    MissingParts,
    MissingSection,
    MotionBlur,
    Rescale,
    Rotate,
)
from emlib.recipe_schema.cell_augmentation import CellAugmentationRecipe
from emlib.recipe_schema.data import DataRecipe, SplitRecipe
from emlib.recipe_schema.image_data import (
    FoldsRecipe,
    ImageDataRecipe,
    ImageSetRecipe,
    ImageSplitRecipe,
    NormalizationRecipe,
)
from emlib.recipe_schema.image_target import ImageTargetOutput, ImageTargetRecipe
from emlib.recipe_schema.image_training import (
    ImageEvaluationRecipe,
    ImageInferenceRecipe,
    ImageModelRecipe,
    ImagePostprocessingRecipe,
    ImageScheduleRecipe,
    ImageTrainingRecipe,
    ReplayRecipe,
)
from emlib.recipe_schema.instances import (
    DetectionLosses,
    InstanceDataRecipe,
    InstanceEvaluationRecipe,
    InstanceInferenceRecipe,
    InstanceModelRecipe,
    InstancePostprocessingRecipe,
    InstanceTargetRecipe,
    InstanceTrainingRecipe,
)
from emlib.recipe_schema.section import Section
from emlib.recipe_schema.target import LossTerm, TargetOutput, TargetRecipe
from emlib.recipe_schema.training import ModelRecipe, OptimizerRecipe, RejectionRecipe, ScheduleRecipe, TrainingRecipe

__all__ = [
    "Augment",
    "AugmentationRecipe",
    "CellAugmentationRecipe",
    "CutBlur",
    "CutNoise",
    "DataRecipe",
    "DetectionLosses",
    "Elastic",
    "EvaluationRecipe",
    "Flip",
    "FoldsRecipe",
    "Grayscale",
    "ImageDataRecipe",
    "ImageEvaluationRecipe",
    "ImageInferenceRecipe",
    "ImageModelRecipe",
    "ImagePostprocessingRecipe",
    "ImageScheduleRecipe",
    "ImageSetRecipe",
    "ImageSplitRecipe",
    "ImageTargetOutput",
    "ImageTargetRecipe",
    "ImageTrainingRecipe",
    "InferenceRecipe",
    "InstanceDataRecipe",
    "InstanceEvaluationRecipe",
    "InstanceInferenceRecipe",
    "InstanceModelRecipe",
    "InstancePostprocessingRecipe",
    "InstanceTargetRecipe",
    "InstanceTrainingRecipe",
    "LossTerm",
    "Misalign",
    "MissingParts",
    "MissingSection",
    "ModelRecipe",
    "MotionBlur",
    "NormalizationRecipe",
    "OptimizerRecipe",
    "PostprocessingRecipe",
    "RejectionRecipe",
    "ReplayRecipe",
    "Rescale",
    "Rotate",
    "ScheduleRecipe",
    "Section",
    "SplitRecipe",
    "TargetOutput",
    "TargetRecipe",
    "TrainingRecipe",
]
