"""Inference: predict volumes of any size window by window.

Windows are laid over the volume, predicted (with flips and transposition if wanted), blended where they overlap and
written plane by plane, so that memory does not grow with the volume and an interrupted run can go on. Networks that
find objects look at a whole image or at tiles, and what several tiles saw is merged (`predict_instances`).
"""

from emlib.inference.affinity_rule import AffinityRule
from emlib.inference.blending import BLENDINGS, blending_window
from emlib.inference.cell_prediction import (
    CellPrediction,
    ClassPrediction,
    predict_image,
    predict_image_from_recipe,
)
from emlib.inference.embeddings import embed_images
from emlib.inference.first_guess import PriorFrom
from emlib.inference.flow_rule import flow_symmetries, turn_flow_back
from emlib.inference.from_recipe import predict_from_recipe, prediction_channels
from emlib.inference.image_prediction import predict_classes, predict_flows
from emlib.inference.image_tiles import ImageTiles, plan_image_tiles
from emlib.inference.image_windows import ImagePlan, image_window_weights, plan_image_windows
from emlib.inference.instance_answer import instances_as_coco
from emlib.inference.instance_files import load_instances, save_instances
from emlib.inference.instance_painting import labels_from_instances
from emlib.inference.instance_prediction import predict_instances
from emlib.inference.instance_recipe import predict_instances_from_recipe
from emlib.inference.instance_split import SplitInstances, load_split_instances, predict_instances_split
from emlib.inference.instances import InstancePrediction
from emlib.inference.nearest_prototype import NearestPrototypeMask
from emlib.inference.split_prediction import SplitPredictions, load_split_predictions, predict_split
from emlib.inference.symmetries import SYMMETRIES, ChannelRule, Symmetry, symmetries
from emlib.inference.volume_prediction import predict_volume
from emlib.inference.windows import WindowPlan, plan_windows, window_positions

__all__ = [
    "BLENDINGS",
    "SYMMETRIES",
    "AffinityRule",
    "CellPrediction",
    "ChannelRule",
    "ClassPrediction",
    "ImagePlan",
    "ImageTiles",
    "InstancePrediction",
    "NearestPrototypeMask",
    "PriorFrom",
    "SplitInstances",
    "SplitPredictions",
    "Symmetry",
    "WindowPlan",
    "blending_window",
    "embed_images",
    "flow_symmetries",
    "image_window_weights",
    "instances_as_coco",
    "labels_from_instances",
    "load_instances",
    "load_split_instances",
    "load_split_predictions",
    "plan_image_tiles",
    "plan_image_windows",
    "plan_windows",
    "predict_classes",
    "predict_flows",
    "predict_from_recipe",
    "predict_image",
    "predict_image_from_recipe",
    "predict_instances",
    "predict_instances_from_recipe",
    "predict_instances_split",
    "predict_split",
    "predict_volume",
    "prediction_channels",
    "save_instances",
    "symmetries",
    "turn_flow_back",
    "window_positions",
]
