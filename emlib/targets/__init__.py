"""What a network learns: targets and class weights made from instance labels.

Everything here is torch code that runs on the device of its input; numpy arrays come back as numpy arrays.
"""

from emlib.targets.affinity import affinities
from emlib.targets.channels import channel_names
from emlib.targets.contour import instance_contour
from emlib.targets.erosion import erode_labels
from emlib.targets.options import build_target, channel_count
from emlib.targets.weights import class_weights

__all__ = [
    "affinities",
    "build_target",
    "channel_count",
    "channel_names",
    "class_weights",
    "erode_labels",
    "instance_contour",
]
