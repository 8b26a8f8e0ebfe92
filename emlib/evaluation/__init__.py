"""Stage 5: how good a segmentation is, as figures and as a list of the objects that went wrong.

Every instance score comes from one table of overlapping ids, which is counted block by block and adds up over
blocks, so volumes of any size can be scored. Labels are integers with 0 as background; the scores that depend on a
convention have its name as an argument.
"""

from emlib.evaluation.aggregated_jaccard import AggregatedJaccard, aggregated_jaccard_index
from emlib.evaluation.average_precision import AveragePrecision, average_precision
from emlib.evaluation.border import ignore_border
from emlib.evaluation.box_matches import BoxMatches, match_detected_boxes
from emlib.evaluation.cell_errors import CELL_ERROR_KINDS, CellError, cell_errors
from emlib.evaluation.cell_scores import CellScore, cell_f1, cell_f1_curve
from emlib.evaluation.coco_curves import CocoCurves
from emlib.evaluation.coco_from_labels import coco_results_from_labels, coco_truth_from_labels
from emlib.evaluation.coco_scores import coco_curves, coco_evaluate
from emlib.evaluation.detection_ceiling import ceiling_of_limit
from emlib.evaluation.error_events import ErrorEvent, find_events
from emlib.evaluation.foreground import ForegroundScores, foreground_precision_recall
from emlib.evaluation.group_summary import GroupSummary, summarize_by_group
from emlib.evaluation.instance_errors import InstanceErrors, find_errors
from emlib.evaluation.matching import InstanceMatches, match_instances
from emlib.evaluation.neuron_errors import NeuronErrors, NeuronScore, neuron_errors
from emlib.evaluation.object_geometry import ObjectGeometry, object_geometry
from emlib.evaluation.object_scores import mean_scores
from emlib.evaluation.overlap_table import OverlapTable, intersection_over_union, overlap_table
from emlib.evaluation.partition_curve import PartitionCurve, partition_curve
from emlib.evaluation.partition_scores import (
    AdaptedRandError,
    RandSplitMerge,
    VariationOfInformation,
    adapted_rand_error,
    rand_split_merge,
    variation_of_information,
)
from emlib.evaluation.time_tolerance import time_over_tolerance, time_tolerance

__all__ = [
    "CELL_ERROR_KINDS",
    "AdaptedRandError",
    "AggregatedJaccard",
    "AveragePrecision",
    "BoxMatches",
    "CellError",
    "CellScore",
    "CocoCurves",
    "ErrorEvent",
    "ForegroundScores",
    "GroupSummary",
    "InstanceErrors",
    "InstanceMatches",
    "NeuronErrors",
    "NeuronScore",
    "ObjectGeometry",
    "OverlapTable",
    "PartitionCurve",
    "RandSplitMerge",
    "VariationOfInformation",
    "adapted_rand_error",
    "aggregated_jaccard_index",
    "average_precision",
    "ceiling_of_limit",
    "cell_errors",
    "cell_f1",
    "cell_f1_curve",
    "coco_curves",
    "coco_evaluate",
    "coco_results_from_labels",
    "coco_truth_from_labels",
    "find_errors",
    "find_events",
    "foreground_precision_recall",
    "ignore_border",
    "intersection_over_union",
    "match_detected_boxes",
    "match_instances",
    "mean_scores",
    "neuron_errors",
    "object_geometry",
    "overlap_table",
    "partition_curve",
    "rand_split_merge",
    "summarize_by_group",
    "time_over_tolerance",
    "time_tolerance",
    "variation_of_information",
]
