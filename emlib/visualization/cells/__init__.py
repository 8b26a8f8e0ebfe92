"""Cells of an image as files that other programs open: label TIFF, PNG, ImageJ ROIs, GeoJSON, a table."""

from emlib.visualization.cells.cell_files import CELL_FORMATS, save_cell_results
from emlib.visualization.cells.geojson import cells_as_geojson
from emlib.visualization.cells.imagej_rois import roi_bytes
from emlib.visualization.cells.measurements import CellTable, measure_cells
from emlib.visualization.cells.outlines import CellOutline, cell_outlines
from emlib.visualization.cells.overlay import outline_overlay

__all__ = [
    "CELL_FORMATS",
    "CellOutline",
    "CellTable",
    "cell_outlines",
    "cells_as_geojson",
    "measure_cells",
    "outline_overlay",
    "roi_bytes",
    "save_cell_results",
]
