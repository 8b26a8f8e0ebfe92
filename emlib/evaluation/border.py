"""Leave out the voxels near the borders of the truth, where annotators themselves differ."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any

import edt
import numpy as np

from emlib.evaluation.label_blocks import check_labels


def ignore_border(truth: Any, distance_xy: float, distance_z: int = 0) -> np.ndarray:
    """The truth with 0, which no score counts, in place of every voxel near a border between two ids.

    A voxel is near a border if another id (0 included) lies within `distance_xy` voxels of it in its own section,
    measured exactly between the centres of voxels, or within `distance_z` sections straight above or below. The faces
    of the volume are no borders. Score the rest with, for example,
    `adapted_rand_error(segmentation, ignore_border(truth, 25 / 4))`, which is the option of the SNEMI3D scripts
    (25 nm in voxels of 4 nm).

    Args:
        truth: (Z, Y, X) or (Y, X) labels, any integer type; an array or a lazy volume, read section by section.
        distance_xy: voxels, 0 or more; 0 leaves the sections as they are.
        distance_z: sections, 0 or more.

    Returns:
        Labels of the same shape and dtype; `truth` itself is not changed.

    Raises:
        TypeError: labels that are not integers.
        ValueError: neither 2-D nor 3-D, empty, negative ids, or a distance out of range.

    Example:
        >>> ignore_border(np.array([[1, 1, 1, 1, 2, 2, 2]]), 2).tolist()
        [[1, 1, 0, 0, 0, 0, 2]]
    """
    truth = check_labels(truth, "truth")
    axes = len(truth.shape)
    if axes not in (2, 3):
        raise ValueError(f"truth must have the axes (z, y, x) or (y, x), got the shape {tuple(truth.shape)}.")
    if not isinstance(distance_xy, Real) or not 0 <= distance_xy < np.inf:
        raise ValueError(f"distance_xy must be a number of voxels, 0 or more, got {distance_xy!r}.")
    if not isinstance(distance_z, Integral) or distance_z < 0:
        raise ValueError(f"distance_z must be a whole number of sections, 0 or more, got {distance_z!r}.")
    if axes == 2:
        return _inner(_section(truth, ()), distance_xy)
    kept = np.empty(tuple(truth.shape), dtype=truth.dtype)
    # The sections that the current one is compared with; one comes and one goes at every step.
    near: dict[int, np.ndarray] = {}
    for z in range(truth.shape[0]):
        for other in range(max(z - distance_z, 0), min(z + distance_z + 1, truth.shape[0])):
            if other not in near:
                near[other] = _section(truth, (other,))
        near.pop(z - distance_z - 1, None)
        inner = _inner(near[z], distance_xy)
        for section in near.values():
            inner[section != near[z]] = 0
        kept[z] = inner
    return kept


def _section(truth: Any, at: tuple[int, ...]) -> np.ndarray:
    section = np.ascontiguousarray(truth[at] if at else truth[...])
    if section.dtype.kind == "i" and section.min() < 0:
        raise ValueError(f"truth must not have negative ids, got {section.min()}.")
    return section


def _inner(section: np.ndarray, distance: float) -> np.ndarray:
    """A copy of one section with 0 up to `distance` from another id."""
    # Squared distances are whole numbers, so that a voxel exactly at the distance is told apart from one beyond it.
    squared = edt.edtsq(section.astype(np.uint64), black_border=False)
    return np.where(squared <= distance**2, np.zeros((), section.dtype), section)
