"""Objects of images: tiles find what one look finds, nothing is lost to a limit, bad input is refused."""

import warnings
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from inference.perfect_detector import PerfectDetector, as_image, as_set, objects_of, score_of
from scipy.ndimage import label

from emlib.data import make_cell_set
from emlib.inference import InstancePrediction, labels_from_instances, plan_image_tiles, predict_instances
from emlib.inference.image_tiles import NEAR
from emlib.models import LimitsReached, ObjectMask, build_model, detect

QUIET = {"normalize": None, "progress": False}
# Fresh networks find something everywhere.
FEW = {"proposals_before_nms": 50, "proposals_after_nms": 40, "detections_per_image": 12, "score_threshold": 0.0}


@pytest.fixture(scope="module")
def crowded():
    """1000 x 1000 pixels with more than 800 nuclei."""
    size = (1000, 1000)
    (phantom,) = make_cell_set(1, modalities={"stained": 1}, shapes=(size, size), cells=900, sizes=(0.5, 1.2), seed=3)
    assert len(np.unique(phantom.labels)) > 801
    return phantom.labels.astype(np.int64)


def rectangles(*boxes, shape=(60, 80)):
    labels = np.zeros(shape, np.int64)
    for number, (top, left, height, width) in enumerate(boxes, start=1):
        labels[top : top + height, left : left + width] = number
    return labels


@pytest.mark.parametrize("window, overlap", [(None, 0.25), (256, 90), ((350, 1400), 0.4)])
def test_a_crowded_image_is_found_whole(crowded, window, overlap):
    objects = objects_of(crowded)
    side = 2 * max(max(one.mask.shape) for one in objects.values()) + 2
    network = PerfectDetector(side)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = predict_instances(network, as_image(crowded), window=window, overlap=overlap, **QUIET)
    tiles = plan_image_tiles((1000, 1000), window, overlap)
    assert (len(found), found.cut, found.empty) == (len(objects), 0, 0)
    assert found.limits_reached == LimitsReached(images=len(tiles))
    assert as_set(found.masks) == as_set(objects.values())
    # One label for each object of the truth, and just its pixels.
    labels = labels_from_instances(found, score_threshold=0.0)
    pairs = np.unique(np.stack([labels.ravel(), crowded.ravel()]), axis=1)
    assert pairs.shape[1] == len(objects) + 1
    assert len(np.unique(pairs[0])) == len(np.unique(pairs[1])) == len(objects) + 1


@given(
    st.integers(0, 9999),
    st.sampled_from([0.3, 0.45, 0.58, 0.7]),
    st.tuples(st.integers(1, 26), st.integers(1, 26)),
    st.integers(2, 14),
    st.data(),
)
def test_any_tiles_that_overlap_give_the_objects_of_the_whole_image(seed, density, shape, window, data):
    overlap = data.draw(st.integers(1, window - 1))
    noise = np.random.default_rng(seed).random(shape) < density
    # Winding objects, up to the size of the image, larger than any overlap; single pixels as well.
    labels = label(noise, np.ones((3, 3)) if seed % 2 else None)[0].astype(np.int64)
    network = PerfectDetector(64)
    whole = predict_instances(network, as_image(labels), **QUIET)
    found = predict_instances(network, as_image(labels), window=window, overlap=overlap, batch_size=3, **QUIET)
    objects = objects_of(labels)
    assert as_set(whole.masks) == as_set(found.masks) == as_set(objects.values())
    assert len(found) == len(whole) == len(objects)
    for one in (whole, found):
        assert one.scores.tolist() == sorted(one.scores.tolist(), reverse=True)
        for box, mask in zip(one.boxes, one.masks, strict=True):
            (y, x), (height, width) = mask.corner, mask.mask.shape
            assert box.tolist() == [x, y, x + width, y + height]
    largest = max((max(one.mask.shape) for one in objects.values()), default=0)
    assert whole.cut == 0
    if largest <= overlap - 2 * NEAR:
        assert found.cut == 0


@given(st.integers(1, 24), st.integers(1, 16), st.data())
def test_tiles_cover_the_image_and_see_small_boxes_whole(length, window, data):
    overlap = data.draw(st.integers(0, window - 1))
    tiles = plan_image_tiles((length, 3), window, overlap)
    parts = [tiles.slices(number)[0] for number in range(len(tiles))]
    assert {place for part in parts for place in range(part.start, part.stop)} == set(range(length))
    assert all(part.stop <= length and part.stop - part.start == min(window, length) for part in parts)
    assert all(after.start <= part.stop - min(overlap, window) for part, after in pairwise(parts))
    for start in range(length):
        for stop in range(start + 1, length + 1):
            box = (start, 0, stop, 1)
            inside = [part.start <= start and stop <= part.stop for part in parts]
            rooms = [tiles.room(number, box) for number in range(len(tiles))]
            expected = any(room >= NEAR and seen for room, seen in zip(rooms, inside, strict=True))
            assert tiles.sees_whole(box) == expected
            assert expected or stop - start > overlap - 2 * NEAR


def test_shares_and_pixels_of_overlap():
    assert plan_image_tiles((100, 100), 40, 0.25).starts == plan_image_tiles((100, 100), 40, 10).starts
    assert plan_image_tiles((100, 30), 40, 0).sides == (40, 30)
    assert len(plan_image_tiles((100, 100), None)) == 1
    # The overlap is that of the window, also where the image is smaller along one axis.
    assert plan_image_tiles((20, 200), 50, 40).starts == ((0,), tuple(range(0, 151, 10)))


def test_objects_at_the_edges_of_the_image_are_not_cut():
    labels = rectangles((0, 0, 5, 6), (0, 74, 9, 6), (55, 0, 5, 5), (52, 70, 8, 10), (0, 38, 1, 1), (59, 40, 1, 1))
    found = predict_instances(PerfectDetector(), as_image(labels), window=30, overlap=16, **QUIET)
    assert as_set(found.masks) == as_set(objects_of(labels).values())
    assert found.cut == 0


def test_objects_that_no_tile_sees_whole_are_joined_and_counted():
    labels = rectangles((10, 3, 6, 70), (35, 10, 4, 4), (20, 50, 35, 9))
    network = PerfectDetector(160)
    found = predict_instances(network, as_image(labels), window=30, overlap=10, **QUIET)
    assert as_set(found.masks) == as_set(objects_of(labels).values())
    assert found.cut == 2
    # Without any overlap nothing tells which pieces belong together.
    apart = predict_instances(network, as_image(labels), window=30, overlap=0, **QUIET)
    assert sum(int(one.mask.sum()) for one in apart.masks) == (labels > 0).sum()
    assert apart.cut == len(apart) - 1 > 3


def test_no_objects_and_one_pixel():
    empty = predict_instances(PerfectDetector(), np.zeros((40, 50, 3), np.uint8), window=20, **QUIET)
    assert (len(empty), empty.boxes.shape, empty.shape) == (0, (0, 4), (40, 50))
    assert not labels_from_instances(empty).any()
    one = predict_instances(PerfectDetector(), as_image(np.ones((1, 1), np.int64)), window=20, **QUIET)
    assert as_set(one.masks) == {(0, 0, (1, 1), b"\x01")}


def test_batches_memory_maps_and_volumes_give_the_same(tmp_path):
    from emlib.volume import save_volume

    labels = rectangles((3, 4, 9, 9), (25, 27, 11, 12), (40, 60, 12, 14))
    network = PerfectDetector()
    expected = predict_instances(network, as_image(labels), window=32, overlap=20, **QUIET)
    network.seen.clear()
    batched = predict_instances(network, as_image(labels), window=32, overlap=20, batch_size=5, **QUIET)
    assert {len(shapes) for shapes in network.seen[:-1]} == {5}
    assert {shape for shapes in network.seen for shape in shapes} == {(32, 32)}
    path = save_volume(tmp_path / "slide.zarr", as_image(labels), axes="yxc")
    lazy = predict_instances(network, path, window=32, overlap=20, **QUIET)
    for one in (batched, lazy):
        assert [mask.corner for mask in one.masks] == [mask.corner for mask in expected.masks]
        np.testing.assert_array_equal(one.boxes, expected.boxes)
        np.testing.assert_array_equal(one.scores, expected.scores)


def test_gray_images_and_networks_of_one_channel():
    labels = rectangles((3, 4, 9, 9), (25, 27, 11, 12))
    gray = labels.astype(np.uint8)
    whole = as_set(objects_of(labels).values())
    assert as_set(predict_instances(PerfectDetector(), gray, window=40, **QUIET).masks) == whole
    assert as_set(predict_instances(PerfectDetector(), gray / np.float32(255), **QUIET).masks) == whole
    network = PerfectDetector()
    network.in_channels = 1
    assert as_set(predict_instances(network, gray, window=40, **QUIET).masks) == whole
    assert as_set(predict_instances(network, gray[..., None], **QUIET).masks) == whole
    # Normalised as all images are: 1 and 2 become 0 and 255.
    bright = predict_instances(PerfectDetector(), gray, normalize={"high": 100.0}, progress=False)
    assert as_set(bright.masks) == as_set([objects_of(labels)[2]])


def test_limits_of_the_network_are_not_hidden():
    labels = rectangles(*((y, x, 4, 4) for y in range(2, 56, 8) for x in range(2, 76, 8)))
    with pytest.warns(UserWarning, match=r"In 2 of 2 tiles the network found more objects than it may report"):
        found = predict_instances(PerfectDetector(most=5), as_image(labels), window=(60, 50), **QUIET)
    assert found.limits_reached == LimitsReached(images=2, detections=2)
    assert len(found) <= 10 < labels.max()
    with pytest.warns(UserWarning, match=r"In the image the network"):
        predict_instances(PerfectDetector(most=5), as_image(labels), **QUIET)


def test_thresholds_drop_what_is_below():
    labels = rectangles((3, 4, 9, 9), (25, 27, 11, 12), (40, 60, 12, 14))
    scores = sorted(score_of(number) for number in (1, 2, 3))
    limit = float(np.float32(scores[1]))
    found = predict_instances(PerfectDetector(), as_image(labels), score_threshold=limit, **QUIET)
    np.testing.assert_allclose(found.scores, scores[2:], rtol=1e-6)
    everything = predict_instances(PerfectDetector(), as_image(labels), **QUIET)
    assert everything.above(limit).scores.tolist() == found.scores.tolist()


def test_a_recipes_threshold_of_suppression_takes_the_place_of_the_networks():
    torch.manual_seed(0)
    network = build_model("mask_rcnn_tiny", nms_threshold=0.6, **FEW | {"detections_per_image": 40})
    image = make_cell_set(1, modalities=["stained"], shapes=((64, 64), (64, 64)))[0].image
    options = {"score_threshold": 0.0, "progress": False}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        own, same, strict = (
            predict_instances(network, image, nms_threshold=one, **options) for one in (None, 0.6, 0.0)
        )
    assert own.boxes.tolist() == same.boxes.tolist()
    assert network.roi_heads.nms_thresh == 0.6
    boxes = strict.boxes
    low, high = np.maximum(boxes[:, None, :2], boxes[None, :, :2]), np.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
    overlap = np.clip(high - low, 0, None).prod(axis=2)
    assert (overlap[~np.eye(len(boxes), dtype=bool)] == 0).all()
    assert len(strict) < len(own)


class Halves(PerfectDetector):
    """Every second object has a mask in which no pixel is likely enough."""

    def forward(self, images):
        found = super().forward(images)
        for one in found:
            one["masks"][::2] *= 0.4
        return found


def test_objects_without_a_pixel_are_counted():
    labels = rectangles((3, 4, 9, 9), (25, 27, 11, 12), (40, 60, 12, 14))
    found = predict_instances(Halves(), as_image(labels), **QUIET)
    assert (len(found), found.empty) == (1, 2)
    assert len(predict_instances(Halves(), as_image(labels), mask_threshold=0.3, **QUIET)) == 3


@pytest.mark.filterwarnings("ignore:In .* the network found more")
def test_a_real_network_in_one_look_gives_what_detect_gives():
    torch.manual_seed(0)
    network = build_model("mask_rcnn_tiny", **FEW).train()
    image = np.random.default_rng(0).integers(0, 255, (70, 90, 3), dtype=np.uint8)
    (expected,) = detect(network, [torch.from_numpy(image).permute(2, 0, 1) / 255])
    for window in (None, 128):
        before = network.limits_reached.images
        found = predict_instances(network, image, window=window, score_threshold=0.0, limits="network", **QUIET)
        assert network.training
        assert found.limits_reached.images == network.limits_reached.images - before == 1
        assert len(found) + found.empty == len(expected) > 5
        assert as_set(found.masks) == as_set([one for one in expected.objects() if one.mask.size])
        kept = [place for place, one in enumerate(expected.objects()) if one.mask.size]
        np.testing.assert_array_equal(found.scores, expected.scores[kept])


@pytest.mark.filterwarnings("ignore:In .* the network found more")
def test_networks_that_resize_need_a_scale_for_tiles():
    torch.manual_seed(0)
    network = build_model("mask_rcnn_tiny", short_side=96, long_side=200, **FEW).eval()
    image = np.random.default_rng(0).integers(0, 255, (64, 80, 3), dtype=np.uint8)
    predict_instances(network, image, **QUIET)
    with pytest.raises(
        ValueError, match=r"short side of 96, and would so enlarge every tile; give scale, for example 1.5"
    ):
        predict_instances(network, image, window=48, **QUIET)
    seen = []
    handle = network.backbone.register_forward_hook(lambda _module, inputs, _output: seen.append(inputs[0].shape[2:]))
    found = predict_instances(network, image, window=64, scale=1.5, **QUIET)
    handle.remove()
    # Once for the statistics of both tiles, then for each; the second is what follows the first 64.
    assert seen == [(96, 96), (96, 96), (96, 64)]
    assert found.boxes[:, 2].max(initial=0) <= 80
    assert (network.test_short_sides, network.long_side) == ((96,), 200)
    with pytest.raises(TypeError, match="PerfectDetector does not"):
        predict_instances(PerfectDetector(), image, scale=2, **QUIET)
    for scale in (0, -1, float("nan"), "2", True):
        with pytest.raises(ValueError, match=r"scale is .* but a number above 0"):
            predict_instances(network, image, scale=scale, **QUIET)


@pytest.mark.parametrize(
    "settings, error, words",
    [
        ({"window": 0}, ValueError, "window must be at least 1"),
        ({"window": 2.5}, TypeError, "window must be one whole number or two"),
        ({"window": 20, "overlap": 20}, ValueError, "overlap is 20"),
        ({"window": 20, "overlap": 1.0}, ValueError, "overlap is 1.0"),
        ({"window": 20, "overlap": -1}, ValueError, "overlap is -1"),
        ({"window": 20, "overlap": float("nan")}, ValueError, "overlap is nan"),
        ({"window": 20, "overlap": "half"}, TypeError, "overlap must be"),
        ({"score_threshold": 50}, ValueError, "score_threshold is 50"),
        ({"merge_threshold": 0}, ValueError, "merge_threshold is 0"),
        ({"nms_threshold": 2}, ValueError, "nms_threshold is 2"),
        ({"proposal_threshold": -1}, ValueError, "proposal_threshold is -1"),
        ({"proposal_threshold": 0.5}, TypeError, "proposal_threshold is for a Mask R-CNN; PerfectDetector is none"),
        ({"nms_threshold": 0.5}, TypeError, "nms_threshold is for a Mask R-CNN; PerfectDetector is none"),
        ({"mask_threshold": float("nan")}, ValueError, "mask_threshold is nan"),
        ({"limits": "none"}, ValueError, "limits is 'none', but one of area, network"),
        ({"batch_size": 0}, ValueError, "batch_size must be"),
        ({"rule": "other"}, ValueError, "rule is 'other'"),
    ],
)
def test_wrong_settings_are_refused(settings, error, words):
    with pytest.raises(error, match=words):
        predict_instances(PerfectDetector(), np.ones((30, 30, 3), np.uint8), **QUIET, **settings)


def test_wrong_images_and_networks_are_refused():
    image = np.zeros((30, 30, 3), np.float32)
    image[3, 4, 1] = np.nan
    for normalize in (None, True):
        with pytest.raises(ValueError, match="NaN"):
            predict_instances(PerfectDetector(), image, normalize=normalize, progress=False)
    with pytest.raises(ValueError, match="one to three channels"):
        predict_instances(PerfectDetector(), np.zeros((30, 30, 4), np.uint8), **QUIET)
    with pytest.raises(TypeError, match=r"must be a torch.nn.Module, not str"):
        predict_instances("network", np.zeros((30, 30), np.uint8), **QUIET)
    network = PerfectDetector()
    network.in_channels = 5
    with pytest.raises(ValueError, match="takes 5 channels"):
        predict_instances(network, np.zeros((30, 30), np.uint8), **QUIET)


@pytest.mark.parametrize(
    "change, words",
    [
        ({"boxes": np.zeros((1, 4), np.float64)}, r"boxes is float64 \(1, 4\)"),
        ({"boxes": np.full((1, 4), np.inf, np.float32)}, "boxes holds numbers that are NaN"),
        ({"scores": np.zeros(2, np.float32)}, r"scores is float32 \(2,\)"),
        ({"scores": np.array([np.nan], np.float32)}, "scores holds numbers outside 0 to 1"),
        ({"masks": (ObjectMask((8, 8), np.ones((4, 5), bool)),)}, "Mask 0 reaches beyond"),
        ({"masks": (ObjectMask((-1, 0), np.ones((4, 5), bool)),)}, "Mask 0 reaches beyond"),
        ({"masks": (ObjectMask((0, 0), np.zeros((4, 5), bool)),)}, "has no pixel"),
        ({"masks": (ObjectMask((0, 0), np.ones((4, 5), np.uint8)),)}, "Mask 0 is uint8"),
    ],
)
def test_predictions_whose_parts_do_not_fit_are_refused(change, words):
    parts = {
        "boxes": np.zeros((1, 4), np.float32),
        "scores": np.ones(1, np.float32),
        "labels": np.ones(1, np.int64),
        "masks": (ObjectMask((2, 3), np.ones((4, 5), bool)),),
        "shape": (10, 10),
    }
    assert len(InstancePrediction(**parts)) == 1
    with pytest.raises(ValueError, match=words):
        InstancePrediction(**parts | change)
