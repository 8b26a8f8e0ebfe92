"""The nuclei of one crowded image, found in one look and in tiles of several sizes: are they the same objects?

    python benchmarks/nuclei_tiles.py [CHECKPOINT] [--side 1000] [--kind stained] [--norm batch] [--proposals 0.05]

CHECKPOINT is a trained Mask R-CNN; without one, the recipe's smoke profile is trained first, with the named `norm`
(about two minutes on one core). The image is generated, with nuclei as dense as in the network's training images. The
limits of proposals and detections are lifted far enough that none is reached, and those that are reached all the same
are printed. `--proposals 0` lets their number decide which proposals are looked at, instead of how sure the network is.

An object of the one run is found again if the other run has one with an IoU of at least 0.9, whatever its score. The
share is given for the objects of one look that are found again in tiles, and the other way round. The exit status is 1
if, at the default overlap of windows of 512, less than 99 % are.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from emlib.data import make_cell_set
from emlib.evaluation import match_instances
from emlib.inference import InstancePrediction, labels_from_instances, predict_instances
from emlib.recipe import load_recipe
from emlib.training import load_model, train

LEAST_IOU, LEAST_SHARE = 0.9, 0.99
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


def trained(norm: str, folder: str) -> Path:
    recipe = load_recipe("4_nuclei_maskrcnn", overrides=[f"model.settings.norm={norm}", "training.image_every=0"])
    return train(recipe, Path(folder) / norm, device="cpu")


def run(checkpoint: Path, side: int, kind: str, proposals: float, seed: int) -> bool:
    """Print the table; whether tiles of 512 with the default overlap give the same objects."""
    network = load_model(checkpoint)
    network.rpn.limit((40_000, 40_000), (40_000, 40_000))
    network.roi_heads.detections_per_img = 20_000
    (picture,) = make_cell_set(1, modalities=[kind], shapes=((side, side), (side, side)), seed=seed)
    nuclei = np.count_nonzero(np.unique(picture.labels))

    def find(**settings) -> tuple[InstancePrediction, float]:
        started = time.process_time()
        found = predict_instances(network, picture.image, proposal_threshold=proposals, progress=False, **settings)
        return found, time.process_time() - started

    whole, seconds = find()
    sure = whole.above(0.5)
    match = match_instances(labels_from_instances(whole, min_size=16), picture.labels)
    print(f"{side} x {side} pixels, {nuclei} nuclei, {kind}, norm {network.norm}, proposals above {proposals:g}")
    print(f"one look: {len(sure)} objects in {seconds:.1f} s; of the nuclei {match.tp} found; {whole.limits_reached}")
    print(
        f"{'window':>7}{'overlap':>9}{'one look':>10}{'tiles':>7}{'found again':>13}{'the other way':>15}{'CPU s':>8}"
    )
    good = True
    for window, overlap in PLANS:
        if window >= side:
            continue
        found, seconds = find(window=window, overlap=overlap)
        tiled = found.above(0.5)
        shares = agreement(sure, found), agreement(tiled, whole)
        texts = f"{100 * shares[0]:.2f} %", f"{100 * shares[1]:.2f} %"
        line = f"{window:>7}{overlap:>9}{len(sure):>10}{len(tiled):>7}{texts[0]:>13}{texts[1]:>15}{seconds:>8.1f}"
        print(line, "" if not found.limits_reached.after_nms else found.limits_reached, flush=True)
        if (window, overlap) == PLANS[0]:
            good = min(shares) >= LEAST_SHARE
    return good


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", type=Path, nargs="?")
    parser.add_argument("--side", type=int, default=1000)
    parser.add_argument("--kind", default="stained")
    parser.add_argument("--norm", default="batch", choices=("batch", "group"), help="of the network that is trained")
    parser.add_argument("--proposals", type=float, default=0.05)
    parser.add_argument("--seed", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = options.checkpoint or trained(options.norm, folder)
        good = run(checkpoint, options.side, options.kind, options.proposals, options.seed)
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
