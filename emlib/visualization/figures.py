"""The figure that every plot of this room returns: shown once in a notebook, small on disk, saved atomically."""

from __future__ import annotations

import functools
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from emlib.atomic import atomic_path

if TYPE_CHECKING:
    from PIL import Image

DOTS_PER_INCH = 90
WIDTH = 9.5  # inches: as wide as a notebook's text
# A notebook holds about eight figures in 300 kB, and base64 adds a third.
TARGET_BYTES = 30_000
# (grey levels, other colours) of the palettes tried, finest first; together at most 256.
PALETTES = ((64, 192), (32, 128), (20, 64))

STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.labelsize": 9,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8,
    "figure.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": False,
    "axes.facecolor": "white",
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "text.color": "black",
    "lines.linewidth": 1.6,
    "legend.frameon": False,
    "image.origin": "upper",
}

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def styled(make_figure: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Run a figure function in the room's style, and leave matplotlib's settings as they were."""

    @functools.wraps(make_figure)
    def wrapper(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        with matplotlib.rc_context(STYLE):
            return make_figure(*args, **kwargs)

    return wrapper


def new_figure(
    rows: int = 1,
    columns: int = 1,
    *,
    size: tuple[float, float] = (WIDTH, 3.0),
    ratios: Sequence[float] | None = None,
    layout: str = "constrained",
) -> tuple[NotebookFigure, np.ndarray]:
    """An empty figure of `rows` x `columns` axes; unknown to pyplot, so it is never shown a second time.

    Args:
        rows: rows of axes.
        columns: columns of axes.
        size: width and height in inches.
        ratios: relative widths of the columns.
        layout: "constrained", or "compressed" for panels of a fixed aspect.

    Returns:
        The figure and its axes as an object array (rows, columns).

    Example:
        >>> figure, axes = new_figure(1, 2)
        >>> axes.shape, len(figure.axes)
        ((1, 2), 2)
    """
    figure = NotebookFigure(figsize=size, dpi=DOTS_PER_INCH, layout=layout)
    return figure, figure.subplots(rows, columns, squeeze=False, width_ratios=ratios)


def save_figure(figure: Figure, path: str | Path, dpi: float | None = None) -> Path:
    """Save a figure; the ending of `path` chooses the format (.png, .pdf, .svg, ...). Readers see all of it or nothing.

    Args:
        figure: any matplotlib figure.
        path: where to; folders are made.
        dpi: dots per inch, default those of the figure.

    Returns:
        The path.

    Raises:
        ValueError: the ending names no format that matplotlib writes.
        OSError: the file cannot be written.

    Example:
        >>> import tempfile
        >>> figure, _ = new_figure()
        >>> save_figure(figure, tempfile.mkdtemp() + "/empty.png").name
        'empty.png'
    """
    path = Path(path)
    formats = figure.canvas.get_supported_filetypes()
    kind = path.suffix.lower().lstrip(".")
    if kind not in formats:
        raise ValueError(f"A figure cannot be saved as {path.name!r}: use one of the endings {', '.join(formats)}.")
    with atomic_path(path) as temporary:
        if kind == "png":
            temporary.write_bytes(encode_png(figure, dpi=dpi))
        else:
            with matplotlib.rc_context(STYLE):
                figure.savefig(temporary, format=kind, dpi=dpi or "figure")
    return path


def encode_png(figure: Figure, *, dpi: float | None = None, target_bytes: int = TARGET_BYTES) -> bytes:
    """Render a figure as a PNG with a palette, the finest that keeps it below about `target_bytes`.

    Electron micrographs are noise to a PNG encoder. With 64, 32 or at least 20 evenly spaced greys, and the other
    colours in a palette of their own, such a figure becomes 4 to 8 times smaller and looks the same. No dithering is
    used, so flat label colours stay flat.
    """
    from PIL import Image

    buffer = io.BytesIO()
    with matplotlib.rc_context(STYLE):
        figure.savefig(buffer, format="png", dpi=dpi or "figure")
    picture = np.asarray(Image.open(buffer).convert("RGB"))
    encoded = b""
    for greys, colors in PALETTES:
        small = io.BytesIO()
        _reduce(picture, greys, colors).save(small, format="PNG", optimize=True)
        encoded = small.getvalue()
        if len(encoded) <= target_bytes:
            break
    return encoded


def _reduce(picture: np.ndarray, greys: int, colors: int) -> Image.Image:
    """A palette image with `greys` even greys and at most `colors` chosen for the pixels that are not grey."""
    from PIL import Image

    spread = picture.max(axis=-1).astype(int) - picture.min(axis=-1)
    colored = spread > 10
    levels = np.linspace(0, 255, greys)
    index = np.rint(picture.mean(axis=-1) / 255 * (greys - 1)).astype(np.uint8)
    palette = np.repeat(np.rint(levels).astype(np.uint8)[:, None], 3, axis=1)
    if colored.any():
        strip = Image.fromarray(picture[colored][None])
        reduced = strip.quantize(colors, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
        index[colored] = np.asarray(reduced)[0] + np.uint8(greys)
        palette = np.concatenate([palette, np.array(reduced.getpalette(), np.uint8).reshape(-1, 3)[:colors]])
    image = Image.fromarray(index)
    image.putpalette(palette.tobytes())
    return image


class NotebookFigure(Figure):
    """A matplotlib Figure that a notebook shows once, as a small PNG, whichever backend is active."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        FigureCanvasAgg(self)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        return {"image/png": encode_png(self), "text/plain": repr(self)}

    def __repr__(self) -> str:
        width, height = self.get_size_inches() * self.dpi
        return f"<Figure of {width:.0f} x {height:.0f} pixels with {len(self.axes)} axes>"
