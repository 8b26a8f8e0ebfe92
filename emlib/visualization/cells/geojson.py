"""Cells as GeoJSON, which QuPath and other viewers of slides open."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from emlib.visualization.cells.outlines import CellOutline


def cells_as_geojson(outlines: Sequence[CellOutline]) -> dict[str, Any]:
    """A feature collection with a (multi-)polygon for each cell; coordinates are (x, y) in pixels, y downwards.

    Args:
        outlines: from `cell_outlines`.

    Example:
        >>> from emlib.visualization.cells.outlines import cell_outlines
        >>> feature = cells_as_geojson(cell_outlines(np.array([[0, 5]])))["features"][0]
        >>> feature["geometry"]
        {'type': 'Polygon', 'coordinates': [[[1, 0], [2, 0], [2, 1], [1, 1], [1, 0]]]}
        >>> feature["properties"]
        {'objectType': 'detection', 'name': '5', 'label': 5}
    """
    features = []
    for outline in outlines:
        polygons = [[_closed(ring) for ring in piece] for piece in outline.pieces]
        one = len(polygons) == 1
        geometry = {"type": "Polygon" if one else "MultiPolygon", "coordinates": polygons[0] if one else polygons}
        properties = {"objectType": "detection", "name": str(outline.id), "label": outline.id}
        features.append({"type": "Feature", "geometry": geometry, "properties": properties})
    return {"type": "FeatureCollection", "features": features}


def _closed(ring: np.ndarray) -> list[list[int]]:
    return np.concatenate([ring, ring[:1]])[:, ::-1].tolist()
