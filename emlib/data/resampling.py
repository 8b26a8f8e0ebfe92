"""Volumes with coarser or finer voxels: for networks that see larger objects, and for viewing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from emlib.formats.resampled import CoarseSource, FineSource
from emlib.volume import Volume, open_volume


def downsample_volume(
    volume: Volume | np.ndarray,
    factors: Sequence[int],
    *,
    labels: bool,
    rule: str = "majority",
    incomplete: str = "keep",
) -> Volume:
    """A coarser volume that is computed where it is read; memory does not grow with the volume.

    Args:
        volume: (z, y, x), image or labels; Volume or array.
        factors: voxels (z, y, x) that become one, for example (2, 8, 8) for viewing.
        labels: whether the voxels are ids.
        rule: for labels: "majority", "first" (every n-th voxel, the EM mitochondria pipeline's Upsample.py, which in
            fact makes volumes smaller) or "middle"; see `downsample_labels`. Images are averaged.
        incomplete: "keep" or "drop" blocks that the end of an axis cuts short.

    Returns:
        A Volume with larger voxels; `save_volume` or `write_precomputed` takes it block by block.

    Raises:
        TypeError: `labels` for voxels that are not whole numbers.
        ValueError: unusable factors, an unknown rule, or nothing left.

    Example:
        >>> fine = Volume(np.ones((4, 16, 20), np.uint32), voxel_size=(30, 8, 8))
        >>> coarse = downsample_volume(fine, (2, 8, 8), labels=True)
        >>> coarse.shape, coarse.voxel_size, int(coarse[:].sum())
        ((2, 2, 3), (60.0, 64.0, 64.0), 12)
    """
    volume = open_volume(volume)
    source = CoarseSource(volume, factors, rule=rule if labels else None, incomplete=incomplete)
    size = volume.voxel_size
    size = None if size is None else tuple(length * factor for length, factor in zip(size, source.factors, strict=True))
    return Volume(source, size, volume.axes, volume.attributes)


def upsample_volume(
    volume: Volume | np.ndarray, factors: Sequence[int], *, shape: Sequence[int] | None = None
) -> Volume:
    """A finer volume in which every voxel is repeated, computed where it is read.

    Args:
        volume: (z, y, x), Volume or array.
        factors: voxels (z, y, x) that one becomes.
        shape: of the fine volume that `downsample_volume` was given; None takes whole blocks.

    Raises:
        ValueError: unusable factors, or a shape that the volume does not cover.

    Example:
        >>> upsample_volume(np.array([[[4, 5]]]), (2, 1, 2), shape=(1, 1, 3))[:].tolist()
        [[[4, 4, 5]]]
    """
    volume = open_volume(volume)
    source = FineSource(volume, factors, shape=shape)
    size = volume.voxel_size
    size = None if size is None else tuple(length / factor for length, factor in zip(size, source.factors, strict=True))
    return Volume(source, size, volume.axes, volume.attributes)
