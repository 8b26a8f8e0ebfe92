"""Heatmaps, embeddings and blocks to instances: emlib beside scikit-image and scipy doing the same, in one run.

    python benchmarks/pipeline.py [--size tiny|small|medium] [--repeats 3] [--job JOB ...]

Jobs: `distance_watershed` (smoothing, components, seeds, watershed), `mean_shift` and `prototypes` (embeddings of the
foreground to objects), `trace_blocks` (ids of a block from the block before it). Each form runs alone in a fresh
process; the table gives medians of process CPU seconds, voxels per second, peak memory above the inputs, and how much
of the foreground is labelled otherwise than by the first form. Compare ratios, not seconds.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np
from contour_watershed import differing_share
from measuring import in_fresh_process, measure

SIZES = {"tiny": (6, 64, 64), "small": (24, 256, 256), "medium": (64, 512, 512)}
LOWEST, SEED_LEVEL, MIN_SIZE, MIN_SEED_SIZE = 16, 150, 1000, 100
CHANNELS, BANDWIDTH, MIN_SHARE = 8, 1.5, 0.2


def make_objects(shape: tuple[int, int, int], seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Touching balls: labels (uint32), and how deep inside each voxel lies (float32, 1 in the middle, 0 outside)."""
    from scipy.spatial import cKDTree

    random = np.random.default_rng(seed)
    scale = np.array([3.0, 1.0, 1.0])
    count = max(6, round(np.prod(shape) * 3 / 25_000))
    centres = random.uniform(0, shape, size=(count, 3)) * scale
    tree = cKDTree(centres)
    labels, depth = np.zeros(shape, dtype=np.uint32), np.zeros(shape, dtype=np.float32)
    for z in range(shape[0]):
        plane = np.moveaxis(np.indices(shape[1:]), 0, -1).reshape(-1, 2)
        voxels = np.concatenate([np.full((len(plane), 1), z), plane], axis=1) * scale
        distance, nearest = tree.query(voxels)
        inside = np.clip(1 - distance / 18, 0, 1).reshape(shape[1:])
        depth[z] = inside
        labels[z] = np.where(inside > 0, nearest.reshape(shape[1:]) + 1, 0)
    return labels, depth


def inputs_of(job: str, shape: tuple[int, int, int]) -> tuple[np.ndarray, ...]:
    labels, depth = make_objects(shape)
    random = np.random.default_rng(1)
    if job == "distance_watershed":
        noise = random.normal(0, 12, shape)
        return (np.clip(255 * depth * 1.2 + noise * (depth > 0), 0, 255).astype(np.uint8),)
    if job == "trace_blocks":
        # The second block has other ids, some objects split and some joined.
        ids = random.permutation(int(labels.max()) + 1).astype(np.uint32) + 1
        following = np.where(labels > 0, ids[labels // 2], np.uint32(0))
        following[:, : shape[1] // 2] = np.where(labels > 0, ids[labels], np.uint32(0))[:, : shape[1] // 2]
        return labels, following
    means = random.normal(0, 4, (int(labels.max()) + 1, CHANNELS)).astype(np.float32)
    embedding = np.empty((CHANNELS, *shape), dtype=np.float32)
    for channel in range(CHANNELS):
        embedding[channel] = means[labels, channel] + random.normal(0, 0.1, shape)
    return embedding, labels > 0, np.where(depth > 0.7, labels, 0).astype(np.uint32)


def watershed_with_scikit_image(heatmap: np.ndarray) -> np.ndarray:
    from scipy.ndimage import gaussian_filter
    from skimage.measure import label
    from skimage.morphology import remove_small_objects
    from skimage.segmentation import watershed

    smooth = np.stack([gaussian_filter(section, 1) for section in heatmap])
    mask = remove_small_objects(label(smooth > LOWEST, connectivity=3), max_size=MIN_SIZE - 1) > 0
    seeds = remove_small_objects(label(smooth > SEED_LEVEL, connectivity=1), max_size=MIN_SEED_SIZE - 1)
    return watershed(-smooth.astype(np.int16), seeds, mask=mask)


def watershed_with_emlib(heatmap: np.ndarray) -> np.ndarray:
    from emlib.postprocessing import distance_watershed

    return distance_watershed(heatmap)


def mean_shift_with_numpy(embedding: np.ndarray, mask: np.ndarray, _seeds: np.ndarray) -> np.ndarray:
    points = np.ascontiguousarray(embedding[:, mask].T)
    labels = np.zeros(len(points), dtype=np.uint32)
    left = np.arange(len(points))
    while left.size:
        centre, inside = points[left[0]], None
        while True:
            near = ((points[left] - centre) ** 2).sum(axis=1) <= BANDWIDTH**2
            if not near.any() or (inside is not None and np.array_equal(near, inside)):
                break
            inside, centre = near, points[left[near]].mean(axis=0)
        labels[left[inside]] = labels.max() + 1
        left = left[~inside]
    result = np.zeros(mask.shape, dtype=np.uint32)
    result[mask] = labels
    return result


def mean_shift_with_emlib(embedding: np.ndarray, mask: np.ndarray, _seeds: np.ndarray) -> np.ndarray:
    from emlib.postprocessing import cluster_embeddings

    return cluster_embeddings(embedding, mask, bandwidth=BANDWIDTH)


def prototypes_with_scipy(embedding: np.ndarray, mask: np.ndarray, seeds: np.ndarray) -> np.ndarray:
    from scipy.ndimage import mean
    from scipy.spatial import cKDTree

    ids = np.unique(seeds[seeds > 0])
    prototypes = np.stack([mean(channel, seeds, ids) for channel in embedding], axis=1)
    result = np.zeros(mask.shape, dtype=np.uint32)
    result[mask] = ids[cKDTree(prototypes).query(embedding[:, mask].T)[1]]
    return result


def prototypes_with_emlib(embedding: np.ndarray, mask: np.ndarray, seeds: np.ndarray) -> np.ndarray:
    from emlib.postprocessing import cluster_embeddings

    return cluster_embeddings(embedding, mask, rule="prototypes", seeds=seeds)


def trace_with_scipy(previous: np.ndarray, following: np.ndarray) -> np.ndarray:
    """The union rule: components of the graph of links."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    before, behind = previous[-1].ravel(), following[0].ravel()
    both = (before > 0) & (behind > 0)
    pairs, shared = np.unique(np.stack([before[both], behind[both]]), axis=1, return_counts=True)
    sizes = np.bincount(before)[pairs[0]] + np.bincount(behind)[pairs[1]]
    pairs = pairs[:, shared / sizes >= MIN_SHARE]
    first = int(previous.max()) + 1
    nodes = first + int(following.max()) + 1
    graph = coo_array((np.ones(pairs.shape[1]), (pairs[0], pairs[1] + first)), shape=(nodes, nodes))
    parts = connected_components(graph, directed=False)[1]
    smallest = np.full(parts.max() + 1, -1)
    smallest[parts[:first][::-1]] = np.arange(first)[::-1]
    table = np.append(0, smallest[parts[first + 1 :]])
    fresh = np.setdiff1d(np.unique(following), np.flatnonzero(table != -1))
    table[fresh] = first + np.arange(fresh.size)
    return table[following].astype(np.uint32)


def trace_with_emlib(previous: np.ndarray, following: np.ndarray) -> np.ndarray:
    from emlib.postprocessing import trace_blocks

    return trace_blocks(previous, following, min_overlap=MIN_SHARE)


JOBS: dict[str, dict[str, Callable[..., np.ndarray]]] = {
    "distance_watershed": {"scikit-image": watershed_with_scikit_image, "emlib": watershed_with_emlib},
    "mean_shift": {"numpy": mean_shift_with_numpy, "emlib": mean_shift_with_emlib},
    "prototypes": {"scipy": prototypes_with_scipy, "emlib": prototypes_with_emlib},
    "trace_blocks": {"scipy": trace_with_scipy, "emlib": trace_with_emlib},
}


def run(job: str, form: str, shape: tuple[int, int, int], repeats: int) -> tuple[float, int, np.ndarray]:
    """One form: CPU seconds, peak bytes above the inputs, labels."""
    function = JOBS[job][form]
    function(*inputs_of(job, SIZES["tiny"]))  # imports and compilation
    inputs = inputs_of(job, shape)
    return measure(lambda: function(*inputs), repeats)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="small")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--job", choices=JOBS, nargs="+", default=list(JOBS))
    arguments = parser.parse_args()
    shape = SIZES[arguments.size]
    voxels = int(np.prod(shape))
    print(f"{' x '.join(map(str, shape))} voxels, median of {arguments.repeats}")
    print(
        f"{'job':20s} {'form':14s} {'CPU s':>8s} {'Mvox/s':>8s} {'bytes/voxel':>12s} {'objects':>8s} {'otherwise':>10s}"
    )
    for job in arguments.job:
        reference = None
        for form in JOBS[job]:
            seconds, peak, labels = in_fresh_process(run, job, form, shape, arguments.repeats)
            reference = labels if reference is None else reference
            print(
                f"{job:20s} {form:14s} {seconds:8.3f} {voxels / 1e6 / max(seconds, 1e-9):8.1f} {peak / voxels:12.1f} "
                f"{np.unique(labels).size - 1:8d} {100 * differing_share(labels, reference):9.3f}%",
                flush=True,
            )


if __name__ == "__main__":
    main()
