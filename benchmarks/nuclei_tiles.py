"""The nuclei of one crowded image, found in one look and in tiles of several sizes: are they the same objects?

    python benchmarks/nuclei_tiles.py [CHECKPOINT] [--side 1000] [--seeds 5] [--scale 1.2] [--limits network]

CHECKPOINT is a trained Mask R-CNN; without one, the recipe's smoke profile is trained first (about two minutes on one
core). Images are generated, with nuclei as dense as in the network's training images, one for each seed. What
`predict_instances` does unless told otherwise is measured; `--limits network` keeps the network's own numbers of
proposals and detections for each look, which are those of its training images. Limits that are reached are printed.

An object of the one run is found again if the other run has one with an IoU of at least 0.9, whatever its score. The
share is given for the objects of one look that are found again in tiles, and the other way round. The exit status is 1
if, with an overlap of at least 128 pixels, less than 99 % are.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from emlib.data import make_cell_set
from emlib.evaluation import match_instances
from emlib.inference import InstancePrediction, labels_from_instances, predict_instances
from emlib.recipe import load_recipe
from emlib.training import load_model, train

LEAST_IOU, LEAST_SHARE, LEAST_OVERLAP = 0.9, 0.99, 128
PLANS = ((512, 0.25), (512, 64), (512, 0.5), (384, 128), (256, 0.25), (256, 128))


def agreement(first: InstancePrediction, second: InstancePrediction) -> float:
    """Share of the objects of `first` of which `second` has one with an IoU of at least 0.9."""
    whole = np.zeros(first.shape, bool)
    bounds = np.array([(*one.corner, *np.add(one.corner, one.mask.shape)) for one in second.masks]).reshape(-1, 4)
    sizes = np.array([np.count_nonzero(one.mask) for one in second.masks])
    again = 0
    for one in first.masks:
        rows, columns = one.slices
        whole[rows, columns] = one.mask
        near = (bounds[:, 0] < rows.stop) & (bounds[:, 2] > rows.start)
        near &= (bounds[:, 1] < columns.stop) & (bounds[:, 3] > columns.start)
        size = np.count_nonzero(one.mask)
        for place in np.flatnonzero(near):
            other = second.masks[place]
            shared = np.count_nonzero(whole[other.slices] & other.mask)
            if shared >= LEAST_IOU * (size + sizes[place] - shared):
                again += 1
                break
        whole[rows, columns] = False
    return again / max(len(first), 1)


def trained(folder: str) -> Path:
    recipe = load_recipe("4_nuclei_maskrcnn", overrides=["training.image_every=0"])
    return train(recipe, Path(folder) / "smoke", device="cpu")


def run(network: nn.Module, side: int, kind: str, seed: int, **options: Any) -> bool:
    """Print a table; whether all tiles that overlap enough give the same objects."""
    (picture,) = make_cell_set(1, modalities=[kind], shapes=((side, side), (side, side)), seed=seed)
    nuclei = np.count_nonzero(np.unique(picture.labels))

    def find(**settings) -> tuple[InstancePrediction, float]:
        started = time.process_time()
        found = predict_instances(network, picture.image, progress=False, **options, **settings)
        return found, time.process_time() - started

    whole, seconds = find()
    sure = whole.above(0.5)
    match = match_instances(labels_from_instances(whole, min_size=16), picture.labels)
    print(f"{side} x {side} pixels, seed {seed}, {nuclei} nuclei, {kind}, norm {network.norm}, {options}")
    print(f"one look: {len(sure)} objects in {seconds:.1f} s; of the nuclei {match.tp} found; {whole.limits_reached}")
    print(f"{'window':>7}{'overlap':>9}{'one look':>10}{'tiles':>7}{'again':>10}{'backwards':>11}{'CPU s':>8}")
    good = True
    for window, overlap in PLANS:
        if window >= side:
            continue
        found, seconds = find(window=window, overlap=overlap)
        tiled = found.above(0.5)
        shares = agreement(sure, found), agreement(tiled, whole)
        texts = f"{100 * shares[0]:.2f} %", f"{100 * shares[1]:.2f} %"
        line = f"{window:>7}{overlap:>9}{len(sure):>10}{len(tiled):>7}{texts[0]:>10}{texts[1]:>11}{seconds:>8.1f}"
        print(line, "" if not found.limits_reached.after_nms else found.limits_reached, flush=True)
        if (overlap if overlap >= 1 else overlap * window) >= LEAST_OVERLAP:
            good &= min(shares) >= LEAST_SHARE
    return good


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", type=Path, nargs="?")
    parser.add_argument("--side", type=int, default=1000)
    parser.add_argument("--kind", default="stained")
    parser.add_argument("--seeds", type=int, nargs="+", default=[5])
    parser.add_argument("--scale", type=float)
    parser.add_argument("--limits", choices=("area", "network"), default="area")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        network = load_model(options.checkpoint or trained(folder))
    settings = {"limits": options.limits, "scale": options.scale}
    good = [run(network, options.side, options.kind, seed, **settings) for seed in options.seeds]
    sys.exit(0 if all(good) else 1)


if __name__ == "__main__":
    main()
