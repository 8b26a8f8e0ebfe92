"""A generated stack from heatmap to pyramid by `deploy`, with the memory of all processes together.

    python benchmarks/deployment.py [--size 1200 1024 1024] [--block 200 1024 1024] [--workers 1] [--method exact]
                                    [--kill 10] [--folder FOLDER]

The heatmap is drawn block by block from a formula: about one ellipsoid in 50,000 voxels, each a hill that touches some
of its neighbours, so that components of several objects cross the faces of blocks. Nothing of it is ever held whole.
The deployment runs in a process of its own; every 50 ms the memory of that process and of all below it is added up
(PSS: what several processes share counts once). The table gives the seconds of each stage, the largest sum, and the
objects.

Where a call on the whole volume fits (up to 2**27 voxels), its labels are compared with those of the blocks: with
"exact" they must be equal, voxel for voxel, ids included. With `--kill N` a second deployment is ended by SIGKILL at N
random moments (all its processes at once) and started again each time; its files must have the bytes of the first.
The exit status is 1 if labels or bytes differ, or if the memory reaches 4 GiB.

    python benchmarks/deployment.py --size 300 512 512 --block 100 256 512 --kill 10     # two minutes
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil

from emlib.compilation import compiled
from emlib.deployment import deploy
from emlib.formats.metadata import Metadata
from emlib.formats.source import Source
from emlib.postprocessing import distance_watershed
from emlib.volume import Volume, open_volume

MOST_BYTES, COMPARED = 4 << 30, 2**27
STAGES = "stages.txt"


@compiled
def noise(a, b, c, d):
    """A number from 0 to 1 that follows from four whole numbers alone."""
    key = np.uint64(a) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(b) * np.uint64(0xC2B2AE3D27D4EB4F)
    key = (key ^ (key >> np.uint64(29)) ^ np.uint64(c)) * np.uint64(0xBF58476D1CE4E5B9)
    key = (key ^ (key >> np.uint64(32)) ^ np.uint64(d)) * np.uint64(0x94D049BB133111EB)
    return np.float64(key >> np.uint64(11)) / 2.0**53


@compiled
def draw(start, heatmap):
    """Fill a part of the stack, uint8 zeros, that begins at `start`: each cell of a grid holds one object."""
    depth, rows, columns = heatmap.shape
    for a in range(start[0] // 24 - 2, (start[0] + depth) // 24 + 3):
        for b in range(start[1] // 45 - 2, (start[1] + rows) // 45 + 3):
            for c in range(start[2] // 45 - 2, (start[2] + columns) // 45 + 3):
                z = (a + 0.5 + 0.5 * (noise(a, b, c, 1) - 0.5)) * 24 - start[0]
                y = (b + 0.5 + 0.5 * (noise(a, b, c, 2) - 0.5)) * 45 - start[1]
                x = (c + 0.5 + 0.5 * (noise(a, b, c, 3) - 0.5)) * 45 - start[2]
                deep, high, wide = (
                    6 + 6 * noise(a, b, c, 4), 11 + 10 * noise(a, b, c, 5), 11 + 10 * noise(a, b, c, 6)
                )  # fmt: skip
                for i in range(max(int(z - deep), 0), min(int(z + deep) + 2, depth)):
                    for j in range(max(int(y - high), 0), min(int(y + high) + 2, rows)):
                        rest = ((i - z) / deep) ** 2 + ((j - y) / high) ** 2
                        if rest >= 1:
                            continue
                        for k in range(max(int(x - wide), 0), min(int(x + wide) + 2, columns)):
                            height = 1 - rest - ((k - x) / wide) ** 2
                            if height > 0:
                                level = np.uint8(255 * height**0.5)
                                if level > heatmap[i, j, k]:
                                    heatmap[i, j, k] = level


class PhantomSource(Source):
    """The stack as a file would be; this script is the file that says what it holds."""

    path = Path(__file__)

    def __init__(self, shape):
        self.shape, self.dtype, self.metadata = tuple(shape), np.dtype(np.uint8), Metadata("zyx", (30.0, 8.0, 8.0))

    def read(self, box):
        heatmap = np.zeros([part.stop - part.start for part in box], np.uint8)
        draw(np.array([part.start for part in box]), heatmap)
        return np.ascontiguousarray(heatmap[tuple(slice(None, None, part.step or 1) for part in box)])


@dataclass(frozen=True)
class Network:
    """Stands for a network that has learned its task: the heatmap of a block is what the formula says."""

    channels: tuple[str, ...] = ("heatmap",)
    identity: dict[str, str] = field(default_factory=lambda: {"weights": "none"})

    def __call__(self, volume, block):
        return volume[block.inner][None]


def work(arguments: argparse.Namespace) -> None:
    """What the process that is measured does."""
    started = time.monotonic()
    done = deploy(
        Volume(PhantomSource(arguments.size)), arguments.folder, predict=Network(), block=arguments.block,
        prediction_block=(20, *arguments.size[1:]), method=arguments.method, workers=arguments.workers,
        overwrite=True, progress=False,
    )  # fmt: skip
    lines = [f"{name:12} {seconds:9.1f} s" for name, seconds in done.seconds.items()]
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    lines.append(f"{'all':12} {time.monotonic() - started:9.1f} s")
    lines.append(f"largest resident set of the first process {largest:.2f} GiB")
    lines.append(f"{done.objects} objects in {done.blocks} blocks, {done.crossing} components or links across faces")
    Path(arguments.folder, STAGES).write_text("\n".join(lines))


def processes_below(process: psutil.Process) -> list[psutil.Process]:
    """A process and all that it started."""
    try:
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def memory_of(processes: list[psutil.Process]) -> int:
    """Bytes of all together: PSS where the system tells it, else resident sets."""
    total = 0
    for one in processes:
        try:
            full = one.memory_full_info()
            total += getattr(full, "pss", 0) or full.rss
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return total


def run(folder: Path, arguments: argparse.Namespace, seconds: float | None = None) -> tuple[int, int]:
    """Start the deployment and wait for it, or end it after some seconds: (exit status, most bytes)."""
    command = [sys.executable, __file__, "--run", "--folder", str(folder), "--method", arguments.method,
               "--workers", str(arguments.workers), "--size", *map(str, arguments.size),
               "--block", *map(str, arguments.block)]  # fmt: skip
    started, most = time.monotonic(), 0
    with subprocess.Popen(command, env=os.environ | {"OMP_NUM_THREADS": "1"}) as process:
        watched = psutil.Process(process.pid)
        while process.poll() is None:
            there = processes_below(watched)
            most = max(most, memory_of(there))
            if seconds is not None and time.monotonic() - started > seconds:
                for one in there:
                    one.send_signal(signal.SIGKILL)
            time.sleep(0.05)
    return process.returncode, most


def tree(folder: Path) -> dict[str, str]:
    """Name and hash of every file but the one with the seconds."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != STAGES
    }


def compared(folder: Path, arguments: argparse.Namespace) -> bool:
    """Whether the labels are those of one call on the whole heatmap."""
    heatmap = Volume(PhantomSource(arguments.size))[:]
    started = time.monotonic()
    expected = distance_watershed(heatmap)
    print(f"one call on the whole volume: {time.monotonic() - started:.1f} s, {expected.max()} objects")
    different = np.count_nonzero(open_volume(folder / "segmentation.zarr")[:] != expected)
    print(f"voxels with another label: {different}")
    return different == 0


def main() -> int:
    """Measure, compare, kill; 0 if all is as it should be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, nargs=3, default=[1200, 1024, 1024])
    parser.add_argument("--block", type=int, nargs=3, default=[200, 1024, 1024])
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--method", choices=["exact", "traced"], default="exact")
    parser.add_argument("--kill", type=int, default=0)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--run", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.run:
        work(arguments)
        return 0
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder, good = Path(name), True
        started = time.monotonic()
        status, most = run(folder / "a", arguments)
        whole = time.monotonic() - started
        if status:
            return 1
        print(f"{' x '.join(map(str, arguments.size))}, {arguments.workers} worker(s), {arguments.method}")
        print((folder / "a" / STAGES).read_text())
        print(f"most memory of all processes together: {most / 2**30:.2f} GiB")
        size = sum(path.stat().st_size for path in (folder / "a").rglob("*") if path.is_file())
        print(f"on disk {size / 2**30:.2f} GiB")
        good &= most < MOST_BYTES
        if np.prod(arguments.size) <= COMPARED and arguments.method == "exact":
            good &= compared(folder / "a", arguments)
        if arguments.kill:
            moments, killed = random.Random(0), 0
            while killed < arguments.kill:
                status, _ = run(folder / "b", arguments, moments.uniform(0.05, 0.3) * whole)
                if status == 0:
                    break
                killed += 1
            if status:
                status, _ = run(folder / "b", arguments)
            same = tree(folder / "a") == tree(folder / "b")
            print(f"killed {killed} times, {len(tree(folder / 'b'))} files: {'the same' if same else 'OTHER'} bytes")
            good &= same and status == 0
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
