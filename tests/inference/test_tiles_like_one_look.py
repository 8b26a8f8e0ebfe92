"""A network that looks at tiles says what it says of the whole image: same points, same statistics, same proposals."""

import warnings
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from emlib.data import make_cell_set
from emlib.inference import plan_image_tiles, predict_instances
from emlib.inference.scaled_tiles import ScaledTiles, plan_scaled_tiles
from emlib.inference.shared_statistics import shared_statistics
from emlib.models import LimitsReached, build_model

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
    assert len(whole) > 40
    assert min(agreement(whole, tiled), agreement(tiled, whole)) >= 0.99
    # That it looks at the same points is what does it.
    network.tile_grid = 1
    elsewhere = predict_instances(network, image, window=320, overlap=100, **options)
    assert min(agreement(whole, elsewhere), agreement(elsewhere, whole)) < 0.7


@pytest.mark.parametrize("scale", [None, 1.2, 0.833])
def test_maps_of_a_tile_are_a_part_of_those_of_the_image(image, scale):
    """All five maps, away from borders, also of images whose sides are no multiples of anything."""
    network = network_of("group", image, **({"short_side": 96, "long_side": 200} if scale else {}))
    image = image[:571, :470]
    maps = []
    handle = network.backbone.register_forward_hook(lambda _module, _inputs, outputs: maps.append(outputs))
    options = {"proposal_threshold": 1.0, "normalize": None, "progress": False, "scale": scale}
    window, overlap = (round(side / (scale or 1)) for side in (448, 2 * REACH - 2))
    predict_instances(network, image, **options)
    predict_instances(network, image, window=window, overlap=overlap, **options)
    handle.remove()
    whole, _, *tiles = maps
    plan = plan_scaled_tiles(network, image.shape[:2], window, overlap, scale).seen
    assert len(tiles) == len(plan) > 1
    for number, pyramid in enumerate(tiles):
        for stride, part, expected in zip((4, 8, 16, 32, 64), pyramid, whole, strict=True):
            assert all(one.start % stride == 0 for one in plan.slices(number))
            first = [one.start // stride for one in plan.slices(number)]
            low = [0 if start == 0 else -(-REACH // stride) for start in first]
            high = [
                size if one.stop == end else one.stop // stride - start - REACH // stride
                for size, one, end, start in zip(part.shape[2:], plan.slices(number), plan.shape, first, strict=True)
            ]
            assert min(high[0] - low[0], high[1] - low[1]) >= 64 // stride
            here = part[..., low[0] : high[0], low[1] : high[1]]
            there = expected[..., first[0] + low[0] : first[0] + high[0], first[1] + low[1] : first[1] + high[1]]
            assert (here - there).abs().max() < 2e-3 * there.std()


@given(
    st.tuples(st.integers(20, 120), st.integers(20, 120)),
    st.integers(8, 130),
    st.sampled_from([0.31, 0.5, 0.667, 0.833, 1.0, 1.2, 1.5, 1.97, 3.0]),
    st.booleans(),
    st.data(),
)
def test_tiles_are_parts_of_the_resized_image(shape, window, scale, smooth, data):
    network = torch.nn.Module()
    network.test_short_sides, network.tile_grid = (7,), data.draw(st.sampled_from([1, 16, 64]))
    overlap = data.draw(st.one_of(st.integers(0, window - 1), st.floats(0, 0.9)))
    plan = plan_scaled_tiles(network, shape, window, overlap, scale)
    plan = ScaledTiles(plan.tiles, plan.seen, smooth)
    pixels = np.random.default_rng(window).random((*shape, 3), dtype=np.float32)
    short = max(1, round(min(shape) * scale))
    size = tuple(int(side * (short / min(shape)) + 0.5) for side in shape)
    tensor = torch.from_numpy(pixels).permute(2, 0, 1)[None]
    shrinks = smooth and min(size) < min(shape)
    expected = functional.interpolate(tensor, size=size, mode="bilinear", align_corners=False, antialias=shrinks)[0]
    assert (plan.seen.shape, plan.tiles.shape, len(plan.seen)) == (size, shape, len(plan.tiles))
    factors = np.array(size) / shape
    for number in range(len(plan.seen)):
        seen, own = plan.seen.slices(number), plan.tiles.slices(number)
        np.testing.assert_allclose(plan.content(pixels, number), expected[(slice(None), *seen)], atol=2e-5)
        # What is seen of a tile lies in it, and it is not much larger.
        for one, other, factor, length in zip(seen, own, factors, shape, strict=True):
            assert other.start <= one.start / factor + 1e-9
            assert min(one.stop / factor, length) <= other.stop + 1e-9 + 1
            assert other.stop - other.start <= (one.stop - one.start) / factor + 2 + 1e-9
        # A box of the whole image, seen from the tile, is the same box.
        box = np.array([[1.25, 2.5, 9.75, 8.0]], np.float32)
        (y, x), (top, left) = (one.start for one in seen), (one.start for one in own)
        moved = plan.to_tile(number, box)[0] + (left, top, left, top)
        np.testing.assert_allclose(moved, (box[0] + (x, y, x, y)) / factors[[1, 0, 1, 0]], atol=1e-4)


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
    tiles = plan_image_tiles((SIDE, SIDE), 128, 32, grid=64)
    assert seen == [3] + [1] * len(tiles)


def test_what_the_network_is_not_sure_of_is_left_out_when_testing_only(image):
    network, part = network_of("batch", image), image[:96, :96]
    counts = []
    handle = network.rpn.register_forward_hook(lambda _module, _inputs, output: counts.append(len(output[0][0])))
    options = {"normalize": None, "progress": False}
    for threshold in (0.0, None, 0.05, 0.5, 0.95, 1.0):
        found = predict_instances(network, part, proposal_threshold=threshold, **options)
    assert counts[0] > counts[1] == counts[2] > counts[3] > counts[4] > counts[5] == 0
    assert (len(found), network.rpn.score_thresh) == (0, 0.0)
    predict_instances(network, part, limits="network", **options)
    assert counts[-1] == counts[0]
    # Targets ask for the losses of training, whose proposals are as they were.
    target = {"boxes": torch.tensor([[4.0, 4, 20, 20]]), "labels": torch.ones(1, dtype=torch.int64)}
    target["masks"] = torch.zeros(1, 96, 96, dtype=torch.uint8)
    target["masks"][0, 4:20, 4:20] = 1
    for threshold in (0.0, 0.95):
        network.rpn.score_thresh = threshold
        network([as_tensor(part)], [target])
    handle.remove()
    assert counts[-1] == counts[-2] > counts[2]


@given(st.integers(1, 300), st.integers(1, 300), st.data())
def test_tiles_start_at_the_points_of_a_grid(length, window, data):
    overlap = data.draw(st.integers(0, window - 1))
    grid = data.draw(st.sampled_from([1, 2, 16, 32, 64]))
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
    while grid > window - overlap:
        grid //= 2
    assert all(part.start % grid == 0 for part in parts)


def test_limits_of_a_look_follow_its_area(image):
    network = network_of("batch", image, proposals_before_nms=[70, 60], proposals_after_nms=20, detections_per_image=3)
    before = network.rpn.most_candidates, network.rpn.most_proposals, network.roi_heads.detections_per_img
    part, options, inside = image[:200, :256], {"normalize": None, "progress": False}, []

    def note(*_):
        inside.append((network.rpn.most_candidates, network.rpn.most_proposals, network.roi_heads.detections_per_img))

    handle = network.backbone.register_forward_hook(note)
    with pytest.warns(UserWarning, match=r"In the image the network had more likely regions .*proposals_after_nms.*"):
        few = predict_instances(network, part, limits="network", **options)
    assert (few.limits_reached.likely, few.limits_reached.after_nms) == (1, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = predict_instances(network, part, proposal_threshold=0.98, **options)
        predict_instances(network, part, proposal_threshold=0.98, window=128, overlap=64, **options)
    assert found.limits_reached == LimitsReached(images=1)
    assert len(few) <= 3 < 10 < len(found)
    # A proposal for 25 pixels, an object for 50; training keeps its own.
    whole, tile = ((70, 2048), (20, 2048), 1024), ((70, 655), (20, 655), 327)
    assert inside == [before, whole, *[tile] * (len(inside) - 2)]
    # Of what the network makes of an image where it resizes; its own limits where they are higher.
    inside.clear()
    large = network_of("batch", image, short_side=100, long_side=None, detections_per_image=600)
    large.backbone.register_forward_hook(lambda *_: inside.append(large.rpn.most_proposals[1]))
    for options["scale"] in (None, 0.25):
        predict_instances(large, part, proposal_threshold=0.98, **options)
    assert inside == [20_000, 20_000]
    handle.remove()
    assert before == (network.rpn.most_candidates, network.rpn.most_proposals, network.roi_heads.detections_per_img)
