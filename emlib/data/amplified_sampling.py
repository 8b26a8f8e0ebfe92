"""Repeat what is rare: the images of small groups come more than once in an epoch (MEDIAR, NeurIPS 2022)."""

from __future__ import annotations

from collections.abc import Sequence

from emlib.randomness import numpy_generator


def amplify(groups: Sequence[str | int], minimum: int) -> list[int]:
    """Numbers of images, those of groups with fewer than `minimum` members repeated in turn up to that number.

    MEDIAR's groups are 40 clusters of an encoder's features, and its minimum is 50: of 1,000 images come 2,111.

    Args:
        groups: each image's group (a modality, a cluster).
        minimum: 0 repeats nothing.

    Returns:
        Numbers from 0 to len(groups) - 1, each at least once, ascending.

    Raises:
        ValueError: no image, or a minimum below 0.

    Example:
        >>> amplify(["common", "rare", "common", "common"], 3)
        [0, 1, 1, 1, 2, 3]
    """
    if not len(groups):
        raise ValueError("There is no image to sample from.")
    if minimum < 0:
        raise ValueError(f"The minimum is {minimum}, but 0 or more was expected.")
    chosen = []
    for group in dict.fromkeys(groups):
        members = [number for number, name in enumerate(groups) if name == group]
        chosen += [members[place % len(members)] for place in range(max(minimum, len(members)))]
    return sorted(chosen)


class EpochOrder:
    """Which image sample i of a run comes from: epoch after epoch, each in an order of its own.

    Args:
        items: image numbers of one epoch, for example from `amplify`.
        seed: of the run.

    Example:
        >>> order = EpochOrder([0, 1, 2], seed=0)
        >>> sorted(order[i] for i in range(3)), sorted(order[i] for i in range(3, 6))
        ([0, 1, 2], [0, 1, 2])
    """

    def __init__(self, items: Sequence[int], *, seed: int) -> None:
        self.items, self.seed = list(items), seed
        self._epoch, self._order = -1, None

    def __getitem__(self, index: int) -> int:
        epoch, place = divmod(index, len(self.items))
        if epoch != self._epoch:
            self._epoch, self._order = epoch, numpy_generator(self.seed, "epoch", epoch).permutation(len(self.items))
        return self.items[int(self._order[place])]
