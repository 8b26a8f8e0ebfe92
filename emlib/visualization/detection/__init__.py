"""Detection of objects by boxes: anchors, regions, suppression, precision and recall, limits, experiments.

Every `show_...` function takes arrays, or results with the attributes that it names, and returns a matplotlib Figure,
as in `emlib.visualization`. Boxes are (n, 4): x0, y0, x1, y1 in pixels; pixel (0, 0) is the square from 0 to 1.
What went wrong with single objects is shown by `emlib.visualization.cells.show_cell_failures`.
"""

from emlib.visualization.detection.anchor_sizes import show_anchor_sizes
from emlib.visualization.detection.coco_curves import show_coco_curves
from emlib.visualization.detection.detection_limit import show_detection_limit
from emlib.visualization.detection.experiments import show_experiments
from emlib.visualization.detection.region_proposals import show_region_proposals
from emlib.visualization.detection.suppression import show_suppression

__all__ = [
    "show_anchor_sizes",
    "show_coco_curves",
    "show_detection_limit",
    "show_experiments",
    "show_region_proposals",
    "show_suppression",
]
