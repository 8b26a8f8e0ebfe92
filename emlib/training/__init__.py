"""Training: one loop from a recipe to a checkpoint, and from a checkpoint back to a network."""

from emlib.training.checkpoint import find_latest, list_checkpoints, load_recipe_of, read_checkpoint
from emlib.training.image_samples import ImageTrainingSamples, ImageValidationSamples
from emlib.training.instance_validation import instance_evaluation
from emlib.training.loop import train
from emlib.training.monitor import read_training_log, training_seconds
from emlib.training.prior import with_prior
from emlib.training.samples import TrainingSamples, ValidationSamples
from emlib.training.schedule import learning_rate_at
from emlib.training.tasks import training_task
from emlib.training.validation import image_evaluation, volume_evaluation
from emlib.training.weights import WeightReport, load_model, load_weights
from emlib.training.whole_image_samples import WholeImageSamples, WholeImageValidationSamples

__all__ = [
    "ImageTrainingSamples",
    "ImageValidationSamples",
    "TrainingSamples",
    "ValidationSamples",
    "WeightReport",
    "WholeImageSamples",
    "WholeImageValidationSamples",
    "find_latest",
    "image_evaluation",
    "instance_evaluation",
    "learning_rate_at",
    "list_checkpoints",
    "load_model",
    "load_recipe_of",
    "load_weights",
    "read_checkpoint",
    "read_training_log",
    "train",
    "training_seconds",
    "training_task",
    "volume_evaluation",
    "with_prior",
]
