"""Find the objects of all pictures of one split of a prepared set, and find the results again."""

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
from emlib.inference.instance_files import load_instances, save_instances
from emlib.inference.instance_prediction import predict_instances
from emlib.inference.instances import InstancePrediction
from emlib.progress import progress as show_progress


def predict_instances_split(
    model: nn.Module,
    images: Any,
    folder: str | Path,
    *,
    device: str | torch.device | None = None,
    progress: bool = True,
    **settings: Any,
) -> SplitInstances:
    """The objects of every picture of a split; one file a picture.

    Args:
        model: a Mask R-CNN.
        images: what `PreparedImages.open` gave: pictures that are normalised already.
        folder: written whole or not at all; what was there before is replaced.
        device: where to run; None is where the network is.
        progress: show how many pictures are done.
        settings: of `predict_instances`: window, overlap, score_threshold, nms_threshold, merge_threshold,
            mask_threshold, rule, scale, batch_size.

    Returns:
        SplitInstances, of `InstancePrediction`.

    Raises:
        TypeError: an unknown setting.
        ValueError: no picture, and as `predict_instances`.
        OSError: the folder cannot be written.
    """
    if not len(images):
        raise ValueError("There is no picture to predict: the split is empty.")
    options = {"normalize": None} | settings | {"device": device, "progress": False}
    seconds = []
    with atomic_path(folder) as temporary:
        temporary.mkdir()
        for number in show_progress(range(len(images)), label="detecting", unit="image", show=progress):
            image, _ = images[number]
            started = time.perf_counter()
            found = predict_instances(model, np.asarray(image), **options)
            seconds.append(time.perf_counter() - started)
            save_instances(temporary / _file_name(images.rows[number]), found)
    return SplitInstances(Path(folder), images.rows, tuple(seconds))


def load_split_instances(folder: str | Path, images: Any) -> SplitInstances:
    """What `predict_instances_split` wrote for this split.

    Raises:
        FileNotFoundError: a picture has no prediction.
    """
    for row in images.rows:
        if not (Path(folder) / _file_name(row)).is_file():
            raise FileNotFoundError(f"{folder} holds no objects of {row.name}; run 3_inference again.")
    return SplitInstances(Path(folder), images.rows, ())


def _file_name(row: Any) -> str:
    return f"{Path(row.file).stem}.npz"


@dataclass(frozen=True)
class SplitInstances(Sequence):
    """The objects of one split's pictures, in their order; each file is read when it is indexed.

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

    def __getitem__(self, number: Any) -> InstancePrediction:
        """The objects of picture `number`.

        Raises:
            OSError: the file is missing or damaged, or the picture has another size.
        """
        row = self.rows[number]
        path = self.folder / _file_name(row)
        try:
            found = load_instances(path)
        except OSError as error:
            raise OSError(f"{path} is missing or damaged; run 3_inference again.") from error
        if found.shape != (row.height, row.width):
            raise OSError(f"{path} is of {found.shape} pixels, but its picture of {(row.height, row.width)}.")
        return found
