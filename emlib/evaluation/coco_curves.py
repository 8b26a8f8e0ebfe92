"""Precision over recall by COCO's rules, and the figures made of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from emlib.compilation import compiled
from emlib.evaluation.coco_matching import IGNORED, TRUE_POSITIVE

IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALL_GRID = np.linspace(0, 1, 101)
AREAS = ("all", "small", "medium", "large")
AREA_RANGES = np.array([[0, 1e5**2], [0, 32**2], [32**2, 96**2], [96**2, 1e5**2]])
NO_TRUTH = -1.0
EPSILON = float(np.spacing(1))


@dataclass(frozen=True)
class CocoCurves:
    """Precision and recall for each category, range of area and number of results that count; -1 without truth.

    Attributes:
        precision: float64 (IoU threshold, recall, category, area, max_dets), pycocotools' `eval["precision"]`.
        recall: float64 (IoU threshold, category, area, max_dets), pycocotools' `eval["recall"]`.
        categories: sorted ids.
        max_dets: how many results of an image and category count, increasing; (None,) for all.
        capped_images: sorted ids of the images that have more truth objects of one category than the largest of
            `max_dets`, so that some can never be found.
        ceiling: the AP that perfect results would reach with the largest of `max_dets`; 1 if no image is capped.
        kind: "segm" or "bbox".
        iou_thresholds, recall_grid: float64, 0.50, 0.55, ..., 0.95 and 0, 0.01, ..., 1.
        areas: "all", "small" (to 32 x 32 pixels), "medium" (to 96 x 96), "large".
    """

    precision: np.ndarray
    recall: np.ndarray
    categories: tuple[Any, ...]
    max_dets: tuple[int | None, ...]
    capped_images: tuple[Any, ...]
    ceiling: float
    kind: str
    iou_thresholds: np.ndarray = field(default_factory=IOU_THRESHOLDS.copy)
    recall_grid: np.ndarray = field(default_factory=RECALL_GRID.copy)
    areas: tuple[str, ...] = AREAS

    def average_precision(
        self, *, iou: float | None = None, area: str = "all", max_dets: int | None = None, category: Any = None
    ) -> float:
        """Mean precision; -1 where there is no truth object.

        Args:
            iou: one of the thresholds; None for the mean over all.
            area: one of `areas`.
            max_dets: one of `max_dets`; None for the largest.
            category: one of `categories`; None for the mean over all.

        Raises:
            ValueError: a value that is none of these.
        """
        return _mean_of_known(self.precision[self._box(iou, area, max_dets, category, (slice(None),))])

    def average_recall(
        self, *, iou: float | None = None, area: str = "all", max_dets: int | None = None, category: Any = None
    ) -> float:
        """Mean of the largest recall; arguments and errors as `average_precision`."""
        return _mean_of_known(self.recall[self._box(iou, area, max_dets, category, ())])

    def summary(self) -> dict[str, Any]:
        """The figures of `coco_evaluate`."""
        figures: dict[str, Any] = {"AP": self.average_precision()}
        figures |= {f"AP{round(100 * iou)}": self.average_precision(iou=iou) for iou in (0.5, 0.75)}
        figures |= {f"AP{area[0]}": self.average_precision(area=area) for area in AREAS[1:]}
        for limit in self.max_dets:
            figures["AR" if limit is None else f"AR{limit}"] = self.average_recall(max_dets=limit)
        figures |= {f"AR{area[0]}": self.average_recall(area=area) for area in AREAS[1:]}
        return figures | {
            "max_dets": self.max_dets[-1],
            "capped_images": list(self.capped_images),
            "AP_ceiling": self.ceiling,
        }

    def _box(self, iou: Any, area: Any, max_dets: Any, category: Any, recall: tuple[slice, ...]) -> tuple[Any, ...]:
        level = slice(None)
        if iou is not None:
            near = np.flatnonzero(np.isclose(self.iou_thresholds, iou))
            if not near.size:
                shown = ", ".join(f"{threshold:.2f}" for threshold in self.iou_thresholds)
                raise ValueError(f"iou must be one of {shown}, got {iou!r}.")
            level = near[0]
        max_dets = self.max_dets[-1] if max_dets is None else max_dets
        for name, value, known in (("area", area, self.areas), ("max_dets", max_dets, self.max_dets)):
            if value not in known:
                raise ValueError(f"{name} must be one of {', '.join(map(str, known))}, got {value!r}.")
        if category is not None and category not in self.categories:
            raise ValueError(f"category must be one of {', '.join(map(str, self.categories))}, got {category!r}.")
        kind = slice(None) if category is None else self.categories.index(category)
        return (level, *recall, kind, self.areas.index(area), self.max_dets.index(max_dets))


def accumulate(
    outcomes: np.ndarray,
    scores: np.ndarray,
    ranks: np.ndarray,
    categories: np.ndarray,
    truths: np.ndarray,
    limits: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Precision and recall, as `CocoCurves` has them.

    Precision at a recall is the best at that recall or a larger one; 0 where that recall is not reached.

    Args:
        outcomes: uint8 (area, threshold, result), as `match_greedily` gives them; results image by image.
        scores: float64; results of equal score stay in that order.
        ranks: int64, how many results of the same image and category come before.
        categories: int64, place of the category of each result.
        truths: int64 (category, area), truth objects that are not ignored.
        limits: int64, increasing; results of a rank below one of them count.
    """
    shape = (outcomes.shape[1], RECALL_GRID.size, *truths.shape, limits.size)
    precision, recall = np.full(shape, NO_TRUTH), np.full((shape[0], *shape[2:]), NO_TRUTH)
    order = np.lexsort((-scores, categories))
    offsets = np.searchsorted(categories[order], np.arange(truths.shape[0] + 1))
    _accumulate(outcomes, order, offsets, ranks, truths, limits, RECALL_GRID, precision, recall)
    return precision, recall


def reachable_ceiling(truths: np.ndarray, limit: int) -> float:
    """The AP of perfect results of which only `limit` count in each image and category; 1 if there is no truth.

    Args:
        truths: int64 (image, category), numbers of truth objects.

    Example:
        >>> round(reachable_ceiling(np.array([[393], [394]]), 100), 6)
        0.257426
    """
    total = truths.sum(axis=0)
    reached = np.minimum(truths, limit).sum(axis=0)[total > 0] / total[total > 0]
    return float(np.mean(reached[:, np.newaxis] >= RECALL_GRID)) if reached.size else 1.0


def _mean_of_known(values: np.ndarray) -> float:
    known = values[values > NO_TRUTH]
    return float(known.mean()) if known.size else NO_TRUTH


@compiled
def _accumulate(outcomes, order, offsets, ranks, truths, limits, grid, precision, recall):
    found = np.empty(order.size)
    reached = np.empty(order.size)
    for category in range(truths.shape[0]):
        for area in range(truths.shape[1]):
            total = truths[category, area]
            if total == 0:
                continue
            for limit in range(limits.size):
                for level in range(outcomes.shape[1]):
                    counted = 0
                    hits = misses = 0.0
                    for place in range(offsets[category], offsets[category + 1]):
                        result = order[place]
                        if ranks[result] >= limits[limit] or outcomes[area, level, result] == IGNORED:
                            continue
                        if outcomes[area, level, result] == TRUE_POSITIVE:
                            hits += 1
                        else:
                            misses += 1
                        # The order of these sums is pycocotools', so that the last bit agrees.
                        found[counted] = hits / (misses + hits + EPSILON)
                        reached[counted] = hits / total
                        counted += 1
                    recall[level, category, area, limit] = reached[counted - 1] if counted else 0.0
                    for place in range(counted - 1, 0, -1):
                        found[place - 1] = max(found[place - 1], found[place])
                    place = 0
                    for step in range(grid.size):
                        while place < counted and reached[place] < grid[step]:
                            place += 1
                        precision[level, step, category, area, limit] = found[place] if place < counted else 0.0
