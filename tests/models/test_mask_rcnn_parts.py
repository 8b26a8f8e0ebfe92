"""The parts of Mask R-CNN against figures of the specification, brute force and torchvision's own functions."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from emlib.models.mask_rcnn_anchors import PyramidAnchors, box_overlaps, cell_anchors, match_boxes
from emlib.models.mask_rcnn_rules import PUBLISHED, TORCHVISION
from emlib.models.mask_rcnn_suppression import suppress


def random_boxes(rng, count, extent=60.0, least=0.5, most=25.0):
    corners = rng.uniform(0, extent, (count, 2))
    return torch.tensor(np.concatenate([corners, corners + rng.uniform(least, most, (count, 2))], 1)).float()


@pytest.mark.parametrize("sampling", [2, 0])
@pytest.mark.parametrize(
    ("region", "aligned", "expected"),
    [
        ((1, 1, 6, 5), True, (13.75, 16.25, 29.75, 32.25)),
        ((1, 1, 6, 5), False, (18.25, 20.75, 34.25, 36.75)),
        ((2.5, 3.25, 7.5, 7.75), True, (34.25, 36.75, 52.25, 54.75)),
    ],
)
def test_whichever_roi_align_is_loaded_gives_the_reference_values(sampling, region, aligned, expected):
    from torchvision.ops import roi_align

    features = torch.arange(64.0).reshape(1, 1, 8, 8)
    found = roi_align(features, torch.tensor([[0.0, *region]]), 2, 1.0, sampling, aligned)
    torch.testing.assert_close(found.flatten(), torch.tensor(expected), atol=2e-5, rtol=0)


@given(st.integers(0, 9999), st.integers(0, 80), st.sampled_from([0.0, 0.3, 0.5, 0.7]))
def test_suppression_equals_whichever_operator_is_loaded(seed, count, threshold):
    from torchvision.ops import nms

    rng = np.random.default_rng(seed)
    boxes = random_boxes(rng, count, extent=12, most=9).round()
    scores, groups = torch.tensor(rng.integers(0, 9, count) / 8), torch.tensor(rng.integers(0, 3, count))
    expected = []
    for group in range(3):
        members = torch.nonzero(groups == group)[:, 0]
        # The order of equal scores is the operator's own, so they are told apart first.
        apart = scores[members] - torch.arange(len(members)) * 1e-9
        expected += members[nms(boxes[members].double(), apart, threshold)].tolist()
    kept = suppress(boxes, scores, groups, threshold)
    assert sorted(kept.tolist()) == sorted(expected)
    assert torch.equal(scores[kept], scores[kept].sort(descending=True).values)
    assert kept.dtype == torch.int64


def test_suppression_takes_many_boxes():
    rng = np.random.default_rng(0)
    from emlib.torchvision_operators import non_maximum_suppression

    boxes, scores = random_boxes(rng, 6000, extent=1000), torch.tensor(rng.permutation(6000) / 6000)
    kept = suppress(boxes, scores, torch.zeros(6000, dtype=torch.int64), 0.7)
    assert torch.equal(kept, non_maximum_suppression(boxes, scores, 0.7))


def test_box_deltas_are_the_published_ones():
    from torchvision.models.detection._utils import BoxCoder

    coder = BoxCoder((10.0, 10.0, 5.0, 5.0))
    before, after = torch.tensor([[10.0, 20, 50, 60]]), torch.tensor([[12.0, 18, 60, 50]])
    deltas = coder.encode_single(after, before)
    torch.testing.assert_close(deltas, torch.tensor([[1.5, -1.5, 0.9116078, -1.1157178]]), atol=1e-6, rtol=0)
    torch.testing.assert_close(coder.decode_single(deltas, before), after, atol=1e-4, rtol=0)
    huge = coder.decode_single(torch.tensor([[0.0, 0, 500, 0]]), before)
    assert (huge[0, 2] - huge[0, 0]).item() == pytest.approx(40 * math.exp(4.135167), rel=1e-5)


def test_anchors_are_the_published_ones_and_torchvisions_rounded():
    exact = cell_anchors([32], [0.5, 1, 2])
    expected = [[22.627, 11.314], [16, 16], [11.314, 22.627]]
    torch.testing.assert_close(exact[:, 2:], torch.tensor(expected), atol=1e-3, rtol=0)
    assert torch.equal(exact[:, :2], -exact[:, 2:])
    assert cell_anchors([32], [0.5, 1, 2], rounded=True)[0].tolist() == [-23, -11, 23, 11]


@pytest.mark.parametrize("sizes", [(8, 16, 32), ((8, 12), (16, 24), (32, 48))])
def test_anchors_of_a_pyramid_equal_torchvisions(sizes):
    from torchvision.models.detection.anchor_utils import AnchorGenerator
    from torchvision.models.detection.image_list import ImageList

    nested = tuple(size if isinstance(size, tuple) else (size,) for size in sizes)
    theirs = AnchorGenerator(nested, ((0.5, 1.0, 2.0),) * 3)
    grids = [(9, 8), (5, 4), (3, 2)]
    maps = [torch.zeros(1, 1, *grid) for grid in grids]
    expected = theirs(ImageList(torch.zeros(1, 3, 36, 32), [(36, 32)]), maps)[0]
    ours = PyramidAnchors(sizes, (0.5, 1.0, 2.0), (4, 8, 16), TORCHVISION)
    assert torch.equal(ours((36, 32), grids, torch.device("cpu")), expected)
    assert sum(ours.counts(grids)) == len(expected)
    # Theirs stand 36 // 5 = 7 and 36 // 3 = 12 pixels apart where the maps are 8 and 16 apart.
    exact = PyramidAnchors(sizes, (0.5, 1.0, 2.0), (4, 8, 16))((36, 32), grids, torch.device("cpu"))
    centres = (exact[:, :2] + exact[:, 2:])[:, 1] / 2
    steps = [part.unique().tolist() for part in centres.split(ours.counts(grids))]
    assert [step[-1] for step in steps] == [32, 32, 32]


@pytest.mark.parametrize(
    ("sizes", "ratios", "says"),
    [
        ((8, 16), (1.0,), r"anchor_sizes is \[8, 16\], but 3 entries"),
        (((8,), (16, 32), (64,)), (1.0,), r"\[\[8\], \[16, 32\], \[64\]\]"),
        ((8, 16, -1), (1.0,), "above 0"),
        ((8, 16, 32), (), "aspect_ratios holds"),
    ],
)
def test_bad_anchors_are_refused(sizes, ratios, says):
    with pytest.raises(ValueError, match=says):
        PyramidAnchors(sizes, ratios, (4, 8, 16))


def test_levels_follow_the_published_rule():
    from emlib.models.mask_rcnn_regions import pyramid_level

    sides = torch.tensor([20.0, 56, 111.9, 112, 223.9, 224, 447.9, 448, 3000])
    boxes = torch.stack([sides * 0, sides * 0, sides, sides], 1)
    for rules in (PUBLISHED, TORCHVISION):
        assert pyramid_level(boxes, rules).tolist() == [2, 2, 2, 3, 3, 4, 4, 5, 5]


def test_regions_of_a_pyramid_equal_torchvisions():
    from torchvision.ops import MultiScaleRoIAlign

    from emlib.models.mask_rcnn_regions import PyramidRoIAlign

    rng = np.random.default_rng(0)
    maps = [torch.tensor(rng.normal(size=(2, 3, 256 // s, 256 // s))).float() for s in (4, 8, 16, 32, 64)]
    boxes = [random_boxes(rng, 9, 200, 1, 50), random_boxes(rng, 4, 20, 100, 230)]
    theirs = MultiScaleRoIAlign(["0", "1", "2", "3"], 7, 2)
    expected = theirs({str(number): level for number, level in enumerate(maps)}, boxes, [(256, 256)] * 2)
    torch.testing.assert_close(PyramidRoIAlign(7, TORCHVISION)(maps, boxes), expected)
    aligned = PyramidRoIAlign(7, PUBLISHED)(maps, boxes)
    assert aligned.shape == expected.shape
    assert (aligned - expected).abs().max() > 0.1
    empty = PyramidRoIAlign(7, PUBLISHED)(maps, [boxes[0][:0], boxes[1][:0]])
    assert empty.shape == (0, 3, 7, 7)


@given(st.integers(0, 9999), st.integers(0, 7), st.integers(1, 90))
def test_matching_equals_torchvisions_whatever_the_blocks(seed, objects, blocks):
    from torchvision.models.detection._utils import Matcher
    from torchvision.ops import box_iou

    from emlib.models import mask_rcnn_anchors

    rng = np.random.default_rng(seed)
    # Whole numbers give equally good anchors; every object lies on an anchor, so that none overlaps nothing.
    anchors = random_boxes(rng, 80, extent=30).round()
    anchors[:, 2:] += 1
    truth = anchors[rng.permutation(80)[:objects]] + torch.tensor([0.0, 0, 1, 0])
    torch.testing.assert_close(box_overlaps(truth, anchors), box_iou(truth, anchors))
    usual = mask_rcnn_anchors._PAIRS_AT_ONCE
    mask_rcnn_anchors._PAIRS_AT_ONCE = blocks
    try:
        found = match_boxes(truth, anchors, low=0.3, high=0.7)
    finally:
        mask_rcnn_anchors._PAIRS_AT_ONCE = usual
    if objects:
        assert torch.equal(found, Matcher(0.7, 0.3, allow_low_quality_matches=True)(box_iou(truth, anchors)))
        assert set(range(objects)) >= set(found[found >= 0].tolist())
    else:
        assert found.tolist() == [-1] * 80


def test_an_object_that_no_anchor_touches_belongs_to_none():
    anchors = torch.tensor([[0.0, 0, 4, 4], [2, 2, 6, 6]])
    assert match_boxes(torch.tensor([[50.0, 50, 60, 60]]), anchors, low=0.3, high=0.7).tolist() == [-1, -1]
