"""Test-time augmentation of affinities: to which channel and which voxel a turned affinity belongs."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from emlib.inference.symmetries import Symmetry
from emlib.inference.windows import AXES
from emlib.targets import VoxelPair

Step = tuple[int, int, int]


class AffinityRule:
    """Turns affinity channels back after a flip or a transposition of the image; a `ChannelRule`.

    An affinity says something about two voxels, and is stored at one of them. In a flipped image the step between the
    two points the other way, so the same two voxels are stored at the other end; transposed, they belong to another
    channel. Hence every channel takes the values of the channel that holds its voxel pairs in the transformed image,
    read one step further on where they are stored at the other end.

    No image, however it is turned, tells about a pair that leaves the window: see `known`.

    Args:
        pairs: for each channel its voxel pair, or None for a channel without direction (a mask, a contour).

    Example:
        >>> rule = AffinityRule(as_pairs([(0, 0, -1)]))
        >>> flip_x = Symmetry((False, False, True))
        >>> image = torch.tensor([5, 5, 5, 9])
        >>> flipped = torch.tensor([0.0, 0.0, 1.0, 1.0])  # 9 5 5 5: equal to the voxel before?
        >>> flip_x.invert(flipped.reshape(1, 1, 1, 1, 4), rule)
        tensor([[[[[0., 1., 1., 0.]]]]])
        >>> rule.known((1, 1, 4)).flatten()
        tensor([False,  True,  True,  True])
    """

    def __init__(self, pairs: Sequence[VoxelPair | None]) -> None:
        self.pairs = tuple(pairs)
        self._sources: dict[Symmetry, list[tuple[int, Step]]] = {}

    def __repr__(self) -> str:
        return f"AffinityRule({[None if pair is None else str(pair) for pair in self.pairs]})"

    def __call__(self, prediction: torch.Tensor, symmetry: Symmetry) -> torch.Tensor:
        """The prediction (n, c, z, y, x), its voxels already moved back, with its channels exchanged and shifted.

        What is shifted in from outside is 0.

        Raises:
            ValueError: there is no channel for a turned pair, or the number of channels is another.
        """
        if prediction.shape[1] != len(self.pairs):
            raise ValueError(f"The prediction has {prediction.shape[1]} channels, but {len(self.pairs)} offsets.")
        sources = self.sources(symmetry)
        if all(source == (channel, (0, 0, 0)) for channel, source in enumerate(sources)):
            return prediction
        turned = torch.zeros_like(prediction)
        for channel, (source, shift) in enumerate(sources):
            here, there = _overlap(prediction.shape[2:], shift)
            turned[:, channel][(..., *here)] = prediction[:, source][(..., *there)]
        return turned

    def sources(self, symmetry: Symmetry) -> list[tuple[int, Step]]:
        """For each channel the channel of the turned prediction that it takes, and how many voxels further on.

        Raises:
            ValueError: the symmetry turns a channel's pairs into pairs that no channel holds.
        """
        if symmetry not in self._sources:
            self._sources[symmetry] = [self._source(channel, symmetry) for channel in range(len(self.pairs))]
        return self._sources[symmetry]

    def known(self, window: Sequence[int]) -> torch.Tensor:
        """Where in a window both voxels of the pair lie inside it; bool (c, z, y, x).

        Every symmetry maps the window onto itself, so these are the same for all.
        """
        inside = torch.ones((len(self.pairs), *window), dtype=torch.bool)
        for axis, masks in enumerate(inside_along_axes(self.pairs, window)):
            inside &= masks.reshape(len(self.pairs), *[-1 if a == axis else 1 for a in range(3)])
        return inside

    def _source(self, channel: int, symmetry: Symmetry) -> tuple[int, Step]:
        pair = self.pairs[channel]
        if pair is None:
            return channel, (0, 0, 0)
        found = []
        for other, candidate in enumerate(self.pairs):
            if candidate is None or candidate.group != pair.group:
                continue
            ends = [symmetry.invert_vector(end) for end in (candidate.first, candidate.second)]
            for first, second in (ends, ends[::-1]):
                shift = _minus(pair.first, first)
                if shift == _minus(pair.second, second):
                    found.append((sum(map(abs, shift)), other, shift))
        if not found:
            back = " to ".join(str(_turned(end, symmetry)) for end in (pair.first, pair.second) if any(end))
            raise ValueError(
                f"Test-time augmentation '{symmetry.name}' turns channel {channel}, along {pair}, into an affinity "
                f"along {back}, which no channel holds: add this offset to the target, or choose another augmentation."
            )
        least = min(length for length, _, _ in found)
        nearest = [(other, shift) for length, other, shift in found if length == least]
        # Several channels may hold the same pairs, each learned in its own way: the n-th one takes the n-th one.
        return nearest[min(self.pairs[:channel].count(pair), len(nearest) - 1)]


def as_pairs(offsets: Sequence[Sequence[int] | VoxelPair | None]) -> tuple[VoxelPair | None, ...]:
    """Voxel pairs from offsets; pairs, and None for a channel without direction, stay as they are.

    Raises:
        ValueError: an offset is not three whole numbers, or is (0, 0, 0).

    Example:
        >>> [str(pair) for pair in as_pairs([(-1, 0, 0), None])]
        ['(-1, 0, 0)', 'None']
    """
    return tuple(
        entry if entry is None or isinstance(entry, VoxelPair) else VoxelPair.of_offset(entry) for entry in offsets
    )


def inside_along_axes(pairs: Sequence[VoxelPair | None], window: Sequence[int]) -> list[torch.Tensor]:
    """For each axis, where along it the pairs lie inside a window: three bool tensors (c, size)."""
    masks = []
    for axis in range(len(AXES)):
        index = torch.arange(window[axis])
        ends = [(0,) if pair is None else (pair.first[axis], pair.second[axis]) for pair in pairs]
        inside = [(index + min(e) >= 0) & (index + max(e) < window[axis]) for e in ends]
        masks.append(torch.stack(inside))
    return masks


def _turned(vector: Step, symmetry: Symmetry) -> Step:
    """What is `vector` in the original block, seen in the transformed block: the inverse of `invert_vector`."""
    z, y, x = (-part if flip else part for part, flip in zip(vector, symmetry.flips, strict=True))
    return (z, x, y) if symmetry.transpose else (z, y, x)


def _minus(one: Step, other: Step) -> Step:
    return tuple(a - b for a, b in zip(one, other, strict=True))


def _overlap(shape: Sequence[int], shift: Step) -> tuple[list[slice], list[slice]]:
    """Slices of the voxels v for which v + shift lies inside, and of v + shift."""
    here, there = [], []
    for size, step in zip(shape, shift, strict=True):
        first, last = min(size, max(0, -step)), max(0, size - max(0, step))
        here.append(slice(first, max(first, last)))
        there.append(slice(first + step, max(first, last) + step) if first < last else slice(0, 0))
    return here, there
