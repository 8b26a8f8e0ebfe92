"""Divide images into training, validation and test, modality by modality."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from emlib.randomness import numpy_generator

SPLITS = ("train", "validation", "test")


def folds_by_group(
    groups: Sequence[str], count: int, *, seed: int, fixed: Sequence[str | None] | None = None
) -> list[int | None]:
    """Divide images into folds of equal size (but for one image), each group as evenly as its number allows.

    Args:
        groups: each image's modality.
        count: number of folds.
        seed: of the shuffling.
        fixed: for each image its split if that is settled already; such images are in no fold.

    Returns:
        0 to count - 1 for each image; None where its split is settled.

    Raises:
        ValueError: fewer images than folds.

    Example:
        >>> sorted(folds_by_group(["a"] * 5 + ["b"] * 3, 4, seed=0))
        [0, 0, 1, 1, 2, 2, 3, 3]
    """
    settled = list(fixed) if fixed is not None else [None] * len(groups)
    free = settled.count(None)
    if free < count:
        raise ValueError(f"{free} images cannot be divided into {count} folds; there must be at least one for each.")
    folds: list[int | None] = [None] * len(groups)
    dealt = 0
    for group in sorted(set(groups)):
        members = [n for n, name in enumerate(groups) if name == group and settled[n] is None]
        for member in numpy_generator(seed, "folds", group).permutation(len(members)):
            folds[members[member]] = dealt % count
            dealt += 1
    return folds


def split_by_group(
    groups: Sequence[str], shares: Mapping[str, float], *, seed: int, fixed: Sequence[str | None] | None = None
) -> list[str]:
    """Give every image a split, such that each group is divided by the shares as well as its number allows.

    The images of a group are shuffled and dealt out, each to the split that lacks most, in this group and in all
    together. The first of every group trains, so that no kind is met for the first time in the test.

    Args:
        groups: each image's modality.
        shares: of "train", "validation" and "test"; they add up to 1.
        seed: of the shuffling; a group's order depends on its own name and size only.
        fixed: for each image its split if that is settled already, else None; such images are not counted.

    Returns:
        "train", "validation" or "test" for each image.

    Raises:
        ValueError: as many fixed splits as groups were expected; a split with a share gets no image.

    Example:
        >>> split = split_by_group(["a"] * 5 + ["b"] * 5, {"train": 0.6, "validation": 0.2, "test": 0.2}, seed=0)
        >>> sorted(split[:5]), sorted(split[5:]) == sorted(split[:5])
        (['test', 'train', 'train', 'train', 'validation'], True)
    """
    settled = list(fixed) if fixed is not None else [None] * len(groups)
    if len(settled) != len(groups):
        raise ValueError(f"There are {len(groups)} images and {len(settled)} fixed splits, but one each was expected.")
    wanted = np.array([shares[name] for name in SPLITS], np.float64)
    result, total = list(settled), np.zeros(len(SPLITS))
    for group in sorted(set(groups)):
        members = [n for n, name in enumerate(groups) if name == group and settled[n] is None]
        own = np.zeros(len(SPLITS))
        for place, member in enumerate(numpy_generator(seed, "split", group).permutation(len(members))):
            lack = wanted * (own.sum() + 1) - own + wanted * (total.sum() + 1) - total
            # A split without a share gets nothing, whatever rounding says.
            chosen = 0 if place == 0 else int(np.argmax(np.where(wanted > 0, lack, -np.inf)))
            own[chosen] += 1
            total[chosen] += 1
            result[members[member]] = SPLITS[chosen]
    empty = [name for name in SPLITS if shares[name] > 0 and name not in result]
    if empty:
        raise ValueError(f"{len(groups)} images are too few: none is left for {' and '.join(empty)}.")
    return result
