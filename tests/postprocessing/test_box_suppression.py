"""Suppression of boxes against the network's own, torchvision's, and its definition."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from emlib.models.mask_rcnn_suppression import suppress
from emlib.postprocessing import suppress_boxes


def random_boxes(rng, count, extent=14, most=9):
    corners = rng.uniform(0, extent, (count, 2))
    return np.concatenate([corners, corners + rng.uniform(0.5, most, (count, 2))], 1)


@given(st.integers(0, 9999), st.integers(0, 70), st.sampled_from([0.0, 0.3, 0.5, 0.7, 1.0]), st.booleans())
def test_it_is_what_the_network_does(seed, count, threshold, rounded):
    rng = np.random.default_rng(seed)
    boxes = random_boxes(rng, count).astype(np.float32)
    boxes = boxes.round() if rounded else boxes
    scores, groups = rng.integers(0, 9, count).astype(np.float32) / 8, rng.integers(0, 3, count)
    tensors = torch.from_numpy(boxes), torch.from_numpy(scores)
    expected = suppress(*tensors, torch.from_numpy(groups), threshold).numpy()
    found = suppress_boxes(boxes, scores, threshold, groups=groups)
    np.testing.assert_array_equal(found, expected)
    alone = suppress(*tensors, torch.zeros(count, dtype=torch.int64), threshold).numpy()
    np.testing.assert_array_equal(suppress_boxes(boxes, scores, threshold), alone)
    assert found.dtype == np.int64


@given(st.integers(0, 9999), st.integers(1, 60), st.sampled_from([0.1, 0.5, 0.9]))
def test_it_is_what_torchvision_does(seed, count, threshold):
    from torchvision.ops import nms

    rng = np.random.default_rng(seed)
    boxes, scores = random_boxes(rng, count), rng.permutation(count) / count
    expected = nms(torch.from_numpy(boxes), torch.from_numpy(scores), threshold).numpy()
    np.testing.assert_array_equal(suppress_boxes(boxes, scores, threshold), expected)


@given(st.integers(0, 9999), st.sampled_from([0.0, 0.25, 0.6]))
def test_what_stays_is_apart_and_what_went_lay_under_a_better_one(seed, threshold):
    rng = np.random.default_rng(seed)
    boxes, scores = rng.integers(0, 12, (40, 2)), rng.permutation(40)
    boxes = np.concatenate([boxes, boxes + rng.integers(1, 8, (40, 2))], 1)
    before = boxes.copy()
    kept = suppress_boxes(boxes, scores, threshold)
    np.testing.assert_array_equal(boxes, before)
    pixels = np.zeros((40, 20, 20), bool)
    for place, (x0, y0, x1, y1) in enumerate(boxes):
        pixels[place, y0:y1, x0:x1] = True
    both = (pixels[:, None] & pixels[None]).sum((2, 3))
    overlap = both / (pixels[:, None] | pixels[None]).sum((2, 3))
    assert (np.diff(scores[kept]) < 0).all()
    assert (overlap[np.ix_(kept, kept)] > threshold).sum() == len(kept)
    for place in set(range(40)) - set(kept.tolist()):
        better = kept[scores[kept] > scores[place]]
        assert (overlap[place, better] > threshold).any()


def test_odd_lists():
    assert suppress_boxes(np.zeros((0, 4)), []).shape == (0,)
    # Boxes without area overlap with nothing, not even with themselves.
    assert suppress_boxes([[3, 3, 3, 9], [3, 3, 3, 9]], [1, 2]).tolist() == [1, 0]
    assert suppress_boxes([[0, 0, 4, 4]] * 3, np.array([1, 1, 1], np.uint8), 0.9).tolist() == [0]
    assert suppress_boxes([[0, 0, 4, 4]] * 3, [1, 1, 1], 1).tolist() == [0, 1, 2]
    assert suppress_boxes(np.array([[0, 0, 4, 4], [0, 0, 4, 2]], ">i2"), [-5, -1], 0.4).tolist() == [1]


BOXES = [[0, 0, 4, 4], [1, 1, 3, 3]]


@pytest.mark.parametrize(
    ("arguments", "options", "error", "says"),
    [
        ((BOXES, [1]), {}, ValueError, r"shapes \(2, 4\) and \(1,\), but \(n, 4\) and \(n,\)"),
        (([1, 2, 3, 4], [1]), {}, ValueError, r"shapes \(4,\)"),
        (([["a"] * 4], [1]), {}, TypeError, "boxes is"),
        ((BOXES, [1, np.nan]), {}, ValueError, "scores holds numbers that are NaN"),
        (([[0, 0, np.inf, 4]], [1]), {}, ValueError, "boxes holds"),
        (([[0, 0, 4, 4], [4, 0, 0, 4]], [1, 2]), {}, ValueError, "Box 1 is"),
        ((BOXES, [1, 2], 50), {}, ValueError, "threshold is 50, but a number from 0 to 1"),
        ((BOXES, [1, 2], True), {}, ValueError, "threshold is True"),
        ((BOXES, [1, 2]), {"groups": [0.5, 1]}, ValueError, "groups is float64"),
        ((BOXES, [1, 2]), {"groups": [1]}, ValueError, "but 2 whole numbers"),
    ],
)
def test_bad_input_stops_with_one_sentence(arguments, options, error, says):
    with pytest.raises(error, match=says):
        suppress_boxes(*arguments, **options)
