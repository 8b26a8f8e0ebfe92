"""Volumes seen with coarser or finer voxels, computed box by box when they are read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from emlib.formats.boxes import blocks
from emlib.formats.coarsening import (
    check_factors,
    coarse_shape,
    downsample_image,
    downsample_labels,
)
from emlib.formats.metadata import Metadata, check_axes
from emlib.formats.source import Box, Source, box_shape

FINE_BYTES = 2**27  # fine voxels that are held at a time, whatever is asked for


class CoarseSource(Source):
    """An array or volume through `downsample_image` or `downsample_labels`: any box equals that of the whole result.

    Args:
        array: anything with shape, dtype and box indexing.
        factors: whole number of voxels that become one, an axis each.
        rule: None averages (images); otherwise the rule of `downsample_labels`.
        incomplete: "keep" or "drop" blocks that the end of an axis cuts short.

    Raises:
        ValueError: unusable factors, or nothing left.
    """

    def __init__(self, array: Any, factors: Sequence[int], *, rule: str | None, incomplete: str = "keep"):
        self.array, self.factors = array, check_factors(factors, len(array.shape))
        self.rule, self.incomplete = rule, incomplete
        self.shape = coarse_shape(array.shape, self.factors, incomplete)
        if 0 in self.shape:
            raise ValueError(f"A volume of shape {tuple(array.shape)} cannot be downsampled by {self.factors}.")
        self.dtype = np.dtype(array.dtype)
        chunks = getattr(array, "chunks", None) or self.shape
        self.chunks = tuple(-(-step // factor) for step, factor in zip(chunks, self.factors, strict=True))
        # Unknown rules are refused here, not at the first read.
        self._reduce(np.zeros([1] * len(self.shape), self.dtype))
        self.metadata = Metadata(check_axes(None, len(self.shape)))

    def describe(self) -> str:
        return f"{getattr(self.array, 'path', None) or 'The array in memory'} downsampled by {self.factors}"

    def read(self, box: Box) -> np.ndarray:
        return _read_in_pieces(box, self.chunks, self.array.dtype.itemsize, self.factors, self._read)

    def _read(self, box: Box) -> np.ndarray:
        fine = tuple(
            slice(part.start * factor, min(part.stop * factor, length))
            for part, factor, length in zip(box, self.factors, self.array.shape, strict=True)
        )
        return self._reduce(np.asarray(self.array[fine]))

    def _reduce(self, fine: np.ndarray) -> np.ndarray:
        # Boxes end where blocks end, so that only the last blocks of the volume are incomplete.
        if self.rule is None:
            return downsample_image(fine, self.factors)
        return downsample_labels(fine, self.factors, rule=self.rule)


class FineSource(Source):
    """An array or volume through `upsample_labels`.

    Args:
        array: anything with shape, dtype and box indexing.
        factors: whole number of voxels that one becomes, an axis each.
        shape: of the result, where the last blocks were incomplete; None takes whole blocks.

    Raises:
        ValueError: unusable factors, or a shape that the array does not cover.
    """

    def __init__(self, array: Any, factors: Sequence[int], *, shape: Sequence[int] | None = None):
        self.array, self.factors = array, check_factors(factors, len(array.shape))
        whole = tuple(length * factor for length, factor in zip(array.shape, self.factors, strict=True))
        self.shape = whole if shape is None else tuple(int(length) for length in shape)
        if coarse_shape(self.shape, self.factors) != tuple(array.shape):
            raise ValueError(
                f"A volume of shape {tuple(array.shape)} becomes at most {whole} by {self.factors} and no whole voxel "
                f"less, but the shape {self.shape} was asked for."
            )
        self.dtype = np.dtype(array.dtype)
        chunks = getattr(array, "chunks", None) or array.shape
        self.chunks = tuple(step * factor for step, factor in zip(chunks, self.factors, strict=True))
        self.metadata = Metadata(check_axes(None, len(self.shape)))

    def describe(self) -> str:
        return f"{getattr(self.array, 'path', None) or 'The array in memory'} upsampled by {self.factors}"

    def read(self, box: Box) -> np.ndarray:
        coarse = tuple(
            slice(part.start // factor, (part.stop - 1) // factor + 1)
            for part, factor in zip(box, self.factors, strict=True)
        )
        values = np.asarray(self.array[coarse])
        for axis, (part, factor) in enumerate(zip(box, self.factors, strict=True)):
            places = np.arange(part.start, part.stop, part.step or 1) // factor - part.start // factor
            values = np.take(values, places, axis=axis)
        return np.ascontiguousarray(values)


def _read_in_pieces(
    box: Box,
    unit: Sequence[int],
    itemsize: int,
    factors: Sequence[int],
    read: Callable[[Box], np.ndarray],
) -> np.ndarray:
    """Read a box piece by piece, each of at most about `FINE_BYTES` fine voxels; steps are applied to each piece."""
    result: np.ndarray | None = None
    whole = tuple(part.stop - part.start for part in box)
    steps = [part.step or 1 for part in box]
    fine_bytes = itemsize * int(np.prod(factors))
    unit = [min(step, length) for step, length in zip(unit, whole, strict=True)]
    while np.prod(unit) * fine_bytes > FINE_BYTES and max(unit) > 1:
        unit[unit.index(max(unit))] = -(-max(unit) // 2)
    for piece in blocks(whole, tuple(unit), fine_bytes, FINE_BYTES):
        kept = [range(-(-part.start // step) * step, part.stop, step) for part, step in zip(piece, steps, strict=True)]
        if not all(kept):
            continue
        values = read(tuple(slice(a.start + p.start, a.start + p.stop) for a, p in zip(box, piece, strict=True)))
        if result is None:
            result = np.empty(box_shape(box), values.dtype)
        inside = tuple(
            slice(one.start - part.start, None, step) for one, part, step in zip(kept, piece, steps, strict=True)
        )
        put = tuple(
            slice(one.start // step, one.start // step + len(one)) for one, step in zip(kept, steps, strict=True)
        )
        result[put] = values[inside]
    return result
