"""What `prepare_image_data` wrote: images and labels as files that are read a piece at a time."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from emlib.data.image_split import SPLITS

IMAGES, LABELS, SHUFFLED = "images", "labels", "shuffled_labels"
DESCRIPTION = "prepared.json"
KIND = "images"


def load_prepared_images(folder: str | Path) -> PreparedImages:
    """Open what `prepare_image_data` wrote.

    Raises:
        FileNotFoundError: the folder holds no prepared data.
        ValueError: `prepared.json` is damaged, or the folder holds a prepared volume.
    """
    path = Path(folder) / DESCRIPTION
    if not path.is_file():
        raise FileNotFoundError(f"{folder} holds no prepared data (no {DESCRIPTION}); run 1_data_prep first.")
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        if stored.get("kind") == KIND:
            rows = tuple(PreparedImage(**row) for row in stored["images"])
            return PreparedImages(Path(folder), rows, stored["statistics"], stored["shuffled"])
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ValueError(f"{path} is damaged or truncated; run 1_data_prep again.") from None
    raise ValueError(f"{folder} holds a prepared volume, but this recipe is for images; run its own 1_data_prep.")


def read_tiff_lazily(path: Path) -> np.ndarray:
    """The pixels of an uncompressed TIFF, mapped into memory: only what is indexed is read.

    Raises:
        FileNotFoundError: no such file.
        OSError: a damaged or truncated file.
    """
    import tifffile

    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; run 1_data_prep again.")
    try:
        return tifffile.memmap(path, mode="r")
    except (ValueError, tifffile.TiffFileError, OSError) as error:
        raise OSError(f"{path} is damaged or truncated; run 1_data_prep again.") from error


@dataclass(frozen=True)
class PreparedImage:
    """One row of the table of a prepared set.

    Attributes:
        name: "set/name".
        file: of image and labels in their folders.
        set_name, modality, split: where it comes from, its kind, and what it is used for.
        height, width: pixels.
        cells: in its truth.
        foreground: share of pixels that are cell.
    """

    name: str
    file: str
    set_name: str
    modality: str
    split: str
    height: int
    width: int
    cells: int
    foreground: float


@dataclass(frozen=True)
class PreparedImages:
    """A prepared folder: `images/*.tif` (uint8, y x 3), `labels/*.tif` (uint32), `images.csv` and some statistics.

    Attributes:
        folder: where the files are.
        images: one row an image.
        statistics: name of split -> figures (images, cells, foreground share, mean intensity, ...).
        shuffled: the training labels were moved away from the images on purpose (a control run).
    """

    folder: Path
    images: tuple[PreparedImage, ...]
    statistics: Mapping[str, Mapping[str, float]]
    shuffled: bool = False

    @property
    def modalities(self) -> dict[str, dict[str, int]]:
        """Modality -> number of images in each split, by name."""
        names = sorted({row.modality for row in self.images})
        count = {name: [row.split for row in self.images if row.modality == name] for name in names}
        return {name: {split: splits.count(split) for split in SPLITS} for name, splits in count.items()}

    def open(self, split: str) -> ImageSplit:
        """The images of one split, read when they are indexed.

        Raises:
            ValueError: no such split.
        """
        if split not in SPLITS:
            raise ValueError(f"There is no split '{split}'; this data set has {', '.join(SPLITS)}.")
        labels = SHUFFLED if self.shuffled and split != "test" else LABELS
        rows = tuple(row for row in self.images if row.split == split)
        return ImageSplit(rows, self.folder / IMAGES, self.folder / labels)


@dataclass(frozen=True)
class ImageSplit(Sequence):
    """Images and labels of one split.

    Attributes:
        rows: what is known about each.
        images, labels: the folders.
    """

    rows: tuple[PreparedImage, ...]
    images: Path
    labels: Path

    @property
    def names(self) -> list[str]:
        """Each image's name."""
        return [row.name for row in self.rows]

    @property
    def modalities(self) -> list[str]:
        """Each image's modality."""
        return [row.modality for row in self.rows]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, number: Any) -> tuple[np.ndarray, np.ndarray]:
        """Image (y, x, 3) uint8 and labels (y, x) uint32, mapped into memory.

        Raises:
            OSError: a file is missing or damaged.
        """
        file = self.rows[number].file
        image, labels = (read_tiff_lazily(folder / file) for folder in (self.images, self.labels))
        if image.shape[:2] != labels.shape:
            raise OSError(f"{self.labels / file} has shape {labels.shape}, but its image {image.shape[:2]}.")
        return image, labels
