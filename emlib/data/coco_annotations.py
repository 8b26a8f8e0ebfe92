"""The images and objects of a COCO annotation file (also LIVECell's), picture by picture."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from emlib.data.coco_masks import paint_objects
from emlib.data.json_reading import read_json

HEAD_BYTES = 4096


def looks_like_coco(path: Path) -> bool:
    """Whether a file may be a COCO annotation file, by its first bytes (such files can be hundreds of megabytes)."""
    if path.suffix.lower() != ".json":
        return False
    with open(path, "rb") as file:
        head = file.read(HEAD_BYTES)
    return head.lstrip()[:1] == b"{" and any(word in head for word in (b'"images"', b'"annotations"', b'"categories"'))


def coco_entries(root: Path) -> Iterator[tuple[str, Path, Callable[[], np.ndarray]]]:
    """Name, image file and reader of the labels of each image of a COCO file.

    Ids are the places of the objects in the file, from 1, among those of their image; crowds (regions of many
    objects, `iscrowd`) are left out. Images without objects have labels of 0.

    Args:
        root: the JSON file, or a folder with one JSON file in it or in its folder `annotations`. Image files are
            looked for by the path in the file, then by name anywhere below the folder.

    Raises:
        ValueError: no or several JSON files, content that is not COCO's, or two image files of one name.
        FileNotFoundError: an image file is missing.
    """
    file = root if root.is_file() else _one_file(root)
    folder = file.parent.parent if file.parent.name == "annotations" else file.parent
    content = _load(file)
    objects: dict[Any, list[Any]] = {}
    for annotation in _records(content["annotations"]):
        if not annotation.get("iscrowd", 0):
            objects.setdefault(annotation["image_id"], []).append(annotation.get("segmentation"))
    images = _records(content["images"])
    strangers = set(objects) - {image["id"] for image in images}
    if strangers:
        raise ValueError(f"{file} has objects of images that it does not list, for example image {min(strangers)}.")
    by_name: dict[str, list[Path]] = {}
    for path in folder.rglob("*"):
        by_name.setdefault(path.name, []).append(path)
    for image in images:
        shape = (int(image["height"]), int(image["width"]))
        path = _image_file(folder, str(image["file_name"]), by_name, file)
        yield path.stem, path, partial(_labels, objects.get(image["id"], []), shape, path, file)


def _labels(segmentations: list[Any], shape: tuple[int, int], image: Path, file: Path) -> np.ndarray:
    try:
        return paint_objects(segmentations, shape)
    except ValueError as error:
        raise ValueError(f"{file}, image {image.name}: {error}") from error


def _one_file(root: Path) -> Path:
    files = sorted(path for path in (*root.glob("*.json"), *root.glob("annotations/*.json")) if looks_like_coco(path))
    if len(files) != 1:
        names = ", ".join(path.name for path in files[:4]) or "none"
        raise ValueError(f"{root} holds {len(files)} COCO files ({names}), but one was expected; pass the file itself.")
    return files[0]


def _load(file: Path) -> dict[str, Any]:
    content = read_json(file)
    if not isinstance(content, dict) or not {"images", "annotations"} <= set(content):
        raise ValueError(f"{file} is no COCO file: it has no 'images' and 'annotations'.")
    needed = {"images": ("id", "file_name", "height", "width"), "annotations": ("image_id", "segmentation")}
    for part, keys in needed.items():
        for number, record in enumerate(_records(content[part])):
            missing = [key for key in keys if not isinstance(record, dict) or key not in record]
            if missing:
                raise ValueError(f"{file}: entry {number} of '{part}' has no {', '.join(missing)}.")
    return content


def _records(part: Any) -> list[Any]:
    """The entries of a part of the file: a list, or (LIVECell's subsets) an object with the ids as names."""
    return list(part.values()) if isinstance(part, dict) else list(part)


def _image_file(folder: Path, name: str, by_name: dict[str, list[Path]], file: Path) -> Path:
    name = name.replace("\\", "/")
    for base in (folder, folder / "images"):
        if (base / name).is_file():
            return base / name
    found = by_name.get(PurePosixPath(name).name, [])
    if not found:
        raise FileNotFoundError(f"{file} lists the image {name}, which is not below {folder}.")
    if len(found) > 1:
        raise ValueError(f"{file} lists the image {name}, which may be {found[0]} or {found[1]}.")
    return found[0]
