"""Instances from an embedding: voxels of one object lie together in the space that a network learnt."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Real
from typing import Any

import cc3d
import edt
import numpy as np

from emlib.postprocessing.components import label_components
from emlib.postprocessing.embedding_points import (
    Points,
    foreground_points,
    group_means,
    nearest_mean,
    shift_means,
)
from emlib.postprocessing.probabilities import as_grey_levels, grey_level, voxel_count
from emlib.postprocessing.small_objects import check_labels, keep_large_and_renumber

RULES = ("mean_shift", "prototypes")


def cluster_embeddings(
    embedding: Any,
    foreground: Any,
    *,
    rule: str = "mean_shift",
    bandwidth: float = 1.5,
    seeds: Any = None,
    seed_depth: float = 2.0,
    max_distance: float | None = None,
    connected: bool = False,
    min_size: int = 0,
    voxel_size: Sequence[float] | None = None,
) -> np.ndarray:
    """Group the foreground into objects by the distance of embeddings.

    "mean_shift": until every voxel has a label, a ball of radius `bandwidth` starts at the embedding of the first
    voxel without one (in raster order) and moves to the mean of the voxels without a label in it, until it stays.
    These voxels become the next object. With embeddings trained by the discriminative loss to lie within delta_v of
    their mean and means to be 2 delta_d apart, any bandwidth from 2 delta_v to 2 (delta_d - delta_v) finds the objects;
    the default is right for delta_v = 0.5, delta_d = 1.5.

    "prototypes": the prototype of a seed is the mean of its embeddings, and every foreground voxel joins the nearest
    prototype (the smaller id of equally near ones). Without `seeds` these are the 6-connected components of the
    foreground farther than `seed_depth` from its border; a component of the foreground with no such voxel is a seed
    as a whole.

    Distances are Euclidean and computed in float32, sums in float64 in raster order: the result does not depend on the
    machine or on threads.

    Args:
        embedding: (C, Z, Y, X) or (C, Y, X), float; an array or Volume, read section by section.
        foreground: (Z, Y, X) or (Y, X), bool, or integers 0 and 1.
        rule: see above.
        bandwidth: of the mean shift, in units of the embedding.
        seeds: for "prototypes": labels of the same shape, any ids up to 2**64 - 1; what lies outside the foreground
            is not looked at.
        seed_depth: in voxels, or in nm with a voxel size.
        max_distance: for "prototypes": voxels farther from every prototype become background; None: no limit.
        connected: the 26-connected pieces of a group (8-connected in 2-D) are objects of their own. The loss tells
            objects of one training window apart, so those that lie farther from each other may well be one group.
        min_size: objects with fewer voxels become background.
        voxel_size: nm (z, y, x), for `seed_depth`; None measures in voxels.

    Returns:
        Labels of the foreground's shape, 0 = background: 1, 2, 3, ... in the order in which objects were found, or the
        ids of the given `seeds`; with `connected` 1, 2, 3, ... in raster order. uint32, or uint64 where the ids need
        it.

    Raises:
        TypeError: an embedding that is not float, a foreground that is no mask, seeds that are no labels, a number
            that is none.
        ValueError: shapes that differ, values that are not finite, a foreground of other values than 0 and 1, an
            unknown rule, seeds for a rule that has none, lengths that are not positive.

    Memory: 4 C bytes per foreground voxel, 4 bytes per voxel for the result; 8 more for seeds that are not given, and 4
    more with `connected`. Time: blocks of 64 voxels whose embeddings are all too far away are passed over.

    Source: De Brabandere et al. 2017, "Semantic instance segmentation with a discriminative loss function"; the
    published start voxel is random.

    Example:
        >>> embedding = np.array([[[0.0, 0.2, 5.0, 5.1, 0.1, 9.0]]], dtype=np.float32)
        >>> mask = np.array([[1, 1, 1, 1, 1, 0]], dtype=bool)
        >>> cluster_embeddings(embedding, mask)
        array([[1, 1, 2, 2, 1, 0]], dtype=uint32)
        >>> cluster_embeddings(embedding, mask, rule="prototypes", seeds=np.array([[0, 7, 0, 4, 0, 0]]))
        array([[7, 7, 4, 4, 7, 0]], dtype=uint32)
    """
    if rule not in RULES:
        raise ValueError(f"rule must be one of {', '.join(map(repr, RULES))}, got {rule!r}.")
    if seeds is not None and rule != "prototypes":
        raise ValueError(f"seeds are only used by rule='prototypes', but rule is {rule!r}.")
    radius = _squared(bandwidth, "bandwidth")
    limit = np.float32(np.inf) if max_distance is None else _squared(max_distance, "max_distance")
    if not isinstance(connected, bool):
        raise TypeError(f"connected must be True or False, got {connected!r}.")
    min_size = voxel_count(min_size, "min_size")
    mask = _check_mask(foreground)
    if not hasattr(embedding, "shape"):
        embedding = np.asarray(embedding)
    _check_embedding(embedding, mask)

    if rule == "mean_shift":
        numbers, ids = _by_mean_shift(foreground_points(embedding, mask), radius), None
    elif seeds is None:
        found = _inner_components(mask, _length(seed_depth, "seed_depth"), voxel_size)[mask]
        points = foreground_points(embedding, mask)
        numbers, ids = _by_prototypes(points, found, int(found.max(initial=0)), limit), None
    else:
        ids, groups = _groups_of_seeds(seeds, mask)
        numbers = _by_prototypes(foreground_points(embedding, mask), groups, ids.size, limit)
    if connected:
        return _connected_pieces(_paint(mask, numbers, ids, 0), min_size)
    return _paint(mask, numbers, ids, min_size)


def embedding_instances(
    embedding: Any,
    mask: Any,
    *,
    foreground: float = 0.5,
    rule: str = "mean_shift",
    bandwidth: float = 1.5,
    seed_depth: float = 2.0,
    max_distance: float | None = None,
    connected: bool = False,
    min_size: int = 0,
    voxel_size: Sequence[float] | None = None,
) -> np.ndarray:
    """`cluster_embeddings` of what a network with two heads says: an embedding, and a probability of the foreground.

    Args:
        mask: (Z, Y, X) or (Y, X), uint8 0-255 or float 0-1.
        foreground: threshold in [0, 1]; voxels with `mask > foreground` are grouped.
        embedding, rule, bandwidth, seed_depth, max_distance, connected, min_size, voxel_size: as for
            `cluster_embeddings`.

    Returns, raises: as `cluster_embeddings`.

    Example:
        >>> embedding = np.array([[[0.0, 0.2, 5.0, 5.1]]], dtype=np.float32)
        >>> embedding_instances(embedding, np.array([[0.9, 0.8, 0.7, 0.1]]))
        array([[1, 1, 2, 0]], dtype=uint32)
    """
    inside = as_grey_levels(mask, "mask") > grey_level(foreground, "foreground")
    return cluster_embeddings(
        embedding,
        inside,
        rule=rule,
        bandwidth=bandwidth,
        seed_depth=seed_depth,
        max_distance=max_distance,
        connected=connected,
        min_size=min_size,
        voxel_size=voxel_size,
    )


def _by_mean_shift(points: Points, radius: np.float32) -> np.ndarray:
    numbers = np.zeros(points.values.shape[1], dtype=np.uint32 if points.values.shape[1] < 2**32 else np.uint64)
    shift_means(points.values, points.low, points.high, radius, numbers)
    return numbers


def _by_prototypes(points: Points, groups: np.ndarray, count: int, limit: np.float32) -> np.ndarray:
    numbers = np.zeros(points.values.shape[1], dtype=np.uint32 if count < 2**32 else np.uint64)
    if count:
        means = group_means(points.values, groups, count)
        nearest_mean(points.values, points.low, points.high, means, limit, numbers)
    return numbers


def _groups_of_seeds(seeds: Any, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The ids of the seeds that have a voxel in the foreground, rising, and for each of its voxels 0 or which it is."""
    seeds = check_labels(seeds)
    if seeds.shape != mask.shape:
        raise ValueError(f"seeds must have the shape of the foreground, {mask.shape}, got {seeds.shape}.")
    ids, groups = np.unique(seeds[mask].astype(np.uint64), return_inverse=True)
    if ids.size and ids[0] == 0:
        return ids[1:], groups
    return ids, groups + 1


def _inner_components(mask: np.ndarray, depth: float, voxel_size: Sequence[float] | None) -> np.ndarray:
    spacing = (1.0, 1.0, 1.0) if voxel_size is None else tuple(_positive(length, "voxel_size") for length in voxel_size)
    if len(spacing) != 3:
        raise ValueError(f"voxel_size must be three numbers of nm (z, y, x), got {voxel_size!r}.")
    # edt refuses memory that it may not write to.
    whole = np.require(mask, requirements=["C", "W"]).reshape((-1, *mask.shape[-2:]))
    if len(whole) == 1:
        inner = edt.edt(whole[0], anisotropy=spacing[1:], parallel=1)[None] > depth
    else:
        inner = edt.edt(whole, anisotropy=spacing, parallel=1) > depth
    components, count = label_components(whole, 6)
    reached = np.zeros(count + 1, dtype=bool)
    reached[components[inner]] = True
    inner |= ~reached[components] & whole
    del components
    return label_components(inner, 6)[0].reshape(mask.shape)


def _paint(mask: np.ndarray, numbers: np.ndarray, ids: np.ndarray | None, min_size: int) -> np.ndarray:
    """Labels from the numbers of the foreground's voxels; with `ids` number n stands for ids[n - 1]."""
    if numbers.size and ids is None:
        keep_large_and_renumber(numbers, int(numbers.max()), min_size)
    elif numbers.size:
        sizes = np.bincount(numbers, minlength=ids.size + 1)
        table = np.concatenate([np.zeros(1, np.uint64), ids])
        table[sizes < min_size] = 0
        numbers = table.astype(np.uint32 if table.max() < 2**32 else np.uint64)[numbers]
    labels = np.zeros(mask.shape, dtype=numbers.dtype)
    labels[mask] = numbers
    return labels


def _connected_pieces(labels: np.ndarray, min_size: int) -> np.ndarray:
    whole = labels.reshape((-1, *labels.shape[-2:]))
    dtype = np.uint32 if labels.size < 2**32 else np.uint64
    pieces, count = cc3d.connected_components(whole, connectivity=26, out_dtype=dtype, return_N=True)
    pieces = np.ascontiguousarray(pieces.reshape(labels.shape))
    keep_large_and_renumber(pieces.reshape(-1), int(count), min_size)
    return pieces


def _check_mask(foreground: Any) -> np.ndarray:
    mask = np.asarray(foreground)
    if mask.dtype.kind not in "biu":
        raise TypeError(
            f"foreground must be bool, or integers 0 and 1, got {mask.dtype}; compare with a threshold first."
        )
    if mask.ndim not in (2, 3) or mask.size == 0:
        raise ValueError(f"foreground must have the axes (z, y, x) or (y, x), got an array of shape {mask.shape}.")
    if mask.dtype.kind != "b" and (mask.max() > 1 or mask.min() < 0):
        raise ValueError(
            f"foreground must hold 0 and 1 only, got values from {mask.min()} to {mask.max()}; pass `labels > 0`, or "
            "compare a probability map with a threshold."
        )
    return np.ascontiguousarray(mask, dtype=bool)


def _check_embedding(embedding: Any, mask: np.ndarray) -> None:
    shape, dtype = tuple(embedding.shape), np.dtype(embedding.dtype)
    if dtype.kind != "f":
        raise TypeError(f"embedding must be float, got {dtype}.")
    if shape[1:] != mask.shape or len(shape) != mask.ndim + 1 or shape[0] < 1:
        raise ValueError(
            f"embedding must have one channel or more of the foreground's shape {mask.shape}, got the shape {shape}."
        )


def _squared(value: Any, name: str) -> np.float32:
    return np.float32(np.float32(_positive(value, name)) ** 2)


def _positive(value: Any, name: str) -> float:
    if _length(value, name) == 0:
        raise ValueError(f"{name} must be a positive number, got {value!r}.")
    return float(value)


def _length(value: Any, name: str) -> float:
    if isinstance(value, bool | np.bool_) or not isinstance(value, Real):
        raise TypeError(f"{name} must be a number, got {value!r}.")
    if not 0 <= value < math.inf:
        raise ValueError(f"{name} must be a number of at least 0, got {value}.")
    return float(value)
