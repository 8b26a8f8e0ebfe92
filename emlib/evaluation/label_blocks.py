"""Label volumes at the door, and block by block: arrays, zarr, HDF5 and Volumes look the same to the scores."""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Iterator
from typing import Any

import numpy as np

# Voxels converted to uint64 at a time: two such buffers (16 MB) are all that a score needs above its input.
BLOCK_VOXELS = 2**20


def check_labels(labels: Any, name: str) -> Any:
    """`labels` if it is a label volume that can be sliced (an array otherwise), or one sentence that says why not.

    Lazy volumes (with .shape, .dtype and slicing) are not loaded; negative ids are found when blocks are read.

    Raises:
        TypeError: not integers, or a path.
        ValueError: no voxels.
    """
    if isinstance(labels, str | os.PathLike):
        raise TypeError(f"{name} is a path; open it first: emlib.volume.open_volume({str(labels)!r}).")
    if not (hasattr(labels, "shape") and isinstance(getattr(labels, "dtype", None), np.dtype)):
        labels = np.asarray(labels)
    if labels.dtype.kind not in "iu":
        raise TypeError(f"{name} must be integers (0 = background, one id per object), got {labels.dtype}.")
    if len(labels.shape) == 0 or 0 in labels.shape:
        raise ValueError(f"{name} is empty: its shape is {tuple(labels.shape)}.")
    return labels


def check_pair(segmentation: Any, truth: Any) -> tuple[Any, Any]:
    """Both label volumes, checked, of the same shape."""
    segmentation = check_labels(segmentation, "segmentation")
    truth = check_labels(truth, "truth")
    same_shape(segmentation, truth)
    return segmentation, truth


def same_shape(segmentation: Any, truth: Any) -> None:
    """Raise a ValueError if the shapes differ."""
    if tuple(segmentation.shape) != tuple(truth.shape):
        raise ValueError(
            "segmentation and truth must have the same shape, "
            f"got {tuple(segmentation.shape)} and {tuple(truth.shape)}."
        )


def iterate_boxes(shape: tuple[int, ...], chunks: tuple[int, ...] | None = None) -> Iterator[tuple[slice, ...]]:
    """Boxes that cover `shape` once, of about `BLOCK_VOXELS` voxels, or whole chunks where the data is chunked.

    Example:
        >>> len(list(iterate_boxes((2, 1024, 2048))))
        4
    """
    if chunks is None or len(chunks) != len(shape):
        size, left = [1] * len(shape), BLOCK_VOXELS
        for axis in reversed(range(len(shape))):
            size[axis] = max(1, min(shape[axis], left))
            left //= size[axis]
    else:
        # As many chunks along the last axis as fit, so that no chunk is decoded twice and no plane is loaded whole.
        size = [min(step, length) for step, length in zip(chunks, shape, strict=True)]
        size[-1] = min(shape[-1], size[-1] * max(1, BLOCK_VOXELS // math.prod(size)))
    starts = [range(0, length, step) for length, step in zip(shape, size, strict=True)]
    for corner in itertools.product(*starts):
        yield tuple(
            slice(start, min(start + step, length)) for start, step, length in zip(corner, size, shape, strict=True)
        )


def chunks_of(*volumes: Any) -> tuple[int, ...] | None:
    """The chunk shape of the first chunked volume among these, None for plain arrays."""
    for volume in volumes:
        chunks = getattr(volume, "chunks", None)
        if chunks is not None and all(isinstance(step, int | np.integer) for step in chunks):
            return tuple(int(step) for step in chunks)
    return None


def read_block(labels: Any, box: tuple[slice, ...], name: str) -> np.ndarray:
    """A box of `labels` as C-contiguous uint64.

    Raises:
        ValueError: an id is negative.
    """
    block = np.asarray(labels[box])
    if block.dtype.kind == "i" and block.min() < 0:
        raise ValueError(f"{name} must not have negative ids, got {block.min()}.")
    return np.ascontiguousarray(block, dtype=np.uint64)
