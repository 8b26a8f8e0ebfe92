"""Work for blocks that worker processes can import, and what the tests compare."""

import hashlib
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.ndimage

from emlib.scaling import BlockVolume

IDENTITY = {"recipe": "5d41", "weights": "4f1c"}


def count_voxels(block):
    return {"voxels": int(np.prod(block.shape)), "corner": np.array(block.start)}


@dataclass(frozen=True)
class Ramp:
    """Writes each voxel's place; for some blocks it first does something else."""

    volume: BlockVolume
    trouble: str = ""
    at: tuple = ()
    mark: Path | None = None
    seconds: float = 0.0

    def __call__(self, block):
        time.sleep(self.seconds)
        if block.index == self.at and (self.mark is None or not self.mark.exists()):
            if self.mark is not None:
                self.mark.write_text("once")
            if self.trouble == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            if self.trouble == "memory":
                self.hoard()
            raise ValueError(f"no luck\nwith {self.trouble}.")
        places = np.ravel_multi_index(np.mgrid[block.inner], self.volume_shape(block))
        return {"voxels": places.size, "labels": self.volume.write(block, places.astype(np.uint32))}

    @staticmethod
    def hoard():
        held = []
        for _ in range(400):
            held.append(np.ones(2_000_000))
            time.sleep(0.02)

    @staticmethod
    def volume_shape(block):
        return tuple(1000 for _ in block.shape)


def faces(near, far):
    """6-connectivity."""
    return np.stack([near, far], axis=1)[(near > 0) & (far > 0)] if near.ndim == 1 else np.stack(
        [near.ravel(), far.ravel()], axis=1)[(near > 0).ravel() & (far > 0).ravel()]  # fmt: skip


def faces_and_corners(near, far):
    """26-connectivity: every voxel of one plane with the nine around its neighbour in the other."""
    padded = np.pad(far, 1)
    pairs = [np.empty((0, 2), near.dtype)]
    for shift in np.ndindex(*(3 for _ in near.shape)):
        other = padded[tuple(slice(start, start + length) for start, length in zip(shift, near.shape, strict=True))]
        both = (near > 0) & (other > 0)
        pairs.append(np.stack([near[both], other[both]], axis=1))
    return np.concatenate(pairs)


def components(array, block):
    return scipy.ndimage.label(array)[0]


def all_components(array, block):
    return scipy.ndimage.label(array, np.ones((3,) * array.ndim))[0]


def tree(folder):
    """Name and hash of every file below a folder."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(Path(folder).rglob("*"))
        if path.is_file()
    }


def flip_a_bit(path, place=0.5):
    content = bytearray(path.read_bytes())
    content[int(place * len(content))] ^= 4
    path.write_bytes(content)
