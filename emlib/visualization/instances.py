"""Objects of an image as coloured masks drawn into it: pictures to save, and a figure beside the truth."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from emlib.atomic import atomic_path
from emlib.visualization.cells.outlines import check_label_image
from emlib.visualization.cells.picture_rows import picture_rows
from emlib.visualization.cells.pictures import cell_picture, draw_picture
from emlib.visualization.colors import label_colors
from emlib.visualization.figures import NotebookFigure, styled

BACKGROUNDS = ("color", "gray")
MOST_SCALE = 8
# Rec. 601: how bright red, green and blue look.
BRIGHTNESS = np.array([0.299, 0.587, 0.114])


def instance_overlay(
    image: Any,
    masks: Any,
    *,
    background: str = "color",
    scale: float = 0.5,
    alpha: float = 0.5,
    outline: bool = True,
    seed: int = 0,
) -> np.ndarray:
    """Draw every object in its colour into the image, the first of several that overlap on top.

    With `background="color"` this is how the CodaLab nuclei system shows the truth, with "gray" how it shows what was
    found: outside all objects the image is grey, so that one sees what was left out.

    Args:
        image: (y, x), (y, x, 1) or (y, x, 3); other numbers than uint8 are stretched between percentiles.
        masks: the objects: a sequence of things with `corner` (y, x) and `mask` (bool crop), such as
            an `InstancePrediction` has, or it itself, or labels (y, x), 0 = background, any unsigned integer.
        background: "color" or "gray".
        scale: size of the result relative to the image; what is smaller than a pixel then is averaged.
        alpha: how much of its colour an object gets, 0 to 1.
        outline: draw the outermost pixels of every object in its full colour, about one pixel wide in the result.
        seed: of the colours, see `label_colors`.

    Returns:
        uint8 (y, x, 3), sides rounded, at least 1.

    Raises:
        TypeError, ValueError: an image, masks or an option that do not fit; the sentence says what.

    Example:
        >>> labels = np.zeros((20, 30), np.uint16)
        >>> labels[2:12, 3:13] = 7
        >>> instance_overlay(np.full((20, 30), 100, np.uint8), labels).shape
        (10, 15, 3)
    """
    if background not in BACKGROUNDS:
        raise ValueError(f"background is {background!r}, but {' or '.join(map(repr, BACKGROUNDS))} was expected.")
    if not isinstance(scale, int | float) or isinstance(scale, bool) or not 0 < scale <= MOST_SCALE:
        raise ValueError(f"scale is {scale!r}, but a number above 0, at most {MOST_SCALE}, was expected.")
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha is {alpha}, but 0 to 1 was expected.")
    picture = cell_picture(image)
    objects = _objects(masks, picture.shape[:2])
    canvas = np.array(picture)
    if background == "gray":
        canvas[:] = np.rint(picture @ BRIGHTNESS).astype(np.uint8)[..., None]
        for _, place, mask in objects:
            canvas[place][mask] = picture[place][mask]
    colors = label_colors(np.array([number for number, _, _ in objects], np.uint64), seed=seed)
    width = max(1, round(1 / scale)) if outline else 0
    for color, (_, place, mask) in zip(colors[::-1], objects[::-1], strict=True):
        part = canvas[place]
        part[mask] = np.rint((1 - alpha) * part[mask] + alpha * color).astype(np.uint8)
        if width:
            part[mask & ~_inside(mask, width)] = color
    return _resized(canvas, scale)


def save_overlay(path: str | Path, image: Any, masks: Any, **options: Any) -> Path:
    """Write `instance_overlay` to a PNG, all or nothing.

    Args:
        path: ends in .png; folders are made.
        image, masks, options: of `instance_overlay`.

    Returns:
        The path.

    Raises:
        ValueError: another ending; TypeError, ValueError: as `instance_overlay`.
        OSError: it cannot be written; what was there before is still there.

    Example:
        >>> import tempfile
        >>> save_overlay(tempfile.mkdtemp() + "/one.png", np.zeros((8, 8), np.uint8), np.eye(8, dtype=int)).name
        'one.png'
    """
    from PIL import Image

    path = Path(path)
    if path.suffix.lower() != ".png":
        raise ValueError(f"{path} should end in .png.")
    encoded = io.BytesIO()
    Image.fromarray(instance_overlay(image, masks, **options)).save(encoded, format="PNG")
    with atomic_path(path) as temporary:
        temporary.write_bytes(encoded.getvalue())
    return path


@styled
def show_instances(
    image: Any,
    found: Any,
    *,
    truth: Any = None,
    score_threshold: float = 0.5,
    background: str = "color",
    alpha: float = 0.5,
    outline: bool = True,
    title: str = "",
) -> NotebookFigure:
    """The image with the objects that were found, beside it with those that are there.

    Args:
        image: as in `instance_overlay`.
        found: labels (y, x), or a prediction with `masks` and `scores`, such as an `InstancePrediction`.
        truth: labels (y, x), or things with `corner` and `mask`.
        score_threshold: objects of a prediction of this score or less are not drawn.
        background, alpha, outline: as in `instance_overlay`; of the truth the background is always in colour.
        title: what to see.

    Raises:
        TypeError, ValueError: as `instance_overlay`; a number of scores that is not that of the masks.

    Example:
        >>> labels = np.zeros((20, 30), np.uint16)
        >>> labels[2:12, 3:13] = 7
        >>> figure = show_instances(np.full((20, 30), 100, np.uint8), labels, truth=labels)
        >>> [axes.get_title() for axes in figure.axes]
        ['truth: 1 object', 'found: 1 object']
    """
    picture = cell_picture(image)
    masks, words = found, "found"
    if hasattr(found, "scores"):
        if len(found.scores) != len(found.masks):
            raise ValueError(f"found has {len(found.masks)} masks, but {len(found.scores)} scores.")
        masks = [one for one, score in zip(found.masks, found.scores, strict=True) if score > score_threshold]
        words = f"score above {score_threshold:g}"
    panels = [] if truth is None else [("truth", truth, "color")]
    panels.append((words, masks, background))
    shape = picture.shape[:2]
    figure, axes, _ = picture_rows([shape] * len(panels), columns=len(panels), tallest=4.2, title=title)
    for each, (name, shown, ground) in zip(axes, panels, strict=True):
        count = len(_objects(shown, shape))
        overlay = instance_overlay(picture, shown, background=ground, scale=1.0, alpha=alpha, outline=outline)
        draw_picture(each, overlay, title=f"{name}: {count} object{'s' if count != 1 else ''}", panels=len(panels))
    return figure


def _objects(masks: Any, shape: tuple[int, int]) -> list[tuple[int, tuple[slice, slice], np.ndarray]]:
    """A number for the colour, the place in the image and the crop of each object."""
    masks = getattr(masks, "masks", masks)
    if hasattr(masks, "dtype") and hasattr(masks, "shape"):
        return _objects_of_labels(check_label_image(masks), shape)
    if not isinstance(masks, Sequence):
        raise TypeError(f"masks is a {type(masks).__name__}, but labels or a sequence of masks was expected.")
    objects = []
    for number, one in enumerate(masks):
        if not hasattr(one, "corner") or not hasattr(one, "mask"):
            raise TypeError(
                f"Mask {number} is a {type(one).__name__}, but something with corner and mask was expected."
            )
        mask, (y, x) = np.asarray(one.mask), (int(place) for place in one.corner)
        if mask.ndim != 2 or mask.dtype != bool:
            raise ValueError(f"Mask {number} is {mask.dtype} of shape {mask.shape}, but bool (y, x) was expected.")
        if min(y, x) < 0 or y + mask.shape[0] > shape[0] or x + mask.shape[1] > shape[1]:
            raise ValueError(f"Mask {number} reaches beyond the image of {tuple(shape)} pixels.")
        objects.append((number + 1, (slice(y, y + mask.shape[0]), slice(x, x + mask.shape[1])), mask))
    return objects


def _objects_of_labels(labels: np.ndarray, shape: tuple[int, int]) -> list[tuple[int, tuple[slice, slice], np.ndarray]]:
    if labels.shape != tuple(shape):
        raise ValueError(f"The labels have shape {labels.shape}, but that of the image, {tuple(shape)}, was expected.")
    from scipy.ndimage import find_objects

    ids, index = np.unique(labels, return_inverse=True)
    # 0 has to stay 0, whether there is background or not.
    index = index.reshape(labels.shape).astype(np.int32) + int(ids[0] != 0)
    numbers = ids[ids != 0].tolist()
    places = enumerate(find_objects(index), start=1)
    return [(number, place, index[place] == k) for number, (k, place) in zip(numbers, places, strict=True)]


def _inside(mask: np.ndarray, width: int) -> np.ndarray:
    """Pixels that are more than `width` pixels, along rows and columns, from the outside."""
    inside = np.pad(mask, 1)
    for _ in range(width):
        core = inside[1:-1, 1:-1] & inside[:-2, 1:-1] & inside[2:, 1:-1] & inside[1:-1, :-2] & inside[1:-1, 2:]
        if not core.any():
            break
        inside = np.pad(core, 1)
    return core


def _resized(picture: np.ndarray, scale: float) -> np.ndarray:
    if scale == 1:
        return picture
    from PIL import Image

    height, width = (max(1, round(length * scale)) for length in picture.shape[:2])
    method = Image.Resampling.BOX if scale < 1 else Image.Resampling.NEAREST
    return np.asarray(Image.fromarray(picture).resize((width, height), method))
