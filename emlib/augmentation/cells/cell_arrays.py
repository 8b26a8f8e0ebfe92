"""The door of the augmentations of cells: an image and its labels as tensors."""

from __future__ import annotations

import numpy as np
import torch

INTEGERS = (
    torch.uint8,
    torch.int8,
    torch.int16,
    torch.int32,
    torch.int64,
    torch.uint16,
    torch.uint32,
)


def tensor_of(array: np.ndarray) -> torch.Tensor:
    """A numpy array as a tensor; wide unsigned ids as int64, because torch hardly calculates with those types.

    Raises:
        ValueError: ids of 2**63 or more.
    """
    if array.dtype.kind == "u" and array.dtype.itemsize > 1:
        if array.dtype.itemsize == 8 and array.size and array.max() >= 2**63:
            raise ValueError(f"The labels have the id {array.max()}, but ids below 2**63 were expected.")
        array = array.astype(np.int64)
    # "W": torch warns about read-only memory, although nothing is written to it here.
    return torch.from_numpy(np.require(array, requirements="CW"))


def check_labels(labels: torch.Tensor) -> None:
    """Raise unless `labels` is a tensor (y, x) of ids from 0."""
    if not isinstance(labels, torch.Tensor):
        raise TypeError(f"The labels are a {type(labels).__name__}, but a tensor or a numpy array was expected.")
    if labels.dtype not in INTEGERS:
        raise TypeError(f"The labels are {labels.dtype}, but whole numbers (one id a cell) were expected.")
    if labels.ndim != 2 or labels.numel() == 0:
        raise ValueError(f"The labels have shape {tuple(labels.shape)}, but pixels (y, x) were expected.")
    if labels.dtype.is_signed and int(labels.min()) < 0:
        raise ValueError(f"The labels have the id {int(labels.min())}, but 0 or more was expected.")


def check_sample(image: torch.Tensor, labels: torch.Tensor) -> None:
    """Raise unless `image` is floats (c, y, x) or (y, x) that belong to `labels`, on the same device."""
    if not isinstance(image, torch.Tensor) or not isinstance(labels, torch.Tensor):
        kinds = f"{type(image).__name__} and {type(labels).__name__}"
        raise TypeError(f"Image and labels are {kinds}, but two tensors or two numpy arrays were expected.")
    check_labels(labels)
    if not image.dtype.is_floating_point:
        raise TypeError(f"The image is {image.dtype}, but floats were expected.")
    if image.ndim not in (2, 3) or image.shape[-2:] != labels.shape:
        raise ValueError(
            f"The image has shape {tuple(image.shape)} and its labels {tuple(labels.shape)}, but (c, y, x) and (y, x) "
            "of the same size were expected."
        )
    if image.device != labels.device:
        raise ValueError(f"The image is on {image.device}, but its labels are on {labels.device}.")
