"""Both forms of the aggregated Jaccard index against their definitions on dense masks."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracles.volumes import cells_2d
from scipy.optimize import linear_sum_assignment

from emlib.evaluation import aggregated_jaccard_index, overlap_table


def by_definition(segmentation, truth):
    truths, segments = ([labels == i for i in np.unique(labels) if i] for labels in (truth, segmentation))
    iou = np.array([[(t & s).sum() / (t | s).sum() for s in segments] for t in truths]).reshape(
        len(truths), len(segments)
    )
    results = []
    chosen = [(t, int(iou[t].argmax())) for t in range(len(truths)) if iou[t].max(initial=0) > 0]
    rows, columns = linear_sum_assignment(iou, maximize=True)
    for pairs in (chosen, [(t, s) for t, s in zip(rows, columns, strict=True) if iou[t, s] > 0]):
        shared = sum((truths[t] & segments[s]).sum() for t, s in pairs)
        joined = sum((truths[t] | segments[s]).sum() for t, s in pairs)
        joined += sum(mask.sum() for t, mask in enumerate(truths) if t not in {t for t, _ in pairs})
        joined += sum(mask.sum() for s, mask in enumerate(segments) if s not in {s for _, s in pairs})
        results.append(shared / joined)
    return results


@given(st.integers(0, 10**6), st.integers(2, 8), st.integers(2, 8))
def test_equals_the_definition(seed, cells, segments):
    random = np.random.default_rng(seed)
    truth = random.integers(0, cells, (9, 11))
    segmentation = np.where(random.random((9, 11)) < 0.5, truth, random.integers(0, segments, (9, 11)))
    if not truth.any() and not segmentation.any():
        return
    index = aggregated_jaccard_index(segmentation, truth)
    assert [index.aji, index.aji_plus] == pytest.approx(by_definition(segmentation, truth))


def test_of_the_cells_and_of_a_table():
    labels, prediction = cells_2d()
    index = aggregated_jaccard_index(prediction, labels)
    assert [index.aji, index.aji_plus] == pytest.approx(by_definition(prediction, labels))
    assert aggregated_jaccard_index(overlap_table(prediction, labels)) == index


def test_perfect_and_empty():
    labels = cells_2d()[0]
    nothing = np.zeros_like(labels)
    for segmentation, truth, expected in ((labels, labels, 1), (nothing, nothing, 1), (nothing, labels, 0),
                                          (labels, nothing, 0)):  # fmt: skip
        index = aggregated_jaccard_index(segmentation, truth)
        assert (index.aji, index.aji_plus) == (expected, expected)


def test_a_segment_that_covers_two_cells_is_used_twice_only_by_aji():
    truth = np.array([[1, 1, 1, 2, 2, 2]])
    index = aggregated_jaccard_index(np.ones_like(truth), truth)
    assert (index.aji, index.aji_plus) == pytest.approx((6 / 12, 3 / 9))
