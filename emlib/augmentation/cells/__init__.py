"""Random changes of light-microscopy samples that know where the cells are (MEDIAR, NeurIPS 2022).

Images are (c, y, x), labels (y, x) of ids; tensors on any device, or numpy arrays.
"""

from emlib.augmentation.cells.boundary_exclusion import exclude_boundaries
from emlib.augmentation.cells.cell_intensity import change_cell_intensity
from emlib.augmentation.cells.cell_pipeline import CellAugmentation, build_cell_augmentation
from emlib.augmentation.cells.cropping import CropGeometry
from emlib.augmentation.cells.grey_values import change_grey_values

__all__ = [
    "CellAugmentation",
    "CropGeometry",
    "build_cell_augmentation",
    "change_cell_intensity",
    "change_grey_values",
    "exclude_boundaries",
]
