"""Which label picture belongs to which image: `<root>/images` and `<root>/labels`, whatever their suffixes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from emlib.data.image_files import IMAGE_SUFFIXES, LABEL_SUFFIXES, read_image, read_label_image

LABEL_MARK = "_label"
SHOWN = 3


def find_image_pairs(
    root: str | Path, *, images: str = "images", labels: str = "labels", need_labels: bool = True
) -> list[ImagePair]:
    """Pair the pictures of two folders by name: `a.b.tif` with `a.b_label.png`, or with `a.b.png`.

    Only the last suffix counts as one, so that dots may be part of a name; upper and lower case do not matter in
    suffixes. Files of other kinds and hidden files are passed over.

    Args:
        root: the folder that holds both.
        images, labels: their names.
        need_labels: False allows images without a label (for prediction, or tuning sets); then the label is None.

    Returns:
        Pairs in the order of their names.

    Raises:
        FileNotFoundError: a folder is missing.
        ValueError: no image at all, images without a label, labels without an image, or two files of one name.

    Example:
        >>> import tempfile
        >>> root = Path(tempfile.mkdtemp())
        >>> for name in ("images/a.b.png", "labels/a.b_label.tiff"):
        ...     (root / name).parent.mkdir()
        ...     (root / name).touch()
        >>> [(pair.name, pair.image.name, pair.label.name) for pair in find_image_pairs(root)]
        [('a.b', 'a.b.png', 'a.b_label.tiff')]
    """
    root = Path(root)
    pictures = _by_stem(_folder(root / images), IMAGE_SUFFIXES)
    if not pictures:
        raise ValueError(f"{root / images} holds no picture ({', '.join(IMAGE_SUFFIXES)}).")
    if not need_labels and not (root / labels).is_dir():
        return [ImagePair(name, path, None) for name, path in sorted(pictures.items())]
    found = _by_stem(_folder(root / labels), LABEL_SUFFIXES)
    pairs, taken, doubtful = [], set(), []
    for name, path in sorted(pictures.items()):
        own = [stem for stem in (name + LABEL_MARK, name) if stem in found]
        # The label of `a` may be called `a_label`, and so may that of an image `a_label`; the longer name wins.
        own = [stem for stem in own if stem == name + LABEL_MARK or not _is_of_another(stem, pictures)]
        doubtful += [name] if len(own) > 1 else []
        taken.update(own)
        pairs.append(ImagePair(name, path, found[own[0]] if own else None))
    missing = [pair.image.name for pair in pairs if pair.label is None]
    spare = [found[stem].name for stem in sorted(set(found) - taken)]
    faults = [f"{len(doubtful)} images have two labels ({_some(doubtful)})"] if doubtful else []
    if missing and need_labels:
        faults.append(f"{len(missing)} of {len(pairs)} images have no label ({_some(missing)})")
    if spare:
        faults.append(f"{len(spare)} labels have no image ({_some(spare)})")
    if faults:
        raise ValueError(
            f"Images and labels below {root} do not pair up: {'; '.join(faults)}; the label of NAME.* is NAME_label.* "
            "or NAME.*."
        )
    return pairs


def check_pair(pair: ImagePair) -> int:
    """Read both files of a pair, compare their shapes, and return the number of cells (0 without a label).

    Raises:
        OSError, TypeError, ValueError: a file that cannot be read, or shapes that differ.
    """
    image = read_image(pair.image)
    if pair.label is None:
        return 0
    labels = read_label_image(pair.label)
    check_shapes(pair, image.shape[:2], labels.shape)
    return int(np.unique(labels[labels > 0]).size)


def check_shapes(pair: ImagePair, image: tuple[int, ...], labels: tuple[int, ...]) -> None:
    """Raise if an image and its label differ in shape (y, x); the sentence says if the label lies on its side."""
    if tuple(image) == tuple(labels):
        return
    turned = "; the label seems to be transposed" if tuple(image) == tuple(labels)[::-1] else ""
    # A label that is not a file of its own, such as one mask a cell, is known by its image alone.
    label = f"The label of {pair.name}" if pair.label is None else f"Label {pair.label}"
    raise ValueError(
        f"{label} has shape {tuple(labels)}, but its image {pair.image} has {tuple(image)} (y, x){turned}."
    )


def _is_of_another(stem: str, pictures: dict[str, Path]) -> bool:
    return stem.endswith(LABEL_MARK) and stem[: -len(LABEL_MARK)] in pictures


def _folder(path: Path) -> Path:
    if not path.is_dir():
        raise FileNotFoundError(f"There is no folder {path}.")
    return path


def _by_stem(folder: Path, suffixes: Iterable[str]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in suffixes or path.name.startswith(".") or not path.is_file():
            continue
        if path.stem in found:
            raise ValueError(f"{folder} holds both {found[path.stem].name} and {path.name}; names must be unique.")
        found[path.stem] = path
    return found


def _some(names: list[str]) -> str:
    return ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")


@dataclass(frozen=True)
class ImagePair:
    """An image and its labels.

    Attributes:
        name: the image's name without its suffix.
        image: the file.
        label: the file of ids, or None.
    """

    name: str
    image: Path
    label: Path | None
