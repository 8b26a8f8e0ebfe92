"""Which two voxels an affinity channel compares: what has to be known to flip, to shift and to segment affinities."""

from __future__ import annotations

from dataclasses import dataclass

from emlib.targets.affinity import checked_offset
from emlib.targets.options import channel_count, parse_option

Step = tuple[int, int, int]
NONE: Step = (0, 0, 0)


@dataclass(frozen=True)
class VoxelPair:
    """The two voxels that an affinity channel compares, as (z, y, x) steps from the voxel where the value is stored.

    Attributes:
        first, second: the steps. Which of the two comes first makes no difference.
        group: name of the target that the channel belongs to; a symmetry exchanges channels of one group only.

    Raises:
        ValueError: the value is stored neither at one of the two voxels nor in the middle between them.

    Example:
        >>> VoxelPair.of_offset((0, -1, 0))
        VoxelPair(first=(0, 0, 0), second=(0, -1, 0), group='')
    """

    first: Step
    second: Step
    group: str = ""

    def __post_init__(self) -> None:
        ends = (self.first, self.second)
        if self.first == self.second or (NONE not in ends and any(a + b for a, b in zip(*ends, strict=True))):
            raise ValueError(f"The pair {self.first}, {self.second} holds neither (0, 0, 0) nor two opposite steps.")

    @classmethod
    def of_offset(cls, offset: Step, group: str = "") -> VoxelPair:
        """The pair v, v + offset.

        Raises:
            ValueError: the offset is not three whole numbers, or is (0, 0, 0).
        """
        return cls(NONE, checked_offset(offset), group)

    @property
    def offset(self) -> Step | None:
        """The offset o of a pair v, v + o; None if neither voxel is the one where the value is stored."""
        if NONE not in (self.first, self.second):
            return None
        return self.second if self.first == NONE else self.first

    def __str__(self) -> str:
        """For messages: "(0, -1, 0)", or "(0, -1, 0) to (0, 1, 0)"."""
        return str(self.offset) if self.offset else f"{self.first} to {self.second}"


def affinity_pairs(option: str, group: str = "") -> tuple[VoxelPair | None, ...]:
    """The voxel pair of every channel of a target option; None for a channel without direction.

    Option "2" compares v with v - 1 along each axis, "2-dz-dy-dx-v1" v with v - d, "2-dz-dy-dx-v2" v - d with v + d.

    Raises:
        ValueError: unknown option.

    Example:
        >>> [str(pair) for pair in affinity_pairs("2-1-3-3-v2")]
        ['(-1, 0, 0) to (1, 0, 0)', '(0, -3, 0) to (0, 3, 0)', '(0, 0, -3) to (0, 0, 3)']
        >>> affinity_pairs("4-2-1")
        (None,)
    """
    kind, fields = parse_option(option)
    if kind != "2":
        return (None,) * channel_count(option)
    pairs = []
    for axis, length in enumerate([int(text) for text in fields[:3]] if fields[0] else [1, 1, 1]):
        before, behind = (tuple(sign * length * (a == axis) for a in range(3)) for sign in (-1, 1))
        pairs.append(VoxelPair(before, behind, group) if fields[3] == "v2" else VoxelPair(NONE, before, group))
    return tuple(pairs)


def affinity_offsets(option: str) -> tuple[Step | None, ...]:
    """The (z, y, x) offset of every channel of a target option; None for a channel without direction.

    Raises:
        ValueError: unknown option; or "2-dz-dy-dx-v2", whose value lies in the middle of its pair, not at one end.

    Example:
        >>> affinity_offsets("2-2-9-9-v1")
        ((-2, 0, 0), (0, -9, 0), (0, 0, -9))
    """
    pairs = affinity_pairs(option)
    for pair in pairs:
        if pair is not None and pair.offset is None:
            raise ValueError(
                f"Option '{option}' compares v - d with v + d and has no offset from v; see affinity_pairs."
            )
    return tuple(None if pair is None else pair.offset for pair in pairs)
