"""Cells from predicted classes of pixels: background, interior and boundary."""

from __future__ import annotations

from typing import Any

import cc3d
import numpy as np

from emlib.compilation import compiled
from emlib.postprocessing.flow_fields import thresholded
from emlib.postprocessing.probabilities import grey_level, voxel_count
from emlib.postprocessing.small_objects import keep_large_and_renumber

INTERIOR = 1


def cells_from_classes(
    probabilities: Any, *, threshold: float = 0.5, fill_holes_below: int = 64, min_size: int = 16, grow: int = 0
) -> np.ndarray:
    """Every connected piece of the interior is one cell, as in the baselines of the cell segmentation challenge.

    1. The mask is where the probability of interior exceeds `threshold`.
    2. Pieces of its complement (4-connected) with fewer than `fill_holes_below` pixels are filled, also those at the
       image's border. Where that would leave no background at all, as in a tiny image, those at the border stay.
    3. Pieces of the mask (4-connected) with fewer than `min_size` pixels are dropped.
    4. What is left is numbered by its pieces, now 8-connected, in raster order.
    5. The cells grow by `grow` steps to all four sides, not into each other; a pixel that two reach at once goes to the
       one of the smaller number.

    The boundary that a network learns lies half inside the cells, see `emlib.targets.cell_classes`: published
    (`grow=0`), cells lack their outermost two pixels, which `grow=2` gives back.

    The image is segmented whole, not block by block.

    Args:
        probabilities: (3, y, x), background, interior and boundary, uint8 0-255 or float 0-1. Only the interior is
            read, so it may be a memory map of any size.
        threshold: between 0 and 1, exclusive.
        fill_holes_below: pixels; 0 and 1 fill none.
        min_size: pixels; a piece of exactly this size stays.
        grow: steps; 0 is as published.

    Returns:
        uint32 labels (y, x), 0 = background.

    Raises:
        TypeError: another type of probabilities, or settings that are no numbers.
        ValueError: another shape, no pixels, values that are not probabilities (NaN included), or a setting out of
            range.

    Memory: about 12 bytes per pixel above the input.

    Source: the three-class baseline of Ma et al., "The multimodality cell segmentation challenge", Nature Methods 2024.

    Example:
        >>> interior = np.zeros((7, 12))
        >>> interior[1:6, 1:5] = interior[2:6, 8:12] = 0.9
        >>> interior[3, 3] = 0.2
        >>> found = cells_from_classes(np.stack([1 - interior, interior, 0 * interior]))
        >>> found[3]
        array([0, 1, 1, 1, 1, 0, 0, 0, 2, 2, 2, 2], dtype=uint32)
        >>> cells_from_classes(np.stack([1 - interior, interior, 0 * interior]), min_size=17, grow=1)[0]
        array([0, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0], dtype=uint32)
    """
    grey_level(threshold, "threshold")
    sizes = {"fill_holes_below": fill_holes_below, "min_size": min_size, "grow": grow}
    fill_holes_below, min_size, grow = (voxel_count(value, name) for name, value in sizes.items())
    if not hasattr(probabilities, "shape"):
        probabilities = np.asarray(probabilities)
    if len(probabilities.shape) != 3 or probabilities.shape[0] != 3:
        raise ValueError(
            f"The probabilities have shape {tuple(probabilities.shape)}, but (3, y, x), background, interior and "
            "boundary, was expected."
        )
    mask = np.ascontiguousarray(thresholded(probabilities[INTERIOR], threshold))
    if fill_holes_below > 1:
        background = _large_pieces(~mask, fill_holes_below)
        mask = ~(background if background.any() else _pieces_at_the_border(~mask))
    if min_size > 1:
        mask = _large_pieces(mask, min_size)
    labels, count = _pieces(mask, connectivity=8)
    del mask
    _number_in_raster_order(labels.reshape(-1), count)
    _grow(labels, grow)
    return labels


def _pieces(mask: np.ndarray, *, connectivity: int) -> tuple[np.ndarray, int]:
    """Connected pieces, uint32 numbers in some order, and how many there are."""
    # Without its option binary_image, which labels background in images of a single row.
    return cc3d.connected_components(mask.view(np.uint8), connectivity=connectivity, out_dtype=np.uint32, return_N=True)


def _large_pieces(mask: np.ndarray, smallest: int) -> np.ndarray:
    """The mask without its 4-connected pieces of fewer pixels."""
    pieces, count = _pieces(mask, connectivity=4)
    keep_large_and_renumber(pieces, count, smallest)
    return pieces != 0


def _pieces_at_the_border(mask: np.ndarray) -> np.ndarray:
    """The mask without its 4-connected pieces that do not touch the image's border."""
    pieces, count = _pieces(mask, connectivity=4)
    kept = np.zeros(count + 1, bool)
    for side in (pieces[0], pieces[-1], pieces[:, 0], pieces[:, -1]):
        kept[side] = True
    kept[0] = False
    return kept[pieces]


@compiled
def _number_in_raster_order(labels, count):
    numbers = np.zeros(count + 1, dtype=labels.dtype)
    found = 0
    for place in range(labels.size):
        label = labels[place]
        if label != 0:
            if numbers[label] == 0:
                found += 1
                numbers[label] = found
            labels[place] = numbers[label]


def _grow(labels: np.ndarray, steps: int) -> None:
    """Step 5, in place."""
    rim = _rim(labels) if steps else np.empty(0, np.int64)
    for _ in range(steps):
        rim = _grown_by_one(labels, rim)


@compiled
def _rim(labels):
    """Flat positions of the cell pixels that have background beside them."""
    rows, columns = labels.shape
    count = 0
    places = np.empty(0, dtype=np.int64)
    # Counted first, then written down.
    for writing in range(2):
        if writing:
            places = np.empty(count, dtype=np.int64)
        count = 0
        for y in range(rows):
            for x in range(columns):
                if labels[y, x] == 0:
                    continue
                if (
                    (y > 0 and labels[y - 1, x] == 0)
                    or (x > 0 and labels[y, x - 1] == 0)
                    or (y + 1 < rows and labels[y + 1, x] == 0)
                    or (x + 1 < columns and labels[y, x + 1] == 0)
                ):
                    if writing:
                        places[count] = y * columns + x
                    count += 1
    return places


@compiled
def _grown_by_one(labels, rim):
    """Give the rim's background neighbours to its cells; returns these, the new rim."""
    rows, columns = labels.shape
    flat = labels.reshape(-1)
    places = np.empty(4 * rim.size, dtype=np.int64)
    owners = np.empty(4 * rim.size, dtype=labels.dtype)
    claims = 0
    for position in rim:
        y, x = divmod(position, columns)
        for direction in range(4):
            j = y + (direction == 0) - (direction == 1)
            i = x + (direction == 2) - (direction == 3)
            if 0 <= j < rows and 0 <= i < columns and labels[j, i] == 0:
                places[claims], owners[claims] = j * columns + i, flat[position]
                claims += 1
    grown = 0
    for claim in range(claims):
        place, owner = places[claim], owners[claim]
        # All claims are to what was background before the step.
        if flat[place] == 0:
            flat[place] = owner
            places[grown] = place
            grown += 1
        elif owner < flat[place]:
            flat[place] = owner
    return places[:grown].copy()
