"""Mask R-CNN as a whole: sizes, losses, learning, limits, weights, precision, checkpoints, refusals."""

import copy

import numpy as np
import pytest
import torch

from emlib.data.cell_phantom import make_cell_phantom
from emlib.models import (
    LimitsReached,
    build_model,
    count_parameters,
    describe_model,
    detect,
    detection_target,
    limits_for,
)
from emlib.training.memory_order import use_fast_memory_order

LOSSES = {"loss_classifier", "loss_box_reg", "loss_mask", "loss_objectness", "loss_rpn_box_reg"}
FEW = {"roi_batch": 32, "proposals_before_nms": 300, "proposals_after_nms": 200}


def tiny(seed=0, **options):
    torch.manual_seed(seed)
    return build_model("mask_rcnn_tiny", **FEW | options)


def scene(seed, size=96):
    phantom = make_cell_phantom((size, size), modality="stained", seed=seed, cells=8, scale=1.5)
    return torch.from_numpy(phantom.image.copy()).permute(2, 0, 1).float() / 255, phantom.labels


def noise(*sizes, channels=3):
    torch.manual_seed(1)
    return [torch.rand(channels, *size) for size in sizes]


@pytest.fixture(scope="module")
def scenes():
    return [scene(0), scene(1)]


@pytest.fixture(scope="module")
def learned(scenes):
    """A tiny network that has learned two images by heart, and its losses on the way."""
    network = use_fast_memory_order(tiny())
    steps, rate = 50, 2e-3
    images, targets = [image for image, _ in scenes], [detection_target(labels) for _, labels in scenes]
    optimizer = torch.optim.AdamW(network.parameters(), lr=rate)
    history = []
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = rate * min(1, (step + 1) / 10, 2 * (steps - step) / steps)
        losses = network(images, targets)
        history.append(sum(losses.values()).item())
        sum(losses.values()).backward()
        optimizer.step()
        optimizer.zero_grad()
    return network.eval(), history


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("mask_rcnn_r50_fpn", 43_922_395),
        ("mask_rcnn_r101_fpn", 62_862_299),
        ("mask_rcnn_x101_32x8d_fpn", 107_006_939),
        ("mask_rcnn_tiny", 1_736_443),
    ],
)
def test_parameters_are_as_many_as_published(name, parameters):
    with torch.device("meta"):
        model = build_model(name)
    assert count_parameters(model) == parameters
    assert model.min_divisor == (1, 1)
    if name == "mask_rcnn_r101_fpn":
        parts = {part: count_parameters(child) for part, child in model.named_children()}
        assert parts == {"backbone": 45_739_200, "rpn": 593_935, "roi_heads": 16_529_164}


def test_names_of_weights_are_torchvisions():
    from torchvision.models.detection import maskrcnn_resnet50_fpn

    with torch.device("meta"):
        theirs = maskrcnn_resnet50_fpn(weights=None, weights_backbone=None, num_classes=2).state_dict()
        ours = build_model("mask_rcnn_r50_fpn", norm="batch").state_dict()
    assert {key: value.shape for key, value in ours.items()} == {key: value.shape for key, value in theirs.items()}


def test_it_learns_two_images_by_heart(learned, scenes):
    network, history = learned
    assert np.mean(history[-5:]) < 0.4 * history[0]
    for image, labels in scenes:
        found = detect(network, [image])[0]
        overlaps = []
        for drawn in found.objects():
            pixels = np.zeros(labels.shape, bool)
            pixels[drawn.slices] = drawn.mask
            overlaps.append(
                [(pixels & (labels == k)).sum() / (pixels | (labels == k)).sum() for k in range(1, labels.max() + 1)]
            )
        best = np.array(overlaps).max(0)
        assert (best >= 0.5).mean() >= 0.85
        assert np.median(best) > 0.7
        # The best detections are objects, each another one.
        first = np.array(overlaps)[: labels.max() // 2]
        assert (first.max(1) >= 0.5).all()
        assert len(set(first.argmax(1))) == len(first)


def test_detections_are_in_pixels_of_the_image_whatever_the_network_sees(learned, scenes):
    network = copy.deepcopy(learned[0])
    image, labels = scenes[0]
    network.test_short_sides = (144,)
    larger = detect(network, [image])[0]
    assert larger.boxes.max() <= 96
    assert larger.boxes.max() > 48
    assert larger.shape == (96, 96)
    truth = detection_target(labels)["boxes"].numpy()
    assert (overlaps_of_boxes(truth, larger.boxes).max(1) > 0.5).mean() >= 0.6


def test_detections_do_not_depend_on_the_batch(learned, scenes):
    network = learned[0]
    # Both are padded to the same size: group normalisation sees the padding.
    images = [scenes[0][0], scenes[1][0][:, :70, :90]]
    alone, together = detect(network, images), detect(network, images, batch_size=2)
    for one, other in zip(alone, together, strict=True):
        assert len(one) == len(other) > 0
        np.testing.assert_allclose(one.boxes, other.boxes, atol=2e-2)
        np.testing.assert_allclose(one.masks, other.masks, atol=2e-2)
    with torch.no_grad():
        plain = network(images[0][None])[0]
    assert plain.keys() == {"boxes", "scores", "labels", "masks", "cut_off"}
    assert np.array_equal(plain["boxes"].numpy(), alone[0].boxes)
    with pytest.raises(ValueError, match="batch_size is 0"):
        detect(network, images, batch_size=0)


def test_detections_do_not_depend_on_the_portions(learned, scenes, monkeypatch):
    from emlib.models import mask_rcnn_regions

    whole = detect(learned[0], [scenes[0][0]])[0]
    monkeypatch.setattr(mask_rcnn_regions, "_MASKS_AT_ONCE", 3)
    np.testing.assert_allclose(detect(learned[0], [scenes[0][0]])[0].masks, whole.masks, atol=1e-4)
    # And of the regions that are classified, of two images together.
    images = [one for one, _ in scenes[:2]]
    whole = detect(learned[0], images, batch_size=2)
    monkeypatch.setattr(mask_rcnn_regions, "_REGIONS_AT_ONCE", 70)
    for one, other in zip(detect(learned[0], images, batch_size=2), whole, strict=True):
        np.testing.assert_allclose(one.scores, other.scores, atol=1e-5)
        np.testing.assert_allclose(one.boxes, other.boxes, atol=1e-3)


def test_what_a_limit_cuts_off_is_counted(learned, scenes):
    image = scenes[0][0]
    network = copy.deepcopy(learned[0])
    network.limits_reached = LimitsReached()
    whole = detect(network, [image, image])
    assert network.limits_reached == LimitsReached(images=2)
    assert not whole[0].cut_off
    network.roi_heads.detections_per_img = len(whole[0])
    assert not detect(network, [image])[0].cut_off
    network.roi_heads.detections_per_img = 3
    found = detect(network, [image])[0]
    assert found.cut_off
    assert np.array_equal(found.scores, whole[0].scores[:3])
    network.rpn._post_nms_top_n["testing"] = 2
    detect(network, [image])
    network.rpn._pre_nms_top_n["testing"] = 1
    detect(network, [image])
    assert network.limits_reached == LimitsReached(images=6, before_nms=1, after_nms=1, detections=1, likely=1)


def overlaps_of_boxes(first, second):
    both = np.clip(
        np.minimum(first[:, None, 2:], second[:, 2:]) - np.maximum(first[:, None, :2], second[:, :2]), 0, None
    ).prod(2)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(1) for boxes in (first, second)]
    return both / (areas[0][:, None] + areas[1] - both)


def test_many_objects_are_lost_to_the_usual_limits_but_not_to_those_of_the_data(learned, scenes):
    """Two scenes again and again, 5 x 5 of them."""
    network = copy.deepcopy(learned[0])
    places = [(row, column) for row in range(5) for column in range(5)]
    image, boxes = torch.zeros(3, 480, 480), []
    for row, column in places:
        part, labels = scenes[(row + column) % 2]
        image[:, 96 * row : 96 * row + 96, 96 * column : 96 * column + 96] = part
        boxes.append(detection_target(labels)["boxes"].numpy() + 96 * np.array([column, row, column, row]))
    boxes = np.concatenate(boxes)
    data = limits_for(len(boxes))
    found = {}
    for name, limits in (
        ("usual", (2000, 1000, 100)),
        ("data", (data.before_nms, data.after_nms, data.detections)),
        ("more", (3 * data.before_nms, 3 * data.after_nms, 3 * data.detections)),
    ):
        network.rpn._pre_nms_top_n["testing"], network.rpn._post_nms_top_n["testing"] = limits[:2]
        network.roi_heads.detections_per_img = limits[2]
        network.limits_reached = LimitsReached()
        one = detect(network, [image])[0]
        found[name] = (overlaps_of_boxes(boxes, one.boxes).max(1) > 0.5).mean()
        assert one.cut_off == bool(network.limits_reached.detections)
        if name == "usual":
            assert one.cut_off
            assert network.limits_reached.after_nms == 1
    assert found["usual"] < 0.5
    assert found["data"] > 0.75
    assert found["data"] > 0.96 * found["more"], found


def test_limits_follow_the_objects_unless_given():
    for options, before, after, detections in (
        ({}, (2000, 1000), (1000, 1000), 600),
        ({"objects_per_image": 800}, (8000, 8000), (6400, 6400), 1600),
        ({"objects_per_image": 800, "proposals_after_nms": [1500, 1700]}, (8000, 8000), (1500, 1700), 1600),
        ({"proposals_before_nms": 50, "detections_per_image": 7}, (50, 50), (1000, 1000), 7),
    ):
        model = build_model("mask_rcnn_tiny", **options)
        assert tuple(model.rpn._pre_nms_top_n.values()) == before
        assert tuple(model.rpn._post_nms_top_n.values()) == after
        assert model.roi_heads.detections_per_img == detections
    assert limits_for(800).detections == 1600


def test_images_without_objects_train():
    images = noise((64, 64), (40, 70))
    empty = [detection_target(np.zeros(image.shape[1:], int)) for image in images]
    one = np.zeros((40, 70), int)
    one[5:20, 10:30] = 4
    for targets in (empty, [empty[0], detection_target(one)]):
        model = tiny()
        losses = model(images, targets)
        assert losses.keys() == LOSSES
        sum(losses.values()).backward()
        assert all(torch.isfinite(value) for value in losses.values())
        assert losses["loss_objectness"] > 0
        assert (losses["loss_mask"] == 0) == (targets is empty)
        assert (losses["loss_rpn_box_reg"] == 0) == (targets is empty)
        assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in model.parameters())
    masks = {"masks": torch.zeros(0, 64, 64, dtype=torch.uint8)}
    target = {key: value for key, value in (empty[0] | masks).items() if key != "instances"}
    assert model(images[:1], [target])["loss_box_reg"] == 0


def test_every_parameter_gets_a_gradient(scenes):
    model = tiny(in_channels=2, out_channels=3)
    labels = scenes[0][1]
    target = detection_target(labels)
    target["labels"][::2] = 2
    sum(model([scenes[0][0][:2]], [target]).values()).backward()
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.any(), key


def test_weights_and_losses_follow_the_global_seed_bit_for_bit(scenes):
    first, again, other = tiny(), tiny(), tiny(seed=1)
    assert all(torch.equal(value, again.state_dict()[key]) for key, value in first.state_dict().items())
    assert any(not torch.equal(value, other.state_dict()[key]) for key, value in first.state_dict().items())
    losses = []
    for model, seed in ((first, 3), (again, 3), (first, 4)):
        torch.manual_seed(seed)
        losses.append(model([scenes[0][0]], [detection_target(scenes[0][1])]))
    assert all(torch.equal(value, losses[1][key]) for key, value in losses[0].items())
    assert any(not torch.equal(value, losses[2][key]) for key, value in losses[0].items())


def test_targets_in_evaluation_give_the_same_losses_and_nothing_is_changed(scenes):
    image, labels = scenes[0]
    target = detection_target(labels)
    kept = {key: value.clone() for key, value in target.items()} | {"image": image.clone()}
    model = tiny()
    losses = []
    for training in (True, False):
        torch.manual_seed(0)
        losses.append(model.train(training)([image], [target]))
    assert all(torch.equal(value, losses[1][key]) for key, value in losses[0].items())
    assert model.limits_reached == LimitsReached()
    assert torch.equal(image, kept.pop("image"))
    assert all(torch.equal(target[key], value) for key, value in kept.items())


def test_several_sizes_are_drawn_in_training_only():
    model = tiny(short_side=[32, 64], long_side=100)
    image, target = noise((48, 48))[0], detection_target(np.pad(np.ones((9, 9), int), ((10, 29), (20, 19))))
    seen = []
    model.backbone.register_forward_pre_hook(lambda _, inputs: seen.append(tuple(inputs[0].shape[2:])))
    for _ in range(12):
        model([image], [target])
    assert set(seen) == {(32, 32), (64, 64)}
    seen.clear()
    model.eval()([image])
    tiny(short_side=[32, 64], test_short_side=96).eval()
    assert seen == [(64, 64)]


def test_bfloat16_and_channels_last_change_rounding_only(learned, scenes):
    image, labels = scenes[0]
    network = copy.deepcopy(learned[0])
    exact = detect(network, [image])[0]
    plain = detect(network.to(memory_format=torch.contiguous_format), [image])[0]
    np.testing.assert_allclose(plain.boxes, exact.boxes, atol=1e-2)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = detect(network, [image])[0]
        losses = network([image], [detection_target(labels)])
        sum(losses.values()).backward()
    assert mixed.boxes.dtype == mixed.masks.dtype == np.float32
    assert all(value.dtype == torch.float32 and torch.isfinite(value) for value in losses.values())
    sure = exact.scores > 0.9
    assert sure.any()
    distance = np.abs(exact.boxes[sure][:, None] - mixed.boxes[None]).max(2).min(1)
    assert np.median(distance) < 1


def test_a_checkpoint_gives_the_same_detections(learned, scenes, tmp_path):
    from emlib.training.checkpoint import write_checkpoint
    from emlib.training.weights import load_model

    network = learned[0]
    model = {
        "name": "mask_rcnn_tiny",
        "in_channels": 3,
        "out_channels": 2,
        "options": FEW,
        "channel_names": ["nucleus"],
    }
    path = write_checkpoint(tmp_path / "checkpoint_000060", network.state_dict(), {}, {"iteration": 60, "model": model})
    loaded = load_model(path)
    expected, found = (detect(one, [scenes[0][0]])[0] for one in (network, loaded))
    assert np.array_equal(found.boxes, expected.boxes)
    assert np.array_equal(found.masks, expected.masks)


def test_description_adds_up():
    model = tiny()
    rows = describe_model(model, (1, 3, 64, 64))
    assert sum(row.parameters for row in rows if row.output_shape is not None) == count_parameters(model)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_gpu_gives_the_same(learned, scenes):
    network = copy.deepcopy(learned[0])
    images = [image for image, _ in scenes]
    expected = detect(network, images)
    found = detect(network.cuda(), images)
    for one, other in zip(found, expected, strict=True):
        sure = other.scores > 0.5
        distance = np.abs(other.boxes[sure][:, None] - one.boxes[None]).max(2).min(1)
        assert distance.max() < 0.5
    losses = network(
        [image.cuda() for image in images],
        [{key: value.cuda() for key, value in detection_target(labels).items()} for _, labels in scenes],
    )
    assert all(torch.isfinite(value) for value in losses.values())
