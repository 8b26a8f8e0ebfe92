"""Average precision against dense loops, the published figures, and its own definition at the edges."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracles.dense_average_precision import dense_average_precision
from oracles.volumes import box_volumes

from emlib.evaluation import average_precision, mean_scores, overlap_table

RANGES = ("all", "small", "medium", "large")


def random_pair(seed):
    """Truth and segmentation of small boxes on a line, with shifts, splits, merges, crumbs and many equal sizes."""
    random = np.random.default_rng(seed)
    truth = np.zeros((2, 6, 60), dtype=np.int64)
    label = 0
    start = 0
    while start < 55:
        width = int(random.integers(1, 9))
        if random.random() < 0.8:
            label += 1
            truth[:, : int(random.choice([2, 4, 6])), start : start + width] = label
        start += width
    kind = random.integers(0, 4)
    segmentation = np.roll(truth, int(random.integers(0, 3)), axis=2) if kind else truth.copy()
    for _ in range(int(random.integers(0, 4))):
        first, second = random.integers(0, label + 2, 2)
        segmentation[segmentation == first] = second
    if kind == 2:
        segmentation[:, :, ::7] = 0
    if kind == 3:
        segmentation[1][segmentation[1] > 0] += 100
    return segmentation, truth


def check(result, expected):
    for name in RANGES:
        assert np.allclose(result.per_threshold_by_size[name], expected[name], atol=1e-12), name
    assert result.ap == pytest.approx(np.mean(expected["all"]))
    assert (result.ap50, result.ap75) == pytest.approx((expected["all"][0], expected["all"][5]))
    assert result.by_size == pytest.approx({name: expected[name][5] for name in RANGES[1:]})


@given(st.integers(0, 10**6), st.booleans(), st.sampled_from([0, 1, 10, 30]), st.booleans())
def test_equals_dense_loops(seed, one_to_one, drop_below, with_scores):
    segmentation, truth = random_pair(seed)
    random = np.random.default_rng(seed)
    ids = [int(label) for label in np.unique(segmentation) if label]
    scores = {label: float(random.integers(0, 3)) for label in ids} if with_scores else None
    rules = "one-to-one" if one_to_one else "challenge"
    result = average_precision(
        segmentation, truth, rules=rules, scores=scores, size_limits=(20, 40), drop_truth_below=drop_below
    )
    check(result, dense_average_precision(segmentation, truth, (20, 40), drop_below, scores, one_to_one))


@given(st.integers(0, 10**6), st.sampled_from(["challenge", "one-to-one"]))
def test_order_of_ids_does_not_matter(seed, rules):
    segmentation, truth = random_pair(seed)
    random = np.random.default_rng(seed)
    ids = [int(label) for label in np.unique(segmentation) if label]
    scores = dict(zip(ids, random.permutation(len(ids)).tolist(), strict=True))
    table = np.append(0, random.permutation(np.arange(1, 200)))
    options = {"rules": rules, "size_limits": (20, 40), "drop_truth_below": 0}
    first = average_precision(segmentation, truth, scores=scores, **options)
    renamed = {int(table[label]): score for label, score in scores.items()}
    second = average_precision(table[segmentation], table[truth] + 2**60 * (truth > 0), scores=renamed, **options)
    for name in RANGES:
        assert np.array_equal(first.per_threshold_by_size[name], second.per_threshold_by_size[name])


def test_published_figures_of_the_boxes():
    truth, prediction = box_volumes()
    result = average_precision(prediction, truth)
    assert (round(result.ap, 3), round(result.ap50, 3), round(result.ap75, 6)) == (0.477, 0.867, 0.438284)
    assert {name: round(value, 3) for name, value in result.by_size.items()} == {
        "small": 0.5,
        "medium": 0.422,
        "large": 0.337,
    }
    assert result.truth_objects == {"all": 16, "small": 1, "medium": 12, "large": 3}
    check(result, dense_average_precision(prediction, truth, (5000, 30000), 2000))


def test_two_halves_both_count_by_the_challenge_and_one_does_one_to_one():
    truth = np.ones((1, 1, 10), dtype=int)
    halves = np.repeat([1, 2], 5).reshape(1, 1, 10)
    options = {"drop_truth_below": 0}
    assert average_precision(halves, truth, **options).ap50 == 1
    published = average_precision(halves, truth, rules="challenge", **options)
    assert (published.outcomes["all"][0] == 1).sum() == 2
    single = average_precision(halves, truth, rules="one-to-one", **options)
    assert (single.outcomes["all"][0] == 1).sum() == 1


def test_segment_on_a_dropped_crumb_is_a_false_positive():
    truth = np.zeros((1, 2, 100), dtype=int)
    truth[0, 0] = 1
    truth[0, 1, :3] = 2
    scores = {1: 0.1, 2: 0.9}
    assert average_precision(truth, truth, scores=scores, drop_truth_below=0).ap == 1
    assert average_precision(truth, truth, scores=scores, drop_truth_below=4).ap == pytest.approx(0.5)


def test_perfect_empty_and_missing():
    truth, _ = box_volumes()
    nothing = np.zeros_like(truth)
    perfect = average_precision(truth, truth)
    assert (perfect.ap, perfect.ap50, perfect.ap75) == (1, 1, 1)
    assert set(perfect.by_size.values()) == {1.0}
    missed = average_precision(nothing, truth)
    assert (missed.ap, missed.ap75, missed.by_size["large"]) == (0, 0, 0)
    assert missed.objects.size == 0
    for segmentation in (nothing, truth):
        empty = average_precision(segmentation, nothing)
        assert (empty.ap, empty.ap50, empty.ap75) == (-1, -1, -1)
        assert set(empty.by_size.values()) == {-1}
    assert (
        average_precision(truth[:, :50], truth[:, :50], drop_truth_below=0, size_limits=(5000, 10**6)).by_size["large"]
        == -1
    )


@given(st.integers(0, 10**6))
def test_mean_of_the_curve_is_the_average_precision(seed):
    segmentation, truth = random_pair(seed)
    result = average_precision(segmentation, truth, size_limits=(20, 40), drop_truth_below=0)
    for row, threshold in enumerate(result.thresholds):
        recall, precision = result.curve(threshold)
        assert precision.mean() == pytest.approx(result.per_threshold[row])
        assert np.array_equal(recall, np.linspace(0, 1, 101))
        assert (np.diff(precision) <= 0).all()


def test_table_of_objects():
    truth, prediction = box_volumes()
    result = average_precision(prediction, truth)
    assert (np.diff(result.objects["score"]) <= 0).all()
    for row in result.objects:
        mask = prediction == row["id"]
        assert row["size"] == mask.sum() == row["score"]
        ids = np.unique(truth[mask])
        ious = {t: (mask & (truth == t)).sum() / (mask | (truth == t)).sum() for t in ids if t}
        assert row["iou"] == pytest.approx(max(ious.values(), default=0))
        assert row["truth_id"] == max(ious, key=ious.get, default=0)
        assert row["truth_size"] == ((truth == row["truth_id"]).sum() if row["truth_id"] else 0)


def test_equal_scores_are_taken_by_increasing_id():
    truth = np.array([[1, 1, 0, 0, 0, 0]])
    segmentation = np.array([[7, 7, 3, 3, 0, 0]])
    result = average_precision(segmentation, truth, drop_truth_below=0)
    assert result.objects["id"].tolist() == [3, 7]
    assert result.ap == pytest.approx(0.5)


def test_scores_as_sequence_mapping_and_mean_of_a_map():
    truth, prediction = box_volumes()
    heat = np.random.default_rng(0).random(truth.shape)
    means = mean_scores(prediction, heat)
    assert means[3] == pytest.approx(heat[prediction == 3].mean())
    assert 0 not in means
    by_mapping = average_precision(prediction, truth, scores=means)
    by_sequence = average_precision(prediction, truth, scores=[means[label] for label in sorted(means)])
    assert by_mapping.ap == by_sequence.ap != average_precision(prediction, truth).ap


def test_blocks_add_up_to_the_whole():
    truth, prediction = box_volumes()
    blocks = [overlap_table(prediction[start : start + 7], truth[start : start + 7]) for start in range(0, 40, 7)]
    assert average_precision(sum(blocks[1:], blocks[0])).ap == average_precision(prediction, truth).ap


GOOD = np.array([[0, 1, 2]])


@pytest.mark.parametrize(
    "options, words",
    [
        ({"rules": "mitoem"}, "one-to-one"),
        ({"size_limits": (9, 3)}, "size_limits"),
        ({"size_limits": (1, 2, 3)}, "size_limits"),
        ({"drop_truth_below": -1}, "drop_truth_below"),
        ({"scores": {1: 0.5}}, "no entry"),
        ({"scores": [0.5]}, "2 segments"),
        ({"scores": [0.5, float("nan")]}, "finite"),
    ],
)
def test_bad_options_stop_with_one_sentence(options, words):
    with pytest.raises(ValueError, match=words):
        average_precision(GOOD, GOOD, **options)


def test_unknown_points_of_the_curve():
    result = average_precision(GOOD, GOOD, drop_truth_below=0)
    with pytest.raises(ValueError, match="threshold"):
        result.curve(0.51)
    with pytest.raises(ValueError, match="size"):
        result.curve(0.5, size="tiny")
    with pytest.raises(ValueError, match="NaN"):
        mean_scores(GOOD, np.full(GOOD.shape, np.nan))
    with pytest.raises(ValueError, match="same shape"):
        mean_scores(GOOD, np.zeros((2, 2)))
