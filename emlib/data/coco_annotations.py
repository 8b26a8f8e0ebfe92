"""The images and objects of a COCO annotation file (also LIVECell's), picture by picture."""

from __future__ import annotations

import codecs
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from emlib.data.coco_checks import check_images, check_references, is_whole
from emlib.data.coco_masks import object_runs, paint_objects
from emlib.data.json_reading import read_json

HEAD_BYTES = 4096
BYTE_ORDER_MARK = codecs.BOM_UTF8


def looks_like_coco(path: Path) -> bool:
    """Whether a file may be a COCO annotation file, by its first bytes (such files can be hundreds of megabytes)."""
    if path.suffix.lower() != ".json":
        return False
    with open(path, "rb") as file:
        head = file.read(HEAD_BYTES)
    return head.removeprefix(BYTE_ORDER_MARK).lstrip()[:1] == b"{" and any(
        word in head for word in (b'"images"', b'"annotations"', b'"categories"')
    )


def coco_entries(root: Path) -> Iterator[tuple[str, Path, Callable[[], np.ndarray]]]:
    """Name, image file and reader of the labels of each image of a COCO file.

    Ids are the places of the objects in the file, from 1, among those of their image; crowds (regions of many
    objects, `iscrowd`) are left out. Images without objects have labels of 0. A warning says if an object cannot be
    seen, because its polygon holds no pixel's centre or because smaller ones hide it.

    What labels are made of is checked; areas and boxes, which are not needed here, are checked by `read_coco`.

    Args:
        root: the JSON file, or a folder with one JSON file in it or in its folder `annotations`. Image files are
            looked for by the path in the file, then by name anywhere below the folder.

    Raises:
        ValueError: no or several JSON files, content that is not COCO's, ids that occur twice or are unknown, or two
            image files of one name; of a label reader a segmentation that does not fit or is empty.
        FileNotFoundError: an image file is missing.
    """
    file = root if root.is_file() else _one_file(root)
    folder = file.parent.parent if file.parent.name == "annotations" else file.parent
    content = _load(file)
    objects: dict[Any, list[Any]] = {}
    for annotation in content["annotations"]:
        if not annotation.get("iscrowd", 0):
            objects.setdefault(annotation["image_id"], []).append(annotation["segmentation"])
    by_name: dict[str, list[Path]] = {}
    for path in folder.rglob("*"):
        by_name.setdefault(path.name, []).append(path)
    for image in content["images"]:
        shape = (image["height"], image["width"])
        path = _image_file(folder, image["file_name"], by_name, file)
        yield path.stem, path, partial(_labels, objects.get(image["id"], []), shape, path, file)


def _labels(segmentations: list[Any], shape: tuple[int, int], image: Path, file: Path) -> np.ndarray:
    try:
        labels = paint_objects(segmentations, shape)
    except ValueError as error:
        raise ValueError(f"{file}, image {image.name}: {error}") from error
    unseen = np.flatnonzero(np.bincount(labels.ravel(), minlength=len(segmentations) + 1)[1:] == 0)
    for place in unseen.tolist():
        if isinstance(segmentations[place], dict) and not object_runs(segmentations[place], shape)[0].size:
            raise ValueError(f"{file}, image {image.name}: Object {place} is empty: its run lengths hold no pixel.")
    if unseen.size:
        warnings.warn(
            f"{file}, image {image.name}: {unseen.size} of {len(segmentations)} objects cannot be seen, for example "
            f"object {unseen[0]}: it holds no pixel's centre, or smaller objects hide it."
        )
    return labels


def _one_file(root: Path) -> Path:
    every = sorted((*root.glob("*.json"), *root.glob("annotations/*.json")))
    files = [path for path in every if looks_like_coco(path)]
    if not files and len(every) == 1:
        return every[0]  # What is wrong with it is said when it is read.
    if len(files) != 1:
        names = ", ".join(path.name for path in files[:4]) or "none"
        raise ValueError(f"{root} holds {len(files)} COCO files ({names}), but one was expected; pass the file itself.")
    return files[0]


def _load(file: Path) -> dict[str, Any]:
    content = read_json(file)
    if not isinstance(content, dict) or not {"images", "annotations"} <= set(content):
        raise ValueError(f"{file} is no COCO file: it has no 'images' and 'annotations'.")
    # LIVECell's subsets have objects with the ids as names in place of lists.
    for part in ("images", "annotations"):
        if isinstance(content[part], dict):
            content[part] = list(content[part].values())
    check_images(content["images"], f"{file}: entry {{}} of 'images'")
    known = {"image_id": {image["id"] for image in content["images"]}}
    categories = content.get("categories")
    if isinstance(categories, list) and all(isinstance(one, dict) and is_whole(one.get("id")) for one in categories):
        known["category_id"] = {one["id"] for one in categories}
    check_references(content["annotations"], known, f"{file}: entry {{}} of 'annotations'")
    return content


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
