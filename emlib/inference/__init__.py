"""Inference: predict volumes of any size window by window.

Windows are laid over the volume, predicted (with flips and transposition if wanted), blended where they overlap and
written plane by plane, so that memory does not grow with the volume and an interrupted run can go on.
"""

from emlib.inference.affinity_rule import AffinityRule
from emlib.inference.blending import BLENDINGS, blending_window
from emlib.inference.cell_prediction import CellPrediction, predict_image, predict_image_from_recipe
from emlib.inference.flow_rule import flow_symmetries, turn_flow_back
from emlib.inference.from_recipe import predict_from_recipe
from emlib.inference.image_prediction import predict_flows
from emlib.inference.image_windows import ImagePlan, image_window_weights, plan_image_windows
from emlib.inference.symmetries import SYMMETRIES, ChannelRule, Symmetry, symmetries
from emlib.inference.volume_prediction import predict_volume
from emlib.inference.windows import WindowPlan, plan_windows, window_positions

__all__ = [
    "BLENDINGS",
    "SYMMETRIES",
    "AffinityRule",
    "CellPrediction",
    "ChannelRule",
    "ImagePlan",
    "Symmetry",
    "WindowPlan",
    "blending_window",
    "flow_symmetries",
    "image_window_weights",
    "plan_image_windows",
    "plan_windows",
    "predict_flows",
    "predict_from_recipe",
    "predict_image",
    "predict_image_from_recipe",
    "predict_volume",
    "symmetries",
    "turn_flow_back",
    "window_positions",
]
