"""Random changes of light-microscopy samples that know where the cells are (MEDIAR, NeurIPS 2022).

Images are (c, y, x), labels (y, x) of ids; tensors on any device, or numpy arrays.
"""

from emlib.augmentation.cells.boundary_exclusion import exclude_boundaries
from emlib.augmentation.cells.cell_intensity import change_cell_intensity

__all__ = ["change_cell_intensity", "exclude_boundaries"]
