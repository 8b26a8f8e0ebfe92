"""Where each pixel ends that walks along a flow field."""

from __future__ import annotations

from typing import Any

import numpy as np

from emlib.compilation import compiled
from emlib.postprocessing.flow_fields import check_steps, checked_flow, checked_foreground, masked_field

BATCH = 256


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
    shape = np.array(foreground.shape, dtype=np.int32)
    walk = _walk_in_section if foreground.ndim == 2 else _walk_in_volume
    walk(field.reshape(-1), shape, steps, whole, fraction)
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
def _walk_in_section(field, shape, steps, whole, fraction):
    # All steps of a few pixels before the next few: they lie side by side, so their flow stays in the cache, and
    # their computations, which do not wait for each other, overlap.
    for start in range(0, whole.shape[1], BATCH):
        stop = min(start + BATCH, whole.shape[1])
        for _ in range(steps):
            _step_in_section(
                field, shape[0], shape[1],
                whole[0, start:stop], whole[1, start:stop], fraction[0, start:stop], fraction[1, start:stop],
            )  # fmt: skip


@compiled
def _step_in_section(field, rows, columns, ys, xs, fys, fxs):
    for k in range(ys.size):
        y, x, fy, fx = ys[k], xs[k], fys[k], fxs[k]
        here = (np.int64(y) * columns + x) * 2
        right = 2 if x < columns - 1 else 0
        below = here + (columns * 2 if y < rows - 1 else 0)
        step_y = _between(
            _between(field[here], field[here + right], fx), _between(field[below], field[below + right], fx), fy
        )
        step_x = _between(
            _between(field[here + 1], field[here + right + 1], fx),
            _between(field[below + 1], field[below + right + 1], fx),
            fy,
        )
        ys[k], fys[k] = _moved(y, fy, step_y, np.int32(rows - 1))
        xs[k], fxs[k] = _moved(x, fx, step_x, np.int32(columns - 1))


@compiled
def _walk_in_volume(field, shape, steps, whole, fraction):
    for start in range(0, whole.shape[1], BATCH):
        stop = min(start + BATCH, whole.shape[1])
        for _ in range(steps):
            _step_in_volume(field, shape[0], shape[1], shape[2], whole[:, start:stop], fraction[:, start:stop])


@compiled
def _step_in_volume(field, planes, rows, columns, whole, fraction):
    for k in range(whole.shape[1]):
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
