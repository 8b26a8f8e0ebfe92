"""Figures for notebooks and reports, and Neuroglancer for looking into a volume.

Every `show_...` figure function takes arrays or Volumes and returns a matplotlib Figure that a notebook shows once.
Volumes are (z, y, x), voxel sizes are in nm, and an object has the same colour in every figure and in Neuroglancer.
"""

from emlib.visualization.affinities import show_affinities
from emlib.visualization.bands import show_band
from emlib.visualization.colors import colorize, label_colors
from emlib.visualization.curves import (
    show_metric_curve,
    show_precision_recall,
    show_scores_by_size,
    show_threshold_sweep,
)
from emlib.visualization.embedding_space import show_embedding_space
from emlib.visualization.errors import show_error_map
from emlib.visualization.figures import save_figure
from emlib.visualization.gallery import show_gallery
from emlib.visualization.instances import instance_overlay, save_overlay, show_instances
from emlib.visualization.loss_curve import show_loss_curve
from emlib.visualization.neuroglancer_state import LayerPlan, neuroglancer_state
from emlib.visualization.neuroglancer_viewer import NeuroglancerView, show_neuroglancer
from emlib.visualization.neuron_errors import show_neuron_errors
from emlib.visualization.objects import show_class_balance, show_object_sizes
from emlib.visualization.orientation import show_orientation_check
from emlib.visualization.partition_curves import show_partition_curve
from emlib.visualization.precomputed import read_precomputed, write_precomputed
from emlib.visualization.screenshot import capture_screenshot
from emlib.visualization.sections import (
    show_augmentations,
    show_overlay,
    show_sections,
    show_side_by_side,
    show_targets,
)
from emlib.visualization.windows import show_blending, show_window_plan

__all__ = [
    "LayerPlan",
    "NeuroglancerView",
    "capture_screenshot",
    "colorize",
    "instance_overlay",
    "label_colors",
    "neuroglancer_state",
    "read_precomputed",
    "save_figure",
    "save_overlay",
    "show_affinities",
    "show_augmentations",
    "show_band",
    "show_blending",
    "show_class_balance",
    "show_embedding_space",
    "show_error_map",
    "show_gallery",
    "show_instances",
    "show_loss_curve",
    "show_metric_curve",
    "show_neuroglancer",
    "show_neuron_errors",
    "show_object_sizes",
    "show_orientation_check",
    "show_overlay",
    "show_partition_curve",
    "show_precision_recall",
    "show_scores_by_size",
    "show_sections",
    "show_side_by_side",
    "show_targets",
    "show_threshold_sweep",
    "show_window_plan",
    "write_precomputed",
]
