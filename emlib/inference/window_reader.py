"""Read the windows of a prediction from a lazy volume, as float32 in [0, 1], each voxel about once."""

from __future__ import annotations

from typing import Any

import numpy as np

from emlib.inference.windows import WindowPlan


class WindowReader:
    """Cuts windows out of a volume with reflected padding, in the order of a `WindowPlan`.

    Windows of one z position overlap, and so do consecutive z positions. What was read is kept: a whole layer of
    windows if `cache_bytes` allows (then each plane is read from the volume once), otherwise the windows of one
    y position, otherwise nothing.

    Args:
        volume: anything with `shape`, `dtype` and slicing; three axes (z, y, x).
        plan: where the windows lie.
        intensity_range: (low, high) that become 0 and 1, values outside are clipped. None takes uint8 as 0-255 and
            floats as 0-1.
        cache_bytes: how much may be kept.

    Raises:
        ValueError, TypeError: the volume's values are not intensities, or `intensity_range` is missing or wrong.
    """

    def __init__(
        self,
        volume: Any,
        plan: WindowPlan,
        *,
        intensity_range: tuple[float, float] | None = None,
        cache_bytes: int = 1 << 28,
    ) -> None:
        self.volume = volume
        self.plan = plan
        self.intensity_range = check_intensities(volume.dtype, intensity_range)
        self._indices = [
            reflected_indices(-before, length + after, length)
            for before, length, after in zip(plan.before, plan.shape, plan.after, strict=True)
        ]
        itemsize = np.dtype(volume.dtype).itemsize
        depth, height, _ = plan.window
        _, all_y, all_x = plan.padded_shape
        if depth * all_y * all_x * itemsize <= cache_bytes:
            self._kept_axes = 2
        else:
            self._kept_axes = int(depth * height * all_x * itemsize <= cache_bytes)
        self._box: tuple[tuple[int, int], ...] | None = None
        self._block = np.empty((0, 0, 0), volume.dtype)

    def read(self, position: tuple[int, int, int], out: np.ndarray) -> None:
        """Write the window at `position` (z, y, x, in the padded volume) into `out`, float32 of the window's shape.

        Raises:
            ValueError: a value is not finite, or a float lies outside [0, 1] without `intensity_range`.
        """
        box = tuple((start, start + size) for start, size in zip(position, self.plan.window, strict=True))
        kept = tuple(
            (0, self.plan.padded_shape[axis]) if axis > 2 - self._kept_axes else box[axis] for axis in range(3)
        )
        if kept != self._box:
            self._load(kept)
        cut = self._block[tuple(slice(a - k, b - k) for (a, b), (k, _) in zip(box, kept, strict=True))]
        if self.intensity_range is None:
            np.divide(cut, np.float32(255 if cut.dtype == np.uint8 else 1), out=out, dtype=np.float32, casting="unsafe")
        else:
            low, high = self.intensity_range
            np.copyto(out, np.clip((cut.astype(np.float64) - low) / (high - low), 0, 1), casting="unsafe")

    def _load(self, box: tuple[tuple[int, int], ...]) -> None:
        """Read a box of the padded volume; planes that the kept block has already are moved, not read."""
        shape = tuple(stop - start for start, stop in box)
        first = box[0][0]
        if self._box is not None and self._box[1:] == box[1:] and self._box[0][0] < box[0][0] < self._box[0][1]:
            kept = self._box[0][1] - box[0][0]
            self._block[:kept] = self._block[-kept:].copy()
            first = self._box[0][1]
        elif self._block.shape != shape:
            self._block = np.empty(shape, self.volume.dtype)
        self._block[first - box[0][0] :] = self._read_padded(((first, box[0][1]), *box[1:]))
        self._box = box

    def _read_padded(self, box: tuple[tuple[int, int], ...]) -> np.ndarray:
        indices = [index[start:stop] for index, (start, stop) in zip(self._indices, box, strict=True)]
        lows = [int(index.min()) for index in indices]
        block = np.asarray(
            self.volume[tuple(slice(low, int(index.max()) + 1) for low, index in zip(lows, indices, strict=True))]
        )
        self._check_values(block, lows)
        for axis, (index, low) in enumerate(zip(indices, lows, strict=True)):
            if len(index) != block.shape[axis] or index[0] > index[-1]:
                block = block.take(index - low, axis)
        return block

    def _check_values(self, block: np.ndarray, corner: list[int]) -> None:
        if block.dtype.kind != "f":
            return
        low, high = float(block.min()), float(block.max())
        if self.intensity_range is None and low >= 0 and high <= 1:
            return
        bad = ~np.isfinite(block)
        if bad.any():
            index = np.unravel_index(int(bad.argmax()), block.shape)
            place = tuple(int(i) + c for i, c in zip(index, corner, strict=True))
            raise ValueError(f"The volume's value at (z, y, x) = {place} is {block[index]}, not a finite number.")
        if self.intensity_range is None:
            raise ValueError(
                f"A floating-point volume must lie within 0-1, but values from {low:g} to {high:g} were found: "
                "give intensity_range=(low, high), the intensities that become 0 and 1."
            )


def reflected_indices(start: int, stop: int, length: int) -> np.ndarray:
    """Where the voxels start ... stop of an endlessly reflected axis lie; the edge voxels are not repeated.

    Example:
        >>> reflected_indices(-2, 6, 4)
        array([2, 1, 0, 1, 2, 3, 2, 1])
    """
    if length == 1:
        return np.zeros(stop - start, np.int64)
    folded = np.arange(start, stop) % (2 * (length - 1))
    return np.minimum(folded, 2 * (length - 1) - folded)


def check_intensities(dtype: Any, intensity_range: tuple[float, float] | None) -> tuple[float, float] | None:
    """The checked `intensity_range` for volumes of `dtype`.

    Raises:
        TypeError: the dtype is neither integer nor floating point.
        ValueError: the range is missing where it is needed, or not two increasing numbers.
    """
    dtype = np.dtype(dtype)
    if dtype.kind not in "uif":
        raise TypeError(f"The volume must hold image intensities (integers or floats), not {dtype}.")
    if intensity_range is None:
        if dtype.kind != "f" and dtype != np.uint8:
            raise ValueError(
                f"How bright is a {dtype} value? Give intensity_range=(low, high), the intensities that become 0 and 1."
            )
        return None
    low, high = (float(value) for value in intensity_range)
    if not (np.isfinite(low) and np.isfinite(high) and low < high):
        raise ValueError(f"intensity_range must be two finite numbers (low, high), low < high, not {intensity_range}.")
    return low, high
