"""Stage 1: volumes with labels - generated, downloaded, or yours - and the samples that are drawn from them.

`prepare_data` brings any source into one form (uint8 image and instance labels as zarr, with a split); `PatchDataset`
and `ChunkedTileDataset` draw training samples from volumes of any size. `vast_to_volume` and `write_vast` exchange
labels with VAST, where people proofread them.
"""

from emlib.data.amplified_sampling import amplify
from emlib.data.answer_file import describe_detections, read_answer, write_answer
from emlib.data.archive import extract_archive
from emlib.data.cell_layouts import CellSample, CellSet, open_cell_set
from emlib.data.cell_phantom import CellPhantom, cell_modalities, make_cell_phantom, make_cell_set
from emlib.data.chunks import ChunkedTileDataset, chunk_plan
from emlib.data.coco_files import read_coco, write_coco
from emlib.data.coco_sets import (
    coco_from_folders,
    coco_from_labels,
    coco_from_masks,
    nuclei_category,
    overlapping_pixels,
)
from emlib.data.download import fetch_dataset, find_local_copy
from emlib.data.em_phantom import EMPhantom, make_em_phantom
from emlib.data.image_files import image_size, read_image, read_label_image
from emlib.data.image_ids import coco_test_set, read_test_ids
from emlib.data.image_mapping import MappingSummary, load_mapping, write_mapping
from emlib.data.image_normalization import normalize_percentiles
from emlib.data.image_pairs import ImagePair, find_image_pairs
from emlib.data.image_split import split_by_group
from emlib.data.instances import instances_from_mask
from emlib.data.label_pieces import separate_pieces
from emlib.data.mask_polygons import MaskPolygons, mask_polygons
from emlib.data.modality_discovery import (
    ModalityClusters,
    cluster_purity,
    discover_modalities,
    load_groups,
    save_groups,
)
from emlib.data.nuclei_folders import (
    NucleiFolder,
    NucleiLabels,
    find_nuclei_folders,
    read_nuclei_labels,
    read_nuclei_masks,
)
from emlib.data.object_anchors import ObjectAnchors, anchors_of
from emlib.data.opened_image import OpenedImage, open_image
from emlib.data.patches import PatchDataset
from emlib.data.prepare import PreparedData, load_prepared, prepare_data
from emlib.data.prepare_images import prepare_image_data
from emlib.data.prepared_images import ImageSplit, PreparedImage, PreparedImages, load_prepared_images
from emlib.data.real_sets import load_published_segmentation, load_real_set
from emlib.data.registry import describe_dataset, list_datasets
from emlib.data.resampling import downsample_volume, upsample_volume
from emlib.data.saved_cell_set import save_cell_set
from emlib.data.saved_nuclei_set import save_nuclei_folders
from emlib.data.section_equalization import equalize_sections
from emlib.data.vast_export import read_renumbering, read_vast, vast_to_volume, write_vast
from emlib.data.vast_hierarchy import collapse_labels, collapsed_ids
from emlib.data.vast_table import VastSegment, read_vast_table, segment_table, write_vast_table
from emlib.formats.coarsening import downsample_image, downsample_labels, upsample_labels
from emlib.formats.tile_writing import write_tiles

__all__ = [
    "CellPhantom",
    "CellSample",
    "CellSet",
    "ChunkedTileDataset",
    "EMPhantom",
    "ImagePair",
    "ImageSplit",
    "MappingSummary",
    "MaskPolygons",
    "ModalityClusters",
    "NucleiFolder",
    "NucleiLabels",
    "ObjectAnchors",
    "OpenedImage",
    "PatchDataset",
    "PreparedData",
    "PreparedImage",
    "PreparedImages",
    "VastSegment",
    "amplify",
    "anchors_of",
    "cell_modalities",
    "chunk_plan",
    "cluster_purity",
    "coco_from_folders",
    "coco_from_labels",
    "coco_from_masks",
    "coco_test_set",
    "collapse_labels",
    "collapsed_ids",
    "describe_dataset",
    "describe_detections",
    "discover_modalities",
    "downsample_image",
    "downsample_labels",
    "downsample_volume",
    "equalize_sections",
    "extract_archive",
    "fetch_dataset",
    "find_image_pairs",
    "find_local_copy",
    "find_nuclei_folders",
    "image_size",
    "instances_from_mask",
    "list_datasets",
    "load_groups",
    "load_mapping",
    "load_prepared",
    "load_prepared_images",
    "load_published_segmentation",
    "load_real_set",
    "make_cell_phantom",
    "make_cell_set",
    "make_em_phantom",
    "mask_polygons",
    "normalize_percentiles",
    "nuclei_category",
    "open_cell_set",
    "open_image",
    "overlapping_pixels",
    "prepare_data",
    "prepare_image_data",
    "read_answer",
    "read_coco",
    "read_image",
    "read_label_image",
    "read_nuclei_labels",
    "read_nuclei_masks",
    "read_renumbering",
    "read_test_ids",
    "read_vast",
    "read_vast_table",
    "save_cell_set",
    "save_groups",
    "save_nuclei_folders",
    "segment_table",
    "separate_pieces",
    "split_by_group",
    "upsample_labels",
    "upsample_volume",
    "vast_to_volume",
    "write_answer",
    "write_coco",
    "write_mapping",
    "write_tiles",
    "write_vast",
    "write_vast_table",
]
