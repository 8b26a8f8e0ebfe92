"""The ceiling of a limit is what a perfect answer scores under it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emlib.evaluation import (
    ceiling_of_limit,
    coco_evaluate,
    coco_results_from_labels,
    coco_truth_from_labels,
)


def perfect_boxes(counts):
    """Truth and a perfect answer: squares in rows, so many in each image."""
    boxes = [(image, [12 * place, 0, 10, 10]) for image, count in enumerate(counts, 1) for place in range(count)]
    entries = [{"image_id": image, "category_id": 1, "bbox": box} for image, box in boxes]
    truth = {
        "images": [{"id": image} for image in range(1, len(counts) + 1)],
        "categories": [{"id": 1}],
        "annotations": entries,
    }
    scores = np.random.default_rng(0).permutation(len(entries)) / max(len(entries), 1)
    return truth, [{**entry, "score": score} for entry, score in zip(entries, scores.tolist(), strict=True)]


@settings(max_examples=60)
@given(st.lists(st.integers(0, 40), min_size=1, max_size=6), st.integers(1, 45))
def test_it_is_the_score_of_a_perfect_answer(counts, limit):
    truth, results = perfect_boxes(counts)
    ceiling = ceiling_of_limit(counts, limit)
    if not sum(counts):
        assert ceiling == 1
        return
    figures = coco_evaluate(truth, results, kind="bbox", max_dets=limit)
    assert figures["AP"] == pytest.approx(ceiling, abs=1e-12)
    assert figures["AP50"] == pytest.approx(ceiling, abs=1e-12)
    assert figures["AP_ceiling"] == ceiling
    recall = sum(min(count, limit) for count in counts) / sum(counts)
    assert ceiling == sum(step / 100 <= recall + 1e-12 for step in range(101)) / 101


def test_the_competition_of_the_nuclei():
    counts = [393, 393, 393, 393, 394, 394]
    assert sum(counts) == 2360
    labels = []
    for count in counts:
        image = np.zeros((100, 100), np.uint16)
        for place in range(count):
            y, x = 5 * (place // 20), 5 * (place % 20)
            image[y : y + 4, x : x + 4] = place + 1
        labels.append(image)
    truth, results = coco_truth_from_labels(labels), coco_results_from_labels(labels)
    for limit, expected in ((100, 0.257426), (300, 0.762376), (394, 1.0), (600, 1.0)):
        assert round(ceiling_of_limit(counts, limit), 6) == expected
        assert round(coco_evaluate(truth, results, max_dets=limit)["AP"], 6) == expected
    # Two of 2,360 left out cost the last of the 101 recalls.
    assert ceiling_of_limit(counts, 393) == 100 / 101
    assert coco_evaluate(truth, results, max_dets=393)["AP"] == pytest.approx(100 / 101, abs=1e-12)


def test_forms_of_numbers():
    assert ceiling_of_limit(np.array([10, 30], np.uint8), np.int32(10)) == ceiling_of_limit((10, 30), 10) == 51 / 101
    assert ceiling_of_limit(200, 100) == 51 / 101
    assert ceiling_of_limit([], 100) == ceiling_of_limit([0], 1) == ceiling_of_limit([7], None) == 1
    curve = [ceiling_of_limit([13, 29], limit) for limit in range(1, 40)]
    assert curve == sorted(curve)


@pytest.mark.parametrize(
    ("counts", "limit", "error", "says"),
    [
        ([1.5], 10, TypeError, "whole numbers, got 1.5"),
        ([True], 10, TypeError, "got True"),
        ([3], 2.0, TypeError, "got 2.0"),
        ([3, -1], 10, ValueError, "holds -1"),
        ([3], 0, ValueError, "max_dets is 0"),
    ],
)
def test_bad_input_stops_with_one_sentence(counts, limit, error, says):
    with pytest.raises(error, match=says):
        ceiling_of_limit(counts, limit)
