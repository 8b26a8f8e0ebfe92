"""What travels with the voxels: voxel size, axes and free attributes, and the conventions they are stored under."""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

SPATIAL = "zyx"
AXES = ("yx", "zyx", "czyx", "yxc", "zyxc", "cyx")
DEFAULT_AXES = {2: "yx", 3: "zyx", 4: "czyx"}
RESERVED = ("voxel_size", "axes", "complete")
NANOMETRES = {"nanometer": 1.0, "nm": 1.0, "micrometer": 1e3, "micron": 1e3, "um": 1e3, "µm": 1e3, "μm": 1e3}


@dataclass(frozen=True)
class Metadata:
    """Voxel size in nm along the spatial axes (or None if unknown), axes, and free JSON-able attributes."""

    axes: str
    voxel_size: tuple[float, ...] | None = None
    attributes: dict[str, Any] = field(default_factory=dict)


def check_axes(axes: str | None, ndim: int) -> str:
    """`axes` if it fits an array of `ndim` dimensions; the usual axes of that many dimensions for None.

    Raises:
        TypeError: `axes` is not a string.
        ValueError: an unknown axes string, or one of another length than `ndim`.

    Example:
        >>> check_axes(None, 3), check_axes("yxc", 3)
        ('zyx', 'yxc')
    """
    if axes is None:
        if ndim not in DEFAULT_AXES:
            raise ValueError(f"A volume has 2 (yx), 3 (zyx) or 4 (czyx) dimensions, this array has {ndim}.")
        return DEFAULT_AXES[ndim]
    if not isinstance(axes, str):
        raise TypeError(f"axes must be a string such as 'zyx', got {axes!r}.")
    if axes not in AXES:
        near = [one for one in AXES if sorted(one) == sorted(axes.lower())]
        near = near or difflib.get_close_matches(axes.lower(), AXES, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else "."
        raise ValueError(f"axes {axes!r} is not one of {', '.join(AXES)}{hint}")
    if len(axes) != ndim:
        raise ValueError(f"axes {axes!r} names {len(axes)} dimensions, but the array has {ndim}.")
    return axes


def check_voxel_size(voxel_size: Sequence[float] | None, axes: str) -> tuple[float, ...] | None:
    """`voxel_size` as a tuple of floats in nm, one for each spatial axis of `axes`; None stays None (unknown).

    Raises:
        TypeError: not a sequence of numbers.
        ValueError: a wrong number of values, or one that is not finite and positive.

    Example:
        >>> check_voxel_size([30, 8, 8], "czyx")
        (30.0, 8.0, 8.0)
    """
    if voxel_size is None:
        return None
    spatial = "".join(axis for axis in axes if axis in SPATIAL)
    expected = f"{len(spatial)} numbers in nm, one for each of {', '.join(spatial)}"
    if isinstance(voxel_size, str | bytes) or not hasattr(voxel_size, "__len__"):
        raise TypeError(f"voxel_size must be {expected}, got {voxel_size!r}.")
    if len(voxel_size) != len(spatial):
        raise ValueError(f"voxel_size must be {expected}, got {len(voxel_size)}: {tuple(voxel_size)}.")
    try:
        sizes = tuple(float(size) for size in voxel_size)
    except (TypeError, ValueError) as error:
        raise TypeError(f"voxel_size must be {expected}, got {tuple(voxel_size)!r}.") from error
    if not all(math.isfinite(size) and size > 0 for size in sizes):
        raise ValueError(f"voxel_size must be positive and finite (nm), got {sizes}.")
    return sizes


def check_dtype(dtype: Any, where: str) -> np.dtype:
    """`dtype` in native byte order, if it is bool, integer or floating point.

    Raises:
        TypeError: any other dtype (object, text, complex, records).
    """
    dtype = np.dtype(dtype)
    if dtype.kind not in "biuf":
        raise TypeError(f"{where} has dtype {dtype}; a volume holds bool, integers or floating-point numbers.")
    return dtype.newbyteorder("=")


def check_attributes(attributes: Mapping[str, Any] | None) -> dict[str, Any]:
    """A deep copy of `attributes` as it comes back from a file (tuples become lists, numpy scalars numbers).

    Raises:
        TypeError: not a dict with text keys, or a value JSON cannot hold.
        ValueError: a name that is taken (voxel_size, axes, complete).
    """
    if attributes is None:
        return {}
    if not isinstance(attributes, Mapping) or not all(isinstance(name, str) for name in attributes):
        raise TypeError(f"attributes must be a dict with text keys, got {attributes!r}.")
    taken = [name for name in RESERVED if name in attributes]
    if taken:
        raise ValueError(
            f"The attribute name {taken[0]!r} is reserved; voxel_size and axes are arguments of their own."
        )
    try:
        return json.loads(json.dumps(dict(attributes), default=plain, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise TypeError(f"attributes must be JSON-able (numbers, text, lists, dicts): {error}.") from error


def plain(value: Any) -> Any:
    """A numpy or bytes value as plain Python, for JSON.

    Raises:
        TypeError: there is no plain form.
    """
    if isinstance(value, np.generic | np.ndarray):
        return plain(value.tolist()) if isinstance(value.tolist(), bytes) else value.tolist()
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="replace")
    raise TypeError(f"{type(value).__name__} {value!r} has no JSON form")


def to_stored(metadata: Metadata) -> dict[str, Any]:
    """The attributes as they are stored: the free ones, `axes`, and `voxel_size` if it is known."""
    stored = {**metadata.attributes, "axes": metadata.axes}
    if metadata.voxel_size is not None:
        stored["voxel_size"] = list(metadata.voxel_size)
    return stored


def from_stored(stored: Mapping[str, Any], ndim: int, where: str) -> Metadata:
    """Read `voxel_size` and `axes`, or another clear convention, out of stored attributes.

    Conventions: `voxel_size` (nm, z y x; ours), `resolution` (nm, z y x; CREMI), `element_size_um` (micrometres,
    z y x; PlantSeg). A foreign value that does not fit the array (another length, not positive) says nothing and
    is left among the attributes.

    Raises:
        ValueError: `voxel_size` is there and is no voxel size.

    Example:
        >>> from_stored({"element_size_um": [0.25, 0.1, 0.1]}, 3, "plant.h5").voxel_size
        (250.0, 100.0, 100.0)
    """
    attributes = {name: value for name, value in stored.items() if name not in RESERVED}
    axes = stored.get("axes")
    fits = isinstance(axes, str) and axes.lower() in AXES and len(axes) == ndim
    axes = axes.lower() if fits else check_axes(None, ndim)
    try:
        voxel_size = check_voxel_size(stored.get("voxel_size"), axes)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{where} has an unusable attribute: {error}") from error
    for name, factor in (("resolution", 1.0), ("element_size_um", 1e3)):
        if voxel_size is None and name in stored:
            voxel_size = _foreign_voxel_size(stored[name], factor, axes)
    return Metadata(axes, voxel_size, attributes)


def from_multiscales(stored: Mapping[str, Any], path: str, ndim: int) -> tuple[str | None, tuple[float, ...] | None]:
    """Axes and voxel size (nm) of the array at `path` from the OME-NGFF `multiscales` of its group, where simple.

    Simple means: axes with names of ours, a scale for this array, and a length unit on every spatial axis. Reads
    NGFF 0.4 (`multiscales`) and 0.5 (`ome/multiscales`).

    Example:
        >>> axes = [{"name": name, "type": "space", "unit": "nanometer"} for name in "zyx"]
        >>> level = {"path": "s0", "coordinateTransformations": [{"type": "scale", "scale": [30, 8, 8]}]}
        >>> from_multiscales({"multiscales": [{"axes": axes, "datasets": [level]}]}, "s0", 3)
        ('zyx', (30.0, 8.0, 8.0))
    """
    ome = stored.get("ome", stored)
    try:
        image = ome["multiscales"][0]
        axes = "".join(axis["name"] for axis in image["axes"]).lower()
        level = next(level for level in image["datasets"] if level["path"].strip("/") == path)
        if axes not in AXES or len(axes) != ndim:
            return None, None
        scales = [np.ones(ndim)]
        for transforms in (level, image):
            for transform in transforms.get("coordinateTransformations", []):
                if transform["type"] == "scale":
                    scales.append(np.asarray(transform["scale"], dtype=np.float64))
        units = [NANOMETRES[axis["unit"]] for axis in image["axes"] if axis["name"].lower() in SPATIAL]
        spatial = [position for position, axis in enumerate(axes) if axis in SPATIAL]
        sizes = np.prod(scales, axis=0)[spatial] * units
        return axes, (check_voxel_size(sizes.tolist(), axes) if len(scales) > 1 else None)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, StopIteration):
        # A foreign file that does not follow the simple form gives no voxel size; the array itself is fine.
        return None, None


def _foreign_voxel_size(value: Any, factor: float, axes: str) -> tuple[float, ...] | None:
    try:
        return check_voxel_size([factor * float(size) for size in value], axes)
    except (TypeError, ValueError):
        return None
