"""COCO dictionaries of nuclei: from masks, from label images, and from the folders in which data sets come."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from emlib.data.coco_objects import count_overlap, describe_objects
from emlib.data.image_files import read_image
from emlib.data.nuclei_folders import NucleiFolder, find_nuclei_folders, read_nuclei_masks
from emlib.progress import progress as show_progress
from emlib.run_lengths import counts_of_mask, runs_of_labels, runs_of_segmentations

Described = tuple[str, tuple[int, int], list[dict[str, Any]]]


def nuclei_category() -> dict[str, Any]:
    """The one category of the CodaLab nuclei competition of 2021.

    Example:
        >>> nuclei_category()
        {'supercategory': 'nuclei', 'name': 'nuclei', 'id': 1}
    """
    return {"supercategory": "nuclei", "name": "nuclei", "id": 1}


def coco_from_masks(
    images: Mapping[str, Iterable[ArrayLike]] | Iterable[tuple[str, Iterable[ArrayLike]]], *, polygons: bool = False
) -> dict[str, Any]:
    """A COCO dictionary of images whose objects are one mask each; every mask is kept whole, also where two overlap.

    Ids are 1, 2, ... in the order of the images' names, those of the annotations in the order of the masks within.
    The segmentation is compressed run lengths, which are exact for holes, pieces and objects at the image's edge; area
    and box are those of the mask.

    Args:
        images: file name and masks of each image; a mask is (y, x), anything but 0 is inside. Masks may be an iterator:
            one is looked at at a time.
        polygons: store outlines along the edges of pixels where a mask has no holes; also exact.

    Returns:
        {"images": [id, file_name, height, width], "annotations": [id, image_id, category_id, iscrowd, area, bbox
        [x, y, width, height], segmentation], "categories": [nuclei]}.

    Raises:
        ValueError: no image, a name twice, an image without a mask, a mask that is empty or of another size than the
            first of its image.

    Example:
        >>> coco = coco_from_masks({"a.png": [[[0, 1, 1], [0, 1, 0]], [[1, 0, 0], [1, 0, 0]]]})
        >>> [(one["id"], one["area"], one["bbox"], one["segmentation"]["counts"]) for one in coco["annotations"]]
        [(1, 3, [1.0, 0.0, 2.0, 2.0], '231'), (2, 2, [0.0, 0.0, 1.0, 2.0], '024')]
    """
    pairs = images.items() if isinstance(images, Mapping) else images
    return _dictionary(sorted((_describe_masks(name, masks, polygons) for name, masks in pairs), key=_name))


def coco_from_labels(
    labels: Iterable[ArrayLike], names: Sequence[str], *, polygons: bool = False, allow_empty: bool = False
) -> dict[str, Any]:
    """A COCO dictionary of label images; ids and form as in `coco_from_masks`, objects in the order of their labels.

    Args:
        labels: (y, x) each, any integer type up to 64 bits, 0 = background; an id may be in several pieces.
        names: the file name of each image.
        polygons: as in `coco_from_masks`.
        allow_empty: whether an image may have no object.

    Raises:
        TypeError: labels that are not whole numbers.
        ValueError: as many names as labels are needed; negative ids, a name twice, or an image without objects.

    Example:
        >>> coco = coco_from_labels([np.array([[0, 9], [4, 9]])], ["a.png"])
        >>> [(one["id"], one["area"]) for one in coco["annotations"]]
        [(1, 1), (2, 2)]
    """
    names = list(names)
    described = []
    for number, array in enumerate(labels):
        if number == len(names):
            raise ValueError(f"There are more label images than names, of which there are {len(names)}.")
        array = np.asarray(array)
        try:
            ids, table = runs_of_labels(array)
        except (TypeError, ValueError) as error:
            raise type(error)(f"{names[number]}: {error}") from None
        if not len(ids) and not allow_empty:
            raise ValueError(f"The labels of {names[number]} hold no object, but at least one was expected.")
        described.append((names[number], array.shape, describe_objects(table, array.shape, polygons=polygons)))
    if len(described) != len(names):
        raise ValueError(f"There are {len(names)} names, but {len(described)} label images.")
    return _dictionary(sorted(described, key=_name))


def coco_from_folders(
    root: str | Path | Sequence[NucleiFolder],
    *,
    relative_to: str | Path | None = None,
    polygons: bool = False,
    progress: bool = False,
) -> dict[str, Any]:
    """A COCO dictionary of `<root>/<id>/images/*.png` with `<root>/<id>/masks/*.png`; see `find_nuclei_folders`.

    Form and ids are those of `coco_from_masks`, in the order of the folders' names.
    Every picture and mask is decoded, so that a damaged file is found here and not in the middle of a training.

    Args:
        root: the folder, or what `find_nuclei_folders` gave (for part of a set).
        relative_to: the folder that file names are relative to, for example the one where the JSON file will be; by
            default the folder that holds the image's folder.
        polygons: as in `coco_from_masks`.
        progress: show a bar.

    Raises:
        FileNotFoundError: no such folder.
        OSError: a damaged or truncated file; the sentence names it.
        ValueError: as `find_nuclei_folders` and `read_nuclei_masks`.
    """
    folders = find_nuclei_folders(root) if isinstance(root, str | Path) else list(root)

    def described() -> Iterable[Described]:
        for folder in show_progress(folders, label="reading masks", unit="image", show=progress):
            read_image(folder.image)
            base = folder.image.parents[2] if relative_to is None else Path(relative_to)
            name = Path(os.path.relpath(folder.image.resolve(), base.resolve())).as_posix()
            yield _describe_masks(name, read_nuclei_masks(folder), polygons)

    return _dictionary(described())


def overlapping_pixels(coco: Mapping[str, Any]) -> dict[int, int]:
    """Image id -> number of its pixels that belong to more than one object, of the images that have such pixels.

    Raises:
        ValueError: a segmentation that does not fit its image.

    Example:
        >>> overlapping_pixels(coco_from_masks({"a.png": [[[1, 1, 0]], [[0, 1, 1]]], "b.png": [[[1]]]}))
        {1: 1}
    """
    objects: dict[int, list[Any]] = {}
    for one in coco["annotations"]:
        objects.setdefault(one["image_id"], []).append(one["segmentation"])
    counts = {}
    for image in coco["images"]:
        shape = (image["height"], image["width"])
        counts[image["id"]] = count_overlap(runs_of_segmentations(objects.get(image["id"], []), *shape), shape)
    return {number: count for number, count in counts.items() if count}


def _describe_masks(name: str, masks: Iterable[ArrayLike], polygons: bool) -> Described:
    shape, objects = None, []
    for number, mask in enumerate(masks):
        array = np.asarray(mask)
        shape = array.shape if shape is None else shape
        if array.ndim != 2 or array.shape != shape:
            expected = "(y, x)" if not number else f"{shape}, as the first of its image,"
            raise ValueError(f"Mask {number} of {name} has shape {array.shape}, but {expected} was expected.")
        if not array.any():
            raise ValueError(f"Mask {number} of {name} is empty, but one object was expected.")
        objects.append({"size": shape, "counts": counts_of_mask(array)})
    if shape is None:
        raise ValueError(f"{name} has no mask, but one for each object was expected.")
    return name, shape, describe_objects(runs_of_segmentations(objects, *shape), shape, polygons=polygons)


def _name(described: Described) -> str:
    return described[0]


def _dictionary(described: Iterable[Described]) -> dict[str, Any]:
    images, annotations, names = [], [], set()
    for number, (name, shape, objects) in enumerate(described, start=1):
        if name in names:
            raise ValueError(f"Two images are named '{name}'; names must be unique.")
        names.add(name)
        images.append({"id": number, "file_name": name, "height": int(shape[0]), "width": int(shape[1])})
        for one in objects:
            place = {"id": len(annotations) + 1, "image_id": number, "category_id": 1, "iscrowd": 0}
            annotations.append(place | one)
    if not images:
        raise ValueError("There is no image to describe.")
    return {"images": images, "annotations": annotations, "categories": [nuclei_category()]}
