"""Ids that lie in several pieces: keep the largest, or give each piece an id of its own."""

from __future__ import annotations

from typing import Any

import cc3d
import numpy as np


def separate_pieces(labels: Any, *, keep: str = "largest", connectivity: int = 4) -> np.ndarray:
    """Labels in which every id is one connected piece.

    Hand-drawn labels are often in pieces, because a later outline was painted over an earlier one. A method that
    follows a flow to the middle of a cell can only ever find one of them.

    Args:
        labels: (y, x) ids, any integer type, 0 = background.
        keep: "largest" drops the other pieces, and ids stay; "all" numbers the pieces 1 ... n.
        connectivity: 4, or 8 to count corners as contact.

    Returns:
        (y, x), of the same type for "largest", uint32 for "all".

    Raises:
        TypeError: labels that are not integers.
        ValueError: not two axes, or an unknown `keep` or `connectivity`.

    Example:
        >>> separate_pieces(np.array([[5, 5, 0, 5]], dtype=np.uint8)).tolist()
        [[5, 5, 0, 0]]
        >>> separate_pieces(np.array([[5, 5, 0, 5]], dtype=np.uint8), keep="all").tolist()
        [[1, 1, 0, 2]]
    """
    labels = np.asarray(labels)
    if labels.dtype.kind not in "iu":
        raise TypeError(f"labels are {labels.dtype}, but whole numbers (one id a cell) were expected.")
    if labels.ndim != 2:
        raise ValueError(f"labels have shape {labels.shape}, but (y, x) was expected.")
    if keep not in ("largest", "all"):
        raise ValueError(f"keep is {keep!r}, but 'largest' or 'all' was expected.")
    if connectivity not in (4, 8):
        raise ValueError(f"connectivity is {connectivity!r}, but 4 or 8 was expected.")
    if labels.size == 0:
        return labels.astype(np.uint32 if keep == "all" else labels.dtype)
    # "W": cc3d refuses read-only memory, although nothing is written to it here.
    native = np.require(labels, requirements=["C", "W"])
    pieces, count = cc3d.connected_components(native, connectivity=connectivity, return_N=True)
    if keep == "all":
        return pieces.astype(np.uint32)
    sizes = np.bincount(pieces.ravel(), minlength=count + 1)
    owner = np.zeros(count + 1, labels.dtype)
    owner[pieces] = labels
    # By owner, then by size; the first of each owner stays.
    order = np.lexsort((-sizes, owner))
    kept = np.zeros(count + 1, labels.dtype)
    first = order[np.flatnonzero(np.concatenate([[True], owner[order][1:] != owner[order][:-1]]))]
    kept[first] = owner[first]
    return kept[pieces]
