"""F1 of cells by the rule of the NeurIPS 2022 cell segmentation challenge, and without its tiles."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np

from emlib.evaluation.label_blocks import check_pair
from emlib.evaluation.match_rates import MatchRates
from emlib.evaluation.matching import check_threshold, match_instances
from emlib.evaluation.overlap_table import OverlapTable, overlap_table

# Images from this size on are scored tile by tile, each tile as an image of its own.
TILED_FROM_PIXELS = 25_000_000
TILE = 2000
CURVE = (0.5, 0.6, 0.7, 0.8, 0.9)


def cell_f1(
    segmentation: Any,
    truth: Any,
    *,
    threshold: float = 0.5,
    remove_border: int = 2,
    tile: int | None = TILE,
) -> CellScore:
    """Precision, recall and F1 of cells in one image, by the rule of the NeurIPS 2022 challenge (Ma et al. 2024).

    Cells of the truth that reach into the frame of `remove_border` pixels are left out, and so are segments that do,
    each on its own. The others are matched one to one (Hungarian method: the most pairs of IoU of at least the
    threshold). Images of 25 million pixels or more are cut into tiles; each counts as an image of its own, so that
    cells at its borders are left out too, and the counts add up.

    The published program counts nothing at all where nothing was predicted; here every missed cell counts as a false
    negative.

    Args:
        segmentation: labels (y, x), any integer type, 0 = background; an array or a lazy volume.
        truth: labels of the same shape.
        threshold: IoU in (0, 1].
        remove_border: width of the frame in pixels; 0 counts every cell.
        tile: side of the tiles in pixels, for large images; None scores any image as a whole.

    Returns:
        CellScore.

    Raises:
        TypeError: labels that are not integers, or an argument that is no number.
        ValueError: shapes that differ or are not (y, x), negative ids, or an argument out of range.

    Example:
        >>> truth = np.zeros((20, 20), dtype=int)
        >>> truth[4:8, 4:8], truth[12:16, 4:12], truth[0:4, 12:16] = 1, 2, 3
        >>> segmentation = np.where(truth == 2, 9, 0)
        >>> score = cell_f1(segmentation, truth)
        >>> score.tp, score.fp, score.fn, round(score.f1, 3)
        (1, 0, 1, 0.667)
    """
    return cell_f1_curve(segmentation, truth, thresholds=(threshold,), remove_border=remove_border, tile=tile)[0]


def cell_f1_curve(
    segmentation: Any,
    truth: Any,
    *,
    thresholds: Sequence[float] = CURVE,
    remove_border: int = 2,
    tile: int | None = TILE,
) -> tuple[CellScore, ...]:
    """`cell_f1` at several thresholds; the pixels are counted once.

    Args:
        segmentation, truth, remove_border, tile: as in `cell_f1`.
        thresholds: IoUs in (0, 1]; by default the challenge's 0.5 to 0.9.

    Returns:
        One CellScore for each threshold, in their order.

    Raises:
        TypeError, ValueError: as `cell_f1`; no threshold at all.

    Example:
        >>> truth = np.zeros((20, 20), dtype=int)
        >>> truth[4:14, 4:8] = 1
        >>> curve = cell_f1_curve(np.roll(truth, 2, axis=0), truth)
        >>> [score.f1 for score in curve]
        [1.0, 1.0, 0.0, 0.0, 0.0]
    """
    if len(thresholds) == 0:
        raise ValueError("thresholds is empty, but at least one IoU was expected.")
    for threshold in thresholds:
        check_threshold(threshold)
    for name, value, least in (("remove_border", remove_border, 0), ("tile", tile, 1)):
        if name == "tile" and value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, Integral):
            raise TypeError(f"{name} must be a whole number of pixels, got {value!r}.")
        if value < least:
            raise ValueError(f"{name} must be {least} pixels or more, got {value}.")
    segmentation, truth = check_pair(segmentation, truth)
    if len(truth.shape) != 2:
        raise ValueError(f"segmentation and truth must be images (y, x), got the shape {tuple(truth.shape)}.")
    counts = np.zeros((len(thresholds), 3), dtype=np.int64)
    for table in _tables(segmentation, truth, int(remove_border), tile):
        for place, threshold in enumerate(thresholds):
            found = match_instances(table, threshold=threshold)
            counts[place] += found.tp, found.fp, found.fn
    return tuple(
        CellScore(int(tp), int(fp), int(fn), float(threshold))
        for (tp, fp, fn), threshold in zip(counts, thresholds, strict=True)
    )


def _tables(segmentation: Any, truth: Any, frame: int, tile: int | None) -> Iterator[OverlapTable]:
    """The table of overlaps of each tile, in which ids that reach into the tile's frame count as background."""
    height, width = (int(length) for length in truth.shape)
    tiled = tile is not None and height * width >= TILED_FROM_PIXELS
    sides = (int(tile), int(tile)) if tiled else (height, width)
    for y, x in itertools.product(range(0, height, sides[0]), range(0, width, sides[1])):
        box = slice(y, min(y + sides[0], height)), slice(x, min(x + sides[1], width))
        # Without tiles nothing is loaded here: the table reads block by block.
        pair = tuple(np.asarray(labels[box]) if tiled else labels for labels in (segmentation, truth))
        table = overlap_table(*pair)
        if frame:
            for labels in pair:
                table = _to_background(table, _ids_in_frame(labels, frame, sides)).swapped()
        yield table


def _ids_in_frame(labels: Any, frame: int, sides: tuple[int, int]) -> np.ndarray:
    """Ids in the frame of a tile of full size; what such a tile has beyond the end of the image is background."""
    height, width = (slice(max(length - frame, 0), length) for length in sides)
    strips = (labels[:frame, :], labels[height, :], labels[:, :frame], labels[:, width])
    return np.unique(np.concatenate([np.asarray(strip).reshape(-1) for strip in strips]))


def _to_background(table: OverlapTable, ids: np.ndarray) -> OverlapTable:
    own = table.segmentation_ids
    return table.relabel(own, np.where(np.isin(own, ids.astype(np.uint64)), np.uint64(0), own))


@dataclass(frozen=True)
class CellScore(MatchRates):
    """Counts of one image, and the figures made of them.

    If there is neither a cell nor a segment, every figure is 1 (nothing to find, nothing found); any other 0 / 0 is 0.

    Attributes:
        tp, fp, fn: matched pairs, segments without a partner, cells without a partner.
        threshold: the IoU from which a pair may match.
    """

    tp: int
    fp: int
    fn: int
    threshold: float
