"""Boxes put together with objects, against a plain loop and against COCO's matching."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emlib.evaluation import coco_curves, match_detected_boxes


def random_boxes(rng, count):
    corners = rng.integers(0, 20, (count, 2))
    return np.concatenate([corners, corners + rng.integers(3, 9, (count, 2))], 1)


def overlap(one, other):
    first, second = (
        {(y, x) for y in range(y0, y1) for x in range(x0, x1)} for x0, y0, x1, y1 in (one.tolist(), other.tolist())
    )
    return len(first & second) / len(first | second)


@given(st.integers(0, 9999), st.integers(0, 12), st.integers(0, 8), st.sampled_from([0.3, 0.5, 1.0]))
def test_it_is_the_plain_loop(seed, count, objects, threshold):
    rng = np.random.default_rng(seed)
    boxes, truth, scores = random_boxes(rng, count), random_boxes(rng, objects), rng.integers(0, 4, count) / 4
    found = match_detected_boxes(boxes, scores, truth, threshold=threshold)
    free = set(range(objects))
    for place in sorted(range(count), key=lambda at: -scores[at]):
        near = {one: overlap(boxes[place], truth[one]) for one in range(objects)}
        near = {one: value for one, value in near.items() if value >= threshold}
        kind, mine = "duplicate" if near else "spurious", -1
        if set(near) & free:
            kind, mine = "found", max(sorted(set(near) & free), key=near.__getitem__)
            free.remove(mine)
        assert (found.kinds[place], found.objects[place]) == (kind, mine)
    assert found.missed.tolist() == sorted(free)
    assert found.found + found.duplicates + found.spurious == count
    assert found.found + len(found.missed) == objects


@given(st.integers(0, 9999))
def test_found_objects_are_the_recall_of_coco(seed):
    rng = np.random.default_rng(seed)
    boxes, truth = random_boxes(rng, 15), random_boxes(rng, 10)
    scores = rng.permutation(15) / 15

    def entry(box):
        return {"image_id": 1, "category_id": 1, "bbox": [*box[:2].tolist(), *(box[2:] - box[:2]).tolist()]}

    annotations = {"images": [{"id": 1}], "categories": [{"id": 1}], "annotations": [entry(one) for one in truth]}
    results = [{**entry(one), "score": score} for one, score in zip(boxes, scores.tolist(), strict=True)]
    curves = coco_curves(annotations, results, kind="bbox", max_dets=None)
    found = match_detected_boxes(boxes, scores, truth)
    assert found.found / 10 == pytest.approx(curves.average_recall(iou=0.5))


BOXES = [[0, 0, 4, 4]]


@pytest.mark.parametrize(
    ("arguments", "threshold", "says"),
    [
        ((BOXES, [1, 2], BOXES), 0.5, r"scores has shape \(2,\), but 1 finite"),
        ((BOXES, [np.nan], BOXES), 0.5, "finite numbers"),
        ((BOXES, [1], [[1, 2]]), 0.5, r"truth has shape \(1, 2\)"),
        (([[4, 0, 0, 4]], [1], BOXES), 0.5, "boxes 0 is"),
        ((BOXES, [1], BOXES), 0.0, "threshold"),
        ((BOXES, [1], BOXES), 1.5, "threshold"),
    ],
)
def test_bad_input_stops_with_one_sentence(arguments, threshold, says):
    with pytest.raises(ValueError, match=says):
        match_detected_boxes(*arguments, threshold=threshold)
