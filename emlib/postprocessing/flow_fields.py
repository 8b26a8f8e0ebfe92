"""Flow fields and cell probabilities at the door."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any

import numpy as np

from emlib.compilation import compiled
from emlib.postprocessing.probabilities import grey_level

# No image is wider; longer steps end at its border all the same, and this keeps whole pixels within their type.
LONGEST_STEP = np.float32(2**20)
UNIT_LENGTH_LIMIT = 2.5


def checked_flow(flow: Any) -> np.ndarray:
    """The flow as a floating-point array (2, y, x) or (3, z, y, x) of finite numbers.

    Raises:
        TypeError: not floating point.
        ValueError: another shape, an empty axis, NaN or infinite values.
    """
    values = np.asarray(flow)
    values = values.astype(values.dtype.newbyteorder("="), copy=False)
    if values.dtype.kind != "f":
        raise TypeError(f"The flow must be floating point (pixels per step), got {values.dtype}.")
    if values.ndim not in (3, 4) or values.shape[0] != values.ndim - 1:
        raise ValueError(f"The flow must have the shape (2, y, x) or (3, z, y, x), got {values.shape}.")
    if values.size == 0:
        raise ValueError(f"The flow is empty: its shape is {values.shape}.")
    for axis, component in enumerate(values):
        # The sum of absolute values is finite exactly where all are, unless it overflows; then they are looked at.
        if not np.isfinite(component.min()) or not np.isfinite(component.max()):
            raise ValueError(f"The flow holds NaN or infinite values in its component {'zyx'[axis - len(values)]}.")
    return values


def checked_foreground(foreground: Any, shape: tuple[int, ...]) -> np.ndarray:
    """The foreground as a C-contiguous bool array of this shape.

    Raises:
        TypeError: not bool.
        ValueError: another shape.
    """
    values = np.asarray(foreground)
    if values.dtype != np.bool_:
        raise TypeError(f"The foreground must be bool, got {values.dtype}; compare with a threshold first.")
    if values.shape != tuple(shape):
        raise ValueError(f"The foreground has shape {values.shape}, but the flow is one of shape {tuple(shape)}.")
    return np.ascontiguousarray(values)


def thresholded(probability: Any, threshold: float, *, logits: bool = False) -> np.ndarray:
    """Where the cell probability exceeds a threshold, as a bool array of the same shape.

    Args:
        probability: bool, uint8 0-255 or float 0-1; with `logits`, the float numbers before the sigmoid.
        threshold: a probability between 0 and 1, exclusive.

    Raises:
        TypeError: another type.
        ValueError: no probabilities (NaN included), a threshold outside 0 ... 1, another number of axes, an empty one.

    Example:
        >>> thresholded(np.array([[0, 127, 128]], dtype=np.uint8), 0.5)
        array([[False, False,  True]])
        >>> thresholded(np.array([[-3.0, 0.0, 0.1]]), 0.5, logits=True)
        array([[False, False,  True]])
    """
    level = grey_level(threshold, "probability_threshold")
    values = np.asarray(probability)
    if values.ndim not in (2, 3) or values.size == 0:
        raise ValueError(f"The probability must have axes (y, x) or (z, y, x), none empty; got shape {values.shape}.")
    if logits:
        if values.dtype.kind != "f":
            raise TypeError(f"Logits must be floating point, got {values.dtype}.")
        if np.isnan(values.min()):
            raise ValueError("The logits hold NaN.")
        limit = math.log(threshold / (1 - threshold)) if 0 < threshold < 1 else (2 * threshold - 1) * math.inf
        return values > limit
    if values.dtype == np.bool_:
        return values & (threshold < 1)
    if values.dtype == np.uint8:
        return values > level
    if values.dtype.kind != "f":
        raise TypeError(f"The probability must be uint8 (0-255), float (0-1) or bool, got {values.dtype}.")
    low, high = values.min(), values.max()
    if not (low >= 0 and high <= 1):
        raise ValueError(
            f"The probability must lie between 0 and 1, but it ranges from {low} to {high}; pass uint8 for 0-255, or "
            "logits=True for a network's output before the sigmoid."
        )
    return values > threshold


def check_typical_length(flow_scale: float, flow: np.ndarray, foreground: np.ndarray) -> None:
    """Refuse a `flow_scale` that is far from the flow's typical length in the foreground.

    Raises:
        ValueError: the flow is typically much longer.
    """
    # A sample of at most some 100,000 pixels says enough about the typical length.
    inside = np.flatnonzero(foreground)
    sample = inside[:: max(1, len(inside) // 100_000)]
    vectors = np.stack([component.reshape(-1)[sample] for component in flow]).astype(np.float64)
    if len(sample):
        length = float(np.median(np.sqrt((vectors**2).sum(axis=0)))) / flow_scale
        if length > UNIT_LENGTH_LIMIT:
            raise ValueError(
                f"The flow inside cells is typically {length:.3g} times as long as flow_scale={flow_scale} says, where "
                "about 1 was expected; networks of MEDIAR and Cellpose predict 5 times unit vectors: flow_scale=5."
            )


def check_flow_scale(flow_scale: float) -> float:
    """`flow_scale` as a float, or one sentence that says why it cannot be a length."""
    if isinstance(flow_scale, bool) or not isinstance(flow_scale, Real):
        raise TypeError(f"flow_scale must be a number, got {type(flow_scale).__name__}.")
    if not 0 < flow_scale < math.inf:
        raise ValueError(f"flow_scale must be positive, got {flow_scale}.")
    return float(flow_scale)


def check_steps(steps: int) -> int:
    """`steps` as an int, or one sentence that says why it cannot be a number of steps."""
    if isinstance(steps, bool) or not isinstance(steps, int | np.integer):
        raise TypeError(f"steps must be a whole number, got {steps!r}.")
    if steps < 0:
        raise ValueError(f"steps must be at least 0, got {steps}.")
    return int(steps)


def masked_field(flow: np.ndarray, foreground: np.ndarray, flow_scale: float) -> np.ndarray:
    """The flow in pixels per step, zero in the background, with its components side by side in memory.

    Returns:
        float32 (y, x, 2) or (z, y, x, 3).
    """
    field = np.zeros((*foreground.shape, len(flow)), dtype=np.float32)
    flat = field.reshape(-1, len(flow))
    inside = foreground.reshape(-1)
    for axis, component in enumerate(flow):
        component = component if component.dtype in (np.float32, np.float64) else component.astype(np.float32)
        _copy_inside(np.ascontiguousarray(component).reshape(-1), inside, np.float32(flow_scale), axis, flat)
    return field


@compiled
def _copy_inside(component, inside, scale, axis, field):
    for k in range(inside.size):
        if inside[k]:
            step = np.float32(component[k]) / scale
            field[k, axis] = min(max(step, -LONGEST_STEP), LONGEST_STEP)
