"""Which levels of a network treat z like y and x, and the kernels and strides that follow from it."""

from __future__ import annotations

from collections.abc import Sequence

Triple = tuple[int, int, int]


def level_isotropy(name: str, isotropy: bool | Sequence[bool] | None, levels: int) -> tuple[bool, ...]:
    """One flag per level, level 0 being full resolution.

    In serial-section microscopy a voxel is several times deeper than wide. Levels that keep z while y and x are halved
    bring the voxel close to a cube; from there on 3x3x3 kernels and strides of 2 along all axes fit.

    Args:
        name: of the network, for the sentence of an error.
        isotropy: a flag per level, one for all levels, or None for the published rule: the first three levels are
            flat, and those below them isotropic.
        levels: number of levels.

    Raises:
        ValueError: another number of flags, or something that is not a flag.

    Example:
        >>> level_isotropy("unet_3d", None, 5)
        (False, False, False, True, True)
    """
    if isotropy is None:
        return tuple(level >= 3 for level in range(levels))
    flags = (isotropy,) * levels if isinstance(isotropy, bool) else tuple(isotropy)
    if len(flags) != levels or not all(isinstance(flag, bool) for flag in flags):
        raise ValueError(
            f"{name}: isotropy is {list(flags)}, but true or false for each of the {levels} levels was expected."
        )
    return flags


def kernel_size(isotropic: bool, size: int = 3) -> Triple:
    """(z, y, x) of a kernel: a cube, or a square in one section.

    Example:
        >>> kernel_size(False, 5)
        (1, 5, 5)
    """
    return (size if isotropic else 1, size, size)


def halving(isotropic: bool) -> Triple:
    """(z, y, x) stride that leads down to a level: 2 along every axis, or along y and x only.

    Example:
        >>> halving(False)
        (1, 2, 2)
    """
    return (2 if isotropic else 1, 2, 2)
