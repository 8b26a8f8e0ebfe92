"""An array or Volume as Neuroglancer's server wants it: read piece by piece, in a type that the browser knows."""

from __future__ import annotations

from typing import Any

import numpy as np

MESH_VOXELS = 2**27  # meshes are made from the whole label array in memory: up to 1 GiB of uint64
SAMPLE_VOXELS = 2**24
MOST_SEGMENTS = 200


class ServedArray:
    """A lazy (z, y, x) view of a volume, with every piece turned into a type that Neuroglancer reads.

    Labels become uint32 or uint64, images uint8, uint16, uint32, uint64 or float32. `index` picks one channel of a
    (c, z, y, x) volume, or with a slice several, which are always read together.

    Example:
        >>> served = ServedArray(np.ones((2, 4, 4, 4), np.float16), index=1)
        >>> served.shape, served[:2].dtype
        ((4, 4, 4), dtype('float32'))
    """

    def __init__(self, volume: Any, *, labels: bool = False, index: int | slice | None = None) -> None:
        self._volume, self._index = volume, index
        self.shape = tuple(int(size) for size in (volume.shape if index is None else volume.shape[1:]))
        if isinstance(index, slice):
            self.shape = (len(range(volume.shape[0])[index]), *self.shape)
        self.ndim = len(self.shape)
        self.source_dtype = np.dtype(volume.dtype)
        self.dtype = served_type(self.source_dtype, labels=labels)

    def __getitem__(self, item: Any) -> np.ndarray:
        item = item if isinstance(item, tuple) else (item,)
        if isinstance(self._index, slice):
            return np.asarray(self._volume[(self._index, *item[1:])])[item[0]].astype(self.dtype, copy=False)
        if self._index is not None:
            item = (self._index, *item)
        return np.asarray(self._volume[item]).astype(self.dtype, copy=False)

    def transpose(self) -> np.ndarray:
        """The whole array as (x, y, z), which is what the mesh generator asks for."""
        if int(np.prod(self.shape)) > MESH_VOXELS:
            from neuroglancer.local_volume import MeshesNotSupportedForVolume

            raise MeshesNotSupportedForVolume
        return self[...].transpose()


def served_type(dtype: np.dtype, *, labels: bool) -> np.dtype:
    """The nearest type that Neuroglancer reads.

    Example:
        >>> served_type(np.dtype(np.int64), labels=True), served_type(np.dtype(bool), labels=False)
        (dtype('uint64'), dtype('uint8'))
    """
    if labels:
        return np.dtype(np.uint32 if dtype.itemsize <= 2 or dtype == np.uint32 else np.uint64)
    if dtype.kind == "u":
        return dtype
    return np.dtype(np.uint8 if dtype.kind == "b" else np.float32)


def find_segments(labels: Any, *, most: int = MOST_SEGMENTS) -> list[int]:
    """Ids of the largest objects, largest first; in a volume above 16 million voxels, of a sample of its sections.

    Raises:
        ValueError: a label is negative.

    Example:
        >>> find_segments(np.array([[[0, 5, 5, 2**63]]], np.uint64))
        [5, 9223372036854775808]
    """
    plane = max(int(np.prod(labels.shape[1:])), 1)
    sections = max(SAMPLE_VOXELS // plane, 1)
    step = -(-labels.shape[0] // sections)
    totals: dict[int, int] = {}
    for section in range(step // 2, labels.shape[0], step):
        ids, counts = np.unique(np.asarray(labels[section]), return_counts=True)
        for one, count in zip(ids.tolist(), counts.tolist(), strict=True):
            totals[one] = totals.get(one, 0) + count
    if totals and min(totals) < 0:
        raise ValueError(f"Labels must not be negative; the smallest here is {min(totals)}.")
    totals.pop(0, None)
    return [int(one) for one in sorted(totals, key=lambda one: (-totals[one], one))[:most]]


def value_range(volume: Any, kind: str) -> tuple[float, float]:
    """Values drawn as black and as full brightness, from the middle section.

    An image is stretched between its 0.5 and 99.5 percentiles. A prediction channel runs from 0 to 1, or to 255 if it
    is uint8, so that channels stay comparable; one that leaves [0, 1] runs from its smallest to its largest value.
    """
    dtype = np.dtype(volume.dtype)
    if kind == "channel" and dtype == np.uint8:
        return 0.0, 255.0
    section = np.asarray(volume[volume.shape[0] // 2]).astype(np.float32)
    section = section[np.isfinite(section)]
    low, high = (float(section.min()), float(section.max())) if section.size else (0.0, 1.0)
    if kind == "channel" and low >= 0 and high <= 1:
        return 0.0, 1.0
    if kind == "image" and section.size:
        low, high = (float(end) for end in np.percentile(section, (0.5, 99.5)))
    return low, high if high > low else low + 1.0
