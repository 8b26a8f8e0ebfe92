"""Many features in few: the directions along which they vary most."""

from __future__ import annotations

from typing import Any

import numpy as np


def principal_components(features: Any, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates in the first principal components, and which share of the variance each has.

    The sign of a component is such that its largest entry is positive, so that a picture looks the same on any machine.

    Args:
        features: (items, features), numbers.
        count: how many components.

    Returns:
        float64 (items, count) and (count,); 0 where there is no further component.

    Raises:
        TypeError, ValueError: not finite numbers (items, features), or none.

    Example:
        >>> places, shares = principal_components([[3.0, 0], [1, 0], [5, 0]], 2)
        >>> places.round(6).tolist(), shares.tolist()
        ([[0.0, 0.0], [-2.0, 0.0], [2.0, 0.0]], [1.0, 0.0])
    """
    values = np.asarray(features)
    if values.dtype.kind not in "iuf":
        raise TypeError(f"The features are {values.dtype}, but numbers were expected.")
    if values.ndim != 2 or values.size == 0:
        raise ValueError(f"The features have shape {values.shape}, but (items, features) was expected.")
    values = values.astype(np.float64)
    if not np.isfinite(values).all():
        raise ValueError("The features hold NaN or infinite values.")
    centred = values - values.mean(axis=0)
    _, lengths, components = np.linalg.svd(centred, full_matrices=False)
    places, shares = np.zeros((len(values), count)), np.zeros(count)
    total = float((lengths**2).sum())
    for axis in range(min(count, len(lengths)) if total > 0 else 0):
        # What is left of the rounding of a direction without variance is none.
        if lengths[axis] <= 1e-9 * lengths[0]:
            continue
        component = components[axis]
        component = component * np.sign(component[np.abs(component).argmax()])
        places[:, axis], shares[axis] = centred @ component, lengths[axis] ** 2 / total
    return places, shares
