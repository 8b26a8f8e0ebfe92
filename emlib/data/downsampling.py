"""Coarser voxels: images by the mean of a block, labels by the voxel in its middle."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from emlib.volume import Volume


def downsample_image(image: np.ndarray, factors: Sequence[int]) -> np.ndarray:
    """Mean over blocks of `factors` voxels, rounded for whole-number types; an incomplete last block is left out.

    Example:
        >>> downsample_image(np.array([[[0, 2, 9], [4, 6, 9]]], np.uint8), (1, 2, 2))
        array([[[3]]], dtype=uint8)
    """
    kept = _whole_blocks(image, factors)
    sides = [part for n, f in zip(kept.shape, factors, strict=True) for part in (n // f, f)]
    mean = kept.reshape(sides).mean(axis=tuple(range(1, 2 * kept.ndim, 2)), dtype=np.float64)
    return (np.rint(mean) if image.dtype.kind in "uib" else mean).astype(image.dtype)


def downsample_labels(labels: np.ndarray, factors: Sequence[int]) -> np.ndarray:
    """The label in the middle of each block: never a mixture of ids.

    Example:
        >>> downsample_labels(np.array([[[1, 2, 9], [3, 4, 9]]]), (1, 2, 2))
        array([[[4]]])
    """
    kept = _whole_blocks(labels, factors)
    return kept[tuple(slice(f // 2, None, f) for f in factors)].copy()


class DownsampledVolume:
    """A volume seen through `downsample_image` or `downsample_labels`, read some sections at a time.

    Attributes:
        shape, dtype, ndim, voxel_size: of the coarse volume; voxel_size in nm (z, y, x) or None.

    Example:
        >>> coarse = DownsampledVolume(Volume(np.ones((4, 6, 6), np.uint8), (30, 8, 8)), (1, 2, 2), labels=False)
        >>> coarse.shape, coarse.voxel_size, coarse[1:3].shape
        ((4, 3, 3), (30.0, 16.0, 16.0), (2, 3, 3))
    """

    def __init__(self, volume: Volume, factors: Sequence[int], *, labels: bool) -> None:
        self.shape = tuple(n // f for n, f in zip(volume.shape, factors, strict=True))
        if 0 in self.shape:
            raise ValueError(f"A volume of shape {volume.shape} cannot be downsampled by {tuple(factors)}.")
        self.dtype, self.ndim = volume.dtype, volume.ndim
        size = volume.voxel_size
        self.voxel_size = None if size is None else tuple(s * f for s, f in zip(size, factors, strict=True))
        self._volume, self._factors = volume, tuple(factors)
        self._reduce = downsample_labels if labels else downsample_image

    def __getitem__(self, sections: int | slice) -> np.ndarray:
        """Sections of the coarse volume: an index or a slice with step 1 along z."""
        f = self._factors[0]
        if isinstance(sections, slice):
            start, stop, _ = sections.indices(self.shape[0])
            return self._reduce(self._volume[start * f : stop * f], self._factors)
        return self._reduce(self._volume[sections * f : (sections + 1) * f], self._factors)[0]


def _whole_blocks(array: np.ndarray, factors: Sequence[int]) -> np.ndarray:
    if len(factors) != array.ndim or min(factors) < 1:
        raise ValueError(f"factors is {tuple(factors)}, but {array.ndim} whole numbers of at least 1 were expected.")
    return array[tuple(slice(0, n // f * f) for n, f in zip(array.shape, factors, strict=True))]
