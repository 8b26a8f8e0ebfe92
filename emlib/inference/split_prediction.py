"""Predict all pictures of one split of a prepared set, and find the predictions again."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from emlib.atomic import atomic_path
from emlib.inference.cell_prediction import PREDICTORS
from emlib.progress import progress as show_progress
from emlib.recipe import ImageRecipe, InstanceRecipe


def predict_split(
    model: nn.Module | Sequence[nn.Module],
    images: Any,
    recipe: ImageRecipe,
    folder: str | Path,
    *,
    device: str | torch.device | None = None,
    progress: bool = True,
) -> SplitPredictions:
    """Flows or classes of every picture of a split, as the recipe's section `inference` says; one file a picture.

    That is `predict_flows` or `predict_classes`, by the recipe's target.

    Args:
        model: a network, or several: an ensemble.
        images: what `PreparedImages.open` gave: pictures that are normalised already.
        recipe: of images.
        folder: written whole or not at all; what was there before is replaced.
        device: where to run; None is where the (first) network is.
        progress: show how many pictures are done.

    Returns:
        SplitPredictions, of float32 (3, y, x): flow along y, flow along x, probability; or the probabilities of
        background, interior and boundary.

    Raises:
        TypeError: a recipe of volumes, or of detected objects.
        ValueError: no picture, and as `predict_flows`.
        OSError: the folder cannot be written.
    """
    if not isinstance(recipe, ImageRecipe):
        raise TypeError(f"The recipe {recipe.track} is one of volumes; predict_from_recipe applies it.")
    if isinstance(recipe, InstanceRecipe):
        raise TypeError(f"The recipe {recipe.track} is one of detected objects; predict_instances_split applies it.")
    if not len(images):
        raise ValueError("There is no picture to predict: the split is empty.")
    predict, settings = PREDICTORS[recipe.postprocessing.method], recipe.inference.model_dump(exclude={"memory"})
    seconds = []
    with atomic_path(folder) as temporary:
        temporary.mkdir()
        numbers = range(len(images))
        for number in show_progress(numbers, label="predicting", unit="image", show=progress):
            image, _ = images[number]
            started = time.perf_counter()
            prediction = predict(model, np.asarray(image), **settings, device=device, normalize=None, progress=False)
            seconds.append(time.perf_counter() - started)
            np.save(temporary / _file_name(images.rows[number]), prediction)
    return SplitPredictions(Path(folder), images.rows, tuple(seconds))


def load_split_predictions(folder: str | Path, images: Any) -> SplitPredictions:
    """What `predict_split` wrote for this split.

    Raises:
        FileNotFoundError: a picture has no prediction.
    """
    for row in images.rows:
        if not (Path(folder) / _file_name(row)).is_file():
            raise FileNotFoundError(f"{folder} holds no prediction of {row.name}; run 3_inference again.")
    return SplitPredictions(Path(folder), images.rows, ())


def _file_name(row: Any) -> str:
    return f"{Path(row.file).stem}.npy"


@dataclass(frozen=True)
class SplitPredictions(Sequence):
    """Predictions of one split, in the order of its pictures; each is read when it is indexed.

    Attributes:
        folder: where the files are.
        rows: what is known about each picture.
        seconds: how long each prediction took; empty for predictions that were loaded.
    """

    folder: Path
    rows: tuple[Any, ...]
    seconds: tuple[float, ...]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, number: Any) -> np.ndarray:
        """float32 (3, y, x) of picture `number`, mapped into memory.

        Raises:
            OSError: the file is missing or damaged, or the picture has another size.
        """
        row = self.rows[number]
        path = self.folder / _file_name(row)
        try:
            prediction = np.load(path, mmap_mode="r")
        except (OSError, ValueError) as error:
            raise OSError(f"{path} is missing or damaged; run 3_inference again.") from error
        if prediction.shape[1:] != (row.height, row.width):
            raise OSError(f"{path} has shape {prediction.shape}, but its picture {(row.height, row.width)}.")
        return prediction
