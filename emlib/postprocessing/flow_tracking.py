"""Where each pixel ends that walks along a flow field."""

from __future__ import annotations

from typing import Any

import numpy as np

from emlib.compilation import compiled
from emlib.postprocessing.flow_fields import check_steps, checked_flow, checked_foreground, masked_field

BATCH = 256
# Pixels that have arrived stand still or go round in a small circle; most circles have 2 steps, and all of 1, 2, 3, 4,
# 6 or 12 steps are noticed.
LAP = 12


def follow_flows(flow: Any, foreground: Any, *, steps: int = 200) -> Any:
    """Let every foreground pixel walk along the flow and say where it arrives.

    A step is one Euler step: the pixel moves by the flow at its place, interpolated (bi- or trilinearly) between the
    pixel centres, which are the whole numbers. Background has no flow. Who steps out of the image is put back on its
    border. All foreground pixels walk, however weak their flow; published code leaves out those with a small first
    component, and samples up to half a pixel beside the place.

    Places are kept as a whole pixel and a float32 fraction, so the walk does not depend on where in a large image a
    crop begins: what is computed block by block equals the whole, bit for bit.

    Args:
        flow: (2, y, x) or (3, z, y, x), float, in pixels per step; unit vectors as `gradient_flow` makes them. A
            numpy array or a torch tensor; a tensor is worked on where it lies.
        foreground: (y, x) or (z, y, x), bool.
        steps: how many; a cell needs about as many as its longest way to its centre has pixels.

    Returns:
        float32 (2, n) or (3, n): final places of the n foreground pixels, these in raster order as `np.nonzero`
        lists them; an array or a tensor as `flow` is.

    Raises:
        TypeError: a flow that is not floating point, a foreground that is not bool, steps that are not a whole number.
        ValueError: shapes that do not fit, NaN or infinite flow, negative steps.

    Source: Stringer et al., Nature Methods 2021 (Cellpose), "gradient tracking".

    Example:
        >>> flow = np.zeros((2, 1, 5), dtype=np.float32)
        >>> flow[1] = [1, 1, 0, -1, -1]
        >>> follow_flows(flow, np.ones((1, 5), dtype=bool), steps=4)[1]
        array([2., 2., 2., 2., 2.], dtype=float32)
    """
    steps = check_steps(steps)
    if type(flow).__module__.partition(".")[0] == "torch":
        from emlib.postprocessing.flow_tracking_torch import tracked_tensor

        whole, fraction = tracked_tensor(flow, foreground, steps)
        return (whole + fraction).to(fraction.dtype)
    flow = checked_flow(flow)
    foreground = checked_foreground(foreground, flow.shape[1:])
    whole, fraction = tracked(masked_field(flow, foreground, 1.0), foreground, steps)
    # Their sum is exact to float32 only near the origin; callers that need bins take them from the two parts.
    return (whole + fraction).astype(np.float32)


def tracked(field: np.ndarray, foreground: np.ndarray, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Final places as whole pixels, int32 (d, n), and fractions, float32 (d, n).

    Args:
        field: float32 (y, x, 2) or (z, y, x, 3), zero in the background, see `masked_field`.
        foreground: bool (y, x) or (z, y, x).
    """
    whole = np.empty((foreground.ndim, int(np.count_nonzero(foreground))), dtype=np.int32)
    _list_inside(foreground.reshape((-1, *foreground.shape[-2:])), whole)
    fraction = np.zeros(whole.shape, dtype=np.float32)
    _walk(field.reshape(-1), np.array(foreground.shape, dtype=np.int32), steps, whole, fraction)
    return whole, fraction


def nearest_pixels(whole: np.ndarray, fraction: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The pixel nearest to each place, as int64 (n,) indices into the flattened image; halves go up."""
    ends = np.empty(whole.shape[1], dtype=np.int64)
    _nearest(whole, fraction, np.array(shape, dtype=np.int64), ends)
    return ends


@compiled
def _nearest(whole, fraction, shape, ends):
    for k in range(ends.size):
        index = 0
        for axis in range(shape.size):
            up = np.int64(whole[axis, k]) + (1 if fraction[axis, k] >= np.float32(0.5) else 0)
            index = index * shape[axis] + min(up, shape[axis] - 1)
        ends[k] = index


@compiled
def _list_inside(foreground, whole):
    found = 0
    for z in range(foreground.shape[0]):
        for y in range(foreground.shape[1]):
            for x in range(foreground.shape[2]):
                if foreground[z, y, x]:
                    if whole.shape[0] == 3:
                        whole[0, found] = z
                    whole[-2, found], whole[-1, found] = y, x
                    found += 1


@compiled
def _between(before, behind, fraction):
    return before + fraction * (behind - before)


@compiled
def _moved(pixel, fraction, step, last):
    """The place after a step, as whole pixel and fraction, kept inside 0 ... last."""
    fraction = fraction + step
    carry = np.floor(fraction)
    pixel = pixel + np.int32(carry)
    fraction = fraction - carry
    fraction = np.float32(0) if (pixel < 0) | (pixel >= last) else fraction
    return min(max(pixel, np.int32(0)), last), fraction


@compiled
def _walk(field, shape, steps, whole, fraction):
    # Some pixels take all their steps before others start: they lie side by side, so their flow stays in the cache, and
    # their computations, which do not wait for each other, overlap.
    numbers, laps = np.empty(BATCH, dtype=np.int64), np.empty(BATCH, dtype=np.int64)
    pixels, parts = np.empty((shape.size, BATCH), dtype=np.int32), np.empty((shape.size, BATCH), dtype=np.float32)
    pixels_before, parts_before = np.empty_like(pixels), np.empty_like(parts)
    started = walking = 0
    while started < whole.shape[1] or walking > 0:
        first = walking
        while walking < BATCH and started < whole.shape[1]:
            numbers[walking], laps[walking] = started, steps // LAP
            for axis in range(shape.size):
                pixels[axis, walking], parts[axis, walking] = whole[axis, started], fraction[axis, started]
            walking, started = walking + 1, started + 1
        for _ in range(steps % LAP):
            _step(field, shape, first, walking, pixels, parts)
        pixels_before[:], parts_before[:] = pixels, parts
        if steps >= LAP:
            for _ in range(LAP):
                _step(field, shape, 0, walking, pixels, parts)
        left = 0
        for k in range(walking):
            # Each place follows from the one before: who is exactly where he was a lap ago will be there after every
            # further lap, and so after the last.
            back = True
            for axis in range(shape.size):
                back &= pixels[axis, k] == pixels_before[axis, k]
                back &= parts[axis, k] == parts_before[axis, k]
            laps[k] -= 1
            done = back or laps[k] <= 0
            for axis in range(shape.size):
                if done:
                    whole[axis, numbers[k]], fraction[axis, numbers[k]] = pixels[axis, k], parts[axis, k]
                else:
                    pixels[axis, left], parts[axis, left] = pixels[axis, k], parts[axis, k]
            if not done:
                numbers[left], laps[left] = numbers[k], laps[k]
                left += 1
        walking = left


@compiled
def _step(field, shape, first, last, pixels, parts):
    if shape.size == 2:
        _step_in_section(field, shape[0], shape[1], first, last, pixels[0], pixels[1], parts[0], parts[1])
    else:
        _step_in_volume(field, shape, first, last, pixels, parts)


@compiled
def _step_in_section(field, rows, columns, first, last, ys, xs, fys, fxs):
    one = np.uint64(1)
    for k in range(first, last):
        y, x, fy, fx = ys[k], xs[k], fys[k], fxs[k]
        # Unsigned: numba looks whether other indices are negative, at every access.
        here = np.uint64((np.int64(y) * columns + x) * 2)
        right = here + np.uint64(2 if x < columns - 1 else 0)
        down = np.uint64(columns * 2 if y < rows - 1 else 0)
        below, across = here + down, right + down
        step_y = _between(_between(field[here], field[right], fx), _between(field[below], field[across], fx), fy)
        here, right, below, across = here + one, right + one, below + one, across + one
        step_x = _between(_between(field[here], field[right], fx), _between(field[below], field[across], fx), fy)
        ys[k], fys[k] = _moved(y, fy, step_y, np.int32(rows - 1))
        xs[k], fxs[k] = _moved(x, fx, step_x, np.int32(columns - 1))


@compiled
def _step_in_volume(field, shape, first, last, whole, fraction):
    planes, rows, columns = shape[0], shape[1], shape[2]
    for k in range(first, last):
        z, y, x = whole[0, k], whole[1, k], whole[2, k]
        fz, fy, fx = fraction[0, k], fraction[1, k], fraction[2, k]
        here = ((np.int64(z) * rows + y) * columns + x) * 3
        right = 3 if x < columns - 1 else 0
        down = columns * 3 if y < rows - 1 else 0
        behind = np.int64(rows) * columns * 3 if z < planes - 1 else 0
        step_z = _between_eight(field, here, right, down, behind, fz, fy, fx)
        step_y = _between_eight(field, here + 1, right, down, behind, fz, fy, fx)
        step_x = _between_eight(field, here + 2, right, down, behind, fz, fy, fx)
        whole[0, k], fraction[0, k] = _moved(z, fz, step_z, np.int32(planes - 1))
        whole[1, k], fraction[1, k] = _moved(y, fy, step_y, np.int32(rows - 1))
        whole[2, k], fraction[2, k] = _moved(x, fx, step_x, np.int32(columns - 1))


@compiled
def _between_eight(field, here, right, down, behind, fz, fy, fx):
    below, there = here + down, here + behind
    under = there + down
    front = _between(
        _between(field[here], field[here + right], fx), _between(field[below], field[below + right], fx), fy
    )
    back = _between(
        _between(field[there], field[there + right], fx), _between(field[under], field[under + right], fx), fy
    )
    return _between(front, back, fz)
