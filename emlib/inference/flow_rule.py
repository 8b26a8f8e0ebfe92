"""Test-time augmentation of flows: a turned image has turned arrows."""

from __future__ import annotations

import itertools

import torch

from emlib.inference.symmetries import Symmetry

PUBLISHED = (Symmetry(), Symmetry((False, False, True)), Symmetry((False, True, False)))
ALL = tuple(
    Symmetry((False, *flips), swap) for swap in (False, True) for flips in itertools.product((False, True), repeat=2)
)
AUGMENTATIONS = {None: (Symmetry(),), "published": PUBLISHED, "all": ALL}


def flow_symmetries(augment: str | None) -> tuple[Symmetry, ...]:
    """The symmetries that a name of test-time augmentation of images stands for.

    "published" is MEDIAR's: the image as it is, flipped left to right, and upside down. "all" is these, both flips
    together, and all four transposed. None is the image as it is.

    Raises:
        ValueError: unknown name.

    Example:
        >>> [symmetry.name for symmetry in flow_symmetries("published")], len(flow_symmetries("all"))
        (['as it is', 'x flipped', 'y flipped'], 8)
    """
    if augment not in AUGMENTATIONS:
        raise ValueError(f"augment is {augment!r}, but None, 'published' or 'all' was expected.")
    return AUGMENTATIONS[augment]


def turn_flow_back(prediction: torch.Tensor, symmetry: Symmetry) -> torch.Tensor:
    """Exchange and negate the first two channels, the flow along y and x, of what was predicted for a turned image.

    A `ChannelRule`: see `Symmetry.invert`.

    Args:
        prediction: (n, c, y, x), its pixels already moved back.
        symmetry: how the image was turned.

    Example:
        >>> flip_x = Symmetry((False, False, True))
        >>> arrows = torch.tensor([[0.0, 0.0], [1.0, -1.0]]).reshape(1, 2, 1, 2)  # to the right, to the left
        >>> flip_x.invert(arrows, turn_flow_back)[0, 1]
        tensor([[ 1., -1.]])
    """
    flow_y, flow_x, rest = prediction[:, :1], prediction[:, 1:2], prediction[:, 2:]
    if symmetry.transpose:
        flow_y, flow_x = flow_x, flow_y
    _, flip_y, flip_x = symmetry.flips
    return torch.cat([-flow_y if flip_y else flow_y, -flow_x if flip_x else flow_x, rest], dim=1)
