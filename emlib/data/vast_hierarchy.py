"""The tree of a VAST table: what each segment belongs to, and labels in which children are part of their parents."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from emlib.data.vast_table import VastSegment

RULES = ("top", "collapsed")


def collapsed_ids(
    segments: Iterable[VastSegment], *, rule: str = "top", keep: Iterable[int] = (), folders: Iterable[int] = ()
) -> dict[int, int]:
    """The id that each segment's voxels get when children are collapsed into their parents.

    Args:
        segments: a table, in any order.
        rule: "top" follows the parents to the one directly below the background; "collapsed" takes the id as which VAST
            showed the segment when it was exported.
        keep: for "top": segments at which the climb ends; what lies below them becomes part of them.
        folders: for "top": segments below which the climb ends: their children stay apart, as the objects in a folder.

    Returns:
        A dict from id to id, with 0 -> 0; `read_vast(folder, ids=...)` takes it.

    Raises:
        ValueError: a parent or collapsed id that the table lacks, a circle of parents, an unknown rule, or an id in
            `keep` or `folders` that the table lacks.

    Example:
        >>> cell, dendrite, spine = VastSegment(1), VastSegment(2, parent=1), VastSegment(3, parent=2)
        >>> collapsed_ids([cell, dendrite, spine]), collapsed_ids([cell, dendrite, spine], keep=[2])
        ({0: 0, 1: 1, 2: 1, 3: 1}, {0: 0, 1: 1, 2: 2, 3: 2})
    """
    if rule not in RULES:
        raise ValueError(f"rule is {rule!r}, but 'top' or 'collapsed' was expected.")
    table = {one.id: one for one in segments}
    kept, opened = set(keep), set(folders)
    if strange := sorted((kept | opened) - set(table)):
        raise ValueError(f"The table has no segment {strange[0]}, which is named as one to keep or as a folder.")
    result = {0: 0}
    for one in table.values():
        if one.id == 0:
            continue
        if rule == "collapsed":
            # 0 is written by tables that were never collapsed.
            result[one.id] = _in_table(table, one, one.collapsed if one.collapsed > 0 else one.id, "shown as")
        else:
            _climb(table, one, kept, opened, result)
    return {0: 0} | {one: result[one] for one in table if one}


def collapse_labels(
    labels: np.ndarray,
    segments: Iterable[VastSegment],
    *,
    rule: str = "top",
    keep: Iterable[int] = (),
    folders: Iterable[int] = (),
) -> np.ndarray:
    """Labels in which children are part of their parents; see `collapsed_ids` for the rules.

    Args:
        labels: any shape, any integer type.
        segments, rule, keep, folders: see `collapsed_ids`.

    Returns:
        A fresh array of the same shape and type.

    Raises:
        TypeError: labels that are not whole numbers.
        ValueError: an id that the table lacks or the type cannot hold, or as in `collapsed_ids`.

    Example:
        >>> collapse_labels(np.array([0, 1, 2]), [VastSegment(1), VastSegment(2, parent=1)]).tolist()
        [0, 1, 1]
    """
    labels = np.asarray(labels)
    if labels.dtype.kind not in "ui":
        raise TypeError(f"The labels are {labels.dtype}, but whole numbers (one a segment) were expected.")
    ids = collapsed_ids(segments, rule=rule, keep=keep, folders=folders)
    present, places = np.unique(labels, return_inverse=True)
    if strange := [int(one) for one in present if int(one) not in ids]:
        raise ValueError(f"The labels hold the id {strange[0]}, which the table of segments lacks.")
    new = [ids[int(one)] for one in present]
    if new and max(new) > np.iinfo(labels.dtype).max:
        raise ValueError(f"The id {max(new)} does not fit into the labels' type {labels.dtype}.")
    return np.array(new, dtype=labels.dtype)[places].reshape(labels.shape)


def _climb(
    table: dict[int, VastSegment], start: VastSegment, kept: set[int], folders: set[int], result: dict[int, int]
) -> None:
    """Note the end of the climb for `start` and for all that are passed."""
    passed, one = [], start
    while one.id not in result:
        if one.id in passed:
            raise ValueError(f"The parents of segment {start.id} go round in a circle.")
        passed.append(one.id)
        if one.parent <= 0 or one.parent in folders or one.id in kept:
            result[one.id] = one.id
            break
        one = table[_in_table(table, one, one.parent, "the child of")]
    for number in passed:
        result[number] = result[one.id]


def _in_table(table: dict[int, VastSegment], one: VastSegment, number: int, how: str) -> int:
    if number not in table:
        raise ValueError(f"Segment {one.id} is {how} {number}, which the table lacks.")
    return number
