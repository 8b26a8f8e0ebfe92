"""Gaussian smoothing of uint8 sections, each by itself."""

from __future__ import annotations

import math
from numbers import Real

import numpy as np

from emlib.compilation import compiled

# The Gaussian is cut off at this many standard deviations.
CUT_OFF = 4.0


def smooth_sections(levels: np.ndarray, sigma: float = 1.0) -> np.ndarray:
    """Smooth every (y, x) plane with a Gaussian, first along y and then along x; both results are cut to whole levels.

    The border is mirrored (d c b a | a b c d | d c b a) and the Gaussian ends at 4 sigma. These are the values of
    `scipy.ndimage.gaussian_filter(plane, sigma)` on a uint8 plane, which rounds down after each of the two passes.

    Args:
        levels: (Z, Y, X) or (Y, X) uint8, C-contiguous; not changed.
        sigma: in voxels; 0 returns a copy.

    Returns:
        A new uint8 array of the same shape.

    Raises:
        ValueError: sigma is not a number of at least 0.

    Memory: the result and two rows or sections of scratch space.

    Example:
        >>> smooth_sections(np.array([[0, 0, 0, 255, 0, 0, 0]], dtype=np.uint8))
        array([[  1,  13,  61, 101,  61,  13,   1]], dtype=uint8)
    """
    reach = smoothing_reach(sigma)
    if sigma == 0:
        return levels.copy()
    weights = np.exp(-0.5 / float(sigma) ** 2 * np.arange(-reach, reach + 1) ** 2)
    weights = (weights / weights.sum())[reach:]
    smoothed = np.empty_like(levels)
    shape = (-1, *levels.shape[-2:])
    _smooth(levels.reshape(shape), weights, smoothed.reshape(shape))
    return smoothed


def smoothing_reach(sigma: float) -> int:
    """How many voxels away, along y and along x, a voxel still counts.

    Raises:
        ValueError: sigma is not a number of at least 0.

    Example:
        >>> smoothing_reach(1.0)
        4
    """
    if isinstance(sigma, bool) or not isinstance(sigma, Real) or not 0 <= sigma < math.inf:
        raise ValueError(f"sigma must be a number of voxels of at least 0, got {sigma!r}.")
    return int(CUT_OFF * float(sigma) + 0.5)


@compiled
def _mirrored(place, length):
    place %= 2 * length
    return 2 * length - 1 - place if place >= length else place


@compiled
def _smooth(levels, weights, smoothed):
    planes, rows, columns = levels.shape
    reach = weights.size - 1
    line = np.empty(columns, dtype=np.float64)
    wide = np.empty(columns + 2 * reach, dtype=np.float64)
    for z in range(planes):
        for y in range(rows):
            centre = levels[z, y]
            for x in range(columns):
                line[x] = weights[0] * centre[x]
            # From the outermost pair inwards: the order in which scipy adds, which decides the last bit.
            for step in range(reach, 0, -1):
                above = levels[z, _mirrored(y - step, rows)]
                below = levels[z, _mirrored(y + step, rows)]
                weight = weights[step]
                for x in range(columns):
                    line[x] += weight * (np.float64(above[x]) + np.float64(below[x]))
            for x in range(columns):
                wide[reach + x] = np.uint8(line[x])
            for x in range(reach):
                wide[x] = wide[reach + _mirrored(x - reach, columns)]
                wide[reach + columns + x] = wide[reach + _mirrored(columns + x, columns)]
            for x in range(columns):
                line[x] = weights[0] * wide[reach + x]
            for step in range(reach, 0, -1):
                weight = weights[step]
                for x in range(columns):
                    line[x] += weight * (wide[reach + x - step] + wide[reach + x + step])
            for x in range(columns):
                smoothed[z, y, x] = np.uint8(line[x])
