"""A network that looks at tiles says what it says of the whole image: same points, same statistics, same proposals."""

import warnings
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from emlib.data import make_cell_set
from emlib.inference import plan_image_tiles, predict_instances
from emlib.inference.detector_settings import tile_grid
from emlib.inference.shared_statistics import shared_statistics
from emlib.models import build_model

SIDE = 576
# A place of the finest map depends on this many pixels on each side, and the objects are smaller than the rest.
REACH = 160


def network_of(norm, image, **settings):
    """A network of random weights that is sure of some places; what it finds depends on every detail that it sees."""
    torch.manual_seed(0)
    limits = {"proposals_before_nms": 20_000, "proposals_after_nms": 20_000, "detections_per_image": 5000}
    network = build_model("mask_rcnn_tiny", norm=norm, **limits | settings)
    with torch.no_grad():
        network.rpn.head.cls_logits.weight *= 300
        network.roi_heads.box_predictor.cls_score.weight *= 100
        network.roi_heads.box_predictor.cls_score.bias[1] += 5
        for layer in network.modules():
            if isinstance(layer, torch.nn.BatchNorm2d):
                layer.momentum = None
        network.backbone.train()(network.eval().prepare([as_tensor(image)]).tensors)
    return network.eval()


def as_tensor(image):
    return torch.from_numpy(image).permute(2, 0, 1) / 255


@pytest.fixture(scope="module")
def image():
    return make_cell_set(1, modalities=["stained"], shapes=((SIDE, SIDE), (SIDE, SIDE)), seed=1)[0].image


def agreement(first, second):
    """Share of the objects of the first that the second has with an IoU of at least 0.9."""
    bounds = np.array([[*one.corner, *np.add(one.corner, one.mask.shape)] for one in second.masks])
    canvas, again = np.zeros((SIDE, SIDE), bool), 0
    for one in first.masks:
        canvas[one.slices] = one.mask
        (top, left), pixels = one.corner, np.count_nonzero(one.mask)
        bottom, right = np.add(one.corner, one.mask.shape)
        meets = (bounds[:, 0] < bottom) & (bounds[:, 2] > top) & (bounds[:, 1] < right) & (bounds[:, 3] > left)
        shares = [0.0]
        for other in (second.masks[place] for place in np.flatnonzero(meets)):
            shared = np.count_nonzero(canvas[other.slices] & other.mask)
            shares.append(shared / (pixels + np.count_nonzero(other.mask) - shared))
        again += max(shares) >= 0.9
        canvas[one.slices] = False
    return again / len(first)


@pytest.mark.parametrize("norm", ["group", "batch"])
def test_a_real_network_finds_the_same_in_tiles_as_in_one_look(image, norm):
    network = network_of(norm, image)
    options = {"proposal_threshold": 0.98, "normalize": None, "progress": False}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        whole = predict_instances(network, image, **options)
        tiled = predict_instances(network, image, window=448, overlap=2 * REACH, **options)
        close = predict_instances(network, image, window=320, overlap=128, **options)
    assert len(whole) > 40
    assert min(agreement(whole, tiled), agreement(tiled, whole)) >= 0.99
    assert min(agreement(whole, close), agreement(close, whole)) >= 0.9
    # That it looks at the same points is what does it.
    network.tile_grid = 1
    elsewhere = predict_instances(network, image, window=320, overlap=100, **options)
    assert min(agreement(whole, elsewhere), agreement(elsewhere, whole)) < 0.7


@pytest.mark.parametrize("scale", [None, 1.5])
def test_maps_of_a_tile_are_a_part_of_those_of_the_image(image, scale):
    """Away from borders; without a scale also of images whose sides are no multiples of anything."""
    resizing = {"short_side": 96, "long_side": 200} if scale else {}
    network = network_of("group", image, **resizing)
    image = image if scale else image[:531, :557]
    sizes, maps = [], []

    def note(_module, inputs, outputs):
        sizes.append(tuple(inputs[0].shape[2:]))
        maps.append(outputs[0])

    handle = network.backbone.register_forward_hook(note)
    options = {"proposal_threshold": 1.0, "normalize": None, "progress": False, "scale": scale}
    predict_instances(network, image, **options)
    predict_instances(network, image, window=448, overlap=2 * REACH, **options)
    handle.remove()
    whole, _, *tiles = maps
    plan = plan_image_tiles(image.shape[:2], 448, 2 * REACH, grid=tile_grid(network, scale))
    assert len(tiles) == len(plan) > 2
    reach = REACH // 4 if scale is None else REACH // 4 + 8
    for number, part in enumerate(tiles):
        rows, columns = (round(one.start * (scale or 1) / 4) for one in plan.slices(number))
        assert all(4 * start % 32 == 0 for start in (rows, columns))
        inside = []
        for start, one, length, own in zip(
            (rows, columns), plan.slices(number), image.shape, part.shape[2:], strict=False
        ):
            low = 0 if one.start == 0 else reach
            inside.append((low + start, (own if one.stop == length else own - reach) + start))
        (top, bottom), (left, right) = inside
        assert bottom - top > 20
        expected = whole[..., top:bottom, left:right]
        found = part[..., top - rows : bottom - rows, left - columns : right - columns]
        assert (found - expected).abs().max() < 2e-3 * expected.std()


def test_statistics_are_shared_only_inside_the_block(image):
    network = network_of("group", image)
    tiles = plan_image_tiles((SIDE, SIDE), 320, 64, grid=32)
    calls = []

    def look(numbers):
        calls.append(list(numbers))
        return network.prepare([as_tensor(image[tiles.slices(number)]) for number in numbers])

    content = look([0]).tensors
    before = network.backbone(content)[0]
    network.train()
    with shared_statistics(network, tiles, look):
        assert network.training
        assert not torch.equal(network.backbone(content)[0], before)
    assert network.training
    assert torch.equal(network.backbone(content)[0], before)
    assert calls[1:] == [[0], list(range(len(tiles)))]
    calls.clear()
    # Nothing to share: no group normalisation, one tile, something that is no Mask R-CNN.
    for model, plan in (
        (network_of("batch", image), tiles),
        (network, plan_image_tiles((SIDE, SIDE), None)),
        (torch.nn.GroupNorm(1, 1), tiles),
    ):
        with shared_statistics(model, plan, look):
            pass
    assert calls == []


def test_of_a_large_image_some_tiles_are_measured(image, monkeypatch):
    from emlib.inference import shared_statistics as module

    monkeypatch.setattr(module, "MOST_PIXELS", 3 * 128 * 128)
    network = network_of("group", image)
    seen = []
    handle = network.backbone.register_forward_hook(lambda _module, inputs, _output: seen.append(len(inputs[0])))
    predict_instances(network, image, window=128, overlap=32, proposal_threshold=1.0, normalize=None, progress=False)
    handle.remove()
    tiles = plan_image_tiles((SIDE, SIDE), 128, 32, grid=32)
    assert seen == [3] + [1] * len(tiles)


def test_what_the_network_is_not_sure_of_is_left_out_when_testing_only(image):
    network, part = network_of("batch", image), image[:96, :96]
    counts = []
    handle = network.rpn.register_forward_hook(lambda _module, _inputs, output: counts.append(len(output[0][0])))
    options = {"normalize": None, "progress": False}
    for threshold in (None, 0.0, 0.5, 0.95, 1.0):
        found = predict_instances(network, part, proposal_threshold=threshold, **options)
    assert counts[0] == counts[1] > counts[2] > counts[3] > counts[4] == 0
    assert (len(found), network.rpn.score_thresh) == (0, 0.0)
    built = network_of("batch", image, proposal_score_threshold=0.95)
    built.rpn.register_forward_hook(lambda _module, _inputs, output: counts.append(len(output[0][0])))
    predict_instances(built, part, **options)
    assert counts[-1] == counts[3]
    # Targets ask for the losses of training, whose proposals are as they were.
    target = {"boxes": torch.tensor([[4.0, 4, 20, 20]]), "labels": torch.ones(1, dtype=torch.int64)}
    target["masks"] = torch.zeros(1, 96, 96, dtype=torch.uint8)
    target["masks"][0, 4:20, 4:20] = 1
    for one in (network, built):
        one([as_tensor(part)], [target])
    handle.remove()
    assert counts[-1] == counts[-2] > counts[2]
    with pytest.raises(ValueError, match="proposal_score_threshold is 2, but a number from 0 to 1"):
        build_model("mask_rcnn_tiny", proposal_score_threshold=2)


@given(st.integers(1, 300), st.integers(1, 300), st.data())
def test_tiles_start_at_the_points_of_a_grid(length, window, data):
    overlap = data.draw(st.integers(0, window - 1))
    grid = data.draw(st.sampled_from([1, 2, 7, 16, 32, 64, 32 / 1.2, 32 / 0.667, 80 / 3]))
    tiles = plan_image_tiles((length, 1), window, overlap, grid=grid)
    parts = [tiles.slices(number)[0] for number in range(len(tiles))]
    assert (parts[0].start, parts[-1].stop) == (0, length)
    assert all(before.stop < length for before in parts[:-1])
    assert all(before.start < after.start <= before.stop - overlap for before, after in pairwise(parts))
    # Cores lie side by side.
    cores = [tiles.core(number)[0] for number in range(len(tiles))]
    covered = [(part.start + core.start, part.start + core.stop) for part, core in zip(parts, cores, strict=True)]
    assert [covered[0][0], *(stop for _, stop in covered)] == [start for start, _ in covered] + [length]
    assert all(0 <= core.start < core.stop <= part.stop - part.start for part, core in zip(parts, cores, strict=True))
    assume(grid + 1 <= window - overlap)
    assert all(abs(part.start - round(part.start / grid) * grid) <= 0.5 for part in parts)


def test_too_many_likely_regions_are_said(image):
    network = network_of("batch", image, proposals_after_nms=20)
    with pytest.warns(UserWarning, match=r"In the image the network had more likely regions .*proposals_after_nms.*"):
        found = predict_instances(network, image[:256, :256], normalize=None, progress=False)
    assert (found.limits_reached.likely, found.limits_reached.after_nms) == (1, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        options = {"proposal_threshold": 1.0, "normalize": None, "progress": False}
        assert predict_instances(network, image[:256, :256], **options).limits_reached.likely == 0
