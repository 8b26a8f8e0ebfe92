"""One-to-one matching against exhaustive search, the published figures, and the errors made of it."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracles.volumes import box_volumes, cells_2d, shifted_segmentation, small_volume

from emlib.evaluation import find_errors, match_instances


def best_by_trying_all(segmentation, truth, threshold):
    """(pairs, sum of IoUs) of the best matching, by trying every assignment."""
    truths, segments = (np.unique(labels[labels != 0]) for labels in (truth, segmentation))
    iou = np.array([[((t == truth) & (s == segmentation)).sum() / ((t == truth) | (s == segmentation)).sum()
                     for s in segments] for t in truths]).reshape(truths.size, segments.size)  # fmt: skip
    if truths.size > segments.size:
        iou = iou.T
    best = (0, 0.0)
    for columns in itertools.permutations(range(iou.shape[1]), iou.shape[0]):
        values = [iou[row, column] for row, column in enumerate(columns) if iou[row, column] >= threshold]
        best = max(best, (len(values), sum(sorted(values))))
    return best


@given(st.integers(0, 10**6), st.sampled_from([0.05, 0.2, 0.34, 0.5, 0.75]))
def test_equals_the_best_of_all_assignments(seed, threshold):
    random = np.random.default_rng(seed)
    truth = np.repeat(random.integers(0, 5, 8), 3)[None]
    segmentation = np.repeat(random.integers(0, 5, 12), 2)[None]
    result = match_instances(segmentation, truth, threshold=threshold)
    pairs, total = best_by_trying_all(segmentation, truth, threshold)
    assert result.tp == pairs == len(result.pairs)
    assert result.ious.sum() == pytest.approx(total)
    assert result.fp == np.unique(segmentation[segmentation > 0]).size - pairs
    assert result.fn == np.unique(truth[truth > 0]).size - pairs
    assert len(set(result.pairs[:, 0].tolist())) == len(set(result.pairs[:, 1].tolist())) == pairs
    for (t, s), iou in zip(result.pairs, result.ious, strict=True):
        assert iou == ((truth == t) & (segmentation == s)).sum() / ((truth == t) | (segmentation == s)).sum()


@given(st.integers(0, 10**6))
def test_order_of_ids_does_not_matter(seed):
    random = np.random.default_rng(seed)
    truth, segmentation = random.integers(0, 9, (2, 6, 10)), random.integers(0, 9, (2, 6, 10))
    table = np.append(0, random.permutation(np.arange(1, 9)))
    first, second = (
        match_instances(s, t, threshold=0.1) for s, t in ((segmentation, truth), (table[segmentation], table[truth]))
    )
    assert (first.tp, first.fp, first.fn) == (second.tp, second.fp, second.fn)
    assert first.panoptic_quality == pytest.approx(second.panoptic_quality, rel=1e-15)


def test_published_figures_of_the_cells():
    labels, prediction = cells_2d()
    result = match_instances(prediction, labels)
    assert (result.tp, result.fp, result.fn) == (6, 4, 5)
    assert result.threat_score == pytest.approx(0.4)
    assert result.precision == pytest.approx(0.6)
    assert result.recall == pytest.approx(6 / 11)
    assert result.f1 == pytest.approx(12 / 21)
    assert result.panoptic_quality == pytest.approx(result.f1 * result.mean_iou)


def test_nothing_to_find():
    nothing, something = np.zeros((2, 2), dtype=int), np.ones((2, 2), dtype=int)
    both = match_instances(nothing, nothing)
    assert (both.precision, both.recall, both.f1, both.panoptic_quality, both.threat_score) == (1, 1, 1, 1, 1)
    for segmentation, truth in ((something, nothing), (nothing, something)):
        one = match_instances(segmentation, truth)
        assert (one.precision, one.recall, one.f1, one.panoptic_quality, one.mean_iou) == (0, 0, 0, 0, 0)


@pytest.mark.parametrize(
    "threshold, error", [(0, ValueError), (1.1, ValueError), (float("nan"), ValueError), ("a", TypeError)]
)
def test_bad_threshold(threshold, error):
    with pytest.raises(error, match="threshold"):
        match_instances(np.ones((2, 2), dtype=int), np.ones((2, 2), dtype=int), threshold=threshold)


def test_errors_of_the_boxes():
    truth, prediction = box_volumes()
    errors = find_errors(prediction, truth)
    assert errors.missed == [8, 16]
    assert errors.split == [7, 15]
    assert errors.merged == []
    assert len(errors.found) + len(errors.missed) == 16
    assert len(errors.correct) + len(errors.spurious) == 18
    assert errors.spurious[-2:] == [17, 18]
    rows = {row["id"]: row for row in errors.truth_objects}
    assert (rows[7]["outcome"], rows[7]["pieces"]) == ("found", 2)
    assert (rows[8]["outcome"], rows[8]["iou"], rows[8]["partner"]) == ("missed", 0, 0)
    strict = find_errors(prediction, truth, threshold=0.75)
    assert next(row for row in strict.truth_objects if row["id"] == 7)["outcome"] == "split"


def test_merge_and_split_of_the_small_volume():
    labels, segmentation = small_volume()[0], shifted_segmentation()
    errors = find_errors(segmentation, labels)
    assert 1 in errors.merged
    assert all(isinstance(label, int) for label in errors.found + errors.missed + errors.merged + errors.split)
    assert next(row for row in errors.segments if row["id"] == 1)["outcome"] == "merged"


@given(st.integers(0, 10**6), st.integers(2, 3))
def test_table_rows_equal_dense_masks(seed, axes):
    random = np.random.default_rng(seed)
    shape = tuple(random.integers(2, 7, axes))
    truth, segmentation = (random.integers(0, 4, shape).astype(np.uint64) * np.uint64(2**60) for _ in range(2))
    errors = find_errors(segmentation, truth, threshold=0.3, share=0.25)
    for rows, own, other in ((errors.truth_objects, truth, segmentation), (errors.segments, segmentation, truth)):
        assert [row["id"] for row in rows] == [label for label in np.unique(own).tolist() if label]
        for row in rows:
            mask = own == row["id"]
            where = np.argwhere(mask)
            ious = {i: (mask & (other == i)).sum() / (mask | (other == i)).sum() for i in np.unique(other[mask]) if i}
            assert row["size"] == len(where)
            assert row["iou"] == max(ious.values(), default=0)
            assert row["partner"] == (min(i for i in ious if ious[i] == row["iou"]) if ious else 0)
            assert row["box"] == (tuple(where.min(axis=0)), tuple(where.max(axis=0) + 1))
            assert row["centroid"] == pytest.approx(tuple(where.mean(axis=0)))
    for row in errors.truth_objects:
        mask = truth == row["id"]
        pieces = [s for s in np.unique(segmentation[mask]) if s and (segmentation[mask] == s).mean() >= 0.25]
        assert row["pieces"] == len(pieces)
        assert (row["id"] in errors.split) == (len(pieces) > 1)
        assert (row["id"] in errors.missed) == (row["id"] not in errors.matches.pairs[:, 0])


def test_worst_objects_come_first():
    truth, prediction = box_volumes()
    worst = find_errors(prediction, truth).worst(3)
    assert [row["id"] for row in worst][:2] == [16, 8]
    assert worst[2]["iou"] > 0


@pytest.mark.parametrize("share", [0, 0.6, -1])
def test_bad_share(share):
    with pytest.raises(ValueError, match="share"):
        find_errors(np.ones((2, 2), dtype=int), np.ones((2, 2), dtype=int), share=share)
