"""Scores of label volumes: emlib beside the scikit-image form and a per-object numpy form, in one run.

    python benchmarks/scores.py [--size tiny|small|medium] [--repeats 3]

Every form runs alone in a fresh process on the same two label volumes. The table gives medians of process CPU
seconds, the peak memory above the inputs, and the figures, which have to agree. Compare ratios, not seconds.
"""

from __future__ import annotations

import argparse

import numpy as np
from measuring import in_fresh_process, measure

SIZES = {"tiny": (8, 64, 64), "small": (64, 512, 512), "medium": (64, 1024, 1024)}


def make_labels(shape: tuple[int, int, int], seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Truth: bricks of random size with gaps (uint32); segmentation: the same, shifted, some split, some merged."""
    random = np.random.default_rng(seed)
    truth = np.zeros(shape, dtype=np.uint32)
    pitch = (min(32, shape[0]), 48, 48)
    corners = np.stack(np.meshgrid(*[np.arange(0, n, p) for n, p in zip(shape, pitch, strict=True)]), -1).reshape(-1, 3)
    for label, corner in enumerate(corners, start=1):
        stop = corner + random.integers(np.array(pitch) // 3, np.array(pitch))
        truth[tuple(slice(a, b) for a, b in zip(corner, stop, strict=True))] = label
    table = np.arange(corners.shape[0] + 1, dtype=np.uint32)
    table[5::11] = table[4::11][: table[5::11].size]
    segmentation = np.roll(table[truth], 2, axis=1)
    segmentation[:, shape[1] // 2 :: 96] = 0
    segmentation[shape[0] // 2 :][segmentation[shape[0] // 2 :] > 0] += corners.shape[0]
    return segmentation, truth


def partition_emlib(segmentation: np.ndarray, truth: np.ndarray) -> tuple[float, ...]:
    from emlib.evaluation import adapted_rand_error, overlap_table, variation_of_information

    table = overlap_table(segmentation, truth)
    information = variation_of_information(table)
    return adapted_rand_error(table, convention="scikit-image").error, information.split, information.merge


def partition_scikit_image(segmentation: np.ndarray, truth: np.ndarray) -> tuple[float, ...]:
    from skimage.metrics import adapted_rand_error, variation_of_information

    error = adapted_rand_error(truth, segmentation, ignore_labels=(0,))[0]
    return (float(error), *map(float, variation_of_information(truth, segmentation, ignore_labels=(0,))))


def instances_emlib(segmentation: np.ndarray, truth: np.ndarray) -> tuple[float, ...]:
    from emlib.evaluation import average_precision

    figures = average_precision(segmentation, truth)
    return figures.ap, figures.ap50, figures.ap75


def instances_by_object(segmentation: np.ndarray, truth: np.ndarray) -> tuple[float, ...]:
    """The usual form: for each segment, look at the truth inside its bounding box."""
    from scipy.ndimage import find_objects

    truth_ids, truth_sizes = np.unique(truth, return_counts=True)
    size_of = {label: size for label, size in zip(truth_ids, truth_sizes, strict=True) if label and size >= 2000}
    rows = []
    for label, box in enumerate(find_objects(segmentation.astype(np.int32)), start=1):
        if box is None:
            continue
        inside = segmentation[box] == label
        size = np.count_nonzero(inside)
        ids, counts = np.unique(truth[box][inside], return_counts=True)
        ious = [n / (size + size_of[i] - n) for i, n in zip(ids, counts, strict=True) if i in size_of]
        rows.append((-size, label, max(ious, default=0.0)))
    ious = np.array([row[2] for row in sorted(rows)])
    figures = []
    for threshold in np.round(np.arange(0.5, 1, 0.05), 2):
        hits = np.cumsum(ious >= threshold)
        precision = np.maximum.accumulate((hits / np.arange(1, hits.size + 1))[::-1])[::-1]
        places = np.searchsorted(hits / len(size_of), np.linspace(0, 1, 101))
        figures.append(np.append(precision, 0)[np.minimum(places, hits.size)].mean())
    return float(np.mean(figures)), float(figures[0]), float(figures[5])


JOBS = {
    ("adapted Rand + VOI", "scikit-image"): partition_scikit_image,
    ("adapted Rand + VOI", "emlib"): partition_emlib,
    ("AP, AP-50, AP-75", "by object"): instances_by_object,
    ("AP, AP-50, AP-75", "emlib"): instances_emlib,
}


def run(job: tuple[str, str], shape: tuple[int, int, int], repeats: int) -> tuple[float, int, tuple[float, ...]]:
    """One form: CPU seconds, peak bytes above the inputs, figures."""
    labels = make_labels(shape)
    JOBS[job](*make_labels(SIZES["tiny"]))  # imports and compilation
    return measure(lambda: JOBS[job](*labels), repeats)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="small")
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    shape = SIZES[arguments.size]
    print(f"scores, {' x '.join(map(str, shape))} uint32, median of {arguments.repeats}")
    print(f"{'job':20s} {'form':14s} {'CPU s':>8s} {'MB above input':>15s}  figures")
    for job in JOBS:
        seconds, peak, figures = in_fresh_process(run, job, shape, arguments.repeats)
        shown = ", ".join(f"{figure:.6f}" for figure in figures)
        print(f"{job[0]:20s} {job[1]:14s} {seconds:8.3f} {peak / 1e6:15.0f}  {shown}", flush=True)


if __name__ == "__main__":
    main()
