"""The door of this room: labels come in as numpy or torch, of any integer type, and leave the way they came."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

Array = np.ndarray | torch.Tensor
# Torch can hold but hardly compute with wide unsigned integers. A view as signed numbers of the same width is a
# bijection, keeps 0 at 0, and everything here only asks whether two ids are equal or zero.
_SIGNED_NUMPY = {"uint16": np.int16, "uint32": np.int32, "uint64": np.int64}
_SIGNED_TORCH = {torch.uint16: torch.int16, torch.uint32: torch.int32, torch.uint64: torch.int64}
_INTEGERS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.bool, *_SIGNED_TORCH)


def as_label_tensor(labels: Array) -> torch.Tensor:
    """Labels (z, y, x) as a tensor on their own device whose elements are equal exactly where the ids are.

    Wide unsigned types become a signed view of the same width, so ids from half of the range on look negative: compare
    with == and != only, never with <.

    Raises:
        TypeError: not an array, or not whole numbers.
        ValueError: not three axes, an empty axis, or a negative id.
    """
    if isinstance(labels, torch.Tensor):
        _check(labels.dtype in _INTEGERS, labels.dtype, tuple(labels.shape))
        unsigned = labels.dtype in _SIGNED_TORCH
        tensor = labels.view(_SIGNED_TORCH[labels.dtype]) if unsigned else labels
    elif isinstance(labels, np.ndarray):
        _check(labels.dtype.kind in "uib", labels.dtype, labels.shape)
        unsigned = labels.dtype.name in _SIGNED_NUMPY
        array = np.ascontiguousarray(labels, labels.dtype.newbyteorder("="))
        array = array.view(_SIGNED_NUMPY[array.dtype.name]) if unsigned else array
        # Torch warns about memory that it may not write to; nothing here writes, but a warning would reach the user.
        # It refuses negative strides, which a flipped axis of one voxel has.
        usable = array.flags.writeable and min(array.strides, default=0) >= 0
        tensor = torch.from_numpy(array if usable else array.copy())
    else:
        raise TypeError(f"The labels are a {type(labels).__name__}, but a numpy array or a torch tensor was expected.")
    if tensor.dtype == torch.bool:
        return tensor.view(torch.uint8)
    if not unsigned and tensor.dtype != torch.uint8 and tensor.min() < 0:
        raise ValueError(f"The labels hold the negative id {int(tensor.min())}, but ids start at 0 (background).")
    return tensor


def like(labels: Array) -> Callable[[torch.Tensor], Any]:
    """A function that turns a result tensor into what the caller works with: numpy for numpy, tensor for tensor."""
    return (lambda tensor: tensor.numpy()) if isinstance(labels, np.ndarray) else (lambda tensor: tensor)


def narrowed(labels: torch.Tensor) -> torch.Tensor:
    """The same ids in the narrowest signed type that holds them: window maxima are bound by memory traffic."""
    low, high = (int(value) for value in torch.aminmax(labels))
    for dtype in (torch.int16, torch.int32):
        limits = torch.iinfo(dtype)
        if limits.min < low and high < limits.max:
            return labels.to(dtype)
    return labels


def _check(is_integer: bool, dtype: Any, shape: tuple[int, ...]) -> None:
    if not is_integer:
        raise TypeError(f"The labels are {dtype}, but whole numbers (one per object, 0 = background) were expected.")
    if len(shape) != 3:
        raise ValueError(f"The labels have shape {tuple(shape)}, but three axes (z, y, x) were expected.")
    if 0 in shape:
        raise ValueError(f"The labels are empty (shape {tuple(shape)}); every axis needs at least one voxel.")
