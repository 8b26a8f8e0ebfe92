"""With `rules="torchvision"` the same weights give the losses and detections of torchvision's own Mask R-CNN."""

from collections import OrderedDict

import numpy as np
import pytest
import torch
from torch import nn

from emlib.models import build_model, detect, detection_target

SIZES = ((128, 128), (96, 128))
LIMITS = {"proposals_before_nms": (300, 200), "proposals_after_nms": (150, 100), "detections_per_image": 40}


class NamedMaps(nn.Module):
    """Our backbone as torchvision's networks want it."""

    def __init__(self, backbone):
        super().__init__()
        self.backbone, self.out_channels = backbone, backbone.out_channels

    def forward(self, image):
        return OrderedDict(zip(("0", "1", "2", "3", "pool"), self.backbone(image), strict=True))


@pytest.fixture(scope="module")
def ours():
    torch.manual_seed(0)
    model = build_model("mask_rcnn_tiny", rules="torchvision", **LIMITS)
    # Fresh weights give all regions nearly one score; these give each its own.
    for layer in (model.rpn.head.cls_logits, model.roi_heads.box_predictor.cls_score):
        nn.init.normal_(layer.weight, std=0.3)
    nn.init.normal_(model.rpn.head.bbox_pred.weight, std=0.02)
    return model


@pytest.fixture(scope="module")
def theirs(ours):
    from torchvision.models.detection import MaskRCNN
    from torchvision.models.detection.anchor_utils import AnchorGenerator

    heads = ours.roi_heads
    return MaskRCNN(
        NamedMaps(ours.backbone),
        min_size=128,
        max_size=128,
        rpn_anchor_generator=AnchorGenerator(((8,), (16,), (32,), (64,), (128,)), ((0.5, 1.0, 2.0),) * 5),
        rpn_head=ours.rpn.head,
        rpn_pre_nms_top_n_train=300,
        rpn_pre_nms_top_n_test=200,
        rpn_post_nms_top_n_train=150,
        rpn_post_nms_top_n_test=100,
        box_head=heads.box_head,
        box_predictor=heads.box_predictor,
        box_detections_per_img=40,
        box_batch_size_per_image=128,
        mask_head=heads.mask_head,
        mask_predictor=heads.mask_predictor,
        _skip_resize=True,
    )


@pytest.fixture(scope="module")
def scene():
    rng = np.random.default_rng(0)
    images, targets = [], []
    for size in SIZES:
        labels = np.zeros(size, int)
        for number in range(1, 7):
            y, x, side = rng.integers(0, size[0] - 40), rng.integers(0, size[1] - 40), rng.integers(8, 38)
            labels[y : y + side, x : x + side // 2 + 3] = number
        images.append(torch.tensor(rng.uniform(0, 1, (3, *size))).float())
        targets.append(detection_target(labels))
    return images, targets


def with_masks(target):
    numbers = torch.arange(1, len(target["boxes"]) + 1)[:, None, None]
    return target | {"masks": (target["instances"] == numbers).to(torch.uint8)}


def test_losses_are_torchvisions(ours, theirs, scene):
    images, targets = scene
    ours.train()
    theirs.train()
    torch.manual_seed(5)
    expected = theirs(images, [with_masks(target) for target in targets])
    torch.manual_seed(5)
    found = ours(images, targets)
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        torch.testing.assert_close(found[key], value, atol=1e-5, rtol=1e-5)
        assert value > 0
    torch.manual_seed(5)
    again = ours(images, [{key: v for key, v in with_masks(t).items() if key != "instances"} for t in targets])
    assert all(torch.equal(again[key], value) for key, value in found.items())


def test_losses_of_the_published_rules_are_others(ours, scene):
    images, targets = scene
    torch.manual_seed(0)
    published = build_model("mask_rcnn_tiny", **LIMITS)
    published.load_state_dict(ours.state_dict())
    values = []
    for model in (ours.train(), published):
        torch.manual_seed(5)
        values.append(model(images, targets))
    assert all(abs(values[0][key] - values[1][key]) > 1e-4 for key in ("loss_box_reg", "loss_rpn_box_reg", "loss_mask"))


def test_detections_are_torchvisions(ours, theirs, scene):
    images, _ = scene
    theirs.eval()
    with torch.no_grad():
        expected = theirs(images)
    found = detect(ours, images, batch_size=2)
    for one, other in zip(found, expected, strict=True):
        assert len(one) == 40
        assert one.cut_off
        for key in ("boxes", "scores", "labels"):
            np.testing.assert_allclose(getattr(one, key), other[key].numpy(), atol=1e-4)
        masks = other["masks"][:, 0].numpy()
        for number, drawn in enumerate(one.objects(rule="torchvision")):
            image = np.zeros(one.shape, bool)
            image[drawn.slices] = drawn.mask
            sure = np.abs(masks[number] - 0.5) > 1e-3
            assert np.array_equal(image[sure], masks[number][sure] >= 0.5)
