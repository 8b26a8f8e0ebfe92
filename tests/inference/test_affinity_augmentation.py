"""Test-time augmentation of affinities: with a perfect predictor nothing changes; with any other it is an average."""

import numpy as np
import pytest
import torch
from inference.networks import StopsAt
from inference.perfect_affinities import PerfectAffinities
from torch import nn

from emlib.inference import SYMMETRIES, AffinityRule, Symmetry, predict_from_recipe, predict_volume
from emlib.inference.affinity_rule import as_pairs
from emlib.recipe import load_recipe
from emlib.targets import VoxelPair, affinities, affinity_pairs, build_target

NEAR = [(-1, 0, 0), (0, -1, 0), (0, 0, -1)]
PAIRS = {
    "2": affinity_pairs("2"),
    "v1": affinity_pairs("2-2-3-3-v1"),
    "v2": affinity_pairs("2-1-2-2-v2"),
    "positive": as_pairs([(1, 0, 0), (0, 2, 0), (0, 0, 2)]),
    "both ways": as_pairs([(0, -1, 0), (0, 1, 0), (0, 0, 1), (0, 0, -1)]),
    "diagonal": as_pairs([(0, 1, 2), (0, 2, 1), (0, -1, 2), (0, 2, -1)]),
    "mixed": as_pairs([*NEAR, None, (-2, 0, 0), (0, -3, 0), (0, 0, -3)]),
    "twice": as_pairs([*NEAR, *NEAR]),
    "longer than the window": as_pairs([(-7, 0, 0), (0, -9, 0), (0, 0, -9)]),
}
ALL = SYMMETRIES["all"]
LABELS = np.random.default_rng(1).integers(0, 3, (4, 7, 8)).astype(np.uint8)
SLIDING = {"window": (3, 6, 5), "stride": (1, 2, 2)}


def predict(network, image, pairs, **options):
    settings = {"window": image.shape, "dtype": "float32", "progress": False, "offsets": pairs} | options
    return predict_volume(network, image, **settings)


@pytest.mark.parametrize("pairs", PAIRS.values(), ids=PAIRS)
@pytest.mark.parametrize("symmetry", ALL, ids=lambda symmetry: symmetry.name)
def test_every_symmetry_leaves_a_perfect_prediction_as_it_is(pairs, symmetry):
    network, rule = PerfectAffinities(pairs), AffinityRule(pairs)
    image = torch.from_numpy(LABELS[None, None] / np.float32(255))
    back = symmetry.invert(network(symmetry.apply(image)), rule)
    known = rule.known(LABELS.shape)
    assert torch.equal(back[0][known], network(image)[0][known])
    for channel, pair in enumerate(pairs):
        assert int(known[channel].sum()) == np.prod(np.maximum(0, np.subtract(LABELS.shape, reach(pair))))


def reach(pair):
    """How far the two voxels of a pair lie apart along each axis."""
    return np.ptp([(0, 0, 0)] if pair is None else [pair.first, pair.second], axis=0)


@pytest.mark.parametrize("reduce", ["mean", "min", "max"])
@pytest.mark.parametrize("pairs", PAIRS.values(), ids=PAIRS)
def test_the_augmented_prediction_of_a_whole_volume_is_the_plain_one(pairs, reduce):
    network = PerfectAffinities(pairs)
    plain = predict(network, LABELS, pairs)
    np.testing.assert_array_equal(plain, predict(network, LABELS, None))
    for augment in [(ALL[0], symmetry) for symmetry in ALL] if reduce == "mean" else ("all",):
        np.testing.assert_array_equal(predict(network, LABELS, pairs, augment=augment, reduce=reduce), plain)


@pytest.mark.parametrize("blending", ["gaussian", "constant"])
@pytest.mark.parametrize("pairs", PAIRS.values(), ids=PAIRS)
def test_the_augmented_prediction_in_windows_is_the_plain_one_and_the_truth(pairs, blending):
    network = PerfectAffinities(pairs)
    plain = predict(network, LABELS, pairs, **SLIDING, blending=blending)
    for augment in ("xy", "all", 4) if blending == "gaussian" else ("all",):
        np.testing.assert_array_equal(
            predict(network, LABELS, pairs, **SLIDING, blending=blending, augment=augment), plain
        )
    whole, inside = predict(network, LABELS, pairs), AffinityRule(pairs).known(LABELS.shape).numpy()
    for channel, pair in enumerate(pairs):
        # every pair that fits a window lies wholly inside one of them, whatever the others make of it
        if all(reach(pair) <= np.subtract(SLIDING["window"], SLIDING["stride"])):
            np.testing.assert_array_equal(plain[channel][inside[channel]], whole[channel][inside[channel]])


def test_without_overlap_the_network_has_the_last_word_between_windows():
    network = PerfectAffinities(as_pairs(NEAR))
    image = np.ones((2, 4, 8), np.uint8)
    options = {"window": (2, 4, 4), "overlap": 0.0}
    plain = predict(network, image, NEAR, **options)
    np.testing.assert_array_equal(predict(network, image, NEAR, **options, augment=16), plain)
    assert set(plain[2, :, :, [1, 2, 3, 5, 6, 7]].ravel()) == {1}
    assert not set(plain[2, :, :, 4].ravel()) & {0, 1}


def test_offsets_are_exact_where_windows_would_blur_them():
    """Without offsets, what the network says at the face of a window is blended in."""
    network = PerfectAffinities(as_pairs(NEAR))
    values, valid = affinities(LABELS, NEAR)
    exact, blurred = (
        predict(network, LABELS, given, window=(4, 4, 4), stride=(1, 2, 2), blending="constant")
        for given in (NEAR, None)
    )
    np.testing.assert_array_equal(exact[valid], values[valid])
    assert np.abs(blurred - values)[valid].max() > 0.05


class Uneven(nn.Module):
    """A random convolution, different in every direction."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layer = nn.Conv3d(1, channels, 3, padding=1)
        generator = torch.Generator().manual_seed(3)
        for parameter in self.parameters():
            parameter.data = torch.randn(parameter.shape, generator=generator) / 2

    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        return self.layer(windows).sigmoid()


@pytest.mark.parametrize("reduce", ["mean", "min", "max"])
@pytest.mark.parametrize("name", ["2", "v2", "positive", "diagonal", "mixed"])
def test_the_augmented_prediction_averages_what_is_said_about_the_same_two_voxels(name, reduce):
    pairs, shape = PAIRS[name], (3, 6, 6)
    network = Uneven(len(pairs))
    image = np.random.default_rng(0).random(shape).astype(np.float32)
    plain = predict(network, image, pairs)
    said: dict = {}
    for symmetry in ALL:
        places = symmetry.apply(torch.arange(image.size).reshape(shape)).numpy()
        with torch.no_grad():
            answer = network(symmetry.apply(torch.from_numpy(image)[None, None]))[0].numpy()
        once: dict = {}
        for channel, pair in enumerate(pairs):
            for voxel, key in voxel_pairs(pair, places):
                once[channel if pair is None else "edge", key] = answer[channel][voxel]
        for key, value in once.items():
            said.setdefault(key, []).append(value)
    expected = plain.copy()
    original = np.arange(image.size).reshape(shape)
    for channel, pair in enumerate(pairs):
        for voxel, key in voxel_pairs(pair, original):
            values = said[channel if pair is None else "edge", key]
            assert len(values) == 16
            expected[channel][voxel] = getattr(np, reduce)(values)
    augmented = predict(network, image, pairs, augment="all", reduce=reduce)
    np.testing.assert_allclose(augmented, expected, rtol=0, atol=1e-6)
    assert np.abs(augmented - plain).max() > 0.05


def voxel_pairs(pair, places):
    """Every voxel whose pair lies inside, with the numbers of the two voxels in any order."""
    ends = [(0, 0, 0)] if pair is None else [pair.first, pair.second]
    for voxel in np.ndindex(places.shape):
        both = [tuple(np.add(voxel, end)) for end in ends]
        if all(0 <= i < n for end in both for i, n in zip(end, places.shape, strict=True)):
            yield voxel, frozenset(int(places[end]) for end in both)


def test_the_border_of_a_set_without_the_window_as_it_is_is_0():
    pairs = as_pairs(NEAR)
    turned = predict(PerfectAffinities(pairs), LABELS, pairs, augment=[Symmetry((True, True, True))])
    values, _ = affinities(LABELS, NEAR)
    np.testing.assert_array_equal(turned, values)


def test_channels_are_exchanged_within_their_target():
    groups = [VoxelPair.of_offset(offset, group) for group in ("one", "two") for offset in NEAR]
    transpose = Symmetry(transpose=True)
    assert [source for source, _ in AffinityRule(groups).sources(transpose)] == [0, 2, 1, 3, 5, 4]
    flip = Symmetry((False, True, False))
    assert AffinityRule(as_pairs([(0, -3, 0)])).sources(flip) == [(0, (0, -3, 0))]
    assert AffinityRule(as_pairs([(0, -1, 0), (0, 1, 0)])).sources(flip) == [(1, (0, 0, 0)), (0, (0, 0, 0))]
    split = [VoxelPair.of_offset((0, -1, 0), "one"), VoxelPair.of_offset((0, 0, -1), "two")]
    with pytest.raises(ValueError, match="no channel holds"):
        AffinityRule(split).sources(transpose)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"offsets": [(0, -3, 0)], "augment": 8}, r"'transposed' turns channel 0, along \(0, -3, 0\), .* \(0, 0, -3\)"),
        ({"offsets": [(0, 1, 1)], "augment": "xy-flips"}, r"along \(0, 1, -1\)"),
        ({"offsets": NEAR, "channels": ["a", "b"]}, "3 offsets but 2 channels"),
        ({"offsets": [*NEAR, (0, 0, -9)]}, r"must return \(1, 4, 4, 7, 8\).* but returned \(1, 3, 4, 7, 8\)"),
        ({"offsets": NEAR, "channel_rule": lambda prediction, _symmetry: prediction}, "both given"),
        ({"offsets": [(0, 0, 0)] * 3}, r"offset \(0, 0, 0\)"),
        ({"offsets": [(0, 1)] * 3}, "three whole numbers"),
    ],
)
def test_offsets_that_do_not_fit_are_refused(options, says):
    with pytest.raises(ValueError, match=says):
        predict(PerfectAffinities(as_pairs(NEAR)), LABELS, None, **options)


def test_a_prediction_with_offsets_is_resumed_exactly(tmp_path):
    def stop():
        raise KeyboardInterrupt

    image = np.random.default_rng(0).integers(0, 255, (40, 12, 12)).astype(np.uint8)
    pairs = as_pairs([(0, -2, 0), (0, 0, -2)])
    options = {"window": (6, 8, 8), "stride": (2, 4, 4), "augment": 8, "dtype": "float32", "progress": False}
    options["offsets"] = pairs
    passes = 18 * 4 * 8
    whole = predict_volume(StopsAt(0, stop), image, **options)
    small = predict_volume(StopsAt(0, stop), image, **options, memory="1KiB")
    np.testing.assert_array_equal(small, whole)
    with pytest.raises(KeyboardInterrupt):
        predict_volume(StopsAt(passes - 10, stop), image, **options, out=tmp_path / "p.zarr")
    calls = []
    counting = StopsAt(0, stop)
    counting.register_forward_hook(lambda *_: calls.append(1))
    np.testing.assert_array_equal(predict_volume(counting, image, **options, out=tmp_path / "p.zarr")[:], whole)
    assert 0 < len(calls) < passes / 2


def test_a_recipe_brings_its_offsets(tmp_path):
    outputs = [
        {"name": "mask", "option": "0", "losses": []},
        {"name": "near", "option": "2", "losses": []},
        {"name": "far", "offsets": [[0, -3, 0], [0, 0, -3]], "losses": []},
    ]
    recipe = load_recipe(
        "1_mitochondria_contours",
        overrides={
            "target": {"outputs": outputs},
            "inference": {"window": [4, 6, 6], "augment": 16, "dtype": "float32", "blending": "constant"},
        },
    )
    pairs = as_pairs([None, *NEAR, (0, -3, 0), (0, 0, -3)])
    prediction = predict_from_recipe(PerfectAffinities(pairs), LABELS, recipe, progress=False)
    near, far = build_target(LABELS, "2"), affinities(LABELS, [(0, -3, 0), (0, 0, -3)])
    np.testing.assert_array_equal(prediction[0], LABELS > 0)
    inside = affinities(LABELS, NEAR)[1]
    np.testing.assert_array_equal(prediction[1:4][inside], near[inside])
    np.testing.assert_array_equal(prediction[4:][far[1]], far[0][far[1]])


def test_flows_of_volumes_are_not_augmented():
    changes = {"target": {"outputs": [{"name": "flow", "option": "7", "losses": []}]}, "inference.augment": 4}
    recipe = load_recipe("1_mitochondria_contours", overrides=changes)
    with pytest.raises(ValueError, match=r"'flow' is a flow.*set inference\.augment to null"):
        predict_from_recipe(nn.Identity(), LABELS, recipe, progress=False)
