"""Cells as three classes of pixels, of which every pixel has one."""

from __future__ import annotations

import cc3d
import numpy as np
import torch

from emlib.targets.label_arrays import as_label_tensor, like

CLASSES = ("background", "interior", "boundary")
SMALLEST_INTERIOR = 16


def cell_classes(labels: np.ndarray | torch.Tensor) -> np.ndarray | torch.Tensor:
    """Background, interior and boundary of cells, as the baselines of the cell segmentation challenge learn them.

    1. A cell's outermost pixels, those with one of their four neighbours in another cell or in the background, are
       boundary; the image's border makes none.
    2. The boundary grows by one pixel to all four sides, into the cell and out of it.
    3. What is left of the cells is interior. Its pieces (4-connected) of fewer than 16 pixels become background.

    So touching cells have at least four pixels of boundary between their interiors, and an interior is what has more
    than two steps to the outside of its cell: small and thin cells have none and cannot be found again.

    Args:
        labels: (y, x), any integer type, 0 = background; ids may have gaps. Not changed.

    Returns:
        float32 (3, y, x), one of the three `CLASSES` 1 and the others 0 in every pixel, on the labels' device (the
        pieces are counted on the CPU).

    Raises:
        TypeError: labels that are not whole numbers.
        ValueError: another number of axes, empty labels, negative ids.

    Source: the three-class baseline of Ma et al., "The multimodality cell segmentation challenge", Nature Methods 2024.

    Example:
        >>> labels = np.zeros((10, 10), np.uint16)
        >>> labels[1:9, 1:9] = 7
        >>> background, interior, boundary = cell_classes(labels)
        >>> interior[2:5, 1:6]
        array([[0., 0., 0., 0., 0.],
               [0., 0., 1., 1., 1.],
               [0., 0., 1., 1., 1.]], dtype=float32)
        >>> int(interior.sum()), int(boundary.sum()), int(background.sum())
        (16, 80, 4)
    """
    axes = getattr(labels, "ndim", None)
    if axes not in (None, 2):
        raise ValueError(f"The labels have shape {tuple(labels.shape)}, but two axes (y, x) were expected.")
    tensor = as_label_tensor(labels if axes is None else labels[None])[0]
    cells = tensor != 0
    boundary = torch.zeros_like(cells)
    for axis in (0, 1):
        before, behind = _but_last(tensor, axis), _but_first(tensor, axis)
        changes = before != behind
        _but_last(boundary, axis).logical_or_(changes)
        _but_first(boundary, axis).logical_or_(changes)
    boundary &= cells
    boundary = _grown(boundary)
    interior = _without_small_pieces(cells & ~boundary)
    classes = torch.stack([~(interior | boundary), interior, boundary])
    return like(labels)(classes.to(torch.float32))


def _but_last(pixels: torch.Tensor, axis: int) -> torch.Tensor:
    return pixels.narrow(axis, 0, pixels.shape[axis] - 1)


def _but_first(pixels: torch.Tensor, axis: int) -> torch.Tensor:
    return pixels.narrow(axis, 1, pixels.shape[axis] - 1)


def _grown(mask: torch.Tensor) -> torch.Tensor:
    """The mask and the four neighbours of its pixels."""
    grown = mask.clone()
    for axis in (0, 1):
        _but_last(grown, axis).logical_or_(_but_first(mask, axis))
        _but_first(grown, axis).logical_or_(_but_last(mask, axis))
    return grown


def _without_small_pieces(mask: torch.Tensor) -> torch.Tensor:
    # On the CPU also for a mask that is elsewhere: that takes less than a millisecond for what a network sees at once.
    pieces = cc3d.connected_components(mask.cpu().numpy().view(np.uint8), connectivity=4)
    kept = np.bincount(pieces.ravel()) >= SMALLEST_INTERIOR
    kept[0] = False
    return torch.from_numpy(kept[pieces]).to(mask.device)
