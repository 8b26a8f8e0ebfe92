"""Objects as COCO stores them: run lengths down the columns of the picture, and polygons.

An object is {"size": [height, width], "counts": ...} with run lengths of 0, 1, 0, ... as numbers or as compact text.
"""

from emlib.run_lengths.masks import counts_of_mask, counts_of_runs, mask_of_counts, runs_of_labels
from emlib.run_lengths.regions import rle_area, rle_decode, rle_encode, rle_iou, rle_merge, rle_to_bbox, shared_pixels
from emlib.run_lengths.run_table import RunTable
from emlib.run_lengths.segmentations import BadSegmentation, object_runs, runs_of_segmentations
from emlib.run_lengths.text import decode_counts, encode_counts

__all__ = [
    "BadSegmentation",
    "RunTable",
    "counts_of_mask",
    "counts_of_runs",
    "decode_counts",
    "encode_counts",
    "mask_of_counts",
    "object_runs",
    "rle_area",
    "rle_decode",
    "rle_encode",
    "rle_iou",
    "rle_merge",
    "rle_to_bbox",
    "runs_of_labels",
    "runs_of_segmentations",
    "shared_pixels",
]
