"""Gradient flows: emlib beside Cellpose 3 and Cellpose 4, in one run.

    python benchmarks/flows.py [--size small medium] [--repeats 3] [--cellpose3 FOLDER] [--cellpose4 FOLDER]

The two versions of Cellpose exclude each other, so each may lie in a folder of its own, made with
`pip install --no-deps --target FOLDER cellpose==3.1.1.2 natsort roifile fill-voids opencv-python-headless`;
without a folder the installed version is used for the contestant that it is. Every contestant runs alone in a fresh
process with one thread on the same cells. The tables give medians of process CPU seconds, the peak memory above the
inputs, and how many times as long as emlib it took. Compare ratios, not seconds.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys

import numpy as np
from measuring import measure

SIZES = {"tiny": (128, 12), "small": (1024, 500), "medium": (2048, 3000)}
CONTESTANTS = ("emlib", "cellpose3", "cellpose4")
JOBS = {"targets": "gradient_flow", "masks": "masks_from_flows, with the flow-error check"}


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


def contestant(name: str, job: str, labels: np.ndarray):
    """A function without arguments that does the job, after one small one (compilation is not timed)."""
    small = np.zeros((24, 24), np.int32)
    small[4:12, 4:20] = 1
    if name == "emlib":
        from emlib.postprocessing import masks_from_flows
        from emlib.targets import gradient_flow

        def targets(cells):
            return gradient_flow(cells)

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


def measured(name: str, job: str, size: tuple[int, int], repeats: int) -> dict[str, float]:
    """In this process: CPU seconds and peak memory above the inputs."""
    seconds, peak, _ = measure(contestant(name, job, make_cells(*size)), repeats)
    return {"seconds": seconds, "megabytes": peak / 2**20}


def installed_version(folder: str | None) -> str | None:
    """Version of the cellpose in a folder, or of the installed one."""
    code = "from importlib.metadata import version; print(version('cellpose'))"
    environment = os.environ | ({"PYTHONPATH": folder} if folder else {})
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    return done.stdout.strip() or None


def run(name: str, job: str, size: tuple[int, int], repeats: int, folder: str | None = None) -> dict[str, float] | str:
    """`measured` in a fresh process, or the reason why there is nothing to measure."""
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=SIZES, nargs="+", default=["small", "medium"])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--cellpose3", metavar="FOLDER")
    parser.add_argument("--cellpose4", metavar="FOLDER")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        name, job, size, repeats = json.loads(options.measure)
        print(json.dumps(measured(name, job, tuple(size), repeats)))
        return
    for chosen in options.size:
        side, count = SIZES[chosen]
        for job, function in JOBS.items():
            print(f"\n{side} x {side}, {count} cells, one thread: {function}")
            print(f"{'':<10}{'CPU s':>10}{'MB':>10}{'times':>10}", flush=True)
            base = None
            for name in CONTESTANTS:
                folder = None if name == "emlib" else getattr(options, name)
                # A minute a run, beside which the scatter is small.
                repeats = 1 if (name, chosen) == ("cellpose4", "medium") else options.repeats
                figures = run(name, job, SIZES[chosen], repeats, folder)
                if isinstance(figures, str):
                    print(f"{name:<10}  {figures}", flush=True)
                    continue
                base = base or figures["seconds"]
                ratio = figures["seconds"] / base
                print(f"{name:<10}{figures['seconds']:>10.2f}{figures['megabytes']:>10.0f}{ratio:>10.1f}", flush=True)


if __name__ == "__main__":
    main()
