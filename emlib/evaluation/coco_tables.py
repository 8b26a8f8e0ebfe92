"""Truth and results of a COCO evaluation as arrays."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np

from emlib.evaluation.coco_columns import (
    check_boxes,
    check_entries,
    check_numbers,
    column,
    id_column,
    load_json,
    places_of_ids,
    read_runs,
)
from emlib.run_lengths import RunTable

RESULT_AREAS = (None, "segm", "bbox")


@dataclass(frozen=True)
class CocoObjects:
    """Objects of one or more images, one entry of each array an object.

    Attributes:
        image, category: places (int64) in the sorted ids of images and categories.
        area: float64, by which objects are small, medium or large.
        shapes: `RunTable` for kind "segm"; boxes x, y, width, height (float64 (n, 4)) for "bbox".
        crowd: bool; results are no crowds.
        score: float64; 1 for truth.
    """

    image: np.ndarray
    category: np.ndarray
    area: np.ndarray
    shapes: RunTable | np.ndarray
    crowd: np.ndarray
    score: np.ndarray

    def take(self, places: np.ndarray) -> CocoObjects:
        """Some of the objects, or all in another order."""
        shapes = self.shapes.take(places) if isinstance(self.shapes, RunTable) else self.shapes[places]
        return CocoObjects(
            self.image[places], self.category[places], self.area[places], shapes, self.crowd[places], self.score[places]
        )


@dataclass(frozen=True)
class CocoTruth:
    """The images, the categories and the objects of the truth; ids are sorted."""

    images: list[Any]
    categories: list[Any]
    heights: np.ndarray
    widths: np.ndarray
    objects: CocoObjects


def read_truth(truth: Any, kind: str) -> CocoTruth:
    """The truth of a COCO dict or file.

    Raises:
        TypeError: no dict, or parts that are no lists of dicts.
        ValueError: something is missing, unknown, given twice or wrong; the sentence names the entry.
    """
    content = load_json(truth, "truth")
    if not isinstance(content, dict):
        raise TypeError(f"truth must be a COCO dict or the path of its JSON file, got {type(content).__name__}.")
    parts = []
    for key in ("images", "annotations", "categories"):
        if key not in content:
            raise ValueError(
                f"truth has no {key!r}, but a COCO dict with images, annotations and categories is needed."
            )
        # LIVECell's subsets have an object with the ids as names in place of a list.
        part = list(content[key].values()) if isinstance(content[key], dict) else content[key]
        parts.append(check_entries(part, f"truth[{key!r}]"))
    images, annotations, categories = parts
    image_ids, order = _sorted_ids(images, "truth['images']")
    category_ids, _ = _sorted_ids(categories, "truth['categories']")
    heights, widths = (_sides([images[place] for place in order], order, key) for key in ("height", "width"))
    name = "truth['annotations']"
    image, category = _places(annotations, name, image_ids, category_ids)
    _check_unique(annotations, name)
    shapes, area = _shapes(annotations, name, kind, heights[image], widths[image])
    given = [place for place, annotation in enumerate(annotations) if annotation.get("area") is not None]
    area[given] = check_numbers([annotations[place]["area"] for place in given], "area", name, given)
    objects = CocoObjects(image, category, area, shapes, _crowd_flags(annotations, name), np.ones(len(annotations)))
    return CocoTruth(image_ids, category_ids, heights, widths, objects)


def read_results(results: Any, truth: CocoTruth, kind: str, result_area: str | None) -> CocoObjects:
    """The results of a list or file, for the images and categories of the truth.

    Raises:
        TypeError: no list of dicts.
        ValueError: something is missing, unknown or wrong; the sentence names the entry.
    """
    name = "results"
    entries = check_entries(load_json(results, name), name)
    image, category = _places(entries, name, truth.images, truth.categories)
    score = check_numbers(column(entries, "score", name), "score", name)
    heights, widths = truth.heights[image], truth.widths[image]
    shapes, area = _shapes(entries, name, kind, heights, widths)
    if result_area is None and entries:
        result_area = "bbox" if _has_box(entries[0]) else "segm"
    if result_area not in (None, kind):
        _, area = _shapes(entries, name, result_area, heights, widths)
    return CocoObjects(image, category, area, shapes, np.zeros(len(entries), bool), score)


def _sorted_ids(entries: Sequence[dict[str, Any]], name: str) -> tuple[list[Any], list[int]]:
    """Ids in increasing order, and the place of each."""
    ids = id_column(entries, "id", name)
    order = sorted(range(len(ids)), key=ids.__getitem__)
    for before, after in itertools.pairwise(order):
        if ids[before] == ids[after]:
            raise ValueError(f"{name}[{before}] and [{after}] have the same id {ids[before]!r}.")
    return [ids[place] for place in order], order


def _sides(images: Sequence[dict[str, Any]], places: Sequence[int], key: str) -> np.ndarray:
    """Heights or widths (int64), -1 where an image has none: boxes need none."""
    sides = [image.get(key, -1) for image in images]
    for place, image, side in zip(places, images, sides, strict=True):
        if key in image and (isinstance(side, bool) or not isinstance(side, Integral) or side < 0):
            raise ValueError(f"truth['images'][{place}] has {key} {side!r}, but a number of pixels was expected.")
    return np.array(sides, np.int64)


def _places(
    entries: Sequence[dict[str, Any]], name: str, images: list[Any], categories: list[Any]
) -> tuple[np.ndarray, np.ndarray]:
    found = []
    for key, known in (("image_id", images), ("category_id", categories)):
        index = {one: place for place, one in enumerate(known)}
        found.append(places_of_ids(id_column(entries, key, name), index, name, key))
    return found[0], found[1]


def _check_unique(annotations: Sequence[dict[str, Any]], name: str) -> None:
    """Ids of objects are not needed; but where one has an id all need one of their own, or the file is wrong."""
    if any("id" in annotation for annotation in annotations):
        _sorted_ids(annotations, name)


def _crowd_flags(annotations: Sequence[dict[str, Any]], name: str) -> np.ndarray:
    flags = [annotation.get("iscrowd", 0) for annotation in annotations]
    for place, flag in enumerate(flags):
        if flag not in (0, 1):
            raise ValueError(f"{name}[{place}] has iscrowd {flag!r}, but 0 or 1 was expected.")
    return np.array(flags, bool)


def _has_box(entry: dict[str, Any]) -> bool:
    box = entry.get("bbox")
    return box is not None and not (isinstance(box, list | tuple) and len(box) == 0)


def _shapes(
    entries: Sequence[dict[str, Any]], name: str, kind: str, heights: np.ndarray, widths: np.ndarray
) -> tuple[RunTable | np.ndarray, np.ndarray]:
    """Runs or boxes of the entries, and their areas (float64); boxes that are not given are those of the masks."""
    if kind == "segm":
        table = _runs(entries, name, heights, widths, list(range(len(entries))))
        return table, table.areas().astype(np.float64)
    given = [place for place, entry in enumerate(entries) if _has_box(entry)]
    boxes = np.zeros((len(entries), 4))
    boxes[given] = check_boxes([entries[place]["bbox"] for place in given], name, given)
    if len(given) < len(entries):
        missing = sorted(set(range(len(entries))) - set(given))
        if any("segmentation" not in entries[place] for place in missing):
            place = next(place for place in missing if "segmentation" not in entries[place])
            raise ValueError(f"{name}[{place}] has no 'bbox', and no 'segmentation' from which to take one.")
        table = _runs([entries[place] for place in missing], name, heights[missing], widths[missing], missing)
        corners = table.boxes(heights[missing])
        boxes[missing] = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)
    return boxes, boxes[:, 2] * boxes[:, 3]


def _runs(
    entries: Sequence[dict[str, Any]], name: str, heights: np.ndarray, widths: np.ndarray, places: Sequence[int]
) -> RunTable:
    unknown = np.flatnonzero((heights < 0) | (widths < 0))
    if unknown.size:
        image = entries[unknown[0]]["image_id"]
        raise ValueError(
            f"{name}[{places[unknown[0]]}] needs the size of image {image!r}, which has no 'height' and 'width'."
        )
    return read_runs(entries, name, heights, widths, places)
