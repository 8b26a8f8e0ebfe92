"""Cells of a large image: predicted some rows at a time, and segmented block by block as soon as the rows are there."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from emlib.inference.image_rows import ImageRows
from emlib.postprocessing.flow_blocks import BLOCK, BlockwiseMasks, masks_from_flows_blocks

LEAST_ROWS = 256
# What `masks_from_flows_blocks` takes for each pixel of a block with its halo.
BYTES_PER_PIXEL = 70


def segment_rows(
    rows: ImageRows, out: Path, *, block: Sequence[int], halo: int, voxel_size: Any, **parameters: Any
) -> BlockwiseMasks:
    """`masks_from_flows_blocks` on a prediction of which only the rows of one row of blocks are ever there.

    Args:
        rows: of flows.
        out: a .zarr.
        block: pixels, (y, x).
        halo: pixels that a block sees beyond its border.
        voxel_size: nm along y and x to store, or None.
        parameters: of `masks_from_flows`.

    Raises:
        TypeError, ValueError, OSError: as `masks_from_flows_blocks`.

    Warns:
        UserWarning: cells are wider than the halo allows.
    """
    made = PredictedRows(rows)
    try:
        found = masks_from_flows_blocks(
            made.channels(slice(0, 2)), made.channels(2), out,
            block=block, overlap=halo, voxel_size=voxel_size, show=False, **parameters,
        )  # fmt: skip
    finally:
        made.close()
    if found.cut:
        warnings.warn(
            f"{found.cut} of {found.objects} cells reach beyond the halo of {halo} pixels around their block, and may "
            "be cut off; pass a larger halo.",
            stacklevel=2,
        )
    return found


def choose_block(width: int, window: int, halo: int, memory: int) -> tuple[int, int]:
    """Sides (y, x) of blocks with which the prediction's rows and one block take at most `memory` bytes, if possible.

    Args:
        width: of the image, in pixels.
        window: height of the network's windows.
        halo: see `segment_rows`.
        memory: in bytes.

    Example:
        >>> choose_block(20_000, 512, 256, 2 << 30), choose_block(100_000, 512, 256, 2 << 30)
        ((2048, 2048), (256, 2048))
    """
    tallest, wide = BLOCK[2]
    left = memory - BYTES_PER_PIXEL * (tallest + 2 * halo) * (wide + 2 * halo)
    # Three floats a pixel, of the rows that a block sees, and of the windows that are under way.
    rows = left // (3 * 4 * width) - 2 * halo - 2 * window
    return min(tallest, max(LEAST_ROWS, rows)), wide


class PredictedRows:
    """A prediction that is made when its rows are asked for, from top to bottom, and forgotten above them."""

    def __init__(self, rows: ImageRows) -> None:
        self.shape = rows.shape
        self._making = iter(rows)
        self._kept: list[tuple[slice, np.ndarray]] = []

    def channels(self, chosen: int | slice) -> _Channels:
        """Some of its channels, to be sliced like an array."""
        return _Channels(self, chosen)

    def read(self, channels: int | slice, rows: slice, columns: slice) -> np.ndarray:
        """A box of the prediction.

        Raises:
            ValueError: rows above those that were asked for before.
        """
        if self._kept and rows.start < self._kept[0][0].start:
            raise ValueError(f"Rows from {rows.start} on are forgotten; the first is {self._kept[0][0].start}.")
        while self._kept and self._kept[0][0].stop <= rows.start:
            del self._kept[0]
        while not self._kept or self._kept[-1][0].stop < rows.stop:
            part, values = next(self._making)
            if part.stop > rows.start:
                self._kept.append((part, values))
        boxes = [
            values[channels, max(rows.start - part.start, 0) : rows.stop - part.start, columns]
            for part, values in self._kept
            if part.start < rows.stop
        ]
        return np.concatenate(boxes, axis=-2)

    def close(self) -> None:
        """Stop predicting."""
        self._kept.clear()
        self._making.close()


class _Channels:
    def __init__(self, prediction: PredictedRows, chosen: int | slice) -> None:
        self._prediction, self._chosen = prediction, chosen
        count = None if isinstance(chosen, int) else len(range(*chosen.indices(prediction.shape[0])))
        self.shape = (*(() if count is None else (count,)), *prediction.shape[1:])

    def __getitem__(self, box: tuple[slice, ...]) -> np.ndarray:
        return self._prediction.read(self._chosen, *box[-2:])
