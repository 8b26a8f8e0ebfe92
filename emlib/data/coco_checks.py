"""What makes a COCO file one: every rule is checked, and the first entry that breaks one is named."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Container, Mapping, Sequence
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import numpy as np

from emlib.run_lengths import BadSegmentation, runs_of_segmentations

IMAGE_KEYS = ("id", "file_name", "height", "width")
ANNOTATION_KEYS = ("id", "image_id", "category_id", "segmentation", "area", "bbox", "iscrowd")
# Boxes of polygons are rounded by some programs.
BOX_TOLERANCE = 1.0
LONGEST_SIDE = 2**31 - 1


def check_coco(content: Any, where: str | Path, *, need_annotations: bool = True) -> None:
    """Check images, categories and annotations against each other and against the form of COCO's files.

    Args:
        content: the dictionary.
        where: what the sentence of an error begins with, such as the file.
        need_annotations: False for a set without truth, which then may lack "annotations".

    Raises:
        ValueError: a part or key is missing, an id occurs twice or is unknown, a size is no size, a segmentation does
            not fit its image or is empty, a box is negative or reaches beyond the image, ...; the entry is named.

    Example:
        >>> check_coco({"images": []}, "a.json")
        Traceback (most recent call last):
        ...
        ValueError: a.json has no 'annotations', 'categories', which a COCO file needs.
    """
    needed = ["images", "annotations", "categories"] if need_annotations else ["images", "categories"]
    if not isinstance(content, dict):
        raise ValueError(f"{where} holds a {type(content).__name__}, but a COCO file is an object with 'images'.")
    missing = [part for part in needed if part not in content]
    if missing:
        raise ValueError(f"{where} has no {', '.join(map(repr, missing))}, which a COCO file needs.")
    check_images(content["images"], f"{where}: entry {{}} of 'images'")
    categories = _checked_ids(content["categories"], f"{where}: entry {{}} of 'categories'", ("id", "name"))
    if "annotations" in content:
        images = {image["id"]: image for image in content["images"]}
        _check_annotations(content["annotations"], images, categories, f"{where}: entry {{}} of 'annotations'")


def check_images(images: Any, entry: str) -> None:
    """Check a list of images: id, file_name, height and width of each, and that no id or name occurs twice.

    Args:
        images: the list.
        entry: how the sentence of an error begins; {} becomes the place in the list.

    Raises:
        ValueError: the first thing that is wrong.

    Example:
        >>> check_images([{"id": 1, "file_name": "a.png", "height": 0, "width": 9}], "entry {}")
        Traceback (most recent call last):
        ...
        ValueError: entry 0 (id 1) has the height 0, but a whole number from 1 to 2147483647 was expected.
    """
    _checked_ids(images, entry, IMAGE_KEYS)
    if not images:
        raise ValueError(f"{entry.format(0)} is missing: there is no image.")
    names: set[str] = set()
    for number, image in enumerate(images):
        said = f"{entry.format(number)} (id {image['id']})"
        for side in ("height", "width"):
            if not is_whole(image[side]) or not 1 <= image[side] <= LONGEST_SIDE:
                expected = f"a whole number from 1 to {LONGEST_SIDE} was expected"
                raise ValueError(f"{said} has the {side} {reprlib.repr(image[side])}, but {expected}.")
        name = image["file_name"]
        if not isinstance(name, str) or not name.strip():
            raise ValueError(f"{said} has the file_name {name!r}, but a name was expected.")
        if name in names:
            raise ValueError(f"{said} has the file_name {name!r}, which an image before it has.")
        names.add(name)


def check_box(box: Any, said: str) -> list[float]:
    """The four numbers of a box [x, y, width, height] as floats.

    Raises:
        ValueError: not four finite numbers, or a width or height that is not above 0; the sentence begins with `said`.

    Example:
        >>> check_box([1, 2, 3, 4], "the box")
        [1.0, 2.0, 3.0, 4.0]
    """
    numbers = list(box) if isinstance(box, Sequence | np.ndarray) else []
    if len(numbers) != 4 or not all(is_number(one) for one in numbers):
        raise ValueError(
            f"{said} has the bbox {reprlib.repr(box)}, but four finite numbers [x, y, width, height] were expected."
        )
    numbers = [float(one) for one in numbers]
    if min(numbers[2:]) <= 0:
        raise ValueError(f"{said} has the bbox {numbers}, but a width and height above 0 were expected.")
    return numbers


def check_size(segmentation: Any, said: str) -> list[int]:
    """The size [height, width] of run lengths.

    Raises:
        ValueError: no run lengths, or a size that is none; the sentence begins with `said`.

    Example:
        >>> check_size({"size": (2, 3), "counts": "231"}, "the object")
        [2, 3]
    """
    if not isinstance(segmentation, Mapping) or not {"size", "counts"} <= set(segmentation):
        raise ValueError(f"{said} has a segmentation that is no {{'size': [height, width], 'counts': run lengths}}.")
    size = list(segmentation["size"]) if isinstance(segmentation["size"], Sequence | np.ndarray) else []
    if len(size) != 2 or not all(is_whole(side) and side > 0 for side in size):
        raise ValueError(
            f"{said} has the size {reprlib.repr(segmentation['size'])}, but [height, width] in pixels was expected."
        )
    return [int(side) for side in size]


def is_whole(value: Any) -> bool:
    """Whether a value is an integer (numpy's too) and no bool."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def is_number(value: Any) -> bool:
    """Whether a value is a finite real number (numpy's too) and no bool."""
    try:
        return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:  # a whole number beyond the largest float
        return False


def check_references(annotations: Any, known: Mapping[str, Container[int]], entry: str) -> None:
    """Check what a list of annotations must have to be drawn: image_id, segmentation, and ids that the file lists.

    Args:
        annotations: the list.
        known: "image_id" and, if they are to be checked where they are given, "category_id" -> the ids that there are.
        entry: how the sentence of an error begins; {} becomes the place in the list.

    Raises:
        ValueError: no list of objects, a key is missing, an id occurs twice or is unknown, or an iscrowd that is not 0
            or 1.

    Example:
        >>> check_references([{"image_id": 3, "segmentation": []}], {"image_id": {1, 2}}, "entry {}")
        Traceback (most recent call last):
        ...
        ValueError: entry 0 has the image_id 3, which the file does not list.
    """
    _check_keys(annotations, entry, ("image_id", "segmentation"))
    if any("id" in one for one in annotations):
        _checked_ids(annotations, entry, ("id",))
    for number, one in enumerate(annotations):
        said = entry.format(number) + (f" (id {one['id']})" if "id" in one else "")
        for key, ids in known.items():
            if key in one and (not is_whole(one[key]) or one[key] not in ids):
                raise ValueError(f"{said} has the {key} {reprlib.repr(one[key])}, which the file does not list.")
        if one.get("iscrowd", 0) not in (0, 1):
            raise ValueError(f"{said} has the iscrowd {reprlib.repr(one['iscrowd'])}, but 0 or 1 was expected.")


def _check_keys(records: Any, entry: str, keys: Sequence[str]) -> None:
    """That this is a list of objects that all have these keys."""
    if not isinstance(records, list | tuple):
        raise ValueError(f"{entry.format(0)} was expected, but there is {type(records).__name__} in place of a list.")
    for number, record in enumerate(records):
        if not isinstance(record, dict):
            kind = type(record).__name__
            raise ValueError(
                f"{entry.format(number)} is {'an' if kind == 'int' else 'a'} {kind}, but an object was expected."
            )
        missing = [key for key in keys if key not in record]
        if missing:
            raise ValueError(f"{entry.format(number)} has no {', '.join(missing)}.")


def _checked_ids(records: Any, entry: str, keys: Sequence[str]) -> set[int]:
    """The ids of a list of objects that all have these keys; no id occurs twice."""
    _check_keys(records, entry, keys)
    ids: set[int] = set()
    for number, record in enumerate(records):
        one = record["id"]
        if not is_whole(one) or one < 0:
            raise ValueError(f"{entry.format(number)} has the id {reprlib.repr(one)}, but a whole number was expected.")
        if one in ids:
            raise ValueError(f"{entry.format(number)} has the id {one}, which an entry before it has.")
        ids.add(one)
    return ids


def _check_annotations(annotations: Any, images: dict[int, Any], categories: set[int], entry: str) -> None:
    _check_keys(annotations, entry, ANNOTATION_KEYS)
    check_references(annotations, {"image_id": images, "category_id": categories}, entry)
    said = [f"{entry.format(number)} (id {one['id']})" for number, one in enumerate(annotations)]
    for begin, one in zip(said, annotations, strict=True):
        if not is_number(one["area"]) or one["area"] <= 0:
            raise ValueError(f"{begin} has the area {one['area']!r}, but a number of pixels above 0 was expected.")
        x, y, width, height = check_box(one["bbox"], begin)
        if isinstance(one["segmentation"], dict):
            check_size(one["segmentation"], begin)
        image = images[one["image_id"]]
        beyond = max(-x, -y, x + width - image["width"], y + height - image["height"])
        if beyond > BOX_TOLERANCE:
            raise ValueError(
                f"{begin} has the bbox {one['bbox']}, which reaches beyond its image of {image['height']} x "
                f"{image['width']} (y, x)."
            )
    heights, widths = ([images[one["image_id"]][side] for one in annotations] for side in ("height", "width"))
    try:
        areas = runs_of_segmentations([one["segmentation"] for one in annotations], heights, widths).areas()
    except BadSegmentation as error:
        raise ValueError(f"{said[error.place]} has a segmentation that does not fit: {error.reason}") from error
    if len(areas) and not areas.all():
        raise ValueError(f"{said[int(areas.argmin())]} has a segmentation without a pixel.")
