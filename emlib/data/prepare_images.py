"""Stage 1 for images: bring any set of pictures and labels into the form that every later stage reads."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path

import fastremap
import numpy as np

from emlib.atomic import atomic_path, explain_write_error, made_folder, write_text
from emlib.data.image_normalization import normalize_percentiles
from emlib.data.image_sources import ImageSource, describe_look, find_images
from emlib.data.image_split import SPLITS, folds_by_group, split_by_group
from emlib.data.label_pieces import separate_pieces
from emlib.data.prepared_images import DESCRIPTION, IMAGES, KIND, LABELS, SHUFFLED, PreparedImage, PreparedImages
from emlib.progress import progress as show_progress
from emlib.recipe import ImageRecipe
from emlib.recipe_schema import ImageDataRecipe

TABLE = "images.csv"


def prepare_image_data(
    recipe: ImageRecipe, folder: str | Path, *, data_dir: str | Path | None = None, progress: bool = False
) -> PreparedImages:
    """Generate or read the recipe's images, normalise them, and write them and their labels to `folder`.

    Images become uint8 of three channels by percentiles, as `predict_image` does it with new ones. Labels are numbered
    1 ... n in each image; ids in several pieces are handled as `data.pieces` says, and cells that are too small are
    dropped. Every modality is divided among training, validation and test; with `data.folds`, one fold tests, and
    training and validation share the others.

    Args:
        recipe: its section `data` and its seed are what is used.
        folder: output folder; made if missing.
        data_dir: where local copies of registered data sets, and folders of one's own, are looked for.
        progress: show a bar.

    Returns:
        PreparedImages, also stored as `prepared.json` and, as a table, `images.csv`.

    Raises:
        TypeError: a recipe of volumes; labels that are not whole numbers.
        ValueError: image and labels differ in shape, too few images to divide, an image that is not finite, no object
            in any image, ...
        FileNotFoundError, OSError: a source file is missing or damaged, or the folder cannot be written. Whatever goes
            wrong, there is no `prepared.json` afterwards, so that nothing takes the folder for prepared data.
    """
    if not isinstance(recipe, ImageRecipe):
        raise TypeError(f"The recipe {recipe.track} is one of volumes; prepare_data prepares its data.")
    folder, data = Path(folder), recipe.data
    sources = find_images(data, seed=recipe.seed, data_dir=data_dir)
    repeated = [name for name, times in Counter(source.name for source in sources).items() if times > 1]
    if repeated:
        raise ValueError(f"data.sets names the image {repeated[0]} twice.")
    rows, sums = [], []
    with ExitStack() as stack:
        try:
            stack.enter_context(made_folder(folder))
            (folder / DESCRIPTION).unlink(missing_ok=True)
        except OSError as error:
            raise explain_write_error(error, folder) from error
        names = (IMAGES, LABELS, *((SHUFFLED,) if data.shuffle_labels else ()))
        folders = {name: stack.enter_context(atomic_path(folder / name)) for name in names}
        for path in folders.values():
            path.mkdir()
        for number, source in enumerate(show_progress(sources, label="preparing images", unit="image", show=progress)):
            image, labels = _read(source, data)
            row = _describe(source, f"{number:05d}.tif", image, labels)
            _write(folders[IMAGES] / row.file, image)
            _write(folders[LABELS] / row.file, labels)
            if data.shuffle_labels:
                _write(folders[SHUFFLED] / row.file, _moved(labels))
            rows.append(row)
            pixels = image.astype(np.float64)
            sums.append((pixels.size, pixels.sum(), np.square(pixels).sum()))
        if not any(row.cells for row in rows):
            raise ValueError(f"None of the {len(rows)} images has an object, so there is nothing to learn from them.")
        groups, fixed = [row.modality for row in rows], [source.split for source in sources]
        split = _divide(groups, fixed, data, recipe.seed)
    rows = [replace(row, split=name) for row, name in zip(rows, split, strict=True)]
    statistics = {name: _statistics(name, rows, np.array(sums)) for name in SPLITS}
    prepared = PreparedImages(folder, tuple(rows), statistics, data.shuffle_labels)
    write_text(folder / TABLE, _table(rows))
    content = {"kind": KIND, "images": [asdict(row) for row in rows], "statistics": statistics}
    write_text(folder / DESCRIPTION, json.dumps(content | {"shuffled": data.shuffle_labels}, indent=1))
    return prepared


def _read(source: ImageSource, data: ImageDataRecipe) -> tuple[np.ndarray, np.ndarray]:
    image, labels = source.read()
    if image.shape[:2] != labels.shape:
        raise ValueError(f"The image {source.name} has shape {image.shape[:2]}, but its labels have {labels.shape}.")
    if labels.dtype.kind not in "uib":
        raise TypeError(
            f"The labels of {source.name} are {labels.dtype}, but whole numbers (one per cell) were expected."
        )
    if labels.dtype.kind == "i" and labels.min() < 0:
        raise ValueError(f"The labels of {source.name} hold the negative id {labels.min()}, but ids start at 0.")
    try:
        image = normalize_percentiles(image, **data.normalization.model_dump())
    except (TypeError, ValueError) as error:
        raise type(error)(f"{source.name}: {error}") from None
    if data.pieces != "as_labelled":
        labels = separate_pieces(labels, keep=data.pieces)
    if data.min_cell_size:
        ids, places, sizes = np.unique(labels, return_inverse=True, return_counts=True)
        labels = np.where(sizes < data.min_cell_size, 0, ids)[places].reshape(labels.shape)
    labels, _ = fastremap.renumber(np.ascontiguousarray(labels).astype(np.uint64), preserve_zero=True, in_place=False)
    return image, labels.astype(np.uint32)


def _describe(source: ImageSource, file: str, image: np.ndarray, labels: np.ndarray) -> PreparedImage:
    modality = source.modality or f"{source.set_name}, {describe_look(image)}"
    share = float(np.count_nonzero(labels)) / labels.size
    return PreparedImage(source.name, file, source.set_name, modality, "", *labels.shape, int(labels.max()), share)


def _write(path: Path, array: np.ndarray) -> None:
    import tifffile

    # Uncompressed and in one piece, so that it can be mapped into memory. Made in memory and written by Python, which
    # says so when the disk is full.
    stream = io.BytesIO()
    tifffile.imwrite(stream, np.ascontiguousarray(array), photometric="rgb" if array.ndim == 3 else "minisblack")
    path.write_bytes(stream.getbuffer())


def _divide(groups: Sequence[str], fixed: Sequence[str | None], data: ImageDataRecipe, seed: int) -> list[str]:
    shares = data.split.model_dump()
    if data.folds is not None:
        folds = folds_by_group(groups, data.folds.count, seed=seed, fixed=fixed)
        fixed = ["test" if fold == data.folds.fold else one for fold, one in zip(folds, fixed, strict=True)]
        total = shares["train"] + shares["validation"]
        shares = {"train": shares["train"] / total, "validation": shares["validation"] / total, "test": 0.0}
    return split_by_group(groups, shares, seed=seed, fixed=fixed)


def _moved(labels: np.ndarray) -> np.ndarray:
    """Labels that no longer belong to their image: turned by 180 degrees and shifted by half the field of view."""
    return np.roll(labels[::-1, ::-1], (labels.shape[0] // 2, labels.shape[1] // 3), (0, 1))


def _table(rows: Sequence[PreparedImage]) -> str:
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(asdict(rows[0])), lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(row) for row in rows)
    return stream.getvalue()


def _statistics(split: str, rows: Sequence[PreparedImage], sums: np.ndarray) -> dict[str, float]:
    own = [number for number, row in enumerate(rows) if row.split == split]
    if not own:
        return {"images": 0.0, "cells": 0.0, "foreground": 0.0, "mean": 0.0, "std": 0.0}
    count, total, squares = sums[own].sum(axis=0).tolist()
    areas = np.array([rows[n].height * rows[n].width for n in own], np.float64)
    inside = float(sum(area * rows[n].foreground for n, area in zip(own, areas, strict=True)))
    mean = total / count
    return {
        "images": float(len(own)),
        "cells": float(sum(rows[n].cells for n in own)),
        "foreground": inside / float(areas.sum()),
        "mean": mean,
        "std": float(np.sqrt(max(squares / count - mean**2, 0.0))),
    }
