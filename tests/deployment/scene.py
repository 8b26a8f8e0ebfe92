"""Heatmaps with objects of all sizes, and work that worker processes can import."""

import os
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from emlib.deployment import deploy
from emlib.postprocessing import distance_watershed
from emlib.volume import save_volume

EASY = {"min_size": 12, "min_seed_size": 2, "sigma": 0.6, "foreground": 0.61, "seed": 0.67}


def heatmap(shape, seed=0, smooth=1.3, steps=256):
    """Hills that touch, uint8; few `steps` make plateaus and ties."""
    noise = gaussian_filter(np.random.default_rng(seed).random(shape), smooth)
    noise = (noise - noise.min()) / max(np.ptp(noise), 1e-9)
    return (np.floor(noise * (steps - 1)) * (255 // (steps - 1))).astype(np.uint8)


@st.composite
def cases(draw):
    """A heatmap, parameters of the watershed, and a size of blocks."""
    shape = draw(st.tuples(*(st.integers(1, 14) for _ in range(3))))
    volume = heatmap(
        shape, draw(st.integers(0, 999)), draw(st.sampled_from([0.6, 1.0, 1.8])), draw(st.sampled_from([256, 6, 3]))
    )
    low, high = sorted(draw(st.tuples(st.floats(0, 0.8), st.floats(0, 0.8))))
    parameters = {
        "foreground": low, "seed": high, "min_size": draw(st.integers(0, 40)), "min_seed_size": draw(st.integers(0, 5)),
        "sigma": draw(st.sampled_from([0.0, 0.7, 1.5])), "unseeded": draw(st.sampled_from(["drop", "keep"])),
    }  # fmt: skip
    return volume, parameters, draw(st.tuples(*(st.integers(1, 15) for _ in range(3))))


def save(folder, shape=(24, 40, 44), seed=1):
    """A heatmap on disk, with the voxel size of a section stack."""
    folder.mkdir(parents=True, exist_ok=True)
    save_volume(folder / "heatmap.zarr", heatmap(shape, seed, (0.8, 1.6, 1.6)), voxel_size=(30, 8, 8))
    return folder / "heatmap.zarr"


def run(source, out, **options):
    """A deployment in small blocks."""
    settings = {"prediction": source, "block": (10, 17, 20), "parameters": EASY, "chunk": 8, "mips": 2}
    return deploy(None, out, **(settings | {"progress": False} | options))


def whole(source):
    """The labels of one call."""
    return distance_watershed(source[:], **EASY)


@dataclass(frozen=True)
class Copying:
    """A network that knows the answer; it can be told to be slow, or to end its process once."""

    identity: dict = field(default_factory=lambda: {"weights": "4f1c"})
    channels: tuple = ("heatmap",)
    seconds: float = 0.0
    kill_at: tuple = ()
    mark: Path | None = None
    full_at: tuple = ()

    def __call__(self, volume, block):
        time.sleep(self.seconds)
        if block.index == self.kill_at and not self.mark.exists():
            self.mark.write_text("once")
            os.kill(os.getpid(), signal.SIGKILL)
        if block.index == self.full_at:
            raise ValueError("no luck with this one.")
        return volume[block.inner][None]
