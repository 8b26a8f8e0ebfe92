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
from emlib.recipe_schema.data import DataRecipe, SplitRecipe
from emlib.recipe_schema.section import Section
from emlib.recipe_schema.target import LossTerm, TargetOutput, TargetRecipe
from emlib.recipe_schema.training import ModelRecipe, OptimizerRecipe, RejectionRecipe, ScheduleRecipe, TrainingRecipe

__all__ = [
    "Augment",
    "AugmentationRecipe",
    "CutBlur",
    "CutNoise",
    "DataRecipe",
    "Elastic",
    "EvaluationRecipe",
    "Flip",
    "Grayscale",
    "InferenceRecipe",
    "LossTerm",
    "Misalign",
    "MissingParts",
    "MissingSection",
    "ModelRecipe",
    "MotionBlur",
    "OptimizerRecipe",
    "PostprocessingRecipe",
    "RejectionRecipe",
    "Rescale",
    "Rotate",
    "ScheduleRecipe",
    "Section",
    "SplitRecipe",
    "TargetOutput",
    "TargetRecipe",
    "TrainingRecipe",
]
