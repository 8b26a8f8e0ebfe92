"""What went wrong with cells: hand-made cases of every kind, and the counts of the score that they explain."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracles.volumes import cells_2d

from emlib.evaluation import CELL_ERROR_KINDS, cell_errors, cell_f1, match_instances


def picture(*rectangles, shape=(30, 40), dtype=np.int64):
    """Labels with (id, top, left, bottom, right) painted one after the other."""
    labels = np.zeros(shape, dtype)
    for one, top, left, bottom, right in rectangles:
        labels[top:bottom, left:right] = one
    return labels


CELL, OTHER = (1, 5, 5, 13, 13), (2, 5, 13, 13, 21)
CASES = {
    "nothing": ([CELL], [(9, 5, 5, 13, 13)], []),
    "no cell and no segment": ([], [], []),
    "missed": ([CELL, OTHER], [CELL], [("missed", (2,), (), ((5, 13), (13, 21)), 0.0)]),
    "spurious": ([CELL], [CELL, (8, 20, 20, 25, 26)], [("spurious", (), (8,), ((20, 20), (25, 26)), 0.0)]),
    "split": (
        [CELL],
        [(4, 5, 5, 13, 9), (6, 5, 9, 13, 14)],
        [("split", (1,), (4, 6), ((5, 5), (13, 14)), 0.5)],
    ),
    "split, and the larger piece still matches": (
        [CELL],
        [(4, 5, 5, 13, 11), (6, 5, 11, 13, 13)],
        [("split", (1,), (4, 6), ((5, 5), (13, 13)), 0.75)],
    ),
    "split in three": (
        [CELL],
        [(4, 5, 5, 13, 8), (6, 5, 8, 13, 10), (7, 5, 10, 13, 13)],
        [("split", (1,), (4, 6, 7), ((5, 5), (13, 13)), 0.375)],
    ),
    "a speck in a cell is no piece of it": (
        [CELL],
        [(4, 5, 5, 13, 13), (6, 7, 7, 9, 9)],
        [("spurious", (), (6,), ((7, 7), (9, 9)), 0.0)],
    ),
    "merged": (
        [CELL, OTHER],
        [(4, 5, 5, 13, 21)],
        [("merged", (1, 2), (4,), ((5, 5), (13, 21)), 0.5)],
    ),
    "merged with a small one, and the large one still matches": (
        [CELL, (3, 5, 13, 8, 16)],
        [(4, 5, 5, 13, 16)],
        [("merged", (1, 3), (4,), ((5, 5), (13, 16)), 64 / 88)],
    ),
    "poor outline, too small": (
        [CELL],
        [(5, 7, 7, 11, 11)],
        [("poor outline", (1,), (5,), ((5, 5), (13, 13)), 0.25)],
    ),
    "poor outline, beside": (
        [CELL],
        [(5, 5, 10, 13, 18)],
        [("poor outline", (1,), (5,), ((5, 5), (13, 18)), 24 / 104)],
    ),
    "hardly anything in common": (
        [CELL],
        [(5, 5, 12, 13, 20)],
        [("missed", (1,), (), ((5, 5), (13, 13)), 0.0), ("spurious", (), (5,), ((5, 12), (13, 20)), 0.0)],
    ),
}


THRESHOLD = 0.55  # half of a cell alone is no match
ONE_SIDED = ("a speck in a cell is no piece of it", "merged with a small one, and the large one still matches")


@pytest.mark.parametrize("name", CASES)
def test_every_kind(name):
    truth, found, expected = CASES[name]
    errors = cell_errors(picture(*found), picture(*truth), threshold=THRESHOLD)
    assert [(one.kind, one.truth_ids, one.segmentation_ids, one.box, one.iou) for one in errors] == expected


@pytest.mark.parametrize("name", [name for name in CASES if name not in ONE_SIDED])
def test_truth_and_prediction_in_the_place_of_each_other(name):
    truth, found, expected = CASES[name]
    mirror = {"missed": "spurious", "spurious": "missed", "split": "merged", "merged": "split"}
    wanted = sorted((mirror.get(kind, kind), segments, cells) for kind, cells, segments, *_ in expected)
    errors = cell_errors(picture(*truth), picture(*found), threshold=THRESHOLD)
    assert sorted((one.kind, one.truth_ids, one.segmentation_ids) for one in errors) == wanted


def patches(seed, shape=(24, 30)):
    """Cells around points, and segments around some of them, moved, and some others: errors of every kind."""
    random = np.random.default_rng(seed)
    points = random.uniform(0, shape, (12, 2))
    other = points + random.normal(0, 1.5, points.shape)
    other[:4] = random.uniform(0, shape, (4, 2))
    images = []
    for around in (other, points):
        distances = np.hypot(*(np.indices(shape)[..., None] - around.T[:, None, None]))
        labels = np.where(distances.min(axis=-1) < random.uniform(3.5, 5), distances.argmin(axis=-1) + 1, 0)
        images.append(labels)
    return images


def test_the_random_cells_have_errors_of_every_kind():
    kinds = {error.kind for seed in range(12) for error in cell_errors(*patches(seed), remove_border=0)}
    assert kinds == set(CELL_ERROR_KINDS)


@given(st.integers(0, 10**6), st.sampled_from([0.2, 0.5, 0.7, 1.0]))
def test_errors_explain_all_that_is_wrong_and_nothing_else(seed, threshold):
    segmentation, truth = patches(seed)
    errors = cell_errors(segmentation, truth, threshold=threshold, remove_border=0)
    matches = match_instances(segmentation, truth, threshold=threshold)
    missed = set(np.unique(truth)) - {0} - set(matches.pairs[:, 0].tolist())
    spurious = set(np.unique(segmentation)) - {0} - set(matches.pairs[:, 1].tolist())
    cells = [one for error in errors for one in error.truth_ids]
    segments = [one for error in errors for one in error.segmentation_ids]
    assert missed <= set(cells)
    assert spurious <= set(segments)
    for error in errors:
        assert missed & set(error.truth_ids) or spurious & set(error.segmentation_ids)
        members = np.isin(truth, error.truth_ids) | np.isin(segmentation, error.segmentation_ids)
        y, x = np.nonzero(members)
        assert error.box == ((y.min(), x.min()), (y.max() + 1, x.max() + 1))
        pairs = [
            ((truth == cell) & (segmentation == segment)).sum() / ((truth == cell) | (segmentation == segment)).sum()
            for cell in error.truth_ids
            for segment in error.segmentation_ids
        ]
        assert error.iou == pytest.approx(max(pairs, default=0.0))
    kinds = [CELL_ERROR_KINDS.index(error.kind) for error in errors]
    assert kinds == sorted(kinds)
    single = [error for error in errors if error.kind in ("missed", "spurious", "poor outline")]
    for name in ("truth_ids", "segmentation_ids"):
        ids = [one for error in single for one in getattr(error, name)]
        assert len(ids) == len(set(ids))


def test_the_cells_of_the_fixture():
    labels, prediction = cells_2d()
    errors = cell_errors(prediction, labels, remove_border=0)
    kinds = [error.kind for error in errors]
    assert kinds.count("merged") == 1
    (merged,) = [error for error in errors if error.kind == "merged"]
    assert merged.truth_ids == (1, 2)
    assert (5,) in [error.truth_ids for error in errors if error.kind == "missed"]
    matches = match_instances(prediction, labels)
    assert sum(len(error.truth_ids) for error in errors if error.kind != "split") >= matches.fn


def test_the_border_counts_as_in_the_score():
    truth = picture(CELL, (2, 0, 20, 8, 28), (3, 20, 5, 27, 12))
    found = picture(CELL, (7, 3, 21, 8, 27), (8, 20, 5, 30, 12))
    # Cell 2 reaches the border and goes; its segment, which does not, and cell 3, whose segment goes, are no error.
    assert cell_errors(found, truth) == []
    score = cell_f1(found, truth)
    assert (score.fp, score.fn) == (1, 1)
    assert [error.kind for error in cell_errors(found, truth, remove_border=0, threshold=0.8)] == [
        "poor outline",
        "poor outline",
    ]


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.uint64])
@pytest.mark.parametrize("order", ["C", "F"])
def test_types_ids_and_memory_orders(dtype, order):
    segmentation, truth = patches(5)
    large = int(np.iinfo(dtype).max) - 20
    expected = cell_errors(segmentation, truth, remove_border=0)
    assert len(expected) > 3

    def moved(labels):
        return np.array(np.where(labels > 0, labels.astype(dtype) + dtype(large), dtype(0)), dtype, order=order)

    arrays = moved(segmentation), moved(truth)
    before = [array.copy() for array in arrays]
    found = cell_errors(*arrays, remove_border=0)
    assert [(one.kind, one.box, one.iou) for one in found] == [(one.kind, one.box, one.iou) for one in expected]
    assert [one.truth_ids for one in found] == [tuple(i + large for i in one.truth_ids) for one in expected]
    assert all((array == was).all() for array, was in zip(arrays, before, strict=True))


LABELS = picture(CELL)


@pytest.mark.parametrize(
    "call,error,sentence",
    [
        (lambda: cell_errors(LABELS, LABELS[:5]), ValueError, "must have the same shape"),
        (lambda: cell_errors(LABELS * 1.0, LABELS), TypeError, "segmentation must be integers"),
        (lambda: cell_errors(-LABELS, LABELS), ValueError, "negative"),
        (lambda: cell_errors(LABELS[None], LABELS[None]), ValueError, r"must be images \(y, x\)"),
        (lambda: cell_errors(LABELS, LABELS, threshold=0), ValueError, "threshold must be an IoU"),
        (lambda: cell_errors(LABELS, LABELS, remove_border=-1), ValueError, "remove_border must be 0"),
        (lambda: cell_errors(LABELS, LABELS, remove_border=1.0), TypeError, "whole number of pixels"),
    ],
)
def test_bad_input_stops_with_one_sentence(call, error, sentence):
    with pytest.raises(error, match=sentence):
        call()
