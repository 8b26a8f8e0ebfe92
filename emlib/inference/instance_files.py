"""The objects of an image as a small file: masks as bits of their crops."""

from __future__ import annotations

import io
import zipfile
import zlib
from dataclasses import astuple
from pathlib import Path

import numpy as np

from emlib.atomic import atomic_path
from emlib.inference.instances import InstancePrediction
from emlib.models.mask_rcnn_limits import LimitsReached
from emlib.models.mask_rcnn_pasting import ObjectMask

KEYS = ("shape", "boxes", "scores", "labels", "corners", "sizes", "pixels", "counts")


def save_instances(path: str | Path, prediction: InstancePrediction) -> Path:
    """Write the objects of an image to a .npz file, all or nothing.

    Args:
        path: where to.
        prediction: from `predict_instances`.

    Returns:
        The path.

    Raises:
        ValueError: another ending than .npz.
        OSError: the disk is full or cannot be written; what was there before is still there.

    Example:
        >>> import tempfile
        >>> one = ObjectMask((2, 3), np.ones((4, 5), bool))
        >>> boxes = np.array([[3, 2, 8, 6]], np.float32)
        >>> found = InstancePrediction(boxes, np.ones(1, np.float32), np.ones(1, np.int64), (one,), (10, 10))
        >>> load_instances(save_instances(tempfile.mkdtemp() + "/one.npz", found)).masks[0].corner
        (2, 3)
    """
    path = Path(path)
    if path.suffix != ".npz":
        raise ValueError(f"{path} should end in .npz.")
    masks = prediction.masks
    crops = [one.mask.ravel() for one in masks]
    arrays = {
        "shape": np.array(prediction.shape, np.int64),
        "boxes": prediction.boxes,
        "scores": prediction.scores,
        "labels": prediction.labels,
        "corners": np.array([one.corner for one in masks], np.int64).reshape(-1, 2),
        "sizes": np.array([one.mask.shape for one in masks], np.int64).reshape(-1, 2),
        "pixels": np.packbits(np.concatenate([np.zeros(0, bool), *crops])),
        "counts": np.array([prediction.cut, prediction.empty, *astuple(prediction.limits_reached)], np.int64),
    }
    # Made in memory and written at once: it is small.
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)
    with atomic_path(path) as temporary:
        temporary.write_bytes(content.getvalue())
    return path


def load_instances(path: str | Path) -> InstancePrediction:
    """Read what `save_instances` wrote.

    Raises:
        FileNotFoundError: no such file.
        OSError: a damaged file, or another one.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path}.")
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = {key: stored[key] for key in KEYS}
        return _unpacked(arrays)
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise OSError(f"{path} holds no objects of an image, or is damaged.") from error


def _unpacked(arrays: dict[str, np.ndarray]) -> InstancePrediction:
    sizes = arrays["sizes"]
    ends = np.cumsum(sizes.prod(axis=1))
    total = int(ends[-1]) if len(ends) else 0
    if sizes.size and sizes.min() < 1:
        raise ValueError("an object without a pixel")
    # Fewer bits than asked for would be filled up with zeros.
    if arrays["pixels"].size != -(-total // 8):
        raise ValueError("pixels of another number")
    crops = np.split(np.unpackbits(arrays["pixels"], count=total).view(bool), ends[:-1]) if total else []
    masks = tuple(
        ObjectMask(tuple(corner), crop.reshape(size).copy())
        for corner, crop, size in zip(arrays["corners"].tolist(), crops, sizes.tolist(), strict=True)
    )
    cut, empty, *limits = arrays["counts"].tolist()
    height, width = arrays["shape"].tolist()
    parts = (arrays[name] for name in ("boxes", "scores", "labels"))
    return InstancePrediction(*parts, masks, (height, width), LimitsReached(*limits), cut, empty)
