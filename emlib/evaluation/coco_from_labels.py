"""Label images as COCO truth and results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from emlib.run_lengths import counts_of_runs, encode_counts, runs_of_labels

CATEGORY = {"id": 1, "name": "object"}


def coco_truth_from_labels(labels: Mapping[Any, Any] | Sequence[Any]) -> dict[str, Any]:
    """A COCO dict of label images, for `coco_evaluate` or as a file.

    Args:
        labels: label images (y, x), any integer type, 0 = background; a sequence of them (image ids 1, 2, ...), or a
            mapping from image id to image. Every id of an image is one object, of category 1.

    Returns:
        {"images", "annotations", "categories"} with run lengths as text, box and area of each object; annotation ids
        count from 1, image by image, in the order of the labels.

    Raises:
        TypeError: a single array, or labels that are not integers; ValueError: not (y, x), or negative.

    Example:
        >>> truth = coco_truth_from_labels({7: np.array([[0, 1, 1], [0, 1, 0]])})
        >>> truth["images"], truth["annotations"][0]["segmentation"]["counts"], truth["annotations"][0]["bbox"]
        ([{'id': 7, 'height': 2, 'width': 3}], '231', [1.0, 0.0, 2.0, 2.0])
    """
    images, annotations = [], []
    for image, shape, _, records in _objects(labels):
        images.append({"id": image, "height": shape[0], "width": shape[1]})
        for record in records:
            annotations.append({"id": len(annotations) + 1, **record, "iscrowd": 0})
    return {"images": images, "annotations": annotations, "categories": [dict(CATEGORY)]}


def coco_results_from_labels(
    labels: Mapping[Any, Any] | Sequence[Any],
    scores: Mapping[Any, Any] | Sequence[Any] | None = None,
) -> list[dict[str, Any]]:
    """Results for `coco_evaluate`, or for a file of answers, of label images.

    Args:
        labels: as for `coco_truth_from_labels`; the same image ids as the truth's.
        scores: for each image (in the same form) the scores of its objects: a mapping from label to score, or a
            sequence in the order of increasing labels. None gives every object the score 1.

    Returns:
        A list of {"image_id", "category_id", "segmentation", "bbox", "area", "score"}.

    Raises:
        TypeError, ValueError: as `coco_truth_from_labels`; an image or an object without a score, or a score of
        neither.

    Example:
        >>> results = coco_results_from_labels([np.array([[0, 4, 4], [9, 0, 0]])], [{4: 0.5, 9: 0.25}])
        >>> [(result["image_id"], result["bbox"], result["score"]) for result in results]
        [(1, [1.0, 0.0, 2.0, 1.0], 0.5), (1, [0.0, 1.0, 1.0, 1.0], 0.25)]
    """
    if scores is not None:
        given = _by_image(scores, "scores")
        names = list(_by_image(labels, "labels"))
        if set(given) != set(names):
            raise ValueError(f"scores are of the images {_shown(given)}, but labels of the images {_shown(names)}.")
    results = []
    for image, _, ids, records in _objects(labels):
        own = np.ones(ids.size) if scores is None else _scores_of(ids, given[image], image)
        results += [{**record, "score": score} for record, score in zip(records, own.tolist(), strict=True)]
    return results


def _by_image(values: Any, name: str) -> Mapping[Any, Any]:
    if isinstance(values, Mapping):
        return values
    if isinstance(values, np.ndarray) or not isinstance(values, Sequence):
        raise TypeError(f"{name} must be a list with one entry an image, or a dict by image id.")
    return dict(enumerate(values, start=1))


def _objects(labels: Any) -> Any:
    """For each image its id, its shape, the ids of its objects, and what truth and results say of each of them."""
    for image, array in _by_image(labels, "labels").items():
        array = np.asarray(array)
        try:
            ids, table = runs_of_labels(array)
        except (TypeError, ValueError) as error:
            raise type(error)(f"Image {image!r}: {error}") from error
        corners = table.boxes(array.shape[0])
        boxes = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1).astype(float).tolist()
        records = [
            {
                "image_id": image,
                "category_id": CATEGORY["id"],
                "segmentation": {
                    "size": list(array.shape),
                    "counts": encode_counts(counts_of_runs(*table.of(place), array.size)),
                },
                "bbox": box,
                "area": area,
            }
            for place, (box, area) in enumerate(zip(boxes, table.areas().tolist(), strict=True))
        ]
        yield image, array.shape, ids, records


def _scores_of(ids: np.ndarray, scores: Any, image: Any) -> np.ndarray:
    if isinstance(scores, Mapping):
        own, given = set(ids.tolist()), set(scores)
        if own != given:
            one = min(own ^ given)
            what = "has no score" if one in own else "has a score, but is not among the labels"
            raise ValueError(f"Image {image!r}: object {one} {what}.")
        scores = [scores[one] for one in ids.tolist()]
    array = np.asarray(scores)
    if array.shape != ids.shape or (array.size and array.dtype.kind not in "iuf") or not np.isfinite(array).all():
        raise ValueError(f"Image {image!r}: {ids.size} finite scores were expected, got the shape {array.shape}.")
    return array.astype(np.float64)


def _shown(ids: Any) -> str:
    return ", ".join(map(repr, list(ids)[:5])) + (" ..." if len(ids) > 5 else "")
