"""What goes into Mask R-CNN: masks and boxes to learn from, images, limits; against other libraries and by hand."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from emlib.models import LimitsReached, detection_target, limits_for
from emlib.models.mask_rcnn_images import check_images, prepare_images, resized_size
from emlib.models.mask_rcnn_targets import check_targets, sample_masks


def ellipses(rng, count=5, shape=(70, 90)):
    y, x = np.mgrid[: shape[0], : shape[1]]
    masks = []
    for _ in range(count):
        cy, cx, ry, rx = rng.uniform(5, 60), rng.uniform(5, 80), rng.uniform(3, 30), rng.uniform(3, 30)
        masks.append(((y - cy) / ry) ** 2 + ((x - cx) / rx) ** 2 < 1)
    return np.array(masks)


@pytest.mark.parametrize("aligned", [True, False])
def test_masks_through_boxes_equal_roi_align_of_whole_masks(aligned):
    from torchvision.ops import roi_align

    rng = np.random.default_rng(1)
    masks = torch.tensor(ellipses(rng))
    corners = rng.uniform(0, 60, (12, 2))
    inside = torch.tensor(np.concatenate([corners, corners + rng.uniform(2, 70, (12, 2))], 1)).float()
    boxes = torch.cat([inside, torch.tensor([[-3.0, -2, 12, 9], [60, 40, 95, 73]])])
    objects = torch.tensor(rng.integers(0, 5, len(boxes)))
    regions = torch.cat([objects[:, None].float(), boxes], 1)
    expected = roi_align(masks[:, None].float(), regions, 28, 1.0, -1, aligned)[:, 0]
    for dtype, high in ((torch.uint8, 255), (torch.bool, 1)):
        target = {"masks": (masks.int() * high).to(dtype)}
        found = sample_masks(target, objects, boxes, 28, aligned=aligned, binary=False)
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)
    binary = sample_masks(target, objects, boxes, 28, aligned=aligned)
    sure = (expected - 0.5).abs() > 1e-3
    assert torch.equal(binary[sure], (expected[sure] >= 0.5).float())


def test_masks_of_instances_equal_masks_one_by_one():
    rng = np.random.default_rng(2)
    labels = np.zeros((70, 90), np.uint64)
    for number, mask in enumerate(ellipses(rng, 4)):
        labels[mask] = (2**63, 9, 2**40, 12)[number]
    target = detection_target(labels)
    masks = torch.stack([target["instances"] == number + 1 for number in range(len(target["boxes"]))])
    boxes, objects = target["boxes"], torch.arange(len(masks))
    found = sample_masks(target, objects, boxes, 28)
    assert torch.equal(found, sample_masks({"masks": masks}, objects, boxes, 28))
    assert found.any((1, 2)).all()
    assert sample_masks(target, objects[:0], boxes[:0], 28).shape == (0, 28, 28)


@given(st.integers(0, 9999), st.sampled_from(["uint8", "uint32", "int64", "uint64"]), st.booleans())
def test_targets_of_labels_equal_those_of_scikit_image(seed, dtype, with_background):
    from skimage.measure import regionprops

    rng = np.random.default_rng(seed)
    labels = rng.choice([0, 3, 4, 200] if with_background else [3, 200], (7, 9)).astype(dtype)
    before = labels.copy()
    target = detection_target(np.asfortranarray(labels))
    regions = regionprops(labels.astype(np.int64))
    expected = [[r.bbox[1], r.bbox[0], r.bbox[3], r.bbox[2]] for r in regions]
    assert target["boxes"].tolist() == expected
    assert target["labels"].tolist() == [1] * len(regions)
    for number, region in enumerate(regions):
        assert np.array_equal(target["instances"].numpy() == number + 1, labels == region.label)
    assert np.array_equal(labels, before)


def test_labels_without_objects_and_wrong_labels():
    empty = detection_target(np.zeros((4, 5), np.uint8))
    assert empty["boxes"].shape == (0, 4)
    assert empty["labels"].shape == (0,)
    assert not empty["instances"].any()
    with pytest.raises(TypeError, match="float64"):
        detection_target(np.zeros((4, 5)))
    with pytest.raises(ValueError, match=r"\(4,\)"):
        detection_target(np.zeros(4, int))


def good_target():
    return detection_target(np.array([[0, 1, 1], [2, 2, 0]]))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"boxes": None}, "target 0 has no boxes"),
        ({"instances": None}, r"has no masks \(or instances\)"),
        ({"boxes": torch.zeros(2, 5)}, r"boxes is float32 \(2, 5\)"),
        ({"boxes": torch.zeros(2, 4, dtype=torch.int64)}, "boxes is int64"),
        ({"boxes": torch.tensor([[0.0, 0, 1, 1], [2, 2, 2, 3]])}, r"box 1 is \[2.0, 2.0, 2.0, 3.0\]"),
        ({"boxes": torch.tensor([[0.0, 0, 1, float("nan")], [2, 2, 3, 3]])}, "box 0 is"),
        ({"labels": torch.tensor([1.0, 1.0])}, r"labels is float32 \(2,\)"),
        ({"labels": torch.tensor([1, 2])}, "label 1 is 2, but 1 to 1"),
        ({"labels": torch.tensor([0, 1])}, "label 0 is 0"),
        ({"labels": torch.tensor([1])}, r"int64 \(2,\) was expected"),
        ({"masks": torch.zeros(2, 3, 2, dtype=torch.uint8)}, r"\(2, 2, 3\) was expected"),
        ({"masks": torch.zeros(2, 2, 3)}, "masks is float32"),
        ({"instances": torch.zeros(3, 3, dtype=torch.int32)}, r"instances is int32 \(3, 3\)"),
    ],
)
def test_bad_targets_are_refused_in_one_sentence(change, says):
    target = {key: value for key, value in (good_target() | change).items() if value is not None}
    with pytest.raises(ValueError, match=says) as caught:
        check_targets("mask_rcnn", [target], [(2, 3)], 2)
    assert "\n" not in str(caught.value)


def test_targets_that_are_no_list_or_too_few_are_refused():
    with pytest.raises(TypeError, match="list of one mapping"):
        check_targets("mask_rcnn", good_target(), [(2, 3)], 2)
    with pytest.raises(ValueError, match="2 images, but 1 targets"):
        check_targets("mask_rcnn", [good_target()], [(2, 3)] * 2, 2)
    check_targets("mask_rcnn", [good_target()], [(2, 3)], 2)


@pytest.mark.parametrize(
    ("image", "error", "says"),
    [
        (np.zeros((3, 8, 8), np.float32), TypeError, "image 0 is ndarray"),
        (torch.zeros(3, 8, 8, dtype=torch.uint8), TypeError, "torch.uint8"),
        (torch.zeros(8, 8), ValueError, r"\(8, 8\)"),
        (torch.zeros(3, 0, 8), ValueError, r"\(3, 0, 8\)"),
        (torch.zeros(1, 8, 8), ValueError, "1 channels"),
        (torch.full((3, 8, 8), 200.0), ValueError, "from 200 to 200"),
        (torch.full((3, 8, 8), float("nan")), ValueError, "nan"),
        (torch.full((3, 8, 8), float("inf")), ValueError, "inf"),
    ],
)
def test_bad_images_are_refused(image, error, says):
    with pytest.raises(error, match=says):
        check_images("mask_rcnn", [image], 3)
    with pytest.raises(ValueError, match="no image"):
        check_images("mask_rcnn", [], 3)


def test_images_are_standardised_resized_and_padded():
    torch.manual_seed(0)
    images = [torch.rand(3, 20, 30), torch.rand(3, 40, 25)]
    batch = prepare_images(images, mean=(0.1, 0.2, 0.3), std=(0.5, 0.5, 2.0))
    assert batch.tensors.shape == (2, 3, 64, 32)
    assert batch.sizes == ((20, 30), (40, 25))
    assert torch.equal(batch.tensors[0, 2, :20, :30], (images[0][2] - 0.3) / 2)
    assert not batch.tensors[0, :, 20:].any()
    assert not batch.tensors[1, :, :, 25:].any()
    twice = prepare_images(images, mean=(0,) * 3, std=(1,) * 3, short_sides=(40,), long_side=50)
    assert twice.sizes == ((33, 50), (50, 31))
    box = torch.tensor([[3.0, 2, 15, 10]])
    torch.testing.assert_close(twice.to_network(0, box), torch.tensor([[5, 3.3, 25, 16.5]]))
    torch.testing.assert_close(twice.to_image(0, twice.to_network(0, box)), box)
    drawn = {prepare_images(images[:1], mean=(0,) * 3, std=(1,) * 3, short_sides=(16, 24)).sizes for _ in range(20)}
    assert drawn == {((16, 24),), ((24, 36),)}
    assert resized_size((1000, 1000), 1200, None) == (1200, 1200)


def test_shrinking_is_smooth():
    """A fine checkerboard shrunk to a third is grey; without the wider filter it stays a pattern."""
    board = ((torch.arange(96)[:, None] + torch.arange(96)) % 2).float()[None]
    for smooth in (True, False):
        small = prepare_images([board], mean=(0,), std=(1,), short_sides=(32,), smooth_shrinking=smooth).tensors
        assert (small.std() < 0.1) == smooth


def test_limits_leave_room():
    limits = limits_for([3, 1100])
    assert limits.detections >= 2 * 1100
    assert limits.before_nms >= limits.after_nms >= 8 * 1100
    assert limits_for(np.array([3, 1100])) == limits_for(1100)
    assert limits_for(0) == limits_for([1, 2])
    for wrong, error in (([], ValueError), ([-1], ValueError), ([2.5], TypeError), ([True], TypeError)):
        with pytest.raises(error):
            limits_for(wrong)
    assert LimitsReached(1, 2, 3, 4) + LimitsReached(4, 3, 2, 1) == LimitsReached(5, 5, 5, 5)
