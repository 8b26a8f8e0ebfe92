"""The sampled anchors and regions are those of a real step of training, and looking at them changes nothing."""

import random

import numpy as np
import pytest
import torch
from torch import nn

from emlib.models import build_model, detection_target, sampled_regions
from emlib.models.mask_rcnn_anchors import box_overlaps

NAMES = ("objects", "anchors", "anchor_labels", "proposals", "proposal_labels")


class Recorder:
    """Stands before a sampler and notes what it was given and what it drew."""

    def __init__(self, sampler):
        self.sampler, self.given, self.drawn = sampler, None, None

    def __call__(self, classes):
        self.given, self.drawn = classes, self.sampler(classes)
        return self.drawn


def make_scene(seed=0, shape=(88, 104), count=9):
    rng = np.random.default_rng(seed)
    labels = np.zeros(shape, np.int64)
    for number in range(1, count + 1):
        y, x = rng.integers(0, shape[0] - 8), rng.integers(0, shape[1] - 8)
        labels[y : y + rng.integers(6, 24), x : x + rng.integers(6, 24)] = number
    image = rng.integers(0, 60, (*shape, 3)) + 150 * (labels > 0)[..., None]
    return image.astype(np.uint8), labels


def as_tensor(image):
    return torch.from_numpy(image.astype(np.float32) / 255).permute(2, 0, 1)


def tiny(**options):
    torch.manual_seed(0)
    return build_model("mask_rcnn_tiny", **{"roi_batch": 32, "proposals_after_nms": 120, **options})


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"rules": "torchvision"},
        {"short_side": (64, 80, 96, 112), "long_side": 150},
        {"anchor_batch": 40, "anchor_sizes": ((6, 9), (12, 18), (24, 36), (48, 72), (96, 144))},
    ],
)
@pytest.mark.parametrize("seed", [0, 5])
def test_they_are_those_of_a_step_of_training(options, seed):
    image, labels = make_scene()
    network, target = tiny(**options), detection_target(labels)
    found = sampled_regions(network, image, labels, seed=seed)

    network.train()
    anchors, regions = (Recorder(part.fg_bg_sampler) for part in (network.rpn, network.roi_heads))
    network.rpn.fg_bg_sampler, network.roi_heads.fg_bg_sampler = anchors, regions
    laid, given = [], []
    lay, add = network.rpn.anchor_generator, network.roi_heads.add_gt_proposals

    class Laying:
        counts = staticmethod(lay.counts)

        def __call__(self, *arguments):
            laid.append((arguments[0], lay(*arguments)))
            return laid[-1][1]

    del network.rpn.anchor_generator
    network.rpn.anchor_generator = Laying()
    network.roi_heads.add_gt_proposals = lambda *arguments: given.append(add(*arguments)) or given[-1]
    torch.manual_seed(seed)
    network([as_tensor(image)], [target])

    # Undo the resizing with a box that spans the image: what the network saw of it.
    truth = given[0][0][-len(target["boxes"]) :]
    factors = (truth / target["boxes"]).nanmean(0)
    (front,), (back,) = anchors.drawn
    places = torch.cat([torch.nonzero(front)[:, 0], torch.nonzero(back)[:, 0]])
    np.testing.assert_allclose(found.anchors, laid[0][1][places] / factors, atol=2e-3)
    assert found.anchor_labels.tolist() == [1] * int(front.sum()) + [0] * int(back.sum())
    assert found.anchor_pool == tuple(int((anchors.given[0] == value).sum()) for value in (1, 0, -1))
    (front,), (back,) = regions.drawn
    places = torch.nonzero(front | back)[:, 0]
    np.testing.assert_allclose(found.proposals, given[0][0][places] / factors, atol=2e-3)
    assert found.proposal_labels.tolist() == regions.given[0][places].tolist()
    assert found.proposal_pool == (int((regions.given[0] > 0).sum()), int((regions.given[0] == 0).sum()))


def test_they_follow_the_published_rule():
    image, labels = make_scene(3)
    network = tiny(roi_batch=64)
    found = sampled_regions(network, image, labels)
    objects = torch.from_numpy(found.objects)
    overlaps = box_overlaps(objects, torch.from_numpy(found.anchors)).max(0).values.numpy()
    front = found.anchor_labels == 1
    assert len(front) == 256
    assert 0 < front.sum() <= 128
    # Fewer than half are foreground here, so all of it was drawn: every object's best anchor among it.
    assert front.sum() == found.anchor_pool[0] < 128
    assert overlaps[~front].max() < 0.3
    assert sum(found.anchor_pool) == 3 * sum(
        rows * columns for rows, columns in ((24, 32), (12, 16), (6, 8), (3, 4), (2, 2))
    )
    of_objects = box_overlaps(objects, torch.from_numpy(found.anchors[front])).numpy()
    assert all(
        ((of_objects[:, place] >= 0.7) | (of_objects[:, place] == of_objects.max(1))).any()
        for place in range(front.sum())
    )
    overlaps = box_overlaps(objects, torch.from_numpy(found.proposals)).max(0).values.numpy()
    front = found.proposal_labels > 0
    assert len(front) == 64
    assert 0 < front.sum() <= 16
    assert overlaps[front].min() >= 0.5 > overlaps[~front].max()


def test_the_network_and_the_generators_stay_as_they_are():
    image, labels = make_scene()
    network = tiny(norm="batch", short_side=(64, 96)).train()
    network.backbone.body.eval()
    modes = [part.training for part in network.modules()]
    weights = {name: value.clone() for name, value in network.state_dict().items()}
    reached = network.limits_reached
    random.seed(3)
    np.random.seed(3)  # noqa: NPY002
    torch.manual_seed(3)
    states = random.getstate(), np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    first = sampled_regions(network, image, labels, seed=1)
    assert random.getstate() == states[0]
    np.testing.assert_array_equal(np.random.get_state()[1], states[1])  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), states[2])
    assert [part.training for part in network.modules()] == modes
    assert True in modes
    assert False in modes
    assert all(torch.equal(value, weights[name]) for name, value in network.state_dict().items())
    assert all(parameter.grad is None and parameter.requires_grad for parameter in network.parameters())
    assert network.limits_reached == reached
    torch.rand(7)
    again, other = sampled_regions(network, image, labels, seed=1), sampled_regions(network, image, labels, seed=2)
    for name in NAMES:
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name))
    assert not np.array_equal(first.anchors, other.anchors)
    with pytest.raises(ValueError, match="values from"):
        sampled_regions(network, as_tensor(image) * 300, labels)
    assert [part.training for part in network.modules()] == modes


def test_images_and_targets_may_have_any_form():
    image, labels = make_scene()
    network, before = tiny(), (image.copy(), labels.copy())
    wanted = sampled_regions(network, image, labels)
    target = detection_target(labels)
    for picture in (as_tensor(image), image.astype(np.float32) / 255, np.asfortranarray(image)):
        found = sampled_regions(network, picture, target)
        for name in NAMES:
            np.testing.assert_array_equal(getattr(found, name), getattr(wanted, name))
    np.testing.assert_array_equal(image, before[0])
    np.testing.assert_array_equal(labels, before[1])
    grey = sampled_regions(network, image[..., 0], labels)
    thrice = sampled_regions(network, np.repeat(image[..., :1], 3, 2), labels)
    np.testing.assert_array_equal(grey.proposals, thrice.proposals)
    np.testing.assert_array_equal(sampled_regions(network, image[..., :1], labels).proposals, thrice.proposals)
    for name in NAMES:
        assert isinstance(getattr(wanted, name), np.ndarray)
    np.testing.assert_array_equal(wanted.objects, target["boxes"].numpy())


def test_without_objects_all_is_background():
    image, labels = make_scene(count=0)
    found = sampled_regions(tiny(), image, labels)
    assert found.objects.shape == (0, 4)
    assert found.anchor_labels.tolist() == [0] * 256
    assert found.anchor_pool[0] == found.anchor_pool[2] == 0
    assert found.proposal_pool[0] == 0
    assert not found.proposal_labels.any()


@pytest.mark.parametrize(
    ("network", "image", "labels", "error", "says"),
    [
        (nn.Linear(1, 1), None, None, TypeError, "The network is a Linear, but a Mask R-CNN"),
        (None, np.zeros((8, 8, 2), np.uint8), None, ValueError, "has 2 channels, but the network was built for 3"),
        (None, np.zeros((8, 8, 3), np.uint16), None, TypeError, "but a tensor of floating point numbers"),
        (None, np.full((8, 8, 3), np.nan), None, ValueError, "values from nan"),
        (None, np.zeros(8, np.uint8), None, ValueError, r"shape \(8,\)"),
        (None, None, np.zeros((9, 9), int), ValueError, r"but int32 \(8, 8\) was expected"),
        (None, None, np.zeros((8, 8)), TypeError, "whole numbers"),
        (None, None, {"boxes": torch.zeros(0, 4)}, ValueError, "has no labels, masks"),
    ],
)
def test_bad_input_stops_with_one_sentence(network, image, labels, error, says):
    image = np.zeros((8, 8, 3), np.uint8) if image is None else image
    with pytest.raises(error, match=says):
        sampled_regions(network or tiny(), image, np.zeros((8, 8), int) if labels is None else labels)
