"""What went wrong with the cells of an image, error by error: missed, spurious, split, merged, badly outlined."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np

from emlib.evaluation.label_blocks import check_pair
from emlib.evaluation.matching import check_threshold, match_instances
from emlib.evaluation.object_geometry import object_geometry
from emlib.evaluation.overlap_table import OverlapTable, intersection_over_union, overlap_table

CELL_ERROR_KINDS = ("missed", "spurious", "split", "merged", "poor outline")
SPLIT_SHARE = 0.1  # of a cell; a smaller piece is a speck of its own
LEAST_IOU = 0.1  # of a poor outline; pairs with less have hardly anything to do with each other


def cell_errors(segmentation: Any, truth: Any, *, threshold: float = 0.5, remove_border: int = 2) -> list[CellError]:
    """Sort what `cell_f1` counts as false negatives and false positives into errors with one cause each.

    A cell *lies in* a segment that holds more than half of it, and a segment in a cell in the same way. In this order:

    - merged: two or more cells lie in one segment;
    - split: two or more segments, each at least a tenth of the cell, lie in one cell;
    - poor outline: of the cells and segments left over, pairs of IoU of at least 0.1, the largest first;
    - missed and spurious: each cell and each segment that is still left.

    Every cell and segment without a partner is part of at least one error, and every error has such a one. Where only
    some of a merged group count as wrong (the segment may still match the largest cell), all are listed. The one
    exception is at the border: a segment that lies in a cell which was left out there, or a cell in such a segment,
    counts for `cell_f1` but is no error here.

    Args:
        segmentation: labels (y, x), any integer type, 0 = background.
        truth: labels of the same shape.
        threshold: IoU in (0, 1] from which a segment and a cell are partners.
        remove_border: cells, and segments, that reach into the frame of this many pixels are left out, as `cell_f1`
            does; 0 keeps all.

    Returns:
        By kind, in the order of `CELL_ERROR_KINDS`, and then by increasing IoU and decreasing size of the box.

    Raises:
        TypeError: labels that are not integers, or a frame that is no whole number.
        ValueError: shapes that differ or are not (y, x), negative ids, or an argument out of range.

    Example:
        >>> truth, segmentation = np.zeros((2, 20, 30), int)
        >>> truth[4:10, 4:8], truth[4:10, 8:12], truth[12:18, 4:12] = 1, 2, 3
        >>> segmentation[4:10, 4:12], segmentation[12:18, 20:26] = 8, 9
        >>> for error in cell_errors(segmentation, truth):
        ...     print(error.kind, error.truth_ids, error.segmentation_ids, error.box, error.iou)
        missed (3,) () ((12, 4), (18, 12)) 0.0
        spurious () (9,) ((12, 20), (18, 26)) 0.0
        merged (1, 2) (8,) ((4, 4), (10, 12)) 0.5
    """
    check_threshold(threshold)
    if isinstance(remove_border, bool) or not isinstance(remove_border, Integral):
        raise TypeError(f"remove_border must be a whole number of pixels, got {remove_border!r}.")
    if remove_border < 0:
        raise ValueError(f"remove_border must be 0 pixels or more, got {remove_border}.")
    segmentation, truth = check_pair(segmentation, truth)
    if len(truth.shape) != 2:
        raise ValueError(f"segmentation and truth must be images (y, x), got the shape {tuple(truth.shape)}.")
    whole = np.asarray(segmentation), np.asarray(truth)
    segmentation, truth = (_without_border(labels, int(remove_border)) for labels in whole)
    table = overlap_table(segmentation, truth)
    matches = match_instances(table, threshold=threshold)
    found = {int(one) for one in matches.pairs[:, 0]}
    correct = {int(one) for one in matches.pairs[:, 1]}
    overlaps = _overlaps(table)
    missed = {int(one) for one in table.truth_ids if one} - found
    spurious = {int(one) for one in table.segmentation_ids if one} - correct

    groups = [("merged", cells, [segment]) for segment, cells in _merged(overlaps) if {*cells} & missed]
    groups += [("split", [cell], segments) for cell, segments in _split(overlaps) if {*segments} & spurious]
    for _, cells, segments in groups:
        missed -= {*cells}
        spurious -= {*segments}
    for cell, segment in _poor(overlaps, missed, spurious):
        groups.append(("poor outline", [cell], [segment]))
        missed.remove(cell)
        spurious.remove(segment)
    if remove_border:
        cells, segments = {*table.truth_ids.tolist()}, {*table.segmentation_ids.tolist()}
        for one in _overlaps(overlap_table(*whole)):
            if one.of_segment > 0.5 and one.cell not in cells:
                spurious.discard(one.segment)
            if one.of_cell > 0.5 and one.segment not in segments:
                missed.discard(one.cell)
    groups += [("missed", [cell], []) for cell in sorted(missed)]
    groups += [("spurious", [], [segment]) for segment in sorted(spurious)]
    errors = _as_errors(groups, overlaps, _boxes(truth), _boxes(segmentation))
    return sorted(
        errors, key=lambda error: (CELL_ERROR_KINDS.index(error.kind), error.iou, -error.box_pixels, error.box)
    )


@dataclass(frozen=True)
class _Overlap:
    """Two ids that share pixels: which part of each, and their IoU."""

    cell: int
    segment: int
    of_cell: float
    of_segment: float
    iou: float


def _without_border(labels: np.ndarray, frame: int) -> np.ndarray:
    if not frame:
        return labels
    strips = (labels[:frame], labels[-frame:], labels[:, :frame], labels[:, -frame:])
    ids = np.unique(np.concatenate([strip.reshape(-1) for strip in strips]))
    return np.where(np.isin(labels, ids), labels.dtype.type(0), labels)


def _overlaps(table: OverlapTable) -> list[_Overlap]:
    columns = (
        table.truth_ids[table.pair_truth],
        table.segmentation_ids[table.pair_segmentation],
        table.pair_counts / table.truth_sizes[table.pair_truth],
        table.pair_counts / table.segmentation_sizes[table.pair_segmentation],
        intersection_over_union(table),
    )
    rows = zip(*(column.tolist() for column in columns), strict=True)
    return [_Overlap(*row) for row in rows if row[0] and row[1]]


def _merged(overlaps: Iterable[_Overlap]) -> list[tuple[int, list[int]]]:
    """Segment -> the cells that lie in it, where they are several."""
    members: dict[int, list[int]] = {}
    for one in overlaps:
        if one.of_cell > 0.5:
            members.setdefault(one.segment, []).append(one.cell)
    return [(segment, cells) for segment, cells in sorted(members.items()) if len(cells) > 1]


def _split(overlaps: Iterable[_Overlap]) -> list[tuple[int, list[int]]]:
    """Cell -> the segments that lie in it, where they are several."""
    members: dict[int, list[int]] = {}
    for one in overlaps:
        if one.of_segment > 0.5 and one.of_cell >= SPLIT_SHARE:
            members.setdefault(one.cell, []).append(one.segment)
    return [(cell, segments) for cell, segments in sorted(members.items()) if len(segments) > 1]


def _poor(overlaps: Iterable[_Overlap], missed: set[int], spurious: set[int]) -> list[tuple[int, int]]:
    """One to one, the largest IoU first."""
    pairs, cells, segments = [], set(missed), set(spurious)
    for one in sorted(overlaps, key=lambda one: (-one.iou, one.cell, one.segment)):
        if one.iou >= LEAST_IOU and one.cell in cells and one.segment in segments:
            pairs.append((one.cell, one.segment))
            cells.remove(one.cell)
            segments.remove(one.segment)
    return pairs


def _boxes(labels: np.ndarray) -> dict[int, np.ndarray]:
    geometry = object_geometry(labels)
    return dict(zip(geometry.ids.tolist(), geometry.boxes, strict=True))


def _as_errors(
    groups: list[tuple[str, list[int], list[int]]],
    overlaps: list[_Overlap],
    truth_boxes: dict[int, np.ndarray],
    segment_boxes: dict[int, np.ndarray],
) -> list[CellError]:
    ious = {(one.cell, one.segment): one.iou for one in overlaps}
    errors = []
    for kind, cells, segments in groups:
        boxes = np.stack([truth_boxes[one] for one in cells] + [segment_boxes[one] for one in segments])
        box = tuple(boxes[:, 0].min(axis=0).tolist()), tuple(boxes[:, 1].max(axis=0).tolist())
        iou = max((ious.get((cell, segment), 0.0) for cell in cells for segment in segments), default=0.0)
        errors.append(CellError(kind, box, tuple(cells), tuple(segments), iou))
    return errors


@dataclass(frozen=True)
class CellError:
    """One error and all who take part in it.

    Attributes:
        kind: "missed", "spurious", "split", "merged" or "poor outline".
        box: ((top, left), (bottom, right)) around all of them, first pixel and one past the last.
        truth_ids, segmentation_ids: the cells and segments, increasing; empty for what is spurious or missed.
        iou: the largest of a listed cell with a listed segment; 0 where one of the lists is empty.
    """

    kind: str
    box: tuple[tuple[int, int], tuple[int, int]]
    truth_ids: tuple[int, ...]
    segmentation_ids: tuple[int, ...]
    iou: float

    @property
    def box_pixels(self) -> int:
        """Pixels in the box."""
        (top, left), (bottom, right) = self.box
        return (bottom - top) * (right - left)
