"""F1 of cells against the challenge's rule written out plainly, an exhaustive matching, and the published figures."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracles.volumes import cells_2d
from scipy.optimize import linear_sum_assignment

from emlib.evaluation import CellScore, cell_f1, cell_f1_curve, match_instances


def counts_by_the_rule(segmentation, truth, threshold, frame):
    """(tp, fp, fn) of one image: ids in the frame out, dense IoU matrix, the challenge's cost, scipy's assignment."""
    inner = np.zeros(truth.shape, bool)
    inner[frame : truth.shape[0] - frame, frame : truth.shape[1] - frame] = True
    objects = []
    for labels in (truth, segmentation):
        at_border = set(np.unique(labels[~inner]).tolist())
        objects.append([labels == i for i in np.unique(labels).tolist() if i and i not in at_border])
    truths, segments = objects
    if not truths or not segments:
        return 0, len(segments), len(truths)
    iou = np.array([[(t & s).sum() / (t | s).sum() for s in segments] for t in truths])
    cost = -(iou >= threshold).astype(float) - iou / (2 * min(iou.shape))
    rows, columns = linear_sum_assignment(cost)
    tp = int((iou[rows, columns] >= threshold).sum())
    return tp, len(segments) - tp, len(truths) - tp


def patches(seed, shape=(14, 17), largest=9):
    random = np.random.default_rng(seed)
    coarse = random.integers(0, largest, (2, -(-shape[0] // 3), -(-shape[1] // 2)))
    truth, segmentation = np.kron(coarse, np.ones((1, 3, 2), dtype=int))[:, : shape[0], : shape[1]]
    return np.where(random.random(shape) < 0.6, truth, segmentation), truth


@given(st.integers(0, 10**6), st.sampled_from([0.1, 0.3, 0.5, 0.7, 1.0]), st.integers(0, 3))
def test_equals_the_rule_written_out(seed, threshold, frame):
    segmentation, truth = patches(seed)
    score = cell_f1(segmentation, truth, threshold=threshold, remove_border=frame)
    assert (score.tp, score.fp, score.fn) == counts_by_the_rule(segmentation, truth, threshold, frame)


def test_published_figures_of_the_cells():
    labels, prediction = cells_2d()
    score = cell_f1(prediction, labels)
    assert (score.tp, score.fp, score.fn) == (4, 3, 6)
    assert (score.precision, score.recall, score.f1) == pytest.approx((4 / 7, 0.4, 8 / 17))
    whole = cell_f1(prediction, labels, remove_border=0)
    assert (whole.tp, whole.fp, whole.fn) == (6, 4, 5)
    assert match_instances(prediction, labels).threat_score == pytest.approx(0.4)


def test_truth_and_segmentation_lose_their_own_border_cells():
    truth, segmentation = np.zeros((2, 20, 20), dtype=np.uint16)
    truth[2:10, 5:9] = 1  # outside the frame of 2 pixels
    segmentation[1:10, 5:9] = 1  # reaches into it
    score = cell_f1(segmentation, truth)
    assert (score.tp, score.fp, score.fn) == (0, 0, 1)
    one = cell_f1(segmentation, truth, remove_border=1)
    assert (one.tp, one.fp, one.fn) == (1, 0, 0)


@given(st.integers(0, 10**6), st.integers(1, 9))
def test_tiles_are_images_of_their_own(seed, tile):
    """Padded to whole tiles, each scored alone, counts added: the rule for large images, on small ones."""
    segmentation, truth = patches(seed)
    padded = [np.pad(labels, [(0, -length % tile) for length in labels.shape]) for labels in (segmentation, truth)]
    expected = np.zeros(3, int)
    for y in range(0, padded[0].shape[0], tile):
        for x in range(0, padded[0].shape[1], tile):
            parts = [labels[y : y + tile, x : x + tile] for labels in padded]
            expected += counts_by_the_rule(*parts, 0.5, 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(cell_f1.__globals__, "TILED_FROM_PIXELS", truth.size)
        score = cell_f1(segmentation, truth, remove_border=1, tile=tile)
        assert (score.tp, score.fp, score.fn) == tuple(expected)
        free = cell_f1(segmentation, truth, remove_border=1, tile=None)
        patch.setitem(cell_f1.__globals__, "TILED_FROM_PIXELS", truth.size + 1)
        assert cell_f1(segmentation, truth, remove_border=1, tile=tile) == free


def test_images_below_the_limit_are_not_tiled():
    truth = np.zeros((4999, 5000), np.uint8)
    truth[1990:2010, 1990:2010] = 1
    assert cell_f1(truth, truth).tp == 1
    grown = np.pad(truth, ((0, 1), (0, 0)))
    assert cell_f1(grown, grown).tp == 0
    assert cell_f1(grown, grown, tile=None).tp == 1


def test_missed_cells_count_where_nothing_was_predicted():
    truth = cells_2d()[0]
    nothing = np.zeros_like(truth)
    score = cell_f1(nothing, truth, remove_border=0)
    assert (score.tp, score.fp, score.fn, score.f1) == (0, 0, 11, 0.0)
    assert cell_f1(truth, nothing, remove_border=0).fp == 11
    assert cell_f1(nothing, nothing).f1 == 1.0


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.uint64])
@pytest.mark.parametrize("order", ["C", "F"])
def test_types_memory_orders_and_large_ids(dtype, order):
    labels, prediction = (np.asarray(array, dtype=dtype, order=order) for array in cells_2d())
    kept = labels.copy()
    assert cell_f1(prediction, labels) == cell_f1(*cells_2d()[::-1])
    assert np.array_equal(kept, labels)
    if dtype is np.uint64:
        far = [np.where(array > 0, array + np.uint64(2**63), array) for array in (prediction, labels)]
        assert cell_f1(*far) == cell_f1(*cells_2d()[::-1])


class Lazy:
    """A volume that gives small parts only."""

    def __init__(self, array):
        self.array, self.shape, self.dtype, self.chunks = array, array.shape, array.dtype, (16, 16)

    def __getitem__(self, box):
        part = self.array[box]
        assert part.size <= 16 * self.array.shape[1]
        return part


def test_lazy_volumes_are_not_loaded_whole():
    labels, prediction = cells_2d()
    expected = cell_f1(prediction, labels)
    assert cell_f1(Lazy(prediction), Lazy(labels)) == expected


def test_the_curve_is_the_score_at_each_threshold():
    labels, prediction = cells_2d()
    curve = cell_f1_curve(prediction, labels)
    assert [score.threshold for score in curve] == [0.5, 0.6, 0.7, 0.8, 0.9]
    assert curve == tuple(cell_f1(prediction, labels, threshold=score.threshold) for score in curve)
    assert [score.tp for score in curve] == sorted((score.tp for score in curve), reverse=True)


@pytest.mark.parametrize(
    "options, error, match",
    [
        ({"threshold": 0}, ValueError, "threshold"),
        ({"threshold": "a"}, TypeError, "threshold"),
        ({"remove_border": -1}, ValueError, "remove_border"),
        ({"remove_border": 1.5}, TypeError, "remove_border"),
        ({"tile": 0}, ValueError, "tile"),
        ({"tile": True}, TypeError, "tile"),
    ],
)
def test_bad_options(options, error, match):
    with pytest.raises(error, match=match):
        cell_f1(np.ones((5, 5), int), np.ones((5, 5), int), **options)


@pytest.mark.parametrize(
    "segmentation, truth, error, match",
    [
        (np.ones((2, 5), int), np.ones((5, 2), int), ValueError, "same shape"),
        (np.ones((2, 2, 2), int), np.ones((2, 2, 2), int), ValueError, "images"),
        (np.ones((5, 5)), np.ones((5, 5), int), TypeError, "integers"),
        (-np.ones((5, 5), int), np.ones((5, 5), int), ValueError, "negative"),
        (np.ones((0, 5), int), np.ones((0, 5), int), ValueError, "empty"),
    ],
)
def test_bad_labels(segmentation, truth, error, match):
    with pytest.raises(error, match=match):
        cell_f1(segmentation, truth)


def test_no_threshold():
    with pytest.raises(ValueError, match="thresholds is empty"):
        cell_f1_curve(np.ones((5, 5), int), np.ones((5, 5), int), thresholds=())


def test_one_pixel():
    assert cell_f1(np.ones((1, 1), int), np.ones((1, 1), int)) == CellScore(0, 0, 0, 0.5)
    assert cell_f1(np.ones((1, 1), int), np.ones((1, 1), int), remove_border=0) == CellScore(1, 0, 0, 0.5)
