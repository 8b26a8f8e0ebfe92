"""Whether a volume is still the one that work was begun with."""

from __future__ import annotations

import hashlib
import itertools
from pathlib import Path
from typing import Any

import numpy as np

_SAMPLE = 16


def volume_fingerprint(volume: Any) -> str:
    """SHA-256 that changes when a volume does, without reading a large one whole.

    A volume in memory is read whole, plane by plane. For one on disk it is the names, sizes and modification times
    of its files, and 27 small cubes of its values.
    """
    digest = hashlib.sha256(f"{tuple(volume.shape)} {np.dtype(volume.dtype)}".encode())
    path = getattr(volume, "path", None)
    if path is None:
        for plane in range(volume.shape[0]):
            digest.update(np.ascontiguousarray(volume[plane]).tobytes())
        return digest.hexdigest()
    digest.update(f"{Path(path).resolve()} {getattr(volume, 'key', None)}".encode())
    root = Path(path)
    for file in sorted(root.rglob("*")) if root.is_dir() else [root]:
        if file.is_file():
            status = file.stat()
            digest.update(f"{file.name} {status.st_size} {status.st_mtime_ns}".encode())
    starts = [sorted({0, max(0, n // 2 - _SAMPLE // 2), max(0, n - _SAMPLE)}) for n in volume.shape]
    for corner in itertools.product(*starts):
        digest.update(np.ascontiguousarray(volume[tuple(slice(c, c + _SAMPLE) for c in corner)]).tobytes())
    return digest.hexdigest()
