"""Stage 1: bring one volume and its instance labels into the form that every later stage reads."""

from __future__ import annotations

import glob
import json
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from emlib.atomic import atomic_path, explain_write_error, write_text
from emlib.data.instances import instances_from_mask
from emlib.data.resampling import downsample_volume
from emlib.recipe import Recipe
from emlib.volume import Volume, create_volume, open_volume, save_volume

SPLITS = ("train", "validation", "test")
SECTIONS_AT_A_TIME = 32  # a multiple of the depth of zarr chunks, so that each is written once


@dataclass(frozen=True)
class PreparedData:
    """A prepared folder: `image.zarr` (uint8), `labels.zarr` (instances), the split and some statistics.

    Attributes:
        folder: where the files are.
        voxel_size: nm, (z, y, x).
        split: name -> (first section, one past the last).
        statistics: name of split -> figures (foreground share, objects, mean intensity, ...).
        shuffled: the training labels were moved away from the image on purpose (a control run).
        masked: `valid.zarr` says where the labels are known.
    """

    folder: Path
    voxel_size: tuple[float, float, float]
    split: Mapping[str, tuple[int, int]]
    statistics: Mapping[str, Mapping[str, float]]
    shuffled: bool = False
    masked: bool = False

    @property
    def image(self) -> Path:
        """Path of the whole image volume."""
        return self.folder / "image.zarr"

    @property
    def labels(self) -> Path:
        """Path of the whole label volume: the truth, also in a control run."""
        return self.folder / "labels.zarr"

    def open(self, split: str) -> tuple[Volume, Volume]:
        """Image and labels of one split, lazily, both (z, y, x).

        Raises:
            ValueError: no such split.
        """
        self._check(split)
        z = self.split[split]
        moved = self.shuffled and split != "test"
        labels = self.folder / "shuffled_labels.zarr" if moved else self.labels
        return open_volume(self.image).crop(z=z), open_volume(labels).crop(z=z)

    def open_valid(self, split: str) -> Volume | None:
        """uint8 (z, y, x), 1 where the labels of one split are known; None: everywhere.

        Raises:
            ValueError: no such split.
        """
        self._check(split)
        return open_volume(self.folder / "valid.zarr").crop(z=self.split[split]) if self.masked else None

    def _check(self, split: str) -> None:
        if split not in self.split:
            raise ValueError(f"There is no split '{split}'; this data set has {', '.join(self.split)}.")


def prepare_data(recipe: Recipe, folder: str | Path, *, data_dir: str | Path | None = None) -> PreparedData:
    """Generate or read the recipe's data and write it to `folder` as 3-D chunked zarr.

    Images become uint8 (other types are scaled from their 0.1 to 99.9 percentile, which is recorded), labels become
    instances: with `data.instances: components` the 26-connected components of a mask, found in each split on its own
    so that no object of the test split owes its identity to sections that a method under test never sees.

    Args:
        recipe: its section `data` is what is used.
        folder: output folder; made if missing.
        data_dir: where local copies of registered data sets are looked for and kept.

    Returns:
        PreparedData, also stored as `prepared.json` in the folder.

    Raises:
        ValueError: image and labels differ in shape, labels are not integers, the split leaves the volume, ...
        FileNotFoundError, OSError: a source file is missing or damaged, or the folder cannot be written. Whatever goes
            wrong, there is no `prepared.json` afterwards, so that nothing takes the folder for prepared data.
    """
    folder = Path(folder)
    image, labels = _read_source(recipe, data_dir)
    if image.shape == labels.shape and recipe.data.downsample != (1, 1, 1):
        factors = recipe.data.downsample
        image = downsample_volume(image, factors, labels=False, incomplete="drop")
        labels = downsample_volume(labels, factors, labels=True, rule="middle", incomplete="drop")
    valid = None if recipe.data.valid is None else _read_valid(recipe, image, data_dir)
    voxel_size = image.voxel_size
    if recipe.data.voxel_size:
        voxel_size = tuple(s * f for s, f in zip(recipe.data.voxel_size, recipe.data.downsample, strict=True))
    if voxel_size is None:
        raise ValueError("The image file does not say its voxel size; set data.voxel_size to nm (z, y, x).")
    _check(recipe, image, labels)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "prepared.json").unlink(missing_ok=True)
    except OSError as error:
        raise explain_write_error(error, folder) from error
    split = {name: getattr(recipe.data.split, name) for name in SPLITS}
    scaling = _write_image(image, folder / "image.zarr", voxel_size)
    _write_labels(recipe, labels, split, folder / "labels.zarr", voxel_size)
    if recipe.data.shuffle_labels:
        moved = _moved(open_volume(folder / "labels.zarr")[:])
        save_volume(folder / "shuffled_labels.zarr", moved, voxel_size=voxel_size)
    if valid is not None:
        _write_valid(valid, folder / "valid.zarr", voxel_size)
    statistics = {name: _statistics(folder, z) | scaling for name, z in split.items()}
    shuffled, masked = recipe.data.shuffle_labels, valid is not None
    prepared = PreparedData(folder, tuple(voxel_size), split, statistics, shuffled, masked)
    write_text(folder / "prepared.json", json.dumps(asdict(prepared) | {"folder": "."}, indent=2))
    return prepared


def load_prepared(folder: str | Path) -> PreparedData:
    """Open what `prepare_data` wrote.

    Raises:
        FileNotFoundError: the folder holds no prepared data.
        ValueError: `prepared.json` is damaged.
    """
    path = Path(folder) / "prepared.json"
    if not path.is_file():
        raise FileNotFoundError(f"{folder} holds no prepared data (no prepared.json); run 1_data_prep first.")
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        split = {name: tuple(z) for name, z in stored["split"].items()}
        size = tuple(stored["voxel_size"])
        masked = stored.get("masked", False)  # folders of before there was such a mask do not say
        return PreparedData(Path(folder), size, split, stored["statistics"], stored["shuffled"], masked)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ValueError(f"{path} is damaged or truncated; run 1_data_prep again.") from None


def _read_source(recipe: Recipe, data_dir: str | Path | None) -> tuple[Volume, Volume]:
    data = recipe.data
    if data.source == "phantom":
        from emlib.data.em_phantom import make_em_phantom

        scene = make_em_phantom(data.shape, voxel_size=data.voxel_size, seed=recipe.seed)
        return Volume(scene.image, scene.voxel_size), Volume(getattr(scene, data.structure), scene.voxel_size)
    if data.source == "registry":
        from emlib.data.real_sets import load_real_set

        return load_real_set(data.name, structure=data.structure, data_dir=data_dir)
    image, labels = (_find_file(key, getattr(data, key), data_dir) for key in ("image", "labels"))
    return open_volume(image, data.image_key), open_volume(labels, data.labels_key)


def _read_valid(recipe: Recipe, image: Volume, data_dir: str | Path | None) -> Volume:
    """The mask of the voxels whose labels are known, on the grid of the image."""
    valid = open_volume(_find_file("valid", recipe.data.valid, data_dir), recipe.data.valid_key)
    if recipe.data.downsample != (1, 1, 1):
        valid = downsample_volume(valid, recipe.data.downsample, labels=True, rule="middle", incomplete="drop")
    if valid.shape != image.shape:
        raise ValueError(f"The image has shape {image.shape}, but the mask of data.valid has {valid.shape}.")
    return valid


def _write_valid(valid: Volume, path: Path, voxel_size: tuple[float, ...]) -> None:
    with atomic_path(path) as temporary:
        output = create_volume(temporary, valid.shape, np.uint8, voxel_size=voxel_size)
        for start in range(0, valid.shape[0], SECTIONS_AT_A_TIME):
            output[start : start + SECTIONS_AT_A_TIME] = valid[start : start + SECTIONS_AT_A_TIME] != 0
        output.mark_complete()


def _find_file(key: str, name: str, data_dir: str | Path | None) -> Path:
    """A path (or glob) of the recipe: as it stands, else below `data_dir`, else below EMLIB_DATA."""
    named = {"the data folder": data_dir, "EMLIB_DATA": os.environ.get("EMLIB_DATA")}
    candidates = [Path(name), *(Path(folder) / name for folder in named.values() if folder)]
    for path in candidates:
        if path.exists() or glob.glob(str(path)):
            return path
    places = "".join(f", nor below {where} {folder}" for where, folder in named.items() if folder)
    missing = "" if Path(name).is_absolute() else places
    raise FileNotFoundError(f"data.{key} names {name}, but there is no such file or folder{missing}.")


def _check(recipe: Recipe, image: Volume, labels: Volume) -> None:
    if image.ndim != 3:
        raise ValueError(f"The image has shape {image.shape}, but a volume (z, y, x) was expected.")
    if image.shape != labels.shape:
        raise ValueError(f"The image has shape {image.shape}, but its labels have {labels.shape}.")
    if labels.dtype.kind not in "uib":
        raise ValueError(f"The labels are {labels.dtype}, but whole numbers (one per object) were expected.")
    for name in SPLITS:
        if getattr(recipe.data.split, name)[1] > image.shape[0]:
            start, stop = getattr(recipe.data.split, name)
            raise ValueError(f"data.split.{name} is ({start}, {stop}), but the volume has {image.shape[0]} sections.")


def _write_image(image: Volume, path: Path, voxel_size: tuple[float, ...]) -> dict[str, float]:
    """Copy to uint8 zarr, some sections at a time, so that the volume need not fit into memory."""
    low, high = (0.0, 255.0) if image.dtype == np.uint8 else _percentiles(image)
    with atomic_path(path) as temporary:
        output = create_volume(temporary, image.shape, np.uint8, voxel_size=voxel_size)
        for start in range(0, image.shape[0], SECTIONS_AT_A_TIME):
            block = image[start : start + SECTIONS_AT_A_TIME]
            if image.dtype != np.uint8:
                if not np.isfinite(block).all():
                    z, y, x = np.argwhere(~np.isfinite(block))[0]
                    raise ValueError(f"The image is not finite at (z, y, x) = ({start + z}, {y}, {x}).")
                block = np.clip((block.astype(np.float32) - low) / (high - low) * 255, 0, 255).astype(np.uint8)
            output[start : start + SECTIONS_AT_A_TIME] = block
        output.mark_complete()
    return {"intensity_low": float(low), "intensity_high": float(high)}


def _percentiles(image: Volume) -> tuple[float, float]:
    step = max(1, image.shape[0] // 16)
    sample = np.concatenate([np.ravel(image[z][::4, ::4]) for z in range(0, image.shape[0], step)])
    finite = sample[np.isfinite(sample)]
    if not finite.size:
        raise ValueError("The image holds no finite number in any section that was looked at.")
    low, high = np.percentile(finite.astype(np.float64), (0.1, 99.9))
    if not high > low:
        raise ValueError(f"The image is constant ({low:g}); there is nothing to learn from it.")
    return float(low), float(high)


def _write_labels(
    recipe: Recipe, labels: Volume, split: Mapping[str, tuple[int, int]], path: Path, voxel_size: tuple[float, ...]
) -> None:
    """Instances to zarr: split by split where they are components of a mask, else some sections at a time."""
    if recipe.data.instances == "components":
        save_volume(path, _components(recipe, labels, split), voxel_size=voxel_size)
        return
    small = _small_objects(labels, recipe.data.min_object_size)
    dtype = labels.dtype if labels.dtype.kind == "u" else np.dtype(f"uint{8 * labels.dtype.itemsize}")
    with atomic_path(path) as temporary:
        output = create_volume(temporary, labels.shape, dtype, voxel_size=voxel_size)
        for start in range(0, labels.shape[0], SECTIONS_AT_A_TIME):
            block = labels[start : start + SECTIONS_AT_A_TIME]
            _refuse_negative(block)
            if small.size:
                block = np.where(np.isin(block, small), 0, block)
            output[start : start + SECTIONS_AT_A_TIME] = block.astype(dtype, copy=False)
        output.mark_complete()


def _refuse_negative(block: np.ndarray) -> None:
    if block.dtype.kind == "i" and block.min() < 0:
        raise ValueError(f"The labels hold the negative id {block.min()}, but ids from 0 were expected.")


def _components(recipe: Recipe, labels: Volume, split: Mapping[str, tuple[int, int]]) -> np.ndarray:
    truth = np.zeros(labels.shape, np.uint32)
    for start, stop in sorted(set(split.values())):
        mask = labels[start:stop]
        _refuse_negative(mask)
        found = instances_from_mask(mask, min_size=recipe.data.min_object_size)
        truth[start:stop] = np.where(found > 0, found + truth.max(), 0)
    return truth


def _small_objects(labels: Volume, min_size: int) -> np.ndarray:
    """Ids of objects below `min_size` voxels, counted over the whole volume."""
    counts: Counter[int] = Counter()
    if min_size:
        for start in range(0, labels.shape[0], SECTIONS_AT_A_TIME):
            ids, numbers = np.unique(labels[start : start + SECTIONS_AT_A_TIME], return_counts=True)
            counts.update(dict(zip(ids.tolist(), numbers.tolist(), strict=True)))
    return np.array([i for i, n in counts.items() if n < min_size and i != 0], dtype=labels.dtype)


def _moved(truth: np.ndarray) -> np.ndarray:
    """Labels that no longer belong to their image: turned by 180 degrees and shifted by half the field of view."""
    turned = truth[:, ::-1, ::-1]
    return np.ascontiguousarray(np.roll(turned, (truth.shape[1] // 2, truth.shape[2] // 3), (1, 2)))


def _statistics(folder: Path, z: tuple[int, int]) -> dict[str, float]:
    image, labels = (open_volume(folder / name).crop(z=z) for name in ("image.zarr", "labels.zarr"))
    ids: set[int] = set()
    inside = total = squares = 0.0
    for start in range(0, image.shape[0], SECTIONS_AT_A_TIME):
        pixels = image[start : start + SECTIONS_AT_A_TIME].astype(np.float64)
        block = labels[start : start + SECTIONS_AT_A_TIME]
        ids.update(np.unique(block).tolist())
        inside += np.count_nonzero(block)
        total, squares = total + pixels.sum(), squares + np.square(pixels).sum()
    voxels = float(np.prod(image.shape))
    mean = total / voxels
    return {
        "sections": float(z[1] - z[0]),
        "objects": float(len(ids - {0})),
        "foreground": inside / voxels,
        "mean": mean,
        "std": float(np.sqrt(max(squares / voxels - mean**2, 0.0))),
    }
