"""Names of the scores by which regions are merged: "mean", "aff50_his256" and its family, "max10"."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

MEAN, QUANTILE, LARGEST = range(3)
MOST_BINS = 2**16


@dataclass(frozen=True)
class AgglomerationScore:
    """How the affinities of a boundary become its score, which is small where two regions should be one.

    `kind` is MEAN, QUANTILE or LARGEST; `parameter` is the percentile or the number of largest values; `bins` the
    number of histogram bins, 0 for exact values.
    """

    name: str
    kind: int
    parameter: int = 0
    bins: int = 0

    @property
    def needs_histograms(self) -> bool:
        """Whether it looks at more than the sum and maximum of each boundary, when not started with the maximum."""
        return self.kind != MEAN

    @property
    def starts_with_maximum(self) -> bool:
        """What waterz does: a quantile starts with one value a boundary, the largest; "maxK" with all of them."""
        return self.kind == QUANTILE

    def values(self) -> np.ndarray:
        """(256,) float64: the affinity that level u stands for, u / 255 or the centre of its bin."""
        affinities = np.arange(256) / 255
        if not self.bins:
            return affinities
        return (np.minimum(np.floor(affinities * self.bins), self.bins - 1) + 0.5) / self.bins


def parse_score(name: str) -> AgglomerationScore:
    """Read the name of a score.

    - "mean": 1 - the mean affinity of all contacts.
    - "affQ_hisB": 1 - the Q-th percentile (1 to 99) of the boundary's affinities in a histogram of B bins; of n
      values in ascending order it is number floor(Q n / 100), counted from 0, and it counts as the centre of its bin.
    - "affQ_his0": the same with exact values in place of bin centres.
    - "maxK": 1 - the mean of the K largest affinities (of all, where there are fewer).

    Raises:
        TypeError: not a string.
        ValueError: no such score, or a number out of range.

    Example:
        >>> parse_score("aff50_his256")
        AgglomerationScore(name='aff50_his256', kind=1, parameter=50, bins=256)
    """
    if not isinstance(name, str):
        raise TypeError(f"scoring must be a name such as 'mean' or 'aff50_his256', got {name!r}.")
    if name == "mean":
        return AgglomerationScore(name, MEAN)
    quantile, largest = re.fullmatch(r"aff(\d+)_his(\d+)", name), re.fullmatch(r"max(\d+)", name)
    if quantile:
        percent, bins = map(int, quantile.groups())
        if not 1 <= percent <= 99:
            raise ValueError(f"The percentile in scoring={name!r} must be 1 to 99.")
        if bins > MOST_BINS:
            raise ValueError(f"The histogram in scoring={name!r} must have at most {MOST_BINS} bins (0: exact values).")
        return AgglomerationScore(name, QUANTILE, percent, bins)
    if largest:
        count = int(largest.group(1))
        if not 1 <= count < 2**31:
            raise ValueError(f"The number of values in scoring={name!r} must be at least 1.")
        return AgglomerationScore(name, LARGEST, count)
    raise ValueError(
        f"There is no scoring {name!r}; the scores are 'mean', 'affQ_hisB' such as 'aff50_his256' (Q 1-99, B bins or "
        "0 for exact values) and 'maxK' such as 'max10'."
    )
