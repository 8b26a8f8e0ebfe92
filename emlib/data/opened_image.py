"""Open an image without reading its pixels: rows and columns are read when they are asked for."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from emlib.data.image_decoding import DAMAGE, TIFF_MARKS
from emlib.data.image_files import read_image
from emlib.formats.source import one_line
from emlib.formats.tiff import count_pages
from emlib.volume import Volume, open_volume

# Pictures of fewer values are decoded whole: that takes less memory than a network does.
WORTH_IT = 1 << 27
VOLUME_SUFFIXES = (".zarr", ".h5", ".hdf5", ".npy")
MOST_CHANNELS = 3


class OpenedImage:
    """An image (y, x) or (y, x, c) that is read by `image[rows]` or `image[rows, columns]`, two slices.

    Args:
        array: what is sliced like an array, with the axes that `axes` names.
        axes: "yx", "yxc", "cyx" or "zyx", the last with a single section.
        path: of the file, if there is one.
        channels: how many of those in the file are used, None for all.
    """

    def __init__(self, array: Any, axes: str, path: Path | None = None, channels: int | None = None) -> None:
        self._array, self._axes, self.path = array, axes, path
        lengths = dict(zip(axes, array.shape, strict=True))
        self._channels = slice(0, lengths.get("c") if channels is None else channels)
        self.shape = (lengths["y"], lengths["x"], *((self._channels.stop,) if "c" in axes else ()))
        self.dtype = np.dtype(array.dtype).newbyteorder("=")
        size = getattr(array, "voxel_size", None)
        # Of an array (y, x, c) that was saved as (z, y, x) the sizes mean nothing.
        self.voxel_size = None if size is None or (axes, len(size)) == ("yxc", 3) else tuple(size[-2:])

    def __getitem__(self, box: slice | tuple[slice, slice]) -> np.ndarray:
        rows, columns = box if isinstance(box, tuple) else (box, slice(None))
        parts = {"z": slice(0, 1), "y": rows, "x": columns, "c": self._channels}
        values = np.asarray(self._array[tuple(parts[axis] for axis in self._axes)])
        if self._axes == "zyx":
            values = values[0]
        elif self._axes == "cyx":
            values = np.moveaxis(values, 0, -1)
        return values.astype(self.dtype, copy=False)


def open_image(image: Any) -> np.ndarray | OpenedImage:
    """An image to be read window by window where it may be large, or its pixels where it is not.

    Of files, .zarr, .h5 and .npy are opened, and so are TIFF files of more than 128 million values if they hold one
    grey or RGB picture, uncompressed or in strips or tiles. Other pictures are decoded whole by `read_image`: of PNG
    and JPEG, pixels can only be had in order.

    Args:
        image: an array (a memory map too), a Volume, a zarr array or HDF5 data set, or the path of a file.

    Returns:
        The array itself, or an OpenedImage.

    Raises:
        TypeError: something else.
        ValueError: a Volume of axes other than (y, x), (y, x, c), (c, y, x) or one section.
        OSError: the file is missing or damaged.

    Example:
        >>> import tempfile
        >>> from emlib.volume import save_volume
        >>> path = save_volume(tempfile.mkdtemp() + "/slide.zarr", np.eye(8, dtype=np.uint8))
        >>> slide = open_image(path)
        >>> slide.shape, slide[2:4, 1:5].tolist()
        ((8, 8), [[0, 1, 0, 0], [0, 0, 1, 0]])
    """
    if isinstance(image, np.ndarray | OpenedImage):
        return image
    if isinstance(image, str | os.PathLike):
        path = Path(image)
        if path.suffix.lower() in VOLUME_SUFFIXES:
            image = open_volume(path)
        else:
            return _large_tiff(path) or read_image(path)
    if isinstance(image, Volume):
        return OpenedImage(image, _axes_of_volume(image), image.path)
    dtype, shape = getattr(image, "dtype", None), getattr(image, "shape", None)
    if not isinstance(dtype, np.dtype) or not isinstance(shape, tuple) or not hasattr(image, "__getitem__"):
        raise TypeError(f"The image is a {type(image).__name__}, but an array or a path was expected.")
    if len(shape) not in (2, 3):
        raise ValueError(f"The image has shape {shape}, but pixels (y, x) or (y, x, c) were expected.")
    return OpenedImage(image, "yxc"[: len(shape)])


def _axes_of_volume(volume: Volume) -> str:
    if volume.axes == "zyx" and volume.shape[2] <= MOST_CHANNELS < min(volume.shape[:2]):
        # Saved as an array (y, x, c) without saying so.
        return "yxc"
    if volume.axes in ("yx", "yxc", "cyx") or (volume.axes == "zyx" and volume.shape[0] == 1):
        return volume.axes
    raise ValueError(
        f"The image has axes {volume.axes!r} and shape {volume.shape}, but pixels (y, x), (y, x, c) or (c, y, x) were "
        "expected."
    )


def _large_tiff(path: Path) -> OpenedImage | None:
    """The picture in a large TIFF file; None where `read_image` is to look at the file."""
    if not path.is_file() or path.stat().st_size < 8:
        return None
    with open(path, "rb") as file:
        if file.read(4) not in TIFF_MARKS:
            return None
    import tifffile

    try:
        pages = count_pages(path)
        with tifffile.TiffFile(path) as file:
            page = file.pages.first
            if len(file.pages) != pages or len(file.series) != 1 or np.prod(page.shape, dtype=np.int64) <= WORTH_IT:
                return None
            opacity = len(page.extrasamples) == 1 and page.extrasamples[0] in (1, 2)
            plain = page.photometric in (1, 2) and page.compression in (1, 8, 32946) and page.predictor in (1, 2)
            layers = len(file.series[0].pages) == 1 and page.axes in ("YX", "YXS") and page.sampleformat in (1, 2, 3)
            if not plain or not layers or page.bitspersample not in (8, 16, 32, 64) or page.dtype == np.float16:
                return None
            ends = [start + length for start, length in zip(page.dataoffsets, page.databytecounts, strict=True)]
            if max(ends) > path.stat().st_size:
                raise OSError(f"it should reach to byte {max(ends)}, but has {path.stat().st_size} bytes")
            pixels = _TiffPixels(path, page)
    except DAMAGE as error:
        raise OSError(f"{path} cannot be read, it is damaged or truncated ({one_line(error)}).") from error
    if pixels.too_coarse:
        return None
    axes = "yxc"[: len(pixels.shape)]
    return OpenedImage(pixels, axes, path, pixels.shape[2] - opacity if len(axes) == 3 else None)


class _TiffPixels:
    """The pixels of one page; the file is open only while they are read, so that no mapped page stays in memory."""

    def __init__(self, path: Path, page: Any) -> None:
        self.path, self.shape, self.dtype = path, tuple(page.shape), page.dtype
        order = page.parent.byteorder
        self._map = (page.dataoffsets[0], order + page.dtype.str[1:]) if page.is_memmappable else None
        # One strip for a large part of the picture: reading some rows would decode it again and again.
        self.too_coarse = self._map is None and 4 * np.prod(page.chunks, dtype=np.int64) > np.prod(page.shape)

    def __getitem__(self, box: tuple[slice, ...]) -> np.ndarray:
        if self._map is not None:
            offset, dtype = self._map
            return np.array(np.memmap(self.path, dtype=dtype, mode="r", offset=offset, shape=self.shape)[box])
        import tifffile
        import zarr

        try:
            with tifffile.TiffFile(self.path) as file:
                return zarr.open_array(file.pages.first.aszarr(), mode="r")[box]
        except DAMAGE as error:
            raise OSError(f"{self.path} cannot be read, it is damaged or truncated ({one_line(error)}).") from error
