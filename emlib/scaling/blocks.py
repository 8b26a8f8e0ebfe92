"""How a volume is cut into blocks: which voxels each one owns, and which it may look at."""

from __future__ import annotations

import hashlib
import itertools
import json
import operator
from collections.abc import Sequence
from dataclasses import dataclass

Place = tuple[int, ...]
Box = tuple[slice, ...]


@dataclass(frozen=True, order=True)
class Block:
    """One block of a plan, in any number of dimensions.

    Attributes:
        index: blocks from the volume's start, along each axis.
        start, stop: first voxel, and first voxel after, of those the block owns (writes).
        outer_start, outer_stop: the same of those it may read: the halo included, cut off at the volume's faces.
    """

    index: Place
    start: Place
    stop: Place
    outer_start: Place
    outer_stop: Place

    @property
    def inner(self) -> Box:
        """The voxels it owns, as slices of the volume."""
        return _slices(self.start, self.stop)

    @property
    def outer(self) -> Box:
        """The voxels it may read, as slices of the volume."""
        return _slices(self.outer_start, self.outer_stop)

    @property
    def within(self) -> Box:
        """Where the voxels it owns lie in an array of those it read."""
        return tuple(
            slice(start - first, stop - first)
            for start, stop, first in zip(self.start, self.stop, self.outer_start, strict=True)
        )

    @property
    def shape(self) -> Place:
        """Voxels it owns, along each axis."""
        return tuple(stop - start for start, stop in zip(self.start, self.stop, strict=True))

    @property
    def outer_shape(self) -> Place:
        """Voxels it may read, along each axis."""
        return tuple(stop - start for start, stop in zip(self.outer_start, self.outer_stop, strict=True))

    def __str__(self) -> str:
        box = ", ".join(f"{start}:{stop}" for start, stop in zip(self.start, self.stop, strict=True))
        return f"block ({', '.join(map(str, self.index))}) at [{box}]"


def plan_blocks(shape: Sequence[int], block: int | Sequence[int], halo: int | Sequence[int] = 0) -> tuple[Block, ...]:
    """Cut a volume into blocks that cover it exactly once, in raster order (the last axis changes fastest).

    Args:
        shape: voxels of the volume along each axis; any number of axes.
        block: voxels of a block, one number or one an axis. Blocks at the end of an axis may be smaller.
        halo: voxels that a block may read beyond its own on either side, one number or one an axis; cut off at the
            volume's faces.

    Returns:
        The plan: always the same for the same arguments.

    Raises:
        TypeError: something else than whole numbers.
        ValueError: a wrong number of values, a side or block below 1, a negative halo.

    Example:
        >>> plan = plan_blocks((4, 10), (4, 6), halo=1)
        >>> [str(block) for block in plan]
        ['block (0, 0) at [0:4, 0:6]', 'block (0, 1) at [0:4, 6:10]']
        >>> plan[1].outer, plan[1].within
        ((slice(0, 4, None), slice(5, 10, None)), (slice(0, 4, None), slice(1, 5, None)))
    """
    shape = whole_numbers("shape", shape, None, 1)
    size = whole_numbers("block", block, len(shape), 1)
    halo = whole_numbers("halo", halo, len(shape), 0)
    cuts = [
        [
            (number, start, min(start + step, length), max(start - margin, 0), min(start + step + margin, length))
            for number, start in enumerate(range(0, length, step))
        ]
        for length, step, margin in zip(shape, size, halo, strict=True)
    ]
    return tuple(Block(*zip(*parts, strict=True)) for parts in itertools.product(*cuts))


def plan_shape(plan: Sequence[Block]) -> Place:
    """Shape of the volume that a whole plan covers.

    Raises:
        ValueError: a plan without blocks.

    Example:
        >>> plan_shape(plan_blocks((4, 10), 3))
        (4, 10)
    """
    if not plan:
        raise ValueError("The plan has no blocks.")
    return tuple(max(stops) for stops in zip(*(block.stop for block in plan), strict=True))


def plan_fingerprint(plan: Sequence[Block]) -> str:
    """SHA-256 of a plan: of every block's place, halo included.

    Example:
        >>> plan_fingerprint(plan_blocks((4, 10), 3)) == plan_fingerprint(plan_blocks((4, 10), 3, halo=1))
        False
    """
    digest = hashlib.sha256()
    for block in plan:
        digest.update(json.dumps([block.index, block.start, block.stop, block.outer_start, block.outer_stop]).encode())
    return digest.hexdigest()


def shard_of(plan: Sequence[Block], job: int, jobs: int) -> tuple[Block, ...]:
    """The share of one job of several: block k is done by job k mod `jobs` (round-robin, as in seed 001).

    Raises:
        ValueError: `job` is not one of 0 ... jobs - 1.

    Example:
        >>> [block.index for block in shard_of(plan_blocks((10,), 2), 1, 2)]
        [(1,), (3,)]
    """
    (job,), (jobs,) = whole_numbers("shard", [job], 1, 0), whole_numbers("of", [jobs], 1, 1)
    if job >= jobs:
        raise ValueError(f"shard is {job}, but of {jobs} jobs the last is {jobs - 1}: they are counted from 0.")
    return tuple(plan[job::jobs])


def _slices(start: Place, stop: Place) -> Box:
    return tuple(slice(low, high) for low, high in zip(start, stop, strict=True))


def whole_numbers(name: str, values: int | Sequence[int], axes: int | None, smallest: int) -> Place:
    """One whole number an axis; a single one stands for all, if the number of axes is known.

    Raises:
        TypeError: something else than whole numbers.
        ValueError: a wrong number of values, or one below `smallest`.

    Example:
        >>> whole_numbers("halo", 2, 3, 0)
        (2, 2, 2)
    """
    expected = f"{'one whole number or ' if axes else ''}one whole number an axis"
    try:
        single = hasattr(values, "__index__") and axes is not None
        numbers = (operator.index(values),) * axes if single else tuple(operator.index(value) for value in values)
    except TypeError as error:
        raise TypeError(f"{name} must be {expected}, got {values!r}.") from error
    if not numbers or (axes is not None and len(numbers) != axes):
        raise ValueError(f"{name} must be {expected}, that is {axes or 'at least one'}, got {numbers}.")
    if min(numbers) < smallest:
        raise ValueError(f"{name} must be at least {smallest} along each axis, got {numbers}.")
    return numbers
