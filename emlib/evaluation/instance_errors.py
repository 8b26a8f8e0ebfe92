"""Which objects a segmentation finds, misses, splits, merges and invents: the worst ones, ready to be looked at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from emlib.evaluation.label_blocks import check_pair
from emlib.evaluation.matching import InstanceMatches, check_threshold, match_instances
from emlib.evaluation.object_geometry import ObjectGeometry, object_geometry
from emlib.evaluation.overlap_table import OverlapTable, intersection_over_union, overlap_table


@dataclass(frozen=True)
class InstanceErrors:
    """Ids (Python ints, increasing) by kind of success or error, and one row an object.

    Attributes:
        found, missed: truth objects with and without a one-to-one partner of IoU >= threshold.
        split: truth objects, found or not, of which two or more segments each hold at least `share` of the voxels.
        correct, spurious: segments with and without such a partner (true and false positives).
        merged: segments, correct or not, that hold at least `share` of the voxels of two or more truth objects.
        truth_objects, segments: one dict an object, in the order of the ids, with the keys
            id; size (voxels); iou (the largest with any object of the other volume); partner (id of that object, 0
            if there is none); pieces (for a truth object: segments holding at least `share` of it; for a segment:
            truth objects of which it holds at least `share`); box ((start, stop), voxels) and centroid, both in
            the order of the axes; and outcome: "found", else "split", else "missed" for a truth object,
            "merged", else "correct", else "spurious" for a segment.
        matches: the matching that this rests on, with its counts and scores.
    """

    found: list[int]
    missed: list[int]
    split: list[int]
    correct: list[int]
    spurious: list[int]
    merged: list[int]
    truth_objects: list[dict[str, Any]]
    segments: list[dict[str, Any]]
    matches: InstanceMatches
    threshold: float
    share: float

    def worst(self, count: int = 10) -> list[dict[str, Any]]:
        """The truth objects of smallest IoU; of equal ones the largest first."""
        return sorted(self.truth_objects, key=lambda row: (row["iou"], -row["size"], row["id"]))[:count]


def find_errors(segmentation: Any, truth: Any, *, threshold: float = 0.5, share: float = 0.2) -> InstanceErrors:
    """Compare instances and sort them by what happened to them; `InstanceErrors` defines the kinds.

    Args:
        segmentation: labels (Z, Y, X) or (Y, X), any integer type, 0 = background.
        truth: labels of the same shape.
        threshold: IoU in (0, 1] from which a truth object counts as found.
        share: in (0, 0.5], the part of a truth object's voxels that a segment must hold to count as a piece of it.

    Raises:
        TypeError: labels that are not integers.
        ValueError: shapes that differ, empty volumes, negative ids, a threshold or share out of range.

    Example:
        >>> truth = np.array([[1, 1, 1, 1, 0, 2, 2, 3, 3, 0, 4]])
        >>> segmentation = np.array([[1, 1, 2, 2, 0, 3, 3, 3, 3, 4, 0]])
        >>> errors = find_errors(segmentation, truth, threshold=0.6)
        >>> errors.found, errors.missed, errors.split, errors.merged, errors.spurious
        ([], [1, 2, 3, 4], [1], [3], [1, 2, 3, 4])
        >>> errors.truth_objects[3]["box"], errors.truth_objects[3]["outcome"]
        (((0, 10), (1, 11)), 'missed')
    """
    check_threshold(threshold)
    if not 0 < share <= 0.5:
        raise ValueError(f"share must be above 0 and at most 0.5, got {share!r}.")
    segmentation, truth = check_pair(segmentation, truth)
    table = overlap_table(segmentation, truth)
    matches = match_instances(table, threshold=threshold)
    found = {int(pair[0]) for pair in matches.pairs}
    correct = {int(pair[1]) for pair in matches.pairs}
    held = table.pair_counts >= share * table.truth_sizes[table.pair_truth]
    held &= (table.truth_ids[table.pair_truth] != 0) & (table.segmentation_ids[table.pair_segmentation] != 0)
    truth_pieces = np.bincount(table.pair_truth[held], minlength=table.truth_ids.size)
    segment_pieces = np.bincount(table.pair_segmentation[held], minlength=table.segmentation_ids.size)

    truth_rows = _rows(object_geometry(truth), table, truth_pieces[table.truth_ids != 0])
    segment_rows = _rows(object_geometry(segmentation), table.swapped(), segment_pieces[table.segmentation_ids != 0])
    for row in truth_rows:
        row["outcome"] = "found" if row["id"] in found else "split" if row["pieces"] > 1 else "missed"
    for row in segment_rows:
        row["outcome"] = "merged" if row["pieces"] > 1 else "correct" if row["id"] in correct else "spurious"
    return InstanceErrors(
        found=sorted(found),
        missed=[row["id"] for row in truth_rows if row["id"] not in found],
        split=[row["id"] for row in truth_rows if row["pieces"] > 1],
        correct=sorted(correct),
        spurious=[row["id"] for row in segment_rows if row["id"] not in correct],
        merged=[row["id"] for row in segment_rows if row["pieces"] > 1],
        truth_objects=truth_rows,
        segments=segment_rows,
        matches=matches,
        threshold=float(threshold),
        share=float(share),
    )


def _rows(geometry: ObjectGeometry, table: OverlapTable, pieces: np.ndarray) -> list[dict[str, Any]]:
    """One dict an object of the table's truth side (background left out, as in `geometry` and `pieces`)."""
    ious = intersection_over_union(table)
    both = (table.truth_ids[table.pair_truth] != 0) & (table.segmentation_ids[table.pair_segmentation] != 0)
    order = np.lexsort((-ious[both], table.pair_truth[both]))
    owners, first = np.unique(table.pair_truth[both][order], return_index=True)
    best = np.flatnonzero(both)[order[first]]
    partner = dict(
        zip(
            table.truth_ids[owners].tolist(),
            zip(table.segmentation_ids[table.pair_segmentation[best]].tolist(), ious[best].tolist(), strict=True),
            strict=True,
        )
    )
    rows = []
    for index, label in enumerate(geometry.ids.tolist()):
        other, iou = partner.get(label, (0, 0.0))
        start, stop = geometry.boxes[index].tolist()
        rows.append(
            {
                "id": label,
                "size": int(geometry.sizes[index]),
                "iou": iou,
                "partner": other,
                "pieces": int(pieces[index]),
                "box": (tuple(start), tuple(stop)),
                "centroid": tuple(geometry.centroids[index].tolist()),
            }
        )
    return rows
