"""The pixels of an image as networks take them, normalised; those of a large one only when they are read."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import numpy as np

from emlib.data.image_normalization import percentile_limits, scale_to_bytes
from emlib.data.opened_image import OpenedImage, open_image

# From so many values on, pixels are normalised when they are read, so that there is no copy of the whole image.
LARGE = 1 << 27
ROWS_AT_A_TIME = 256
Normalization = bool | Mapping[str, Any] | None


def as_pixels(image: Any, normalize: Normalization = True) -> np.ndarray | LargePixels:
    """An image as uint8 0 ... 255, or float32 0 ... 1, of three channels; a large one is normalised as it is sliced.

    Args:
        image: (y, x) or (y, x, c) of one to three channels: an array, or what `emlib.data.open_image` opens.
        normalize: as in `predict_flows`.

    Raises:
        TypeError, ValueError, OSError: as there.

    Example:
        >>> as_pixels(np.array([[0, 500, 1000]], dtype=np.uint16), {"high": 100.0})[0, :, 2]
        array([  0,   0, 255], dtype=uint8)
    """
    if isinstance(image, LargePixels):
        return image
    image = open_image(image)
    shape = tuple(image.shape)
    if len(shape) not in (2, 3) or 0 in shape:
        raise ValueError(f"The image has shape {shape}, but pixels (y, x) or (y, x, c) were expected.")
    if len(shape) == 3 and shape[2] > 3:
        raise ValueError(
            f"The image has shape {shape}, but one to three channels (y, x, c) were expected; choose some."
        )
    limits = None
    if normalize:
        limits = percentile_limits(image, **_arguments(normalize))
    elif image.dtype != np.uint8:
        _check_range(image)
    if isinstance(image, OpenedImage) or np.prod(shape, dtype=np.int64) > LARGE:
        return LargePixels(image, limits)
    return _as_three_channels(image, limits)


def _arguments(normalize: Normalization) -> dict[str, Any]:
    """Keyword arguments of `percentile_limits`."""
    if not isinstance(normalize, Mapping):
        return {}
    known = inspect.signature(percentile_limits).parameters.values()
    names = [parameter.name for parameter in known if parameter.kind is parameter.KEYWORD_ONLY]
    for key in normalize:
        if key not in names:
            raise TypeError(f"normalize holds {key!r}, but {', '.join(names)} were expected.")
    return dict(normalize)


class LargePixels:
    """The pixels of a large image, (y, x, 3), read by `pixels[rows, columns]`, two slices.

    All columns of the rows that were asked for are kept until other rows are, since windows are taken from left to
    right, and strips and chunks of files need not be decoded again for each.

    Args:
        image: (y, x) or (y, x, c), sliced like an array.
        limits: what becomes 0 and 255, from `percentile_limits`; None takes uint8, or floats 0 ... 1, as they are.
    """

    def __init__(self, image: Any, limits: tuple[tuple[float, float], ...] | None) -> None:
        self._image, self._limits = image, limits
        self.shape = (*image.shape[:2], 3)
        self.voxel_size = getattr(image, "voxel_size", None)
        self.dtype = np.dtype(np.uint8 if limits is not None or image.dtype == np.uint8 else np.float32)
        self._rows: tuple[int, int] | None = None
        self._kept: np.ndarray | None = None

    def __getitem__(self, box: tuple[slice, slice]) -> np.ndarray:
        rows, columns = box
        if self._rows != (rows.start, rows.stop):
            self._rows, self._kept = None, None
            self._kept = _as_three_channels(np.asarray(self._image[rows]), self._limits)
            self._rows = rows.start, rows.stop
        return self._kept[:, columns]


def _check_range(image: Any) -> None:
    if image.dtype.kind != "f":
        raise TypeError(f"The image is {image.dtype}; without normalisation, uint8 or floats were expected.")
    for start in range(0, image.shape[0], ROWS_AT_A_TIME):
        rows = image[start : start + ROWS_AT_A_TIME]
        # Written so that NaN is refused too.
        if not (rows.min() >= 0 and rows.max() <= 1):
            raise ValueError("The image has values outside [0, 1], or NaN; normalise it.")


def _as_three_channels(values: np.ndarray, limits: tuple[tuple[float, float], ...] | None) -> np.ndarray:
    if limits is not None:
        values = scale_to_bytes(values, limits)
    elif values.dtype != np.uint8:
        values = values.astype(np.float32, copy=False)
    if values.ndim == 2 or values.shape[2] == 1:
        return np.broadcast_to(values.reshape(*values.shape[:2], 1), (*values.shape[:2], 3))
    if values.shape[2] == 2:
        return np.concatenate([values, np.zeros_like(values[..., :1])], axis=2)
    return values
