"""From affinities to neurons in one call: fragments, agglomeration to one threshold, size filter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from emlib.postprocessing.agglomeration import agglomerate_affinities
from emlib.postprocessing.probabilities import voxel_count
from emlib.postprocessing.seeded_fragments import seeded_fragments
from emlib.postprocessing.small_objects import keep_large_and_renumber


def affinity_agglomeration(
    affinities: Any,
    *,
    threshold: float = 0.3,
    scoring: str = "aff50_his256",
    fragment_dimensions: int = 3,
    seeded: bool = False,
    offsets: Sequence[Sequence[int]] | None = None,
    min_size: int = 0,
) -> np.ndarray:
    """Segment affinities: `affinity_fragments` or `seeded_fragments`, then `agglomerate_affinities` to one threshold.

    Args:
        affinities: (C, Z, Y, X), uint8 0-255 or float 0-1; 1 = same object. Only the three channels of the nearest
            neighbours are read.
        threshold: fragments merge while the score of their boundary, 1 - affinity, is below it; in [0, 1].
        scoring: how a boundary is scored, see `agglomerate_affinities`.
        fragment_dimensions: 2 makes fragments in each section, for sections that are far apart or badly aligned.
        seeded: fragments from the points farthest from any boundary; with `fragment_dimensions=2` as published.
        offsets: what the channels mean, see `affinity_maps`; None is (-1, 0, 0), (0, -1, 0), (0, 0, -1).
        min_size: in voxels; objects with fewer become 0.

    Returns:
        Labels (Z, Y, X) uint32, 0 = background, numbered 1, 2, ... in raster order.

    Raises:
        TypeError, ValueError: as for the functions it calls.

    Example:
        >>> affinities = np.full((3, 1, 1, 8), 0.9)
        >>> affinities[2, 0, 0, [2, 4]] = 0.8, 0.2
        >>> affinity_agglomeration(affinities)
        array([[[1, 1, 1, 1, 2, 2, 2, 2]]], dtype=uint32)
    """
    min_size = voxel_count(min_size, "min_size")
    fragments = None
    if seeded:
        fragments = seeded_fragments(affinities, dimensions=fragment_dimensions, offsets=offsets)
    (labels,) = agglomerate_affinities(
        affinities,
        thresholds=(threshold,),
        scoring=scoring,
        fragments=fragments,
        fragment_dimensions=fragment_dimensions,
        offsets=offsets,
    )
    if min_size > 1:
        keep_large_and_renumber(labels, int(labels.max()), min_size)
    return labels
