"""Contour watershed: emlib beside the scikit-image and the bioimage-cpp form, in one run.

    python benchmarks/contour_watershed.py [--size tiny|small|medium|large] [--repeats 3]

Each form runs alone in a fresh process (so that its peak memory is its own) on the same two uint8 maps; the table
gives medians of process CPU seconds, peak memory above the inputs, and how much of the foreground is labelled
otherwise than by scikit-image. Compare ratios, not seconds.
"""

from __future__ import annotations

import argparse

import numpy as np
from measuring import in_fresh_process, measure

SIZES = {"tiny": (8, 64, 64), "small": (64, 512, 512), "medium": (64, 1024, 1024), "large": (100, 2048, 2048)}
SEED_LEVEL, CONTOUR_LEVEL, LOWEST, MIN_SIZE = int(255 * 0.9), int(255 * 0.8), int(255 * 0.85), 128


def make_maps(shape: tuple[int, int, int], seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Mask and contour (uint8) of touching blobs: one random tile of 128 x 128, repeated mirrored over the plane."""
    from scipy.spatial import cKDTree

    random = np.random.default_rng(seed)
    tile = (shape[0], min(shape[1], 128), min(shape[2], 128))
    scale = np.array([3.0, 1.0, 1.0])
    count = max(4, round(np.prod(tile) * 1300 / (64 * 1024 * 1024)))
    centres = random.uniform(0, tile, size=(count, 3)) * scale
    voxels = np.moveaxis(np.indices(tile), 0, -1).reshape(-1, 3) * scale
    nearest, second = cKDTree(centres).query(voxels, k=2)[0].T
    radius = 0.5 * np.median(second)
    noise = random.normal(0, 0.2, size=nearest.size)
    mask = np.rint(255 / (1 + np.exp((nearest - 1.3 * radius) / 5 + noise))).astype(np.uint8).reshape(tile)
    contour = np.rint(255 * np.exp(-(((second - nearest) / 4) ** 2))).astype(np.uint8).reshape(tile)
    repeats = [-(-shape[axis] // tile[axis]) for axis in (1, 2)]
    return tuple(_mirror_tiles(array, repeats)[:, : shape[1], : shape[2]].copy() for array in (mask, contour))


def _mirror_tiles(array: np.ndarray, repeats: list[int]) -> np.ndarray:
    rows = [array if row % 2 == 0 else array[:, ::-1] for row in range(repeats[0])]
    array = np.concatenate(rows, axis=1)
    columns = [array if column % 2 == 0 else array[:, :, ::-1] for column in range(repeats[1])]
    return np.concatenate(columns, axis=2)


def with_emlib(mask: np.ndarray, contour: np.ndarray) -> np.ndarray:
    from emlib.postprocessing import contour_watershed

    return contour_watershed(mask, contour)


def with_scikit_image(mask: np.ndarray, contour: np.ndarray) -> np.ndarray:
    import cc3d
    import fastremap
    from skimage.segmentation import watershed

    seeds = cc3d.connected_components((mask > SEED_LEVEL) & (contour < CONTOUR_LEVEL), connectivity=26)
    return _drop_small(fastremap, watershed(-mask, seeds.astype(np.int32), mask=mask > LOWEST))


def with_bioimage_cpp(mask: np.ndarray, contour: np.ndarray) -> np.ndarray:
    import cc3d
    import fastremap
    from bioimage_cpp.segmentation import watershed

    seeds = cc3d.connected_components((mask > SEED_LEVEL) & (contour < CONTOUR_LEVEL), connectivity=26)
    height = np.float32(255) - mask
    return _drop_small(fastremap, watershed(height, seeds.astype(np.uint32), mask=mask > LOWEST))


def _drop_small(fastremap, labels: np.ndarray) -> np.ndarray:
    ids, sizes = fastremap.unique(labels, return_counts=True)
    return fastremap.mask(labels, ids[(sizes < MIN_SIZE) & (ids != 0)])


FORMS = {"scikit-image": with_scikit_image, "bioimage-cpp": with_bioimage_cpp, "emlib": with_emlib}


def run(form: str, shape: tuple[int, int, int], repeats: int) -> tuple[float, int, np.ndarray]:
    """One form: CPU seconds, peak bytes above the inputs, labels."""
    maps = make_maps(shape)
    FORMS[form](*make_maps(SIZES["tiny"]))  # imports and compilation
    return measure(lambda: FORMS[form](*maps), repeats)


def differing_share(labels: np.ndarray, reference: np.ndarray) -> float:
    """Share of the reference's foreground that lies outside the best-overlapping object pairs."""
    from emlib.evaluation import overlap_table

    table = overlap_table(labels, reference)
    inside = table.truth_ids[table.pair_truth] != 0
    best = np.zeros(table.truth_ids.size, dtype=np.int64)
    np.maximum.at(best, table.pair_truth[inside], table.pair_counts[inside])
    return 1 - best.sum() / max(table.pair_counts[inside].sum(), 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="small")
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    shape = SIZES[arguments.size]
    voxels = int(np.prod(shape))
    print(f"contour watershed, {' x '.join(map(str, shape))} uint8, median of {arguments.repeats}")
    print(f"{'form':14s} {'CPU s':>8s} {'Mvox/s':>8s} {'bytes/voxel':>12s} {'objects':>8s} {'otherwise':>10s}")
    reference = None
    for form in FORMS:
        seconds, peak, labels = in_fresh_process(run, form, shape, arguments.repeats)
        reference = labels if reference is None else reference
        print(
            f"{form:14s} {seconds:8.3f} {voxels / 1e6 / seconds:8.1f} {peak / voxels:12.1f} "
            f"{np.unique(labels).size - 1:8d} {100 * differing_share(labels, reference):9.3f}%",
            flush=True,
        )


if __name__ == "__main__":
    main()
