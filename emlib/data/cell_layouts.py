"""Data sets of cell images as their authors laid them out, read one picture at a time."""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np

from emlib.data.coco_annotations import coco_entries, looks_like_coco
from emlib.data.image_files import IMAGE_SUFFIXES, LABEL_SUFFIXES, image_size, read_label_image
from emlib.data.image_pairs import ImagePair, check_shapes, find_image_pairs
from emlib.data.nuclei_folders import NucleiFolder, find_nuclei_folders, read_nuclei_labels

MASK_MARK, IMAGE_MARK = "_masks", "_img"
USIIGACI_LABELS = "instances_ids.png"
USIIGACI_IMAGES = ("raw.tif", "phase.png")

Entry = tuple[str, Path, Callable[[], np.ndarray]]


def open_cell_set(root: str | Path, *, layout: str = "auto") -> CellSet:
    """Find the images of a data set and how their labels are stored; nothing is decoded yet.

    Layouts: "pairs" (`images/` and `labels/`, as the NeurIPS 2022 challenge), "dsb2018" (`<id>/images/*.png`,
    `<id>/masks/*.png`, one nucleus each), "usiigaci" (`<set>/raw.tif` or `phase.png` with `instances_ids.png`),
    "cellpose" and "omnipose" (`*_masks.*` beside `*_img.*` or `*.*`), "coco" and "livecell" (a JSON file of polygons
    or run lengths).

    Args:
        root: the folder; for COCO also the JSON file, where a folder holds several.
        layout: one of these, or "auto" to recognise it in `root` or in the one folder below it that has one.

    Returns:
        CellSet, to be iterated over.

    Raises:
        FileNotFoundError: no such folder.
        ValueError: an unknown layout, none or several that fit, or files that do not belong together.

    Example:
        >>> import tempfile, imageio.v3
        >>> root = Path(tempfile.mkdtemp())
        >>> imageio.v3.imwrite(root / "000_img.png", np.zeros((2, 3, 3), np.uint8))
        >>> imageio.v3.imwrite(root / "000_masks.png", np.array([[0, 1, 1], [0, 0, 2]], np.uint8))
        >>> cells = open_cell_set(root)
        >>> cells.layout, [(one.name, one.labels.tolist()) for one in cells]
        ('cellpose', [('000', [[0, 1, 1], [0, 0, 2]])])
    """
    root = Path(root)
    if not root.exists():
        raise FileNotFoundError(f"There is no folder {root}.")
    if layout != "auto" and layout not in LAYOUTS:
        close = difflib.get_close_matches(str(layout), LAYOUTS, n=1)
        hint = f"did you mean '{close[0]}'?" if close else f"there are auto, {', '.join(LAYOUTS)}."
        raise ValueError(f"There is no layout '{layout}'; {hint}")
    if layout == "auto":
        root, layout = _recognise(root)
    entries = sorted(LAYOUTS[layout](root), key=lambda entry: entry[0])
    if not entries:
        raise ValueError(f"{root} holds no labelled image in the layout '{layout}'.")
    names = [name for name, _, _ in entries]
    twice = next((first for first, second in pairwise(names) if first == second), None)
    if twice is not None:
        raise ValueError(f"{root} holds two images named '{twice}'; names must be unique.")
    return CellSet(layout, root, tuple(entries))


def _recognise(root: Path) -> tuple[Path, str]:
    found = [(root, name) for name in _fitting(root)]
    if not found and root.is_dir():
        found = [(child, name) for child in sorted(root.iterdir()) if child.is_dir() for name in _fitting(child)]
    if len(found) == 1:
        return found[0]
    if not found:
        raise ValueError(f"{root} has none of the known layouts ({', '.join(LAYOUTS)}).")
    fitting = ", ".join(f"{name} in {folder}" for folder, name in found[:4])
    raise ValueError(f"{root} has more than one layout ({fitting}); pass one folder with its layout.")


def _fitting(root: Path) -> list[str]:
    """The layouts that a folder has, by a quick look."""
    if root.is_file():
        return ["coco"] if looks_like_coco(root) else []
    if (root / "images").is_dir() and (root / "labels").is_dir():
        return ["pairs"]
    names = []
    folders = [child for child in root.iterdir() if child.is_dir()]
    if any((child / "masks").is_dir() and (child / "images").is_dir() for child in folders):
        names.append("dsb2018")
    if any((child / USIIGACI_LABELS).is_file() for child in folders):
        names.append("usiigaci")
    masks = _masks(root)
    if masks:
        names.append("cellpose" if _image_of(masks[0]).stem.endswith(IMAGE_MARK) else "omnipose")
    if any(looks_like_coco(path) for path in (*root.glob("*.json"), *root.glob("annotations/*.json"))):
        names.append("coco")
    return names


def _pairs(root: Path) -> Iterator[Entry]:
    for pair in find_image_pairs(root):
        yield pair.name, pair.image, partial(read_label_image, pair.label)


def _dsb2018(root: Path) -> Iterator[Entry]:
    for folder in find_nuclei_folders(root):
        yield folder.name, folder.image, partial(_labels_of, folder)


def _labels_of(folder: NucleiFolder) -> np.ndarray:
    found = read_nuclei_labels(folder)
    if found.overlap:
        warnings.warn(
            f"The masks of {folder.name} overlap in {found.overlap} pixels, of which a label image shows the smaller "
            "nucleus only."
        )
    return found.labels


def _usiigaci(root: Path) -> Iterator[Entry]:
    for folder in sorted(child for child in root.iterdir() if (child / USIIGACI_LABELS).is_file()):
        image = next((folder / name for name in USIIGACI_IMAGES if (folder / name).is_file()), None)
        if image is None:
            raise ValueError(f"{folder} has labels, but neither {' nor '.join(USIIGACI_IMAGES)}.")
        yield folder.name, image, partial(read_label_image, folder / USIIGACI_LABELS)


def _beside(root: Path) -> Iterator[Entry]:
    for masks in _masks(root):
        yield masks.stem[: -len(MASK_MARK)], _image_of(masks), partial(read_label_image, masks)


def _masks(root: Path) -> list[Path]:
    files = (path for path in root.iterdir() if path.is_file() and path.suffix.lower() in LABEL_SUFFIXES)
    return sorted(path for path in files if path.stem.endswith(MASK_MARK) and len(path.stem) > len(MASK_MARK))


def _image_of(masks: Path) -> Path:
    name = masks.stem[: -len(MASK_MARK)]
    for stem in (name + IMAGE_MARK, name):
        files = [path for path in masks.parent.glob("*") if path.stem == stem and path.suffix.lower() in IMAGE_SUFFIXES]
        if len(files) > 1:
            raise ValueError(f"{masks} may belong to {files[0].name} or {files[1].name}; names must be unique.")
        if files:
            return files[0]
    raise ValueError(f"{masks} has no image: {name}{IMAGE_MARK}.* or {name}.* was expected beside it.")


LAYOUTS: dict[str, Callable[[Path], Iterator[Entry]]] = {
    "pairs": _pairs,
    "dsb2018": _dsb2018,
    "usiigaci": _usiigaci,
    "cellpose": _beside,
    "omnipose": _beside,
    "coco": coco_entries,
    "livecell": coco_entries,
}


@dataclass(frozen=True)
class CellSample:
    """One picture of a data set.

    Attributes:
        name: unique within the set.
        image: the file; `read_image` decodes it.
        labels: unsigned integers (y, x), 0 = background, of the image's height and width.
    """

    name: str
    image: Path
    labels: np.ndarray


@dataclass(frozen=True)
class CellSet:
    """A data set whose labels are read when a sample is asked for.

    Attributes:
        layout: how it is stored.
        root: the folder (or COCO file) that was read.
        entries: name, image file and reader of the labels of each sample, by name.
    """

    layout: str
    root: Path
    entries: tuple[Entry, ...]

    @property
    def names(self) -> list[str]:
        """The samples' names, in order."""
        return [name for name, _, _ in self.entries]

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, number: int) -> CellSample:
        """Read one sample.

        Raises:
            IndexError: no such sample.
            OSError, TypeError, ValueError: files that cannot be read, or labels of another shape than the image.
        """
        name, image, read_labels = self.entries[number]
        labels = read_labels()
        check_shapes(ImagePair(name, image, None), image_size(image), labels.shape)
        return CellSample(name, image, labels)

    def __iter__(self) -> Iterator[CellSample]:
        return (self[number] for number in range(len(self)))
