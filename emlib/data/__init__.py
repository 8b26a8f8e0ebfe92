"""Stage 1: volumes with labels - generated, downloaded, or yours - and the samples that are drawn from them.

`prepare_data` brings any source into one form (uint8 image and instance labels as zarr, with a split); `PatchDataset`
and `ChunkedTileDataset` draw training samples from volumes of any size.
"""

from emlib.data.amplified_sampling import amplify
from emlib.data.archive import extract_archive
from emlib.data.cell_layouts import CellSample, CellSet, open_cell_set
from emlib.data.cell_phantom import CellPhantom, cell_modalities, make_cell_phantom, make_cell_set
from emlib.data.chunks import ChunkedTileDataset, chunk_plan
from emlib.data.download import fetch_dataset, find_local_copy
from emlib.data.em_phantom import EMPhantom, make_em_phantom
from emlib.data.image_files import image_size, read_image, read_label_image
from emlib.data.image_mapping import MappingSummary, load_mapping, write_mapping
from emlib.data.image_normalization import normalize_percentiles
from emlib.data.image_pairs import ImagePair, find_image_pairs
from emlib.data.image_split import split_by_group
from emlib.data.instances import instances_from_mask
from emlib.data.label_pieces import separate_pieces
from emlib.data.patches import PatchDataset
from emlib.data.prepare import PreparedData, load_prepared, prepare_data
from emlib.data.prepare_images import prepare_image_data
from emlib.data.prepared_images import ImageSplit, PreparedImage, PreparedImages, load_prepared_images
from emlib.data.real_sets import load_published_segmentation, load_real_set
from emlib.data.registry import describe_dataset, list_datasets
from emlib.data.saved_cell_set import save_cell_set

__all__ = [
    "CellPhantom",
    "CellSample",
    "CellSet",
    "ChunkedTileDataset",
    "EMPhantom",
    "ImagePair",
    "ImageSplit",
    "MappingSummary",
    "PatchDataset",
    "PreparedData",
    "PreparedImage",
    "PreparedImages",
    "amplify",
    "cell_modalities",
    "chunk_plan",
    "describe_dataset",
    "extract_archive",
    "fetch_dataset",
    "find_image_pairs",
    "find_local_copy",
    "image_size",
    "instances_from_mask",
    "list_datasets",
    "load_mapping",
    "load_prepared",
    "load_prepared_images",
    "load_published_segmentation",
    "load_real_set",
    "make_cell_phantom",
    "make_cell_set",
    "make_em_phantom",
    "normalize_percentiles",
    "open_cell_set",
    "prepare_data",
    "prepare_image_data",
    "read_image",
    "read_label_image",
    "save_cell_set",
    "separate_pieces",
    "split_by_group",
    "write_mapping",
]
