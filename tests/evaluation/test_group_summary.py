"""The table of scores by modality, and the challenge's tolerance of time."""

import statistics

import numpy as np
import pytest

from emlib.evaluation import CellScore, summarize_by_group, time_over_tolerance, time_tolerance


def test_median_mean_and_sums_of_each_group():
    random = np.random.default_rng(0)
    scores = [CellScore(*random.integers(0, 9, 3).tolist(), 0.5) for _ in range(23)]
    groups = random.choice(["phase", "stained", "bacteria"], 23).tolist()
    rows = summarize_by_group(scores, groups)
    assert [row.group for row in rows] == ["bacteria", "phase", "stained", "all"]
    for row in rows:
        own = [score for score, group in zip(scores, groups, strict=True) if row.group in ("all", group)]
        assert row.images == len(own)
        assert (row.tp, row.fp, row.fn) == tuple(sum(getattr(one, n) for one in own) for n in ("tp", "fp", "fn"))
        assert row.cells == row.tp + row.fn
        for figure in ("f1", "precision", "recall"):
            values = [getattr(one, figure) for one in own]
            assert getattr(row, f"median_{figure}") == pytest.approx(statistics.median(values))
            assert getattr(row, f"mean_{figure}") == pytest.approx(statistics.fmean(values))
        assert row.lowest_f1 == min(one.f1 for one in own)
        assert row.pooled_f1 == pytest.approx(2 * row.tp / (2 * row.tp + row.fp + row.fn))


@pytest.mark.parametrize(
    "scores, groups, match",
    [
        ([], [], "0 scores"),
        ([CellScore(1, 0, 0, 0.5)], ["a", "b"], "1 scores and 2 groups"),
        ([CellScore(1, 0, 0, 0.5), CellScore(1, 0, 0, 0.7)], ["a", "a"], "one threshold"),
        ([CellScore(1, 0, 0, 0.5)], ["all"], "named 'all'"),
    ],
)
def test_bad_tables(scores, groups, match):
    with pytest.raises(ValueError, match=match):
        summarize_by_group(scores, groups)


def test_tolerance():
    assert [time_tolerance(shape) for shape in ((1, 1), (1000, 1000, 3), (1000, 1001), (20000, 20000))] == [
        10, 10, pytest.approx(10.01), 4000]  # fmt: skip
    assert time_over_tolerance(10.5, (10, 10)) == 0.5
    assert time_over_tolerance(3999, (20000, 20000)) == 0


@pytest.mark.parametrize("seconds, shape", [(-1, (5, 5)), (float("nan"), (5, 5)), (1, (5,)), (1, (0, 5))])
def test_bad_times(seconds, shape):
    with pytest.raises(ValueError, match="expected"):
        time_over_tolerance(seconds, shape)
