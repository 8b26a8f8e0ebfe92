"""What a network learns: targets and class weights made from instance labels.

Everything here is torch code that runs on the device of its input; numpy arrays come back as numpy arrays.
"""

from emlib.targets.affinity import affinities
from emlib.targets.cell_classes import CLASSES, cell_classes
from emlib.targets.channels import channel_names, channel_pairs, output_channel_count, target_channel_count
from emlib.targets.contour import instance_contour
from emlib.targets.erosion import erode_labels
from emlib.targets.gradient_flow import gradient_flow
from emlib.targets.image_targets import build_image_targets
from emlib.targets.options import build_target, channel_count
from emlib.targets.published_tasks import task_option, task_target
from emlib.targets.recipe_targets import build_targets
from emlib.targets.skeleton_distance import skeleton_distance
from emlib.targets.voxel_pairs import VoxelPair, affinity_offsets, affinity_pairs
from emlib.targets.weights import class_weights

__all__ = [
    "CLASSES",
    "VoxelPair",
    "affinities",
    "affinity_offsets",
    "affinity_pairs",
    "build_image_targets",
    "build_target",
    "build_targets",
    "cell_classes",
    "channel_count",
    "channel_names",
    "channel_pairs",
    "class_weights",
    "erode_labels",
    "gradient_flow",
    "instance_contour",
    "output_channel_count",
    "skeleton_distance",
    "target_channel_count",
    "task_option",
    "task_target",
]
