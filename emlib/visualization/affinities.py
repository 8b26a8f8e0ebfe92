"""Affinities as colours: three channels of neighbours in z, y and x drawn as red, green and blue."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from emlib.visualization.figures import NotebookFigure, styled
from emlib.visualization.panels import (
    as_array,
    check_same_shape,
    find_voxel_size,
    paint,
    panel_grid,
    pick_section,
    shrink,
    take_section,
)

# What the colours say: a channel that is 0 takes its colour out of white.
LEGEND = {
    "white: joined along z, y and x": (1, 1, 1),
    "cyan: cut along z": (0, 1, 1),
    "magenta: cut along y": (1, 0, 1),
    "yellow: cut along x": (1, 1, 0),
    "red, green, blue: joined only along z, y, x": (1, 0, 0),
    "black: cut along all three, or background": (0, 0, 0),
}


@styled
def show_affinities(
    image: Any,
    affinities: Any,
    *,
    truth: Any = None,
    offsets: Sequence[Sequence[int]] | None = None,
    section: int | None = None,
    voxel_size: Sequence[float] | None = None,
    title: str = "",
) -> NotebookFigure:
    """One section of the image beside its affinities, three channels a panel as red (z), green (y) and blue (x).

    Args:
        image: (z, y, x) array or Volume.
        affinities: (c, z, y, x), uint8 from 0 to 255 or floats from 0 to 1, 1 = same object; c = 3, 6, 9 ... in the
            order z, y, x of each distance. Only the section shown is read.
        truth: the affinities that the labels give, of the same shape; shown beside three channels, below more.
        offsets: (z, y, x) of each channel, for the panels' titles; default nearest neighbours for 3 channels.
        section: section number, default the middle.
        voxel_size: nm, default the Volume's.
        title: what to see.

    Raises:
        ValueError: a number of channels that is not 3, 6, 9 ..., shapes or offsets that do not fit, no such section,
            or affinities that are not uint8 or floats from 0 to 1.

    Example:
        >>> figure = show_affinities(np.zeros((4, 8, 8), np.uint8), np.ones((3, 4, 8, 8), np.float32))
        >>> [axes.get_title() for axes in figure.axes]
        ['section 2', 'affinities\\n(-1,0,0) (0,-1,0) (0,0,-1)']
    """
    image, affinities = as_array(image, "image"), as_array(affinities, "affinities")
    _check(image, affinities, "affinities")
    if truth is not None:
        truth = as_array(truth, "truth")
        _check(image, truth, "truth")
        check_same_shape(affinities, truth, ("affinities", "truth"))
    titles = _titles(affinities.shape[0], offsets)
    number = pick_section(image.shape[0], section, "image")
    voxel_size = find_voxel_size(voxel_size, image, affinities, truth)
    maps = [(f"affinities\n{words}", affinities, 3 * index) for index, words in enumerate(titles)]
    true_maps = [] if truth is None else [(f"truth\n{words}", truth, 3 * index) for index, words in enumerate(titles)]
    # The truth of several triples makes a second row, whose first place below the image stays empty.
    two_rows = len(true_maps) > 1
    panels: list[Any] = [("image", None, 0), *maps, *([None] if two_rows else []), *true_maps]
    columns = 1 + len(maps) if two_rows else len(panels)
    figure, grid = panel_grid(
        len(panels),
        image.shape[1:],
        voxel_size,
        columns=columns,
        widest=3.1,
        title_lines=2,
        title=title,
        below=0.5 if columns > 2 else 0.7,
    )
    for axes, panel in zip(grid, panels, strict=True):
        if panel is None:
            axes.remove()
            continue
        name, channels, first = panel
        if channels is None:
            plane, kind, name = take_section(image, number, "image"), "image", f"section {number}"
        else:
            plane, kind = rgb_section(channels, number, first), "rgb"
        options = {"full_shape": image.shape[1:], "voxel_size": voxel_size, "scale_bar": channels is None}
        paint(axes, plane, kind=kind, title=name, **options)
    _draw_legend(figure, columns=3 if columns > 2 else 2)
    return figure


def rgb_section(affinities: Any, section: int, first: int = 0) -> np.ndarray:
    """Channels `first` to `first + 2` of one section as a picture, uint8 (y, x, 3), reduced to a panel's pixels.

    Raises:
        ValueError: values that are not uint8 or floats from 0 to 1.

    Example:
        >>> rgb_section(np.array([1.0, 0.0, 0.2]).reshape(3, 1, 1, 1), 0).tolist()
        [[[255, 0, 51]]]
    """
    planes = np.asarray(affinities[first : first + 3, section])
    if planes.dtype == np.uint8:
        planes = planes / np.float32(255)
    elif planes.dtype.kind not in "fb":
        raise ValueError(
            f"Affinities must be uint8 from 0 to 255 or floats from 0 to 1, but the type is {planes.dtype}."
        )
    planes = planes.astype(np.float32)
    if planes.size and not (planes.min() >= 0 and planes.max() <= 1):
        raise ValueError(
            f"Affinities must be uint8 from 0 to 255 or floats from 0 to 1; here they reach from "
            f"{planes.min():g} to {planes.max():g}."
        )
    picture = np.stack([shrink(plane, average=True) for plane in planes], axis=-1)
    return np.rint(np.clip(picture, 0, 1) * 255).astype(np.uint8)


def _check(image: Any, affinities: Any, name: str) -> None:
    shape = tuple(affinities.shape)
    if len(image.shape) != 3:
        raise ValueError(f"image must be (z, y, x); its shape is {tuple(image.shape)}.")
    if len(shape) != 4 or shape[0] == 0 or shape[0] % 3:
        raise ValueError(f"{name} must be (c, z, y, x) with 3, 6, 9 ... channels; the shape is {shape}.")
    if shape[1:] != tuple(image.shape):
        raise ValueError(
            f"image and {name} must have the same (z, y, x); they are {tuple(image.shape)} and {shape[1:]}."
        )


def _titles(channels: int, offsets: Sequence[Sequence[int]] | None) -> list[str]:
    """The offsets of each three channels, or the numbers of the channels where the offsets are not known."""
    if offsets is None and channels == 3:
        offsets = [(-1, 0, 0), (0, -1, 0), (0, 0, -1)]
    if offsets is None:
        return [f"channels {first} to {first + 2}" for first in range(0, channels, 3)]
    if len(offsets) != channels or any(len(offset) != 3 for offset in offsets):
        raise ValueError(f"offsets must be one (z, y, x) a channel, {channels} of them; got {list(offsets)!r}.")
    words = ["({},{},{})".format(*(int(step) for step in offset)) for offset in offsets]
    return [" ".join(words[first : first + 3]) for first in range(0, channels, 3)]


def _draw_legend(figure: NotebookFigure, columns: int) -> None:
    from matplotlib.patches import Patch

    entries = [Patch(facecolor=color, edgecolor="black", label=words) for words, color in LEGEND.items()]
    figure.legend(handles=entries, loc="outside lower center", ncols=columns)
