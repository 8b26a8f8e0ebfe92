"""Stage 4: from a network's prediction to instances, and clean-up of instances.

Arrays in, arrays out, without torch and without any training code: usable on anybody's predictions.
Labels are unsigned integers with 0 as background; thresholds are probabilities between 0 and 1.
"""

from emlib.postprocessing.affinity_maps import affinity_maps
from emlib.postprocessing.agglomerated_segmentation import affinity_agglomeration
from emlib.postprocessing.agglomeration import agglomerate_affinities, agglomerate_graph, relabel_fragments
from emlib.postprocessing.block_agglomeration import agglomerate_blocks
from emlib.postprocessing.block_numbers import number_blocks, replace_ids
from emlib.postprocessing.block_stitching import stitch_blocks
from emlib.postprocessing.block_tracing import BlockTracer, trace_blocks
from emlib.postprocessing.box_suppression import suppress_boxes
from emlib.postprocessing.class_cells import cells_from_classes
from emlib.postprocessing.contour_watershed import (
    contour_components,
    contour_watershed,
    mask_components,
    mask_watershed,
)
from emlib.postprocessing.distance_watershed import distance_watershed
from emlib.postprocessing.embedding_clusters import cluster_embeddings, embedding_instances
from emlib.postprocessing.face_overlaps import FaceOverlap, face_links, face_overlap
from emlib.postprocessing.flow_blocks import BlockwiseMasks, masks_from_flows_blocks
from emlib.postprocessing.flow_error import flow_errors
from emlib.postprocessing.flow_masks import masks_from_flows
from emlib.postprocessing.flow_tracking import follow_flows
from emlib.postprocessing.fragments import affinity_fragments
from emlib.postprocessing.methods import SEGMENTATION_METHODS, SegmentationMethod, segment
from emlib.postprocessing.mutex_watershed import mutex_watershed
from emlib.postprocessing.object_holes import fill_object_holes
from emlib.postprocessing.region_graph import RegionGraph, region_graph
from emlib.postprocessing.seeded_fragments import seeded_fragments
from emlib.postprocessing.size_merging import merge_small_regions
from emlib.postprocessing.small_objects import relabel_sequential, remove_small_objects
from emlib.postprocessing.zwatershed import zwatershed

__all__ = [
    "SEGMENTATION_METHODS",
    "BlockTracer",
    "BlockwiseMasks",
    "FaceOverlap",
    "RegionGraph",
    "SegmentationMethod",
    "affinity_agglomeration",
    "affinity_fragments",
    "affinity_maps",
    "agglomerate_affinities",
    "agglomerate_blocks",
    "agglomerate_graph",
    "cells_from_classes",
    "cluster_embeddings",
    "contour_components",
    "contour_watershed",
    "distance_watershed",
    "embedding_instances",
    "face_links",
    "face_overlap",
    "fill_object_holes",
    "flow_errors",
    "follow_flows",
    "mask_components",
    "mask_watershed",
    "masks_from_flows",
    "masks_from_flows_blocks",
    "merge_small_regions",
    "mutex_watershed",
    "number_blocks",
    "region_graph",
    "relabel_fragments",
    "relabel_sequential",
    "remove_small_objects",
    "replace_ids",
    "seeded_fragments",
    "segment",
    "stitch_blocks",
    "suppress_boxes",
    "trace_blocks",
    "zwatershed",
]
