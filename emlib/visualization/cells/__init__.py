"""Cells of light microscopes: figures for notebooks, and files that other programs open.

Every `show_...` function takes arrays and returns a matplotlib Figure, as in `emlib.visualization`; images are (y, x)
or (y, x, 3), labels (y, x). `save_cell_results` writes label TIFF, PNG, ImageJ ROIs, GeoJSON and a table.
"""

from emlib.visualization.cells.cell_files import CELL_FORMATS, save_cell_results
from emlib.visualization.cells.contact_sheet import show_cell_images
from emlib.visualization.cells.diffusion import show_diffusion
from emlib.visualization.cells.f1_curves import show_f1_curves
from emlib.visualization.cells.failures import show_cell_failures
from emlib.visualization.cells.flow_colors import flow_colors
from emlib.visualization.cells.flow_figures import show_flow
from emlib.visualization.cells.geojson import cells_as_geojson
from emlib.visualization.cells.imagej_rois import roi_bytes
from emlib.visualization.cells.measurements import CellTable, measure_cells
from emlib.visualization.cells.modality_map import show_modality_map
from emlib.visualization.cells.outlines import CellOutline, cell_outlines
from emlib.visualization.cells.overlay import outline_overlay
from emlib.visualization.cells.score_bars import show_ablation
from emlib.visualization.cells.tracking import show_tracking

__all__ = [
    "CELL_FORMATS",
    "CellOutline",
    "CellTable",
    "cell_outlines",
    "cells_as_geojson",
    "flow_colors",
    "measure_cells",
    "outline_overlay",
    "roi_bytes",
    "save_cell_results",
    "show_ablation",
    "show_cell_failures",
    "show_cell_images",
    "show_diffusion",
    "show_f1_curves",
    "show_flow",
    "show_modality_map",
    "show_tracking",
]
