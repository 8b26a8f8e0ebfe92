"""Coarser and finer voxels: images by the mean of a block, labels by a vote or by one voxel of it; ids repeated."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np

RULES = ("majority", "first", "middle")
INCOMPLETE = ("keep", "drop")


def downsample_image(image: np.ndarray, factors: Sequence[int], *, incomplete: str = "keep") -> np.ndarray:
    """Mean over blocks of `factors` voxels, rounded (half to even) for whole-number types.

    Args:
        image: any number of axes, any numeric type.
        factors: whole number of voxels that become one, an axis each.
        incomplete: blocks that the end of an axis cuts short: "keep" averages what is there, "drop" leaves them out.

    Returns:
        A fresh array of the same type, lengths ceil(n / factor) ("keep") or floor(n / factor) ("drop").

    Raises:
        ValueError: factors below 1 or not one an axis, or an unknown `incomplete`.

    Example:
        >>> downsample_image(np.array([[[0, 2, 9], [4, 6, 8]]], np.uint8), (1, 2, 2)).tolist()
        [[[3, 8]]]
    """

    def mean(part: np.ndarray, factors: tuple[int, ...]) -> np.ndarray:
        if math.prod(factors) == 1:
            return part
        averaged = _blocks(part, factors).mean(axis=tuple(range(1, 2 * part.ndim, 2)), dtype=np.float64)
        return (np.rint(averaged) if part.dtype.kind in "uib" else averaged).astype(part.dtype)

    return _reduced(np.asarray(image), factors, incomplete, mean)


def downsample_labels(
    labels: np.ndarray, factors: Sequence[int], *, rule: str = "majority", incomplete: str = "keep"
) -> np.ndarray:
    """One label for each block of `factors` voxels, never a mixture of ids.

    Args:
        labels: any number of axes, any integer type or bool; 0 is a label like the others.
        factors: whole number of voxels that become one, an axis each.
        rule: "majority" takes the most frequent label of a block (the smallest of equally frequent ones), "first" its
            first voxel (every n-th of the volume, as the EM mitochondria pipeline's Upsample.py does for viewing), and
            "middle" the voxel in its middle.
        incomplete: blocks that the end of an axis cuts short: "keep" asks the voxels that are there, "drop" leaves
            them out.

    Returns:
        A fresh array of the same type, lengths ceil(n / factor) ("keep") or floor(n / factor) ("drop").

    Raises:
        TypeError: labels that are not whole numbers.
        ValueError: factors below 1 or not one an axis, or an unknown `rule` or `incomplete`.

    Example:
        >>> labels = np.array([[[1, 2, 9], [2, 2, 9]]])
        >>> downsample_labels(labels, (1, 2, 2)).tolist(), downsample_labels(labels, (1, 2, 2), rule="first").tolist()
        ([[[2, 9]]], [[[1, 9]]])
    """
    labels = np.asarray(labels)
    if labels.dtype.kind not in "uib":
        raise TypeError(f"The labels are {labels.dtype}, but whole numbers (one an object) were expected.")
    if rule not in RULES:
        raise ValueError(f"rule is {rule!r}, but one of {', '.join(RULES)} was expected.")
    if rule == "majority":
        return _reduced(labels, factors, incomplete, _vote)
    middle = rule == "middle"

    def one_voxel(part: np.ndarray, factors: tuple[int, ...]) -> np.ndarray:
        return part[tuple(slice(factor // 2 if middle else 0, None, factor) for factor in factors)]

    return _reduced(labels, factors, incomplete, one_voxel)


def upsample_labels(labels: np.ndarray, factors: Sequence[int], *, shape: Sequence[int] | None = None) -> np.ndarray:
    """Each voxel repeated `factors` times along each axis: `downsample_labels` gives back the labels.

    Args:
        labels: any number of axes and type (images too).
        factors: whole number of voxels that one becomes, an axis each.
        shape: of the result, where the last blocks were incomplete; None takes whole blocks.

    Returns:
        A fresh array of the same type.

    Raises:
        ValueError: factors below 1 or not one an axis, or a shape that these labels do not cover.

    Example:
        >>> upsample_labels(np.array([[1, 2]]), (1, 2), shape=(1, 3)).tolist()
        [[1, 1, 2]]
    """
    labels = np.asarray(labels)
    factors = check_factors(factors, labels.ndim)
    wide = labels[tuple(part for _ in factors for part in (slice(None), None))]
    sides = [part for length, factor in zip(labels.shape, factors, strict=True) for part in (length, factor)]
    repeated = np.broadcast_to(wide, sides).reshape([n * f for n, f in zip(labels.shape, factors, strict=True)])
    if shape is None:
        return np.array(repeated)
    if coarse_shape(shape, factors) != labels.shape:
        raise ValueError(
            f"Labels of shape {labels.shape} become at most {repeated.shape} by {factors} and no whole voxel less, "
            f"but the shape {tuple(shape)} was asked for."
        )
    return repeated[tuple(slice(0, length) for length in shape)].copy()


def coarse_shape(shape: Sequence[int], factors: Sequence[int], incomplete: str = "keep") -> tuple[int, ...]:
    """Lengths after downsampling.

    Raises:
        ValueError: factors below 1 or not one an axis, or an unknown `incomplete`.

    Example:
        >>> coarse_shape((5, 8), (2, 8)), coarse_shape((5, 8), (2, 8), "drop")
        ((3, 1), (2, 1))
    """
    if incomplete not in INCOMPLETE:
        raise ValueError(f"incomplete is {incomplete!r}, but 'keep' or 'drop' was expected.")
    factors = check_factors(factors, len(shape))
    kept = incomplete == "keep"
    return tuple(-(-n // factor) if kept else n // factor for n, factor in zip(shape, factors, strict=True))


def check_factors(factors: Sequence[int], axes: int) -> tuple[int, ...]:
    """`factors` as a tuple, one whole number of at least 1 for each axis.

    Raises:
        ValueError: anything else.
    """
    found = tuple(factors) if isinstance(factors, list | tuple | np.ndarray) else ()
    whole = all(isinstance(one, int | np.integer) and not isinstance(one, bool) and one >= 1 for one in found)
    if len(found) != axes or not whole:
        raise ValueError(f"factors is {factors!r}, but {axes} whole numbers of at least 1 were expected.")
    return tuple(int(one) for one in found)


def _reduced(
    array: np.ndarray,
    factors: Sequence[int],
    incomplete: str,
    reduce: Callable[[np.ndarray, tuple[int, ...]], np.ndarray],
) -> np.ndarray:
    """Whole blocks at once, then each kind of incomplete block as a whole block of its own size."""
    result = np.empty(coarse_shape(array.shape, factors, incomplete), array.dtype)
    for taken, put, sizes in _kinds(array.shape, check_factors(factors, array.ndim), incomplete == "keep"):
        result[put] = reduce(array[taken], sizes)
    return result


def _kinds(
    shape: Sequence[int], factors: Sequence[int], keep: bool
) -> Iterator[tuple[tuple[slice, ...], tuple[slice, ...], tuple[int, ...]]]:
    """Where blocks of one size lie in the fine and in the coarse array, and that size."""
    axes = []
    for length, factor in zip(shape, factors, strict=True):
        count, rest = divmod(length, factor)
        kinds = [(slice(0, count * factor), slice(0, count), factor)] if count else []
        if keep and rest:
            kinds.append((slice(count * factor, length), slice(count, count + 1), rest))
        axes.append(kinds)
    for kinds in itertools.product(*axes):
        yield tuple(zip(*kinds, strict=True))


def _blocks(array: np.ndarray, factors: Sequence[int]) -> np.ndarray:
    """A view with two axes for each: the block's number, and the place in the block."""
    return array.reshape(
        [part for length, factor in zip(array.shape, factors, strict=True) for part in (length // factor, factor)]
    )


def _vote(labels: np.ndarray, factors: tuple[int, ...]) -> np.ndarray:
    """The most frequent label of each block, the smallest of equally frequent ones."""
    count = math.prod(factors)
    if count == 1:
        return labels
    axes = range(2 * labels.ndim)
    order = [*axes[::2], *axes[1::2]]
    coarse = [length // factor for length, factor in zip(labels.shape, factors, strict=True)]
    votes = _blocks(labels, factors).transpose(order).reshape(-1, count)
    winners = votes[:, 0].copy()
    # Most blocks lie inside an object or in the background, and need no count.
    mixed = np.flatnonzero((votes != votes[:, :1]).any(axis=1))
    if mixed.size:
        winners[mixed] = _longest_runs(np.sort(votes[mixed], axis=1))
    return winners.reshape(coarse)


def _longest_runs(votes: np.ndarray) -> np.ndarray:
    """The value of the longest run of equal values in each sorted row, the first of equally long ones."""
    width = votes.shape[1]
    begins = np.ones(votes.shape, bool)
    np.not_equal(votes[:, 1:], votes[:, :-1], out=begins[:, 1:])
    places = np.flatnonzero(begins)
    lengths = np.diff(places, append=votes.size)
    columns = places % width
    rank = lengths * width + (width - 1 - columns)
    best = np.maximum.reduceat(rank, np.flatnonzero(columns == 0))
    return votes[np.arange(len(votes)), width - 1 - best % width]
