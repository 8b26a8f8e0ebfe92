"""Volume: one lazy array with its voxel size and axes, whatever file it lies in; open, create and save."""

from __future__ import annotations

import operator
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from emlib.formats.boxes import check_fill, crop_range
from emlib.formats.detection import open_source
from emlib.formats.lazy_array import LazyArray
from emlib.formats.metadata import SPATIAL, Metadata, check_attributes, check_axes, check_dtype, check_voxel_size
from emlib.formats.padding import read_padded
from emlib.formats.saving import create_array, describe, save_array
from emlib.formats.source import ArraySource, Source

__all__ = ["Volume", "create_volume", "open_volume", "save_volume"]


class Volume(LazyArray):
    """A volume that is read box by box, with voxel size and axes.

    Indexing takes integers, slices (any step) and one `...`, as numpy does, reads only the chunks, pages or tiles it
    needs, and gives a fresh array. A Volume can be pickled and used in worker processes; each opens its own file.

    Args:
        array: an array in memory (not copied), or a `Source` of `emlib.formats`.
        voxel_size: nm, one number for each of z, y, x that the axes have; None if unknown.
        axes: "zyx", "czyx", "yx", "yxc", "zyxc" or "cyx"; None takes the usual ones for the number of dimensions.
        attributes: anything JSON can hold.

    Raises:
        TypeError: a dtype that is not bool, integer or floating point.
        ValueError: no voxels, axes that do not fit, an unusable voxel size.

    Example:
        >>> volume = Volume(np.arange(24, dtype=np.uint8).reshape(2, 3, 4), voxel_size=(30, 8, 8))
        >>> volume
        Volume(shape=(2, 3, 4), dtype=uint8, axes='zyx', voxel_size=(30.0, 8.0, 8.0) nm, in memory)
        >>> volume[-1, 0, ::2]
        array([12, 14], dtype=uint8)
        >>> volume.crop(y=(1, 3)).shape
        (2, 2, 4)
    """

    def __init__(
        self,
        array: Any,
        voxel_size: Sequence[float] | None = None,
        axes: str | None = None,
        attributes: Mapping[str, Any] | None = None,
    ):
        super().__init__(array if isinstance(array, Source) else ArraySource(array))
        shape = self.shape
        if self._source.path is None:
            self._axes = check_axes(axes, len(shape))
            stored_size, stored_attributes = None, {}
        else:
            self._axes = check_axes(axes or self._source.metadata.axes, len(shape))
            stored_size = self._source.metadata.voxel_size if axes in (None, self._source.metadata.axes) else None
            stored_attributes = self._source.metadata.attributes
        if 0 in shape:
            raise ValueError(f"{self._source.describe()} has no voxels: its shape is {shape}.")
        self._voxel_size = check_voxel_size(stored_size if voxel_size is None else voxel_size, self._axes)
        self._attributes = dict(stored_attributes) if attributes is None else check_attributes(attributes)

    @property
    def axes(self) -> str:
        """One letter an axis: z, y, x, and c for channels."""
        return self._axes

    @property
    def voxel_size(self) -> tuple[float, ...] | None:
        """nm along z, y, x (those that the axes have), or None if unknown."""
        return self._voxel_size

    @property
    def attributes(self) -> dict[str, Any]:
        """Free attributes stored with the volume (a copy)."""
        return dict(self._attributes)

    def __repr__(self) -> str:
        size = "unknown" if self.voxel_size is None else f"{self.voxel_size} nm"
        place = "in memory" if self.path is None else f"path={str(self.path)!r}"
        key = f", key={self.key!r}" if self.key else ""
        return f"Volume(shape={self.shape}, dtype={self.dtype}, axes={self.axes!r}, voxel_size={size}, {place}{key})"

    def crop(self, z: Any = None, y: Any = None, x: Any = None) -> Volume:
        """A part of the volume as a Volume of its own; nothing is read.

        Args:
            z, y, x: a slice, a (start, stop) pair, or None for all; negative numbers count from the end.

        Raises:
            TypeError: something else.
            ValueError: an axis the volume lacks, a step, or nothing left.
            IndexError: start or stop lie outside the volume.

        Example:
            >>> Volume(np.zeros((4, 8, 8))).crop(z=(1, 3), x=slice(-2, None)).shape
            (2, 8, 2)
        """
        box = list(self._box)
        for axis, part in zip(SPATIAL, (z, y, x), strict=True):
            if part is None:
                continue
            if axis not in self.axes:
                raise ValueError(f"A volume with axes {self.axes!r} cannot be cropped along {axis}.")
            place = self.axes.index(axis)
            start, stop = crop_range(part, axis, self.shape[place])
            box[place] = slice(self._box[place].start + start, self._box[place].start + stop)
        part = object.__new__(type(self))
        part.__dict__.update(self.__dict__, _box=tuple(box))
        return part

    def with_metadata(
        self,
        *,
        voxel_size: Sequence[float] | None = None,
        axes: str | None = None,
        attributes: Mapping[str, Any] | None = None,
    ) -> Volume:
        """The same voxels with another voxel size (nm), axes or attributes; None keeps what is there.

        Example:
            >>> Volume(np.zeros((4, 8, 8))).with_metadata(voxel_size=(30, 8, 8)).voxel_size
            (30.0, 8.0, 8.0)
        """
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        other._axes = check_axes(axes or self.axes, self.ndim)
        other._voxel_size = check_voxel_size(self.voxel_size if voxel_size is None else voxel_size, other._axes)
        other._attributes = dict(self._attributes) if attributes is None else check_attributes(attributes)
        return other

    def read_box(
        self, start: Sequence[int], stop: Sequence[int], *, padding: str = "reflect", fill: float = 0
    ) -> np.ndarray:
        """Read a box of the spatial axes that may reach outside the volume; channels are read whole.

        Args:
            start, stop: first voxel and first voxel after, one integer for each of z, y, x that the axes have.
            padding: outside, "reflect" mirrors without repeating the border (as often as needed), "edge" repeats it,
                "constant" is `fill`.
            fill: value outside for "constant".

        Returns:
            A fresh array, shape stop - start along the spatial axes.

        Raises:
            ValueError: an unknown padding, an empty box, a wrong number of integers, a fill the dtype cannot hold.

        Example:
            >>> Volume(np.arange(4).reshape(1, 1, 4)).read_box((0, 0, -2), (1, 1, 6)).ravel().tolist()
            [2, 1, 0, 1, 2, 3, 2, 1]
        """
        spatial = [axis for axis, name in enumerate(self.axes) if name in SPATIAL]
        if len(start) != len(spatial) or len(stop) != len(spatial):
            raise ValueError(
                f"start and stop need {len(spatial)} integers each for axes {self.axes!r}, "
                f"got {tuple(start)} and {tuple(stop)}."
            )
        wanted = [range(length) for length in self.shape]
        for axis, low, high in zip(spatial, start, stop, strict=True):
            wanted[axis] = range(operator.index(low), operator.index(high))
        return read_padded(self._read, self.shape, wanted, padding, check_fill(fill, self.dtype))


def open_volume(
    path: str | os.PathLike | Volume | np.ndarray,
    key: str | None = None,
    *,
    mode: str = "r",
    voxel_size: Sequence[float] | None = None,
    axes: str | None = None,
    fill: float | None = None,
    labels: bool | None = None,
    tile_size: int | None = None,
) -> Volume:
    """Open a volume without reading its voxels.

    Args:
        path: .h5/.hdf5, .zarr (or any zarr folder), .tif/.tiff stack, .npy, a folder or glob of PNG or TIFF slices
            (natural order, 1-bit read as 0/255), one .png, a tile list (.json, see
            `emlib.formats.tile_list`); a Volume is returned as it is and an array is wrapped.
        key: the data set of an HDF5 file or the array of a zarr group. None takes `main` if there is one, otherwise
            the first with three or more dimensions (else two): the arrays of a group in natural order, then those
            of its sub-groups in natural order.
        mode: "r" to read, "r+" to write as well (.zarr, .h5, .npy).
        voxel_size: nm (z, y, x), overrules what the file says.
        axes: overrules what the file says.
        fill: value for missing image tiles of a tile list, for example 128; None makes a missing tile an error.
        labels: True decodes colour slices, pages and tiles to ids R * 65536 + G * 256 + B.
        tile_size: pixels of a tile's side, for a tile list that does not say it.

    Voxel sizes are found in `voxel_size` (ours), `resolution` (CREMI), `element_size_um` (PlantSeg), OME-NGFF
    multiscales and ImageJ's spacing and resolution.

    Raises:
        FileNotFoundError: nothing there, or no slices.
        OSError: a damaged or truncated file.
        ValueError: an unknown suffix, key or mode; slices that do not agree; unusable voxel size or axes.
        TypeError: a dtype that is not bool, integer or floating point.

    Example:
        >>> import tempfile
        >>> file = save_volume(tempfile.mkdtemp() + "/em.zarr", np.ones((4, 8, 8), np.uint8), voxel_size=(30, 8, 8))
        >>> volume = open_volume(file)
        >>> volume.shape, volume.voxel_size, int(volume[0].sum())
        ((4, 8, 8), (30.0, 8.0, 8.0), 64)
    """
    if mode not in ("r", "r+"):
        raise ValueError(f"mode must be 'r' (read) or 'r+' (read and write), got {mode!r}.")
    if isinstance(path, str | os.PathLike):
        source = open_source(Path(path), key, writable=mode == "r+", labels=labels, fill=fill, tile_size=tile_size)
        return Volume(source, voxel_size, axes)
    if key is not None:
        raise ValueError(f"A key ({key!r}) belongs to a file, but an array in memory or an open volume was given.")
    if isinstance(path, Volume):
        return path if voxel_size is None and axes is None else path.with_metadata(voxel_size=voxel_size, axes=axes)
    if isinstance(path, np.ndarray):
        return Volume(path, voxel_size, axes)
    raise TypeError(f"A volume is opened from a path, an array or a Volume, not from {type(path).__name__}.")


def create_volume(
    path: str | os.PathLike,
    shape: Sequence[int],
    dtype: Any,
    *,
    key: str | None = None,
    voxel_size: Sequence[float] | None = None,
    axes: str | None = None,
    chunks: Sequence[int] | None = None,
    attributes: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> Volume:
    """Make a writable .zarr or .h5 volume of zeros, to be filled box by box; directly at `path`, not atomically.

    Write whole chunks where you can. `volume.mark_complete()` at the end makes later loss of a zarr chunk an error.
    Other arrays in the same file or group stay; arguments are those of `save_volume`.

    Raises:
        FileExistsError: the array is there and `overwrite` is False.
        ValueError: an unsuitable suffix, shape, chunks, axes or voxel size.
        TypeError: a dtype that is not bool, integer or floating point.
        OSError: the file cannot be written.

    Example:
        >>> import tempfile
        >>> volume = create_volume(tempfile.mkdtemp() + "/out.zarr", (4, 8, 8), "uint64")
        >>> volume[1] = 2**40
        >>> int(open_volume(volume.path)[1, 0, 0]) == 2**40
        True
    """
    shape = tuple(operator.index(length) for length in shape)
    metadata, chunks = describe(shape, voxel_size, axes, attributes, chunks)
    create_array(Path(path), shape, check_dtype(dtype, str(path)), metadata, chunks, key, overwrite=overwrite)
    return open_volume(path, key, mode="r+")


def save_volume(
    path: str | os.PathLike,
    array: Any,
    *,
    voxel_size: Sequence[float] | None = None,
    axes: str | None = None,
    key: str | None = None,
    chunks: Sequence[int] | None = None,
    attributes: Mapping[str, Any] | None = None,
    overwrite: bool = True,
) -> Path:
    """Write a volume so that a reader sees all of it or nothing; a Volume is copied block by block.

    Args:
        path: .zarr (v3), .h5, .tif or .npy. All keep voxel size, axes and attributes.
        array: array or Volume; what is not given below is taken from a Volume.
        voxel_size: nm (z, y, x).
        axes: None takes the usual ones for the number of dimensions.
        key: array in a zarr group (None: the store is the array) or data set of an HDF5 file (None: "main"). Other
            arrays in the same group or file stay.
        chunks: None takes 32 x 256 x 256, one channel each; .zarr and .h5 only.
        attributes: anything JSON can hold.
        overwrite: False raises FileExistsError if the file (with a key: the array) is there.

    Returns:
        The path.

    Raises:
        OSError: the disk is full or the folder cannot be written; nothing is left half-written.
        ValueError: an unsuitable suffix, key, chunks, axes or voxel size; no voxels.
        TypeError: a dtype that is not bool, integer or floating point (.tif: nor bool).

    Example:
        >>> import tempfile
        >>> path = save_volume(tempfile.mkdtemp() + "/labels.h5", np.eye(8, dtype=np.uint64), key="ids")
        >>> open_volume(path).key, open_volume(path).dtype
        ('ids', dtype('uint64'))
    """
    volume = array if isinstance(array, Volume) else Volume(array, axes=axes)
    volume = volume.with_metadata(voxel_size=voxel_size, axes=axes, attributes=attributes)
    metadata = Metadata(volume.axes, volume.voxel_size, volume.attributes)
    save_array(Path(path), volume, metadata, chunks, key, overwrite=overwrite)
    return Path(path)
