"""How one training patch is chosen: where it lies, and whether it shows enough."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from emlib.data.volume_pairs import Triple, VolumePair, whole_triple

TRIALS = 50


@dataclass(frozen=True)
class PatchRule:
    """What patches are wanted.

    Attributes:
        size: voxels (z, y, x) of a patch.
        padding: reflected margin around the volume in which a patch may lie, voxels (z, y, x).
        min_foreground: share of object voxels below which a patch may be rejected.
        rejection_probability: share of such patches that are rejected.
        min_voxels: the same as a number of object voxels; a patch has enough if it reaches both.
        min_valid: a patch is always rejected unless a larger share of its voxels than this is valid; of volumes that
            say which are.
    """

    size: Triple
    padding: Triple = (0, 0, 0)
    min_foreground: float = 0.0
    rejection_probability: float = 0.95
    min_voxels: int = 0
    min_valid: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", whole_triple(self.size, "patch size", least=1))
        object.__setattr__(self, "padding", whole_triple(self.padding, "padding", least=0))
        for name in ("min_foreground", "rejection_probability", "min_valid"):
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise ValueError(f"{name} is {value!r}, but a share from 0 to 1 was expected.")
        if not isinstance(self.min_voxels, int) or self.min_voxels < 0:
            raise ValueError(f"min_voxels is {self.min_voxels!r}, but a whole number from 0 was expected.")

    def starts(self, shape: Sequence[int]) -> list[range]:
        """Where a patch may start on each axis of a volume; where it is larger than the volume, one central place."""
        ranges = []
        for length, size, margin in zip(shape, self.size, self.padding, strict=True):
            room = length + 2 * margin - size
            ranges.append(range(-margin, room - margin + 1) if room >= 0 else range(*_central(length, size)))
        return ranges

    def positions(self, shape: Sequence[int]) -> int:
        """Number of places for a patch in a volume of this shape."""
        return int(np.prod([len(places) for places in self.starts(shape)], dtype=np.float64))


@dataclass(frozen=True)
class Patch:
    """A chosen patch: which volume, its first voxel there, and its labels (int64)."""

    volume: int
    start: Triple
    labels: np.ndarray


def draw_patch(random: np.random.Generator, pairs: Sequence[VolumePair], rule: PatchRule) -> Patch:
    """Draw a volume in proportion to its number of places, and a place uniformly, until a patch is not rejected.

    After 50 rejected patches the one with the largest share of object voxels is taken, of those that are valid; if none
    is, the one with the largest share of valid voxels.
    """
    counts = np.array([rule.positions(pair.shape) for pair in pairs], dtype=np.float64)
    best, most = None, (-1.0, -1.0)
    for _ in range(TRIALS):
        volume = int(random.choice(len(pairs), p=counts / counts.sum())) if len(pairs) > 1 else 0
        start = tuple(places[random.integers(len(places))] for places in rule.starts(pairs[volume].shape))
        patch = Patch(volume, start, _labels(pairs[volume], start, rule.size))
        voxels = np.count_nonzero(patch.labels)
        share = voxels / patch.labels.size
        shows_enough = share >= rule.min_foreground and voxels >= rule.min_voxels
        valid = _valid_share(pairs[volume], start, rule)
        if valid == 1 and (shows_enough or random.random() >= rule.rejection_probability):
            return patch
        if (valid, share) > most:
            best, most = patch, (valid, share)
    return best


def read_image(pair: VolumePair, start: Triple, size: Triple) -> np.ndarray:
    """The image at a patch: uint8 (z, y, x), the caller's own copy."""
    return np.array(pair.image.read_box(start, _stop(start, size), padding="reflect"), order="C")


def _valid_share(pair: VolumePair, start: Triple, rule: PatchRule) -> float:
    """Share of valid voxels; 1 if there are enough of them."""
    if pair.valid is None:
        return 1.0
    mask = pair.valid.read_box(start, _stop(start, rule.size), padding="reflect")
    share = np.count_nonzero(mask) / mask.size
    return 1.0 if share > rule.min_valid else share


def _labels(pair: VolumePair, start: Triple, size: Triple) -> np.ndarray:
    labels = pair.labels.read_box(start, _stop(start, size), padding="reflect")
    if labels.dtype.kind == "i" and labels.min() < 0:
        raise ValueError(f"The labels hold the negative id {labels.min()}, but ids start at 0 (background).")
    if labels.dtype == np.uint64 and labels.max() > np.iinfo(np.int64).max:
        # int64 cannot hold these ids; within a patch only which voxels share one matters.
        import fastremap

        labels = fastremap.renumber(labels, preserve_zero=True, in_place=False)[0]
    return np.array(labels, dtype=np.int64, order="C")


def _stop(start: Triple, size: Triple) -> Triple:
    return tuple(first + length for first, length in zip(start, size, strict=True))


def _central(length: int, size: int) -> tuple[int, int]:
    start = -((size - length) // 2)
    return start, start + 1
