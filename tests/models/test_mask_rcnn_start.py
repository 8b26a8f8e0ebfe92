"""What Mask R-CNN starts from, and what it refuses: weights of files, settings, a missing library."""

import sys

import numpy as np
import pytest
import torch
from torch import nn

from emlib.models import build_model, detection_target, load_backbone_weights

LOSSES = {"loss_classifier", "loss_box_reg", "loss_mask", "loss_objectness", "loss_rpn_box_reg"}
FEW = {"roi_batch": 32, "proposals_before_nms": 300, "proposals_after_nms": 200}


def tiny(seed=0, **options):
    torch.manual_seed(seed)
    return build_model("mask_rcnn_tiny", **FEW | options)


def noise(*sizes):
    torch.manual_seed(1)
    return [torch.rand(3, *size) for size in sizes]


@pytest.fixture(scope="module")
def resnet50():
    from torchvision.models import resnet50

    torch.manual_seed(7)
    network = resnet50(weights=None)
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_var.uniform_(0.5, 2)
    return network.state_dict()


def test_backbone_weights_of_a_file_are_taken_frozen_and_trained_as_said(resnet50, tmp_path):
    torch.save(resnet50, tmp_path / "resnet50.pth")
    model = build_model("mask_rcnn_r50_fpn", backbone_weights_file=tmp_path / "resnet50.pth", **FEW, short_side=64)
    body = model.backbone.body.state_dict()
    assert all(torch.equal(value, resnet50[key]) for key, value in body.items())
    assert {key for key in resnet50 if key not in body and "num_batches" not in key} == {"fc.weight", "fc.bias"}
    trained = {key.split(".")[0] for key, p in model.backbone.body.named_parameters() if p.requires_grad}
    assert trained == {"layer2", "layer3", "layer4"}
    labels = np.zeros((64, 64), int)
    labels[10:30, 20:50] = 1
    losses = model(noise((64, 64)), [detection_target(labels)])
    sum(losses.values()).backward()
    assert all(torch.isfinite(value) for value in losses.values())
    for key, parameter in model.named_parameters():
        assert (parameter.grad is not None and bool(parameter.grad.any())) == parameter.requires_grad, key


def test_trained_batch_normalisation_takes_files_without_a_count(tmp_path):
    first, second = tiny(seed=1, norm="batch"), tiny(seed=2, norm="batch", trainable_layers=0)
    first.backbone.body.bn1.running_var.fill_(3)
    body = first.backbone.body.state_dict()
    old = {f"module.{key}": value for key, value in body.items() if "num_batches" not in key}
    torch.save({"state_dict": old}, tmp_path / "old.pth")
    load_backbone_weights(second, tmp_path / "old.pth")
    assert all(torch.equal(value, body[key]) for key, value in second.backbone.body.state_dict().items())
    assert not any(parameter.requires_grad for parameter in second.backbone.body.parameters())


def test_backbone_weights_that_do_not_fit_are_counted_and_named(resnet50, tmp_path):
    wrong = dict(resnet50) | {"layer5.weight": torch.zeros(1), "conv1.weight": torch.zeros(64, 1, 7, 7)}
    del wrong["bn1.bias"]
    torch.save(wrong, tmp_path / "wrong.pth")
    with torch.device("meta"):
        model = build_model("mask_rcnn_r50_fpn")
    with pytest.raises(ValueError) as caught:
        load_backbone_weights(model, tmp_path / "wrong.pth")
    says = str(caught.value)
    assert "1 missing: bn1.bias; 1 unexpected: layer5.weight; 1 of another shape: conv1.weight (64 x 1 x 7 x 7" in says
    assert "\n" not in says
    with pytest.raises(FileNotFoundError):
        build_model("mask_rcnn_tiny", backbone_weights_file=tmp_path / "none.pth")


def test_a_whole_mask_rcnn_lends_its_backbone(tmp_path):
    first, second = tiny(seed=1), tiny(seed=2)
    torch.save(first.state_dict(), tmp_path / "whole.pth")
    load_backbone_weights(second, tmp_path / "whole.pth")
    for key, value in first.backbone.body.state_dict().items():
        assert torch.equal(second.backbone.body.state_dict()[key], value)
    assert not torch.equal(first.rpn.head.cls_logits.weight, second.rpn.head.cls_logits.weight)


def test_fresh_weights_with_frozen_normalisation_are_not_trained():
    model = tiny(norm="frozen")
    image, target = noise((64, 64))[0], detection_target(np.zeros((64, 64), int))
    for _ in range(2):
        with pytest.raises(ValueError, match="norm 'frozen'"):
            model([image], [target])
    model.backbone.body.bn1.running_var.fill_(2)
    assert model([image], [target]).keys() == LOSSES


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"in_channels": 0}, "in_channels is 0"),
        ({"out_channels": 1}, "out_channels is 1"),
        ({"roi_batch": 1.5}, "roi_batch is 1.5"),
        ({"mask_size": 27}, "mask_size is 27, but an even number"),
        ({"norm": "gn"}, "norm is 'gn', but 'frozen', 'batch' or 'group'"),
        ({"rules": "detectron2"}, "rules is 'detectron2'"),
        ({"score_threshold": 5}, "score_threshold is 5"),
        ({"anchor_sizes": (8, 16)}, "5 entries"),
        ({"proposals_after_nms": (1, 2, 3)}, "proposals_after_nms is [1, 2, 3]"),
        ({"detections_per_image": 0}, "detections_per_image is 0"),
        ({"objects_per_image": -1}, "objects_per_image is -1"),
        ({"trainable_layers": 6}, "at most 5"),
        ({"short_side": []}, "short_side is empty"),
        ({"long_side": 0}, "long_side is 0"),
        ({"image_mean": (0.5,)}, "image_mean is [0.5], but 3 numbers"),
        ({"image_std": (0.5, 0, 1)}, "image_std is [0.5, 0, 1]"),
        ({"anchors": (8, 16)}, "has no option 'anchors'"),
        ({"architecture": "tiny"}, "has no option 'architecture'"),
    ],
)
def test_bad_settings_are_refused_in_one_sentence(options, says):
    with pytest.raises(ValueError) as caught:
        build_model("mask_rcnn_tiny", **options)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_training_needs_targets_that_fit():
    model = tiny()
    with pytest.raises(ValueError, match="training needs targets"):
        model(noise((64, 64)))
    with pytest.raises(ValueError, match="1 images, but 0 targets"):
        model(noise((64, 64)), [])
    with pytest.raises(ValueError, match="3 channels, but the network was built for 1"):
        tiny(in_channels=1).eval()(noise((64, 64)))


def test_a_missing_torchvision_is_named_with_its_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchvision", None)
    with pytest.raises(ImportError, match=r"torchvision cannot be imported .*pip install \"emlib\[models\]\""):
        build_model("mask_rcnn_tiny")
