"""From affinities to neurons: emlib beside waterz, in one run.

    python benchmarks/affinities.py [--size tiny|small|large] [--repeats 3] [--dtype float32|uint8] [--step mean]

Both get the same noisy affinities of a volume whose truth is known, waterz as float32 (it takes nothing else), emlib
as `--dtype`. Each form runs alone in a fresh process. The table gives medians of process CPU seconds, the peak memory
above the inputs, and the adapted Rand error. Compare ratios, not seconds. "fragments" are the first step alone.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from measuring import in_fresh_process, measure

SIZES = {"tiny": (8, 64, 64), "small": (64, 512, 512), "large": (128, 1024, 1024)}
# The tutorial's highest threshold is 0.6; with the median, which is larger than the mean, that merges too much here.
MEAN_THRESHOLD, QUANTILE_THRESHOLD = 0.6, 0.5
MEAN = "OneMinus<MeanAffinity<RegionGraphType, ScoreValue>>"
QUANTILE = "OneMinus<HistogramQuantileAffinity<RegionGraphType, 50, ScoreValue, 256>>"

# Chosen so that fragments alone have an adapted Rand error of about 0.25 and agglomeration brings it to about 0.08.
INSIDE, DIP, WIDTH, ACROSS, SMOOTH, VOXEL = 0.96, 0.3, 2.0, 0.2, 0.21, 0.12


def make_affinities(shape: tuple[int, int, int], seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Noisy affinities (3, Z, Y, X) float32 of the cells around random points, and the cells (uint32).

    High within a cell and lower near its border, low across it, plus smooth noise (blobs of 8 pixels) and noise of
    single voxels.
    """
    import edt
    from scipy.ndimage import zoom
    from scipy.spatial import cKDTree

    random = np.random.default_rng(seed)
    spacing = np.array([3.0, 1.0, 1.0])
    points = random.uniform(0, shape, size=(max(4, round(np.prod(shape) / 28_000)), 3)) * spacing
    tree = cKDTree(points)
    half = np.moveaxis(np.indices((shape[1] // 2, shape[2] // 2)), 0, -1).reshape(-1, 2) * 2.0
    truth = np.empty(shape, dtype=np.uint32)
    for z in range(shape[0]):
        nearest = tree.query(np.column_stack([np.full(len(half), z * spacing[0]), half]))[1]
        plane = nearest.reshape(shape[1] // 2, shape[2] // 2) + 1
        truth[z] = np.repeat(np.repeat(plane, 2, axis=0), 2, axis=1)
    to_border = edt.edt(truth, anisotropy=tuple(spacing))
    inside = (INSIDE - DIP * np.exp(-((to_border / WIDTH) ** 2))).astype(np.float32)
    del to_border
    affinities = np.empty((3, *shape), dtype=np.float32)
    for axis in range(3):
        same = np.ones(shape, dtype=bool)
        later, earlier = [slice(None)] * 3, [slice(None)] * 3
        later[axis], earlier[axis] = slice(1, None), slice(None, -1)
        same[tuple(later)] = truth[tuple(later)] == truth[tuple(earlier)]
        np.copyto(affinities[axis], np.where(same, inside, np.float32(ACROSS)))
        coarse = random.standard_normal((shape[0], shape[1] // 8, shape[2] // 8), dtype=np.float32)
        for z in range(shape[0]):
            affinities[axis, z] += SMOOTH * zoom(coarse[z], 8, order=1)
            affinities[axis, z] += VOXEL * random.standard_normal(shape[1:], dtype=np.float32)
    return np.clip(affinities, 0, 1, out=affinities), truth


def emlib_fragments(affinities: np.ndarray) -> np.ndarray:
    from emlib.postprocessing import affinity_fragments

    return affinity_fragments(affinities)


def emlib_mean(affinities: np.ndarray) -> np.ndarray:
    from emlib.postprocessing import agglomerate_affinities

    return agglomerate_affinities(affinities, thresholds=(MEAN_THRESHOLD,), scoring="mean")[0]


def emlib_quantile(affinities: np.ndarray) -> np.ndarray:
    from emlib.postprocessing import agglomerate_affinities

    return agglomerate_affinities(affinities, thresholds=(QUANTILE_THRESHOLD,), scoring="aff50_his256")[0]


def waterz_fragments(affinities: np.ndarray) -> np.ndarray:
    # It makes the region graph too, whatever is asked for.
    return _waterz(affinities, 0.0, MEAN)


def waterz_mean(affinities: np.ndarray) -> np.ndarray:
    return _waterz(affinities, MEAN_THRESHOLD, MEAN)


def waterz_mean_bins(affinities: np.ndarray) -> np.ndarray:
    return _waterz(affinities, MEAN_THRESHOLD, MEAN, bins=256)


def waterz_quantile(affinities: np.ndarray) -> np.ndarray:
    return _waterz(affinities, QUANTILE_THRESHOLD, QUANTILE)


def waterz_quantile_bins(affinities: np.ndarray) -> np.ndarray:
    return _waterz(affinities, QUANTILE_THRESHOLD, QUANTILE, bins=256)


def _waterz(affinities: np.ndarray, threshold: float, scoring: str, bins: int = 0) -> np.ndarray:
    import waterz

    with _silence():
        (labels,) = waterz.agglomerate(affinities, [threshold], scoring_function=scoring, discretize_queue=bins)
    return labels


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Nothing on the standard output, not even from compiled code."""
    kept = os.dup(1)
    with open(os.devnull, "w") as nothing:
        os.dup2(nothing.fileno(), 1)
        try:
            yield
        finally:
            os.dup2(kept, 1)
            os.close(kept)


FORMS = {
    ("fragments + region graph", "waterz"): waterz_fragments,
    ("fragments", "emlib"): emlib_fragments,
    ("mean", "waterz"): waterz_mean,
    ("mean", "waterz, 256 bins"): waterz_mean_bins,
    ("mean", "emlib"): emlib_mean,
    ("aff50_his256", "waterz"): waterz_quantile,
    ("aff50_his256", "waterz, 256 bins"): waterz_quantile_bins,
    ("aff50_his256", "emlib"): emlib_quantile,
}


def run(form: tuple[str, str], folder: str, repeats: int, dtype: str) -> tuple[float, int, float, int]:
    """One form: CPU seconds, peak bytes above the inputs, adapted Rand error, segments."""
    from emlib.evaluation import adapted_rand_error

    affinities = np.load(Path(folder) / "affinities.npy")
    if form[1] == "emlib" and dtype == "uint8":
        affinities = (affinities * 255).astype(np.uint8)
    FORMS[form](affinities[:, :8, :64, :64].copy())  # imports and compilation
    seconds, peak, labels = measure(lambda: FORMS[form](affinities), repeats)
    error = adapted_rand_error(labels, np.load(Path(folder) / "truth.npy")).error
    return seconds, peak, error, int(np.unique(labels).size)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="small")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--dtype", choices=("float32", "uint8"), default="float32")
    parser.add_argument("--step", choices=sorted({step for step, _ in FORMS}), help="only this one")
    arguments = parser.parse_args()
    shape = SIZES[arguments.size]
    with tempfile.TemporaryDirectory() as folder:
        affinities, truth = make_affinities(shape)
        np.save(Path(folder) / "affinities.npy", affinities)
        np.save(Path(folder) / "truth.npy", truth)
        del affinities, truth
        print(f"affinities to neurons, {' x '.join(map(str, shape))}, median of {arguments.repeats}")
        print(f"{'step':26s} {'form':18s} {'CPU s':>8s} {'MB above input':>15s} {'Rand error':>11s} {'segments':>9s}")
        for form in FORMS:
            if arguments.step not in (None, form[0]):
                continue
            seconds, peak, error, count = in_fresh_process(run, form, folder, arguments.repeats, arguments.dtype)
            print(f"{form[0]:26s} {form[1]:18s} {seconds:8.2f} {peak / 1e6:15.0f} {error:11.3f} {count:9d}", flush=True)


if __name__ == "__main__":
    main()
