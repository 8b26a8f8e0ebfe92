"""Random training patches from whole volumes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from emlib.data.patch_sampling import PatchRule, draw_patch, read_image
from emlib.data.volume_pairs import Readable, pair_volumes
from emlib.randomness import numpy_generator


class PatchDataset:
    """Patches at random places of one or several volumes; item i depends on the seed and i only.

    Workers, their number and what was read before have no influence, so a resumed run sees the samples of an
    uninterrupted one. Works as a `torch.utils.data.Dataset`.

    Args:
        image: uint8 volume (z, y, x), Volume or array, or a list of them; read lazily.
        labels: volumes of whole numbers of the same shapes.
        size: voxels (z, y, x) of a patch. On an axis where the volume is smaller, image and labels are continued by
            reflection, with the volume in the middle.
        seed: of the run.
        length: number of items.
        min_foreground: share of object voxels below which a patch is rejected ...
        rejection_probability: ... with this probability; after 50 rejections the fullest of them is taken.
        min_voxels: number of object voxels below which the same happens.
        valid: volumes of the same shapes, not 0 where the labels are known; None: everywhere.
        min_valid: patches are rejected unless a larger share than this is valid.
        padding: reflected margin (z, y, x) around the volume in which patches may lie.

    Items:
        dict of image (uint8, size), labels (int64, size; ids as in the volume, unless they exceed 2^63 - 1: then
        1 ... n within the patch), position (first voxel in the volume, negative in the margin), volume (its number)
        and index.

    Raises:
        TypeError: an image that is not uint8, or labels that are not whole numbers.
        ValueError: shapes that differ, an empty volume, or an argument out of range.

    Example:
        >>> image, labels = np.zeros((8, 32, 32), np.uint8), np.ones((8, 32, 32), np.uint32)
        >>> patches = PatchDataset(image, labels, size=(4, 16, 16), seed=0, length=100)
        >>> patches[7]["image"].shape, patches[7]["position"] == patches[7]["position"]
        ((4, 16, 16), True)
    """

    def __init__(
        self,
        image: Readable | Sequence[Readable],
        labels: Readable | Sequence[Readable],
        *,
        size: Sequence[int],
        seed: int,
        length: int,
        min_foreground: float = 0.0,
        rejection_probability: float = 0.95,
        min_voxels: int = 0,
        valid: Readable | Sequence[Readable] | None = None,
        min_valid: float = 0.0,
        padding: Sequence[int] = (0, 0, 0),
    ) -> None:
        self._pairs = pair_volumes(image, labels, valid)
        self._rule = PatchRule(size, padding, min_foreground, rejection_probability, min_voxels, min_valid)
        self._seed, self._length = seed, checked_length(length)

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> dict[str, Any]:
        index = checked_index(index, self._length)
        random = numpy_generator(self._seed, "patch", index)
        patch = draw_patch(random, self._pairs, self._rule)
        return {
            "image": read_image(self._pairs[patch.volume], patch.start, self._rule.size),
            "labels": patch.labels,
            "position": patch.start,
            "volume": patch.volume,
            "index": index,
        }

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return (self[index] for index in range(self._length))


def checked_length(length: int) -> int:
    """The number of items, at least one.

    Raises:
        ValueError: anything else.
    """
    if not isinstance(length, int | np.integer) or length < 1:
        raise ValueError(f"The length is {length!r}, but a whole number of items from 1 was expected.")
    return int(length)


def checked_index(index: int, length: int) -> int:
    """An item's number, counted from the end if negative.

    Raises:
        IndexError: there is no such item.
    """
    if not -length <= index < length:
        raise IndexError(f"There is no item {index}; the dataset has {length}.")
    return int(index) % length
