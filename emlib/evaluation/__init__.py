"""Stage 5: how good a segmentation is, as figures and as a list of the objects that went wrong.

Every instance score comes from one table of overlapping ids, which is counted block by block and adds up over
blocks, so volumes of any size can be scored. Labels are integers with 0 as background; the scores that depend on a
convention have its name as an argument.
"""

from emlib.evaluation.average_precision import AveragePrecision, average_precision
from emlib.evaluation.foreground import ForegroundScores, foreground_precision_recall
from emlib.evaluation.instance_errors import InstanceErrors, find_errors
from emlib.evaluation.matching import InstanceMatches, match_instances
from emlib.evaluation.object_geometry import ObjectGeometry, object_geometry
from emlib.evaluation.object_scores import mean_scores
from emlib.evaluation.overlap_table import OverlapTable, intersection_over_union, overlap_table
from emlib.evaluation.partition_scores import (
    AdaptedRandError,
    VariationOfInformation,
    adapted_rand_error,
    variation_of_information,
)

__all__ = [
    "AdaptedRandError",
    "AveragePrecision",
    "ForegroundScores",
    "InstanceErrors",
    "InstanceMatches",
    "ObjectGeometry",
    "OverlapTable",
    "VariationOfInformation",
    "adapted_rand_error",
    "average_precision",
    "find_errors",
    "foreground_precision_recall",
    "intersection_over_union",
    "match_instances",
    "mean_scores",
    "object_geometry",
    "overlap_table",
    "variation_of_information",
]
