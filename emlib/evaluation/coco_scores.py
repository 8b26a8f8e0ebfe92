"""Average precision and recall of detected objects by the rules of COCO."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import Any

import numpy as np

from emlib.evaluation.coco_curves import AREA_RANGES, IOU_THRESHOLDS, CocoCurves, accumulate, reachable_ceiling
from emlib.evaluation.coco_matching import match_greedily
from emlib.evaluation.coco_overlap import find_pairs
from emlib.evaluation.coco_tables import RESULT_AREAS, CocoObjects, CocoTruth, read_results, read_truth

KINDS = ("segm", "bbox")
NO_LIMIT = np.iinfo(np.int64).max


def coco_evaluate(
    truth: Any,
    results: Any,
    *,
    kind: str = "segm",
    max_dets: int | Sequence[int] | None = (1, 10, 100),
    result_area: str | None = None,
) -> dict[str, Any]:
    """The figures that pycocotools' COCOeval summarizes, to the last bit, with any limit on the results of an image.

    IoU thresholds 0.50, 0.55, ..., 0.95; precision at 101 recalls; areas up to 32 x 32, up to 96 x 96 and larger
    (limits belong to both sides); results sorted by score (equal scores keep their order) and matched greedily; crowds
    are ignored, and overlap with one is divided by the area of the result. Means are over the categories that have
    truth objects; a figure of which nothing can be said is -1.

    **The ceiling.** Of each image and category only the best `max_dets` results count, 100 in COCO's own setting.
    Where an image has more objects than that, the rest can never be found: perfect results for images of 393 nuclei
    get an AP of 0.257. Such images are listed in "capped_images", and "AP_ceiling" is the AP of perfect results. Pass
    a `max_dets` above the number of objects, or None, and say which one you used.

    Args:
        truth: a COCO dict with "images", "annotations" and "categories", or the path of its JSON file. Annotations
            have "image_id", "category_id", and "segmentation" (run lengths as text or numbers, or polygons) or "bbox"
            (x, y, width, height); "iscrowd" is 0 where it is missing, "area" that of the mask (or box).
        results: a list of {"image_id", "category_id", "score", "segmentation" and / or "bbox"}, or the path of a JSON
            file of one.
        kind: "segm" compares masks, "bbox" boxes; a box that is not given is that of the mask.
        max_dets: numbers of results of an image and category that count; AP and the figures by area are at the
            largest, AR at each. None counts all.
        result_area: by which area results are small, medium or large: "segm" that of the mask, "bbox" that of the
            box. None does as pycocotools does on loading: that of the box if the first result has one. Detectron2
            takes that of the mask. It does not concern the other figures.

    Returns:
        "AP", "AP50", "AP75", "APs", "APm", "APl"; "AR1", "AR10", "AR100" (or "AR" and the numbers given; "AR" for
        None); "ARs", "ARm", "ARl"; "max_dets", the largest one or None; "capped_images", a list of ids; "AP_ceiling".

    Raises:
        TypeError: truth that is no dict or path, or entries that are no lists of dicts.
        ValueError: a missing key, an unknown image or category, run lengths that cannot be read or of another size, a
            number that is not finite, a negative width, an id given twice, or an argument out of range; the sentence
            names the entry.
        FileNotFoundError: no such file.

    Unlike in pycocotools, an annotation of id 0 can be found, too; there, every match with it counts as a miss.

    Source: Lin et al., Microsoft COCO, ECCV 2014, and the COCO evaluation rules.

    Example:
        >>> truth = {"images": [{"id": 3, "height": 8, "width": 8}], "categories": [{"id": 1}],
        ...          "annotations": [{"image_id": 3, "category_id": 1, "bbox": [0, 0, 4, 4]},
        ...                          {"image_id": 3, "category_id": 1, "bbox": [4, 4, 4, 4]}]}
        >>> results = [{"image_id": 3, "category_id": 1, "bbox": [0, 0, 4, 3], "score": 0.9}]
        >>> figures = coco_evaluate(truth, results, kind="bbox")
        >>> round(figures["AP50"], 3), figures["AR1"], figures["APl"], figures["capped_images"]
        (0.505, 0.3, -1.0, [])
        >>> coco_evaluate(truth, results, kind="bbox", max_dets=1)["capped_images"]
        [3]
    """
    return coco_curves(truth, results, kind=kind, max_dets=max_dets, result_area=result_area).summary()


def coco_curves(
    truth: Any,
    results: Any,
    *,
    kind: str = "segm",
    max_dets: int | Sequence[int] | None = (1, 10, 100),
    result_area: str | None = None,
) -> CocoCurves:
    """The precision and recall behind `coco_evaluate`, for each category, range of area and limit.

    Args, Raises: as `coco_evaluate`.

    Example:
        >>> truth = {"images": [{"id": 3}], "categories": [{"id": 1}, {"id": 2}],
        ...          "annotations": [{"image_id": 3, "category_id": 2, "bbox": [0, 0, 4, 4]}]}
        >>> results = [{"image_id": 3, "category_id": 2, "bbox": [0, 0, 4, 3], "score": 0.9}]
        >>> curves = coco_curves(truth, results, kind="bbox")
        >>> round(curves.average_precision(category=2), 3), curves.average_precision(category=1)
        (0.6, -1.0)
    """
    for name, value, known in (("kind", kind, KINDS), ("result_area", result_area, RESULT_AREAS)):
        if value not in known:
            raise ValueError(f"{name} must be one of {', '.join(map(repr, known))}, got {value!r}.")
    limits = _checked_limits(max_dets)
    table = read_truth(truth, kind)
    found = read_results(results, table, kind, result_area)
    numbers = np.array([NO_LIMIT if limit is None else limit for limit in limits])
    return _curves(table, found, kind, limits, numbers)


def _checked_limits(max_dets: Any) -> tuple[int | None, ...]:
    if max_dets is None:
        return (None,)
    given = (max_dets,) if isinstance(max_dets, Integral) else max_dets
    if not isinstance(given, Sequence | np.ndarray) or isinstance(given, str) or len(given) == 0:
        raise ValueError(f"max_dets must be one or more whole numbers, or None for no limit, got {max_dets!r}.")
    for limit in given:
        if isinstance(limit, bool) or not isinstance(limit, Integral) or limit < 1:
            raise ValueError(f"max_dets must be whole numbers of at least 1, or None for no limit, got {max_dets!r}.")
    return tuple(sorted({int(limit) for limit in given}))


def _curves(
    table: CocoTruth, found: CocoObjects, kind: str, limits: tuple[int | None, ...], numbers: np.ndarray
) -> CocoCurves:
    images, categories = len(table.images), len(table.categories)
    cells = np.arange(images * categories + 1)
    truth_cell = table.objects.image * categories + table.objects.category
    order = np.argsort(truth_cell, kind="stable")
    truth_cell, truths = truth_cell[order], table.objects.take(order)
    truth_groups = np.searchsorted(truth_cell, cells)

    cell = found.image * categories + found.category
    order = np.lexsort((-found.score, cell))
    groups = np.searchsorted(cell[order], cells)
    ranks = np.arange(order.size) - groups[cell[order]]
    kept = ranks < numbers[-1]
    order, ranks = order[kept], ranks[kept]
    cell, found = cell[order], found.take(order)
    groups = np.searchsorted(cell, cells)

    heights = table.heights[np.concatenate([found.image, truths.image])]
    pairs = find_pairs(found.shapes, truths.shapes, truths.crowd, truth_groups[cell], truth_groups[cell + 1], heights)
    outside = (truths.area < AREA_RANGES[:, :1]) | (truths.area > AREA_RANGES[:, 1:])
    ignored = outside | truths.crowd
    outcomes = match_greedily(pairs, groups, found.area, truths.crowd, ignored, IOU_THRESHOLDS, AREA_RANGES)

    counts = [np.bincount(truths.category[~row], minlength=categories) for row in ignored]
    precision, recall = accumulate(outcomes, found.score, ranks, found.category, np.stack(counts, axis=1), numbers)
    per_cell = np.bincount(truth_cell[~ignored[0]], minlength=images * categories).reshape(images, categories)
    capped = np.flatnonzero((per_cell > numbers[-1]).any(axis=1))
    return CocoCurves(
        precision=precision,
        recall=recall,
        categories=tuple(table.categories),
        max_dets=limits,
        capped_images=tuple(table.images[place] for place in capped),
        ceiling=reachable_ceiling(per_cell, int(numbers[-1])),
        kind=kind,
    )
