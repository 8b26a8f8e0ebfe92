"""Files that hold volumes, one module a format: HDF5, zarr, TIFF, .npy, folders of slices, tile lists.

Each reader is a `Source`: shape, dtype, chunks and metadata at once, voxels only when `read` asks for them. People use
`emlib.volume`, which picks the reader and puts one type, `Volume`, around it.
"""

from emlib.formats.detection import FORMATS, open_source
from emlib.formats.metadata import AXES, Metadata, check_axes, check_voxel_size
from emlib.formats.source import ArraySource, Source

__all__ = ["AXES", "FORMATS", "ArraySource", "Metadata", "Source", "check_axes", "check_voxel_size", "open_source"]
