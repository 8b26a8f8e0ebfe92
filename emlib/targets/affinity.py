"""Affinities: does a voxel belong to the same instance as the voxel at some offset?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from emlib.targets.label_arrays import as_label_tensor, like, narrowed


def affinities(
    labels: np.ndarray | torch.Tensor, offsets: Sequence[Sequence[int]]
) -> tuple[np.ndarray | torch.Tensor, np.ndarray | torch.Tensor]:
    """One channel per offset: 1 where voxel v and voxel v + offset belong to the same instance.

    The value is stored at v. Where v + offset lies outside the volume nothing is known: the value is 0 and `valid` is
    False. Background never belongs together.

    Args:
        labels: (z, y, x), any integer type, 0 = background.
        offsets: (z, y, x) steps in voxels, for example [(-1, 0, 0), (0, -1, 0), (0, 0, -1)].

    Returns:
        values, float32 (c, z, y, x), and valid, bool (c, z, y, x), on the labels' device.

    Raises:
        TypeError: labels are not whole numbers.
        ValueError: labels do not have three axes, or an offset is not three whole numbers, or is (0, 0, 0).

    Example:
        >>> values, valid = affinities(np.array([[[1, 1, 2, 2]]]), [(0, 0, -1)])
        >>> values
        array([[[[0., 1., 0., 1.]]]], dtype=float32)
        >>> valid
        array([[[[False,  True,  True,  True]]]])
    """
    steps = [checked_offset(offset) for offset in offsets]
    if not steps:
        raise ValueError("No offset was given; affinities need at least one (z, y, x) step.")
    tensor = as_label_tensor(labels)
    shape = (len(steps), *tensor.shape)
    values = torch.zeros(shape, dtype=torch.float32, device=tensor.device)
    valid = torch.zeros(shape, dtype=torch.bool, device=tensor.device)
    for channel, step in enumerate(steps):
        if any(abs(length) >= size for length, size in zip(step, tensor.shape, strict=True)):
            continue
        there, here = _overlap(tensor.shape, step), _overlap(tensor.shape, [-length for length in step])
        values[channel][here] = (tensor[here] == tensor[there]) & (tensor[here] != 0)
        valid[channel][here] = True
    convert = like(labels)
    return convert(values), convert(valid)


def edge_padded_affinities(labels: torch.Tensor, distance: Sequence[int], *, symmetric: bool) -> torch.Tensor:
    """The published affinity target: (3, z, y, x) bool, channels z, y, x, complete up to the border.

    With d the distance along a channel's axis, a voxel v is compared with v - d, or (symmetric, "v2") v - d with
    v + d. Voxels outside the volume take the value of the nearest one inside, so that there the target is an object
    mask or nearly so; `affinities` leaves them out instead.
    """
    labels, channels = narrowed(labels), []
    for axis, step in enumerate(distance):
        index = torch.arange(labels.shape[axis], device=labels.device)
        before = labels.index_select(axis, (index - step).clamp(min=0))
        behind = labels.index_select(axis, (index + step).clamp(max=len(index) - 1)) if symmetric else labels
        channels.append((before == behind) & (behind != 0))
    return torch.stack(channels)


def checked_offset(offset: Sequence[int]) -> tuple[int, int, int]:
    """The offset as three plain whole numbers (z, y, x).

    Raises:
        ValueError: it is something else, or (0, 0, 0).
    """
    step = tuple(offset) if isinstance(offset, Sequence | np.ndarray) else (offset,)
    whole = all(isinstance(length, int | np.integer) and not isinstance(length, bool) for length in step)
    if len(step) != 3 or not whole or not any(step):
        raise ValueError(f"The offset {offset!r} is not a step of three whole numbers (z, y, x) other than (0, 0, 0).")
    return tuple(int(length) for length in step)


def _overlap(shape: Sequence[int], step: Sequence[int]) -> tuple[slice, ...]:
    """The part of a volume that still lies inside it after a step back."""
    limits = zip(shape, step, strict=True)
    return tuple(slice(max(0, length), size - max(0, -length)) for size, length in limits)
