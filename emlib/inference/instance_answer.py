"""Objects of an image in COCO's form of results."""

from __future__ import annotations

from typing import Any

import numpy as np

from emlib.data.answer_file import CATEGORY, KEYS, check_detections
from emlib.inference.instances import InstancePrediction
from emlib.models.mask_rcnn_pasting import ObjectMask
from emlib.run_lengths import counts_of_runs, encode_counts


def instances_as_coco(prediction: InstancePrediction, image_id: int) -> list[dict[str, Any]]:
    """What `write_answer` writes and `coco_evaluate` takes, best first; boxes are the network's.

    The same as `describe_detections`, without a mask of the whole image for every object.

    Args:
        prediction: from `predict_instances`.
        image_id: the image's id in the set.

    Returns:
        Dictionaries with image_id, bbox [x, y, width, height], score, category_id 1, and segmentation as compressed
        run lengths.

    Raises:
        ValueError: an id that is no whole number.

    Example:
        >>> one = ObjectMask((0, 1), np.array([[1, 1], [1, 0]], bool))
        >>> boxes = np.array([[1, 0, 3, 2]], np.float32)
        >>> found = InstancePrediction(boxes, np.ones(1, np.float32), np.ones(1, np.int64), (one,), (2, 3))
        >>> instances_as_coco(found, 5)[0]["segmentation"]
        {'size': [2, 3], 'counts': '231'}
    """
    sides = prediction.boxes.astype(np.float64)
    sides[:, 2:] -= sides[:, :2]
    size, detections = list(prediction.shape), []
    for mask, box, score in zip(prediction.masks, sides.tolist(), prediction.scores.tolist(), strict=True):
        counts = counts_of_runs(*runs_of_object(mask, prediction.shape[0]), prediction.shape[0] * prediction.shape[1])
        values = image_id, box, score, CATEGORY, {"size": size, "counts": encode_counts(counts)}
        detections.append(dict(zip(KEYS, values, strict=True)))
    return check_detections(detections, f"image {image_id}")


def runs_of_object(mask: ObjectMask, height: int) -> tuple[np.ndarray, np.ndarray]:
    """Starts and (excluded) ends, int64, of an object's runs down the columns of an image of that height.

    Example:
        >>> [part.tolist() for part in runs_of_object(ObjectMask((0, 1), np.array([[1, 1], [1, 0]], bool)), 2)]
        [[2], [5]]
    """
    top, left = mask.corner
    columns = np.pad(mask.mask.T.astype(np.int8), ((0, 0), (1, 1)))
    edges = np.diff(columns, axis=1)
    starts, stops = (
        (left + places[0]) * height + top + places[1] for places in (np.nonzero(edges == 1), np.nonzero(edges == -1))
    )
    # A run that ends with one column may go on with the next.
    apart = starts[1:] != stops[:-1]
    return starts[np.r_[True, apart]], stops[np.r_[apart, True]]
