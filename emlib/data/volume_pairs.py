"""The door of the patch datasets: an image and its labels that belong together, one pair or several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from emlib.volume import Volume

Readable = Volume | np.ndarray
Triple = tuple[int, int, int]


@dataclass(frozen=True)
class VolumePair:
    """An image (uint8) and its labels (whole numbers) of the same shape, both (z, y, x) and read lazily.

    `valid` is not 0 where the labels are known; None: everywhere.
    """

    image: Volume
    labels: Volume
    valid: Volume | None = None

    @property
    def shape(self) -> Triple:
        """Voxels (z, y, x)."""
        return tuple(self.image.shape)


def pair_volumes(
    image: Readable | Sequence[Readable],
    labels: Readable | Sequence[Readable],
    valid: Readable | Sequence[Readable] | None = None,
) -> list[VolumePair]:
    """Check and pair images with their labels.

    Args:
        image: one uint8 volume (Volume or array), or a list of them.
        labels: as many volumes of whole numbers.
        valid: as many masks, not 0 where the labels are known; None: they are everywhere.

    Raises:
        TypeError: no volume or array, an image that is not uint8, or labels that are not whole numbers.
        ValueError: no volume, lists of unequal length, shapes that differ or lack an axis, or no voxels.
    """
    images = list(image) if isinstance(image, list | tuple) else [image]
    truths = list(labels) if isinstance(labels, list | tuple) else [labels]
    if not images or len(images) != len(truths):
        raise ValueError(f"There are {len(images)} images and {len(truths)} label volumes, but pairs were expected.")
    if valid is None:
        return [_pair(_volume(one), _volume(other)) for one, other in zip(images, truths, strict=True)]
    masks = list(valid) if isinstance(valid, list | tuple) else [valid]
    if len(masks) != len(images):
        raise ValueError(
            f"There are {len(images)} images and {len(masks)} masks of valid voxels, but pairs were expected."
        )
    parts = zip(images, truths, masks, strict=True)
    return [_pair(_volume(one), _volume(other), _volume(mask)) for one, other, mask in parts]


def whole_triple(value: Sequence[int], name: str, *, least: int) -> Triple:
    """Three whole numbers (z, y, x) of at least `least`.

    Raises:
        ValueError: anything else.
    """
    numbers = tuple(value) if isinstance(value, list | tuple | np.ndarray) else ()
    if len(numbers) != 3 or not all(isinstance(n, int | np.integer) and n >= least for n in numbers):
        raise ValueError(f"The {name} is {value!r}, but three whole numbers (z, y, x) from {least} were expected.")
    return tuple(int(number) for number in numbers)


def _volume(array: Readable) -> Volume:
    if isinstance(array, Volume):
        return array
    if isinstance(array, np.ndarray):
        return Volume(array)
    raise TypeError(f"A {type(array).__name__} was given, but a Volume or a numpy array was expected.")


def _pair(image: Volume, labels: Volume, valid: Volume | None = None) -> VolumePair:
    if len(image.shape) != 3:
        raise ValueError(f"The image has shape {tuple(image.shape)}, but a volume (z, y, x) was expected.")
    if tuple(image.shape) != tuple(labels.shape):
        raise ValueError(f"The image has shape {tuple(image.shape)}, but its labels have {tuple(labels.shape)}.")
    if image.dtype != np.uint8:
        raise TypeError(f"The image is {image.dtype}, but uint8 was expected (prepare_data scales other types).")
    if labels.dtype.kind not in "uib":
        raise TypeError(f"The labels are {labels.dtype}, but whole numbers (one per object) were expected.")
    if valid is not None and tuple(image.shape) != tuple(valid.shape):
        raise ValueError(
            f"The image has shape {tuple(image.shape)}, but its mask of valid voxels {tuple(valid.shape)}."
        )
    return VolumePair(image, labels, valid)
