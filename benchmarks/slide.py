"""A generated slide of tissue, segmented by `predict_image` within 4 GiB, with two sizes of blocks, and compared.

    python benchmarks/slide.py [--side 20000] [--block 2048 1536] [--folder FOLDER]

The slide is uint8 with three channels, drawn tile by tile: every 900 pixels of tissue hold one cell, and cells touch.
Red and green are the directions to the cell's centre with noise, blue is the probability. The stand-in for a network
decodes and smooths them, with zeros around each window, so its answer near a window's border is wrong, as that of a
real network is; all else is what a real slide takes: percentiles, windows, blending, tracking, blocks, files.

Each segmentation runs alone in a fresh process; the table gives its time and peak memory (resident set, the
interpreter and all libraries included). Then all objects that cross a border of either run's blocks are looked up in
the other run: what counts is the share that is there with an IoU of at least 0.9. The exit status is 1 if that is
below 99.5 % or a process took 4 GiB.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from measuring import in_fresh_process
from torch import nn
from torch.nn import functional

from emlib.compilation import compiled
from emlib.evaluation import overlap_table
from emlib.inference import predict_image
from emlib.volume import create_volume, open_volume

PITCH = 30
TILE = 1024
LEAST_IOU, LEAST_SHARE, MOST_BYTES = 0.9, 0.995, 4 << 30
# Three numbers out of the image, coded as 1 ... 255: nothing is lost when its percentiles are mapped to 0 and 255.
ZERO, UNIT = 128.0, 100.0


@compiled
def noise(a, b, c):
    """A number from -1 to 1 that follows from three whole numbers alone."""
    key = np.uint64(a) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(b) * np.uint64(0xC2B2AE3D27D4EB4F)
    key = (key ^ (key >> np.uint64(29)) ^ np.uint64(c)) * np.uint64(0xBF58476D1CE4E5B9)
    key = (key ^ (key >> np.uint64(32))) * np.uint64(0x94D049BB133111EB)
    return np.float64(np.int64(key >> np.uint64(11))) / 2.0**52 - 1


@compiled
def cells_between(top, left, rows, columns):
    """float64 (rows, columns, 6) of a part of the grid: centre, 1 / radii, cosine and sine of the direction.

    Outside of the tissue there are no cells: the centre is NaN.
    """
    cells = np.empty((rows, columns, 6))
    for j in range(rows):
        for i in range(columns):
            row, column = top + j, left + i
            y = (row + 0.5 + 0.25 * noise(row, column, 1)) * PITCH
            x = (column + 0.5 + 0.25 * noise(row, column, 2)) * PITCH
            tissue = np.sin(y / 640) + np.sin(x / 510 + y / 1300) + np.sin((x - y) / 890)
            long = PITCH * (0.58 + 0.1 * noise(row, column, 3))
            short = long * (0.78 + 0.12 * noise(row, column, 4))
            angle = np.pi * noise(row, column, 5)
            cells[j, i, 0], cells[j, i, 1] = y if tissue > -1.0 else np.nan, x
            cells[j, i, 2], cells[j, i, 3] = 1 / long, 1 / short
            cells[j, i, 4], cells[j, i, 5] = np.cos(angle), np.sin(angle)
    return cells


@compiled
def draw(top, left, pixels):
    """Fill a tile, uint8 (y, x, 3), whose first pixel is (top, left) of the slide."""
    first_row, first_column = top // PITCH - 1, left // PITCH - 1
    rows, columns = pixels.shape[0] // PITCH + 4, pixels.shape[1] // PITCH + 4
    cells = cells_between(first_row, first_column, rows, columns)
    for j in range(pixels.shape[0]):
        for i in range(pixels.shape[1]):
            y, x = top + j, left + i
            row, column = y // PITCH - first_row, x // PITCH - first_column
            nearest, fy, fx = 9.0, 0.0, 0.0
            for k in range(9):
                cy, cx, long, short, cosine, sine = cells[row - 1 + k // 3, column - 1 + k % 3]
                dy, dx = y - cy, x - cx
                along, across = (dx * cosine + dy * sine) * long, (dy * cosine - dx * sine) * short
                distance = along**2 + across**2
                if distance < nearest:
                    nearest, fy, fx = distance, -dy, -dx
            distance, length = np.sqrt(nearest), max(np.sqrt(fy**2 + fx**2), 1.0)
            scale = 1 / length if distance < 1.15 else 0.0
            probability = min(max(0.5 + (1 - distance) * 3, 0.0), 1.0)
            for c, value in enumerate((fy * scale, fx * scale, 2 * probability - 1)):
                shaken = ZERO + UNIT * (value + 0.25 * noise(y, x, 6 + c))
                pixels[j, i, c] = np.uint8(min(max(shaken, 1.0), 255.0))


class Decoder(nn.Module):
    """Stands in for a trained network: flow and probability from the colours, smoothed over 5 x 5 pixels."""

    in_channels, min_divisor = 3, (1, 1)

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        values = (batch * 254 + 1 - ZERO) / UNIT
        for sides in ((5, 1), (1, 5)):
            values = functional.avg_pool2d(values, sides, 1, (sides[0] // 2, sides[1] // 2))
        flow, probability = values[:, :2], (values[:, 2:] + 1) / 2
        return torch.cat([flow, torch.sigmoid(8 * (probability - 0.5))], dim=1)


def generate(path: str, side: int) -> None:
    slide = create_volume(path, (side, side, 3), np.uint8, axes="yxc", chunks=(512, 512, 3), voxel_size=(250, 250))
    for top in range(0, side, TILE):
        for left in range(0, side, TILE):
            tile = np.empty((min(TILE, side - top), min(TILE, side - left), 3), np.uint8)
            draw(top, left, tile)
            slide[top : top + tile.shape[0], left : left + tile.shape[1]] = tile
    slide.mark_complete()


def segment(path: str, out: str, block: int) -> tuple[float, float, int, int]:
    """(wall seconds, CPU seconds, peak bytes of this process, objects)."""
    torch.set_num_threads(1)
    started = time.perf_counter(), time.process_time()
    labels = predict_image(
        Decoder(), path, out=out, block=block, overlap=0.25, normalize={"low": 0.0, "high": 100.0}, progress=False
    )
    seconds = time.perf_counter() - started[0], time.process_time() - started[1]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    objects = max(int(labels[y : y + TILE].max()) for y in range(0, labels.shape[0], TILE))
    return *seconds, peak, objects


def crossing(path: str, blocks: list[int]) -> np.ndarray:
    """Ids with pixels on both sides of a line between blocks of one of these sizes, sorted."""
    labels = open_volume(path)
    found = []
    for line in sorted({line for block in blocks for line in range(block, labels.shape[0], block)}):
        for before, behind in (labels[line - 1 : line + 1], labels[:, line - 1 : line + 1].T):
            found.append(np.unique(before[(before == behind) & (before > 0)]))
    return np.unique(np.concatenate(found)) if found else np.zeros(0, np.uint32)


def compare(first: str, second: str, blocks: list[int]) -> list[tuple[int, int]]:
    """(how many, how many matched) of the objects that cross a line, for the first file and for the second."""
    table = overlap_table(open_volume(second), open_volume(first))
    real = (table.truth_ids[table.pair_truth] > 0) & (table.segmentation_ids[table.pair_segmentation] > 0)
    one, other, shared = table.pair_truth[real], table.pair_segmentation[real], table.pair_counts[real]
    iou = shared / (table.truth_sizes[one] + table.segmentation_sizes[other] - shared)
    good = iou >= LEAST_IOU
    matched = (table.truth_ids[one[good]], table.segmentation_ids[other[good]])
    lines = [crossing(path, blocks) for path in (first, second)]
    return [(len(ids), int(np.isin(ids, found).sum())) for ids, found in zip(lines, matched, strict=True)]


def run(side: int, blocks: list[int], folder: Path) -> bool:
    """Print the figures; whether all are within their limits."""
    slide = str(folder / "slide.zarr")
    started = time.perf_counter()
    in_fresh_process(generate, slide, side)
    print(f"{side} x {side} pixels, drawn in {time.perf_counter() - started:.0f} s", flush=True)
    print(f"{'block':>8}{'wall s':>10}{'CPU s':>10}{'peak GiB':>10}{'objects':>10}", flush=True)
    good, paths = True, []
    for number, block in enumerate(blocks):
        paths.append(str(folder / f"cells_{number}.zarr"))
        wall, cpu, peak, objects = in_fresh_process(segment, slide, paths[-1], block)
        print(f"{block:>8}{wall:>10.0f}{cpu:>10.0f}{peak / 2**30:>10.2f}{objects:>10}", flush=True)
        good &= peak < MOST_BYTES
    for block, (count, matched) in zip(blocks, in_fresh_process(compare, *paths, blocks), strict=True):
        share = matched / max(count, 1)
        print(f"{count} objects of blocks of {block} cross a border; {100 * share:.3f} % are in the other run")
        good &= share >= LEAST_SHARE
    return good


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side", type=int, default=20_000)
    parser.add_argument("--block", type=int, nargs=2, default=[2048, 1536])
    parser.add_argument("--folder", type=Path, help="where the files go, some 2 GB; default: a temporary folder")
    options = parser.parse_args()
    if options.folder is not None:
        options.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        sys.exit(0 if run(options.side, options.block, Path(folder)) else 1)


if __name__ == "__main__":
    main()
