"""The images that a recipe names, one at a time: generated, registered, or from folders of one's own."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from emlib.data.cell_layouts import CellSet, open_cell_set
from emlib.data.cell_phantom import CellPhantom, make_cell_set
from emlib.data.image_files import read_image
from emlib.data.saved_cell_set import TABLE_NAME
from emlib.randomness import numpy_generator
from emlib.recipe_schema import ImageDataRecipe, ImageSetRecipe

# Mean difference of red, green and blue from which a picture counts as coloured; of 255.
COLOURED = 8.0


def find_images(data: ImageDataRecipe, *, seed: int, data_dir: str | Path | None = None) -> list[ImageSource]:
    """The images of a recipe, in a fixed order; files are found, but not decoded.

    Args:
        data: the recipe's section.
        seed: of the recipe: what is generated, and which images are drawn from a set of which not all are taken.
        data_dir: where local copies of registered data sets are looked for and kept, and folders of one's own looked
            for after the working folder.

    Raises:
        FileNotFoundError, OSError: a data set is not there or cannot be fetched.
        ValueError: a folder of another layout, or fewer images than the recipe asks for.
    """
    if data.source == "phantom":
        return _generated(data, seed)
    found = []
    for one in data.sets:
        root = _folder_of(data.source, one, data_dir)
        cells = open_cell_set(root, layout=one.layout)
        modalities = _read_modalities(cells.root)
        chosen = range(len(cells))
        if one.images is not None:
            if one.images > len(cells):
                raise ValueError(f"data.sets asks for {one.images} images of '{one.name}', but it has {len(cells)}.")
            order = numpy_generator(seed, "images of", one.name).permutation(len(cells))
            chosen = sorted(order[: one.images].tolist())
        for number in chosen:
            name = cells.names[number]
            modality, set_name = one.modality or modalities.get(name), Path(one.name).name
            found.append(
                ImageSource(f"{set_name}/{name}", set_name, modality, one.split, partial(_read, cells, number))
            )
    return found


def describe_look(image: np.ndarray) -> str:
    """How a picture looks: dark or bright, grey or coloured. A makeshift for a modality that nobody wrote down.

    Args:
        image: (y, x, 3) uint8.

    Example:
        >>> describe_look(np.full((4, 4, 3), (200, 120, 200), np.uint8))
        'bright coloured'
    """
    spread = image.max(axis=-1).astype(np.int16) - image.min(axis=-1)
    brightness = "bright" if np.median(image.mean(axis=-1)) > 127 else "dark"
    return f"{brightness} {'coloured' if spread.mean() > COLOURED else 'grey'}"


def _generated(data: ImageDataRecipe, seed: int) -> list[ImageSource]:
    options = {"scale": data.scale, "touching": data.touching}
    options |= {key: getattr(data, key) for key in ("cells", "sizes") if getattr(data, key) is not None}
    made = make_cell_set(data.images, seed=seed, modalities=data.modalities, shapes=data.shapes, **options)
    return [
        ImageSource(f"phantom/cell_{number:05d}", "phantom", one.modality, None, partial(_pixels, one))
        for number, one in enumerate(made)
    ]


def _pixels(phantom: CellPhantom) -> tuple[np.ndarray, np.ndarray]:
    return phantom.image, phantom.labels


def _read(cells: CellSet, number: int) -> tuple[np.ndarray, np.ndarray]:
    sample = cells[number]
    return read_image(sample.image), sample.labels


def _folder_of(source: str, one: ImageSetRecipe, data_dir: str | Path | None) -> Path:
    if source == "registry":
        from emlib.data.download import fetch_dataset

        root = fetch_dataset(one.name, data_dir=data_dir)
    else:
        places = [folder for folder in (data_dir, os.environ.get("EMLIB_DATA")) if folder]
        candidates = [Path(one.name), *(Path(folder) / one.name for folder in places)]
        root = next((path for path in candidates if path.exists()), None)
        if root is None:
            tried = "".join(f", nor below {folder}" for folder in places if not Path(one.name).is_absolute())
            raise FileNotFoundError(f"data.sets names {one.name}, but there is no such folder{tried}.")
    return root if one.folder is None else root / one.folder


def _read_modalities(root: Path) -> dict[str, str]:
    """Image name -> modality of the table beside a saved set, if there is one."""
    path = root / TABLE_NAME
    if not path.is_file():
        return {}
    with path.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    if rows and not {"name", "modality"} <= set(rows[0]):
        raise ValueError(f"{path} has the columns {', '.join(rows[0])}, but name and modality were expected.")
    return {row["name"]: row["modality"] for row in rows}


@dataclass(frozen=True)
class ImageSource:
    """One image with labels, not read yet.

    Attributes:
        name: unique, for example "usiigaci/set1".
        set_name: the data set.
        modality: its kind, or None if nobody said.
        split: where the recipe wants it, or None.
        read: gives image (y, x, 3) of any type, and labels (y, x).
    """

    name: str
    set_name: str
    modality: str | None
    split: str | None
    read: Callable[[], tuple[np.ndarray, np.ndarray]]
