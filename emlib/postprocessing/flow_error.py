"""Does the flow that a found cell would have fit the flow that was predicted?"""

from __future__ import annotations

from typing import Any

import numpy as np

from emlib.compilation import compiled
from emlib.diffusion import diffusion_flow
from emlib.postprocessing.flow_fields import check_flow_scale, checked_flow
from emlib.postprocessing.small_objects import check_labels


def flow_errors(labels: Any, flow: Any, *, rule: str = "cellpose3", flow_scale: float = 1.0) -> np.ndarray:
    """Mean squared difference, per object, between the flow of its shape and the predicted flow.

    For each object the mean over its pixels of the squared length of (flow of the label - flow / flow_scale), between
    0 (fits) and about 4 (opposite everywhere). An object in several pieces is judged with one centre per piece.

    Args:
        labels: (y, x) or (z, y, x), whole numbers, 0 = background; ids are best small (`relabel_sequential`), since
            the result has one entry for each number up to the largest.
        flow: (2, y, x) or (3, z, y, x), float.
        rule: how the flow of a shape is defined, see `emlib.targets.gradient_flow`.
        flow_scale: how long the flow of one pixel per step is in `flow`; 5 for networks of MEDIAR and Cellpose.

    Returns:
        float64 (largest id + 1,); 0 for the background, NaN for ids that are not there.

    Raises:
        TypeError, ValueError: labels or flow that are none, shapes that differ, an unknown rule.

    Source: Cellpose (Stringer et al., Nature Methods 2021), the quality check of its masks.

    Example:
        >>> from emlib.diffusion import diffusion_flow
        >>> labels = np.array([[1, 1, 1, 0, 2, 2, 2]])
        >>> flow = diffusion_flow(labels)
        >>> flow[:, :, 4:] *= -1
        >>> flow_errors(labels, flow).round(2)
        array([0.  , 0.  , 2.67])
    """
    labels = check_labels(labels)
    labels = labels.astype(labels.dtype.newbyteorder("="), copy=False)
    flow = checked_flow(flow)
    if flow.shape[1:] != labels.shape:
        raise ValueError(f"The labels have shape {labels.shape}, but the flow is one of shape {flow.shape[1:]}.")
    flow_scale = check_flow_scale(flow_scale)
    return errors_of_labels(np.ascontiguousarray(labels), int(labels.max()), flow, rule, flow_scale)


def errors_of_labels(labels: np.ndarray, largest: int, flow: np.ndarray, rule: str, flow_scale: float) -> np.ndarray:
    """The same for C-contiguous labels 0 ... `largest` and a checked flow."""
    expected = diffusion_flow(labels, rule)
    sums, sizes = np.zeros(largest + 1), np.zeros(largest + 1, dtype=np.int64)
    _count(labels.reshape(-1), sizes)
    for axis, component in enumerate(flow):
        component = component if component.dtype in (np.float32, np.float64) else component.astype(np.float32)
        component = np.ascontiguousarray(component).reshape(-1)
        _add_squares(labels.reshape(-1), expected[axis].reshape(-1), component, float(flow_scale), sums)
    with np.errstate(invalid="ignore"):
        errors = sums / sizes
    errors[0] = 0.0
    return errors


@compiled
def _count(labels, sizes):
    for k in range(labels.size):
        sizes[labels[k]] += 1


@compiled
def _add_squares(labels, expected, predicted, scale, sums):
    for k in range(labels.size):
        if labels[k] != 0:
            sums[labels[k]] += (expected[k] - predicted[k] / scale) ** 2
