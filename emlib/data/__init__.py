"""Stage 1: volumes with labels - generated, downloaded, or yours - and the samples that are drawn from them.

`prepare_data` brings any source into one form (uint8 image and instance labels as zarr, with a split); `PatchDataset`
and `ChunkedTileDataset` draw training samples from volumes of any size.
"""

from emlib.data.archive import extract_archive
from emlib.data.chunks import ChunkedTileDataset, chunk_plan
from emlib.data.download import fetch_dataset, find_local_copy
from emlib.data.em_phantom import EMPhantom, make_em_phantom
from emlib.data.instances import instances_from_mask
from emlib.data.patches import PatchDataset
from emlib.data.prepare import PreparedData, load_prepared, prepare_data
from emlib.data.real_sets import load_published_segmentation, load_real_set
from emlib.data.registry import describe_dataset, list_datasets

__all__ = [
    "ChunkedTileDataset",
    "EMPhantom",
    "PatchDataset",
    "PreparedData",
    "chunk_plan",
    "describe_dataset",
    "extract_archive",
    "fetch_dataset",
    "find_local_copy",
    "instances_from_mask",
    "list_datasets",
    "load_prepared",
    "load_published_segmentation",
    "load_real_set",
    "make_em_phantom",
    "prepare_data",
]
