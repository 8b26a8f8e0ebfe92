"""Gradient flows: emlib beside Cellpose 3 and Cellpose 4, in one run.

    python benchmarks/flows.py [--size tiny|small|medium] [--repeats 3] [--cellpose3 FOLDER] [--cellpose4 FOLDER]
    python benchmarks/flows.py --slide 20000 [--block 2048 3072]

The two versions of Cellpose exclude each other, so each may lie in a folder of its own, made with
`pip install --no-deps --target FOLDER cellpose==3.1.1.2 natsort roifile fill-voids opencv-python-headless`;
without a folder the installed version is used for the contestant that it is. Every contestant runs alone in a fresh
process with one thread on the same cells. The table gives medians of process CPU seconds and the peak memory above
the inputs. Compare ratios, not seconds.

`--slide` segments a generated image of that side block by block, with two sizes of blocks, and compares the results.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import psutil

SIZES = {"tiny": (128, 12), "small": (1024, 500), "medium": (2048, 3000)}
CONTESTANTS = ("emlib", "cellpose3", "cellpose4")
JOBS = ("targets", "masks")


def make_cells(side: int, count: int, seed: int = 0) -> np.ndarray:
    """(side, side) int32: touching ellipses of random size and direction on a shaken grid."""
    random = np.random.default_rng(seed)
    labels = np.zeros((side, side), dtype=np.int32)
    across = int(np.ceil(np.sqrt(count)))
    pitch = side / across
    for cell in range(count):
        centre = (np.array(divmod(cell, across)) + 0.5 + random.uniform(-0.2, 0.2, 2)) * pitch
        radii, angle = random.uniform(0.35, 0.62, 2) * pitch, random.uniform(0, np.pi)
        low = np.maximum((centre - radii.max() - 1).astype(int), 0)
        high = np.minimum((centre + radii.max() + 2).astype(int), side)
        y, x = np.mgrid[low[0] : high[0], low[1] : high[1]]
        dy, dx = y - centre[0], x - centre[1]
        along, across_cell = dx * np.cos(angle) + dy * np.sin(angle), dy * np.cos(angle) - dx * np.sin(angle)
        part = labels[low[0] : high[0], low[1] : high[1]]
        part[((along / radii[0]) ** 2 + (across_cell / radii[1]) ** 2 <= 1) & (part == 0)] = cell + 1
    return labels


class SlideOfCells:
    """A flow (2, side, side), or a probability (side, side), that is made when it is read: noisy ellipses."""

    def __init__(self, side: int, pitch: int = 24, probability: bool = False):
        self.side, self.pitch, self.probability = side, pitch, probability
        self.shape = (side, side) if probability else (2, side, side)

    def __getitem__(self, index: tuple[slice, ...]) -> np.ndarray:
        rows, columns = index[-2:]
        y = np.arange(rows.start, rows.stop, dtype=np.float32)[:, None]
        x = np.arange(columns.start, columns.stop, dtype=np.float32)[None]
        # Cells stand on a grid, each with a shift, radii and noise that follow from its place alone.
        row, column = np.floor(y / self.pitch), np.floor(x / self.pitch)
        dy = y - (row + 0.5) * self.pitch - 2 * np.sin(row * 12.9 + column * 78.2)
        dx = x - (column + 0.5) * self.pitch - 2 * np.sin(row * 39.3 + column * 11.1)
        radii = self.pitch * (0.36 + 0.06 * np.sin(row * 5.1 + column * 3.3))
        distance = np.sqrt(dy**2 + dx**2)
        if self.probability:
            return (np.clip(0.5 + (radii - distance) / 4, 0, 1) * 255).astype(np.uint8)
        noise = 0.3 * np.sin(y * 1.7 + x * 2.3)
        scale = 1 / np.maximum(distance, 1)
        return np.stack([-dy * scale + noise, -dx * scale - noise]).astype(np.float32)


def contestant(name: str, job: str, labels: np.ndarray):
    """A function without arguments that does the job, after one small one (compilation is not timed)."""
    small = np.zeros((24, 24), np.int32)
    small[4:12, 4:20] = 1
    if name == "emlib":
        from emlib.diffusion import diffusion_flow
        from emlib.postprocessing import masks_from_flows

        def targets(cells):
            return diffusion_flow(cells, "cellpose3")

        def masks(cells, flow):
            return masks_from_flows(flow, (cells > 0).astype(np.float32))

    else:
        import emlib  # noqa: F401, I001  it lets torchvision, which Cellpose 4 imports, run beside any torch
        import torch
        from cellpose import dynamics

        torch.set_num_threads(1)
        device = torch.device("cpu")

        def targets(cells):
            make = dynamics.masks_to_flows_cpu if name == "cellpose3" else dynamics.masks_to_flows_gpu
            return make(cells, device=device)[0]

        def masks(cells, flow):
            logits = np.where(cells > 0, 5, -5).astype(np.float32)
            return dynamics.resize_and_compute_masks(5 * flow, logits, niter=200, device=device)

    make = targets
    flow = np.asarray(make(small), dtype=np.float32)
    if job == "targets":
        return lambda: make(labels)
    masks(small, flow)
    from emlib.diffusion import diffusion_flow

    flow = diffusion_flow(labels)
    return lambda: masks(labels, flow)


def measure(name: str, job: str, size: tuple[int, int], repeats: int) -> dict[str, float]:
    """In this process: CPU seconds and peak memory above the inputs."""
    run = contestant(name, job, make_cells(*size))
    process, peak, stop = psutil.Process(), [0], threading.Event()
    before = process.memory_info().rss

    def watch():
        while not stop.wait(0.005):
            peak[0] = max(peak[0], process.memory_info().rss)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    seconds = []
    for _ in range(repeats):
        started = time.process_time()
        run()
        seconds.append(time.process_time() - started)
    stop.set()
    watcher.join()
    return {"seconds": statistics.median(seconds), "megabytes": max(peak[0] - before, 0) / 2**20}


def installed_version(folder: str | None) -> str | None:
    """Version of the cellpose in a folder, or of the installed one."""
    code = "from importlib.metadata import version; print(version('cellpose'))"
    environment = os.environ | ({"PYTHONPATH": folder} if folder else {})
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    return done.stdout.strip() or None


def run(name: str, job: str, size: tuple[int, int], repeats: int, folder: str | None = None) -> dict[str, float] | str:
    """`measure` in a fresh process, or the reason why there is nothing to measure."""
    if name != "emlib":
        version = installed_version(folder)
        if version is None or not version.startswith(name[-1] + "."):
            return f"skipped: {'no cellpose' if version is None else 'cellpose ' + version} in {folder or 'here'}"
    environment = os.environ | {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
    if folder:
        environment["PYTHONPATH"] = folder
    command = [sys.executable, __file__, "--measure", json.dumps([name, job, size, repeats])]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        return "failed: " + (done.stderr.strip().splitlines() or ["no message"])[-1]
    return json.loads(done.stdout.splitlines()[-1])


def segment_slide(side: int, blocks: list[int]) -> None:
    from emlib.postprocessing import masks_from_flows_blocks
    from emlib.volume import open_volume

    flow, probability = SlideOfCells(side), SlideOfCells(side, probability=True)
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for block in blocks:
            started = time.process_time()
            out = Path(folder) / f"{block}.zarr"
            # The cells are some 20 pixels wide, so 50 steps are plenty.
            result = masks_from_flows_blocks(flow, probability, out, block=block, overlap=128, steps=50)
            paths.append(result.path)
            peak = peak_megabytes()
            print(
                f"blocks of {block}: {result.objects} cells, {result.cut} cut, "
                f"{time.process_time() - started:.0f} CPU s, peak of the process so far {peak:.0f} MB",
                flush=True,
            )
        first, second = (open_volume(path) for path in paths[:2])
        print(f"{100 * equal_share(first, second):.4f} % of the cells are the same set of pixels in both")


def equal_share(first, second, rows: int = 1024) -> float:
    """Share of the cells of one volume that are exactly a cell of the other, read strip by strip."""
    strips = [slice(y, y + rows) for y in range(0, first.shape[0], rows)]
    counts = {}
    for strip in strips:
        pairs = first[strip].astype(np.uint64) << np.uint64(32) | second[strip].astype(np.uint64)
        for pair, count in zip(*np.unique(pairs, return_counts=True), strict=True):
            counts[int(pair)] = counts.get(int(pair), 0) + int(count)
    sizes = [{}, {}]
    for pair, count in counts.items():
        for size, label in zip(sizes, divmod(pair, 2**32), strict=True):
            size[label] = size.get(label, 0) + count
    same = sum(
        pair >> 32 > 0 and count == sizes[0][pair >> 32] == sizes[1].get(pair % 2**32) for pair, count in counts.items()
    )
    return same / max(len(sizes[0]) - (0 in sizes[0]), 1)


def peak_megabytes() -> float:
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=SIZES, default="small")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--cellpose3", metavar="FOLDER")
    parser.add_argument("--cellpose4", metavar="FOLDER")
    parser.add_argument("--slide", type=int, metavar="SIDE")
    parser.add_argument("--block", type=int, nargs=2, default=[2048, 3072])
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        name, job, size, repeats = json.loads(options.measure)
        print(json.dumps(measure(name, job, tuple(size), repeats)))
        return
    if options.slide:
        segment_slide(options.slide, options.block)
        return
    side, count = SIZES[options.size]
    print(f"{side} x {side}, {count} cells; one thread")
    for job in JOBS:
        print(f"\n{job:<10}{'CPU s':>10}{'MB':>10}{'x emlib':>10}")
        base = None
        for name in CONTESTANTS:
            folder = None if name == "emlib" else getattr(options, name)
            figures = run(name, job, SIZES[options.size], options.repeats, folder)
            if isinstance(figures, str):
                print(f"{name:<10}  {figures}", flush=True)
                continue
            base = base or figures["seconds"]
            ratio = figures["seconds"] / base
            print(f"{name:<10}{figures['seconds']:>10.2f}{figures['megabytes']:>10.0f}{ratio:>10.1f}", flush=True)


if __name__ == "__main__":
    main()
