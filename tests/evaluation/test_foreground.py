"""Voxelwise foreground scores against plain sums."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emlib.evaluation import foreground_precision_recall


@given(st.integers(0, 10**6), st.sampled_from([np.uint8, np.float32, np.float64, bool, np.uint64]))
def test_equals_sums(seed, dtype):
    random = np.random.default_rng(seed)
    truth = random.integers(0, 3, (3, 4, 5))
    if dtype is bool or dtype is np.uint64:
        segmentation, threshold = (random.integers(0, 2, truth.shape) * 2**33).astype(dtype), None
        found = segmentation != 0
    elif dtype is np.uint8:
        segmentation, threshold = random.integers(0, 256, truth.shape).astype(dtype), 0.9
        found = segmentation > 229
    else:
        segmentation, threshold = random.random(truth.shape).astype(dtype), 0.3
        found = segmentation > 0.3
    scores = foreground_precision_recall(segmentation, truth, threshold=threshold)
    real = truth > 0
    assert (scores.tp, scores.fp) == ((found & real).sum(), (found & ~real).sum())
    assert (scores.fn, scores.tn) == ((~found & real).sum(), (~found & ~real).sum())
    assert scores.precision == (scores.tp / found.sum() if found.any() else 1)
    assert scores.recall == (scores.tp / real.sum() if real.any() else 1)
    assert scores.jaccard == ((found & real).sum() / (found | real).sum() if (found | real).any() else 1)
    assert scores.f1 == pytest.approx(2 * scores.jaccard / (1 + scores.jaccard))
    background = (~found & ~real).sum() / max((~found | ~real).sum(), 1) if (~found | ~real).any() else 1
    assert scores.mean_jaccard == pytest.approx((scores.jaccard + background) / 2)


def test_nothing_there_and_nothing_said():
    nothing = np.zeros((2, 2), dtype=np.uint8)
    scores = foreground_precision_recall(nothing, nothing)
    assert (scores.precision, scores.recall, scores.f1, scores.jaccard, scores.mean_jaccard) == (1, 1, 1, 1, 1)


LABELS = np.ones((2, 2), dtype=np.int32)


@pytest.mark.parametrize(
    "segmentation, truth, threshold, error, words",
    [
        (LABELS.astype(float), LABELS, None, TypeError, "give a threshold"),
        (LABELS, LABELS, 0.5, TypeError, "probability map"),
        (LABELS.astype(float), LABELS, 1.5, ValueError, "threshold"),
        (LABELS.astype(float) * np.nan, LABELS, 0.5, ValueError, "NaN"),
        (LABELS, LABELS.astype(float), None, TypeError, "truth"),
        (LABELS, LABELS[:1], None, ValueError, "same shape"),
        (LABELS[:0], LABELS[:0], None, ValueError, "empty"),
    ],
)
def test_bad_input_stops_with_one_sentence(segmentation, truth, threshold, error, words):
    with pytest.raises(error, match=words):
        foreground_precision_recall(segmentation, truth, threshold=threshold)
