"""Cells of images: windows, augmentation, ensembles, block by block, and what is refused."""

import imageio.v3 as imageio
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from emlib.data import normalize_percentiles
from emlib.evaluation import cell_f1
from emlib.inference import (
    flow_symmetries,
    image_window_weights,
    plan_image_windows,
    predict_flows,
    predict_image,
    predict_image_from_recipe,
    turn_flow_back,
)
from emlib.inference.image_output import FLOWS
from emlib.inference.image_pixels import as_pixels
from emlib.inference.image_predictor import ImagePredictor
from emlib.recipe import load_recipe
from emlib.targets import gradient_flow

QUIET = {"normalize": None, "progress": False}


class PerfectFlows(nn.Module):
    """Reads ids from the image's red and green, and answers with their true flows: right in any orientation."""

    in_channels, min_divisor = 3, (1, 1)

    def __init__(self, bias=0.0):
        super().__init__()
        self.bias, self.sizes = bias, []

    def forward(self, batch):
        self.sizes.append(len(batch))
        pixels = (batch * 255).round().long()
        ids = pixels[:, 0] * 256 + pixels[:, 1]
        flows = torch.stack([torch.from_numpy(gradient_flow(one.numpy())) for one in ids])
        return torch.cat([flows + self.bias, (ids > 0)[:, None].float() * 0.98 + 0.01], dim=1)


class Blob(nn.Module):
    """Something that depends on direction and on the place in the window."""

    in_channels, min_divisor = 3, (1, 1)

    def forward(self, batch):
        y = torch.linspace(0, 1, batch.shape[2])[:, None].expand(batch.shape[2:])
        flow = torch.stack([batch[:, 0] * y, batch[:, 1]], dim=1)
        return torch.cat([flow, torch.sigmoid(batch[:, 2:] - y)], dim=1)


def scene(shape=(90, 120), seed=0):
    """Discs that touch here and there, as ids and as the picture that `PerfectFlows` reads."""
    rng, labels = np.random.default_rng(seed), np.zeros(shape, np.int64)
    y, x = np.mgrid[: shape[0], : shape[1]]
    for number, (cy, cx) in enumerate(
        rng.permutation([(a, b) for a in range(12, 80, 14) for b in range(12, 110, 15)]), 1
    ):
        labels[(y - cy) ** 2 + ((x - cx) / 1.2) ** 2 <= 36] = number + 250
    image = np.stack([labels // 256, labels % 256, 0 * labels], axis=-1).astype(np.uint8)
    return image, labels


@given(length=st.integers(1, 90), window=st.integers(1, 40), overlap=st.sampled_from([0.0, 0.3, 0.6, 0.9]))
def test_windows_cover_every_pixel_and_stay_inside(length, window, overlap):
    plan = plan_image_windows((length, 50), window, overlap)
    covered = np.zeros(plan.padded[0], int)
    for start in plan.positions[0]:
        assert start + window <= plan.padded[0]
        covered[start : start + window] += 1
    assert covered.min() >= 1
    assert list(plan.positions[0]) == sorted(set(plan.positions[0]))


def test_the_published_windows():
    assert plan_image_windows((1024, 2048), 512, 0.6).positions[0] == (0, 204, 408, 512)
    assert plan_image_windows((1024, 2048), 512, 0.6).positions[1] == (*range(0, 1429, 204), 1536)
    assert plan_image_windows((512, 100), 512, 0.6).before == (0, 206)
    weights = image_window_weights("gaussian", (512, 512))
    assert float(weights.sum(dtype=np.float64)) == pytest.approx(25_794.56, abs=0.01)
    assert int((weights <= 1e-3).sum()) == 84_320


def test_blending_equals_monai():
    from monai.inferers import sliding_window_inference

    image = np.random.default_rng(0).integers(0, 256, (83, 61, 3), np.uint8)
    ours = predict_flows(Blob(), image, window=32, overlap=0.6, **QUIET)
    batch = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255

    def published(windows):
        output = Blob()(windows)
        return torch.cat([output[:, :2], torch.logit(output[:, 2:])], dim=1)

    theirs = sliding_window_inference(batch, (32, 32), 4, published, overlap=0.6, mode="gaussian")[0]
    theirs[2] = torch.sigmoid(theirs[2])
    np.testing.assert_allclose(ours, theirs, atol=2e-5)


@pytest.mark.parametrize("augment", ["published", "all"])
def test_augmentation_of_a_network_without_preferred_direction_changes_nothing(augment):
    # No pixel is halfway between two centres: a tie is broken by the raster order, which flips turn around.
    image, labels = scene((64, 64))
    plain = predict_flows(PerfectFlows(), image, window=64, **QUIET)
    turned = predict_flows(PerfectFlows(), image, window=64, augment=augment, **QUIET)
    inside = labels > 0
    cosine = (plain[:2] * turned[:2]).sum(axis=0)[inside]
    assert np.median(cosine) > 0.999
    assert (cosine > 0.9).mean() > 0.95
    np.testing.assert_allclose(plain[2], turned[2], atol=1e-5)


@pytest.mark.parametrize("symmetry", flow_symmetries("all"), ids=lambda symmetry: symmetry.name)
def test_arrows_are_turned_as_the_image_is(symmetry):
    rng = np.random.default_rng(0)
    # The gradient of a turned picture, turned back, is the gradient of the picture.
    picture = torch.from_numpy(rng.normal(size=(1, 1, 7, 7)).astype(np.float32))

    def gradient(one):
        return torch.cat([*torch.gradient(one, dim=(2, 3)), one], dim=1)

    back = symmetry.invert(gradient(symmetry.apply(picture)), turn_flow_back)
    torch.testing.assert_close(back, gradient(picture))


def test_the_published_formula_of_test_time_augmentation():
    image = np.random.default_rng(1).integers(0, 256, (16, 16, 3), np.uint8)
    batch = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255

    def run(one):
        output = Blob()(one)
        return torch.cat([output[:, :2], torch.logit(output[:, 2:])], dim=1)[0]

    b, h, v = run(batch), run(batch.flip(3)).flip(2), run(batch.flip(2)).flip(1)
    expected = torch.stack([b[0] + h[0] - v[0], b[1] - h[1] + v[1], b[2] + h[2] + v[2]]) / 3
    found = predict_flows(Blob(), image, window=16, augment="published", **QUIET)
    np.testing.assert_allclose(found[:2], expected[:2], atol=1e-6)
    np.testing.assert_allclose(found[2], torch.sigmoid(expected[2]), atol=1e-6)


def test_an_ensemble_is_the_mean_and_modes_are_put_back():
    image, _ = scene((64, 64))
    models = [PerfectFlows(0.5), PerfectFlows(-0.5)]
    for model in models:
        model.train()
    mean = predict_flows(models, image, window=64, **QUIET)
    np.testing.assert_allclose(mean, predict_flows(PerfectFlows(), image, window=64, **QUIET), atol=1e-6)
    assert all(model.training for model in models)


@pytest.mark.parametrize("batch_size", [1, 3, 50, None])
def test_the_batch_size_changes_nothing(batch_size):
    image, _ = scene()
    expected = predict_flows(Blob(), image, window=32, batch_size=2, **QUIET)
    np.testing.assert_allclose(
        predict_flows(Blob(), image, window=32, batch_size=batch_size, **QUIET), expected, atol=1e-6
    )


def test_the_batch_follows_the_free_memory(monkeypatch):
    import psutil

    predictor = ImagePredictor(PerfectFlows(), FLOWS, (32, 32))
    need = predictor._bytes_of_a_window(predictor.models[0])
    for free, expected in ((10**12, 4), (need * 5, 2), (1, 1)):
        memory = psutil.virtual_memory()._replace(available=free)
        monkeypatch.setattr("emlib.inference.image_predictor.psutil.virtual_memory", lambda found=memory: found)
        assert predictor.choose_batch_size() == expected


def test_a_gpu_that_is_full_gets_smaller_batches():
    class Greedy(PerfectFlows):
        def forward(self, batch):
            if len(batch) > 1:
                raise torch.OutOfMemoryError("full")
            return super().forward(batch)

    image, _ = scene()
    expected = predict_flows(PerfectFlows(), image, window=40, batch_size=1, **QUIET)
    np.testing.assert_array_equal(predict_flows(Greedy(), image, window=40, **QUIET), expected)
    with pytest.raises(torch.OutOfMemoryError):
        predict_flows(Greedy(), image, window=40, batch_size=2, **QUIET)


def test_perfect_flows_give_the_cells_back_whole_and_block_by_block(monkeypatch):
    image, truth = scene()
    labels = predict_image(PerfectFlows(), image, window=64, peak=5, **QUIET)
    assert (labels.dtype, labels.shape) == (np.uint32, truth.shape)
    assert cell_f1(labels, truth).f1 > 0.95
    found = predict_image(PerfectFlows(), image, window=64, peak=5, details=True, **QUIET)
    np.testing.assert_array_equal(found.labels, labels)
    assert (found.flow.shape, found.probability.shape) == ((2, *truth.shape), truth.shape)
    on_disk = predict_image(PerfectFlows(), image, window=64, peak=5, memory=1000, **QUIET)
    assert on_disk.max() == labels.max()
    assert cell_f1(on_disk, labels, threshold=0.999, remove_border=0).f1 == 1


def test_paths_lists_and_the_recipe(tmp_path):
    image, _ = scene()
    imageio.imwrite(tmp_path / "cells.png", image)
    expected = predict_image(PerfectFlows(), image, window=64, **QUIET)
    found = predict_image(
        PerfectFlows(), [image, tmp_path / "cells.png", str(tmp_path / "cells.png")], window=64, **QUIET
    )
    assert len(found) == 3
    for labels in found:
        np.testing.assert_array_equal(labels, expected)
    recipe = load_recipe("5_cells_flows", overrides={"inference.window": [64, 64], "inference.augment": None})
    made = predict_image_from_recipe(PerfectFlows(), image, recipe, normalize=None, min_size=15, progress=False)
    assert cell_f1(made, expected, remove_border=0).f1 > 0.95
    with pytest.raises(TypeError, match="one of volumes"):
        predict_image_from_recipe(PerfectFlows(), image, load_recipe("1_mitochondria_contours"))


def test_a_misspelt_normalisation_is_named():
    with pytest.raises(TypeError, match="normalize holds 'hi', but low, high, per_channel were expected"):
        as_pixels(np.zeros((4, 4), np.uint8), {"hi": 99.0})


def test_normalisation_is_that_of_training():
    rng = np.random.default_rng(0)
    image = rng.integers(100, 60_000, (40, 50), np.uint16)
    as_trained = np.repeat(normalize_percentiles(image)[..., None], 3, axis=2)
    expected = predict_flows(Blob(), as_trained, window=32, **QUIET)
    np.testing.assert_array_equal(predict_flows(Blob(), image, window=32, progress=False), expected)
    changed = predict_flows(Blob(), image, window=32, normalize={"high": 90.0}, progress=False)
    assert (changed != expected).any()
    floats = predict_flows(Blob(), as_trained.astype(np.float32) / 255, window=32, **QUIET)
    np.testing.assert_allclose(floats, expected, atol=1e-6)


@pytest.mark.parametrize("options", [True, {"per_channel": True, "low": 5.0}])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float64])
def test_a_large_image_is_normalised_window_by_window_with_the_same_result(monkeypatch, dtype, options):
    image = (np.random.default_rng(2).random((50, 70, 3)) * [250, 100, 30]).astype(dtype)
    labels = predict_image(Blob(), image, window=32, normalize=options, progress=False)
    expected = predict_flows(Blob(), image, window=32, normalize=options, progress=False)
    monkeypatch.setattr("emlib.inference.image_pixels.LARGE", 100)
    found = predict_flows(Blob(), image, window=32, normalize=options, progress=False)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(predict_image(Blob(), image, window=32, normalize=options, progress=False), labels)


@pytest.mark.parametrize("shape", [(1, 1), (1, 70), (33, 2), (40, 40, 1), (40, 40, 2)])
def test_odd_shapes(shape):
    labels = predict_image(Blob(), np.ones(shape, np.uint8), window=32, progress=False, flow_threshold=None)
    assert labels.shape == shape[:2]


@pytest.mark.parametrize("value", [0, 255])
def test_constant_images_have_no_cells(value):
    assert not predict_image(PerfectFlows(), np.full((40, 50), value, np.uint8), window=32, progress=False).any()


@pytest.mark.parametrize(
    "image, options, words",
    [
        (np.full((9, 9), np.nan), {}, "NaN or infinite"),
        (np.full((9, 9), np.inf), {}, "NaN or infinite"),
        (np.zeros((0, 9)), {}, "shape (0, 9)"),
        (np.zeros((9, 9, 4), np.uint8), {}, "one to three channels"),
        (np.zeros((2, 9, 9, 3), np.uint8), {}, "shape (2, 9, 9, 3)"),
        (np.zeros((9, 9), np.uint16), {"normalize": None}, "without normalisation, uint8 or floats"),
        (np.full((9, 9), 2.0), {"normalize": None}, "outside [0, 1]"),
        ("no such picture.png", {}, "no such picture.png"),
        (3, {}, "The image is a int"),
        (np.zeros((9, 9), np.uint8), {"augment": "some"}, "'published' or 'all'"),
        (np.zeros((9, 9), np.uint8), {"overlap": 1}, "overlap must be"),
        (np.zeros((9, 9), np.uint8), {"window": (8, 8, 8)}, "window must be"),
        (np.zeros((9, 9), np.uint8), {"blending": "bump"}, "'gaussian' or 'constant'"),
        (np.zeros((9, 9), np.uint8), {"batch_size": 0}, "batch_size must be"),
        (np.zeros((9, 9), np.uint8), {"precision": "8"}, "precision must be"),
        (np.zeros((9, 9), np.uint8), {"flow_treshold": 1}, "did you mean 'flow_threshold'?"),
    ],
)
def test_bad_input_is_one_sentence(image, options, words):
    with pytest.raises((ValueError, TypeError, OSError)) as caught:
        predict_image(PerfectFlows(), image, **({"window": 32, "progress": False} | options))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "model, words",
    [
        (nn.Identity(), None),
        (nn.Conv2d(3, 2, 1), "must return"),
        ([], "not nothing"),
        ("network", "not str"),
    ],
)
def test_wrong_networks_are_refused(model, words):
    image = np.zeros((9, 9), np.uint8)
    if words is None:
        assert predict_flows(model, image, window=8, **QUIET).shape == (3, 9, 9)
        return
    with pytest.raises((ValueError, TypeError), match=words):
        predict_flows(model, image, window=8, **QUIET)


def test_networks_of_volumes_and_wrong_windows_are_refused():
    network = Blob()
    network.min_divisor = (16, 16)
    with pytest.raises(ValueError, match=r"windows divisible by \(16, 16\); \(40, 32\) is not: take 32 or 48 along y"):
        predict_flows(network, np.zeros((50, 50), np.uint8), window=(40, 32), **QUIET)
    network.min_divisor = (1, 16, 16)
    with pytest.raises(ValueError, match="a network of volumes"):
        predict_flows(network, np.zeros((50, 50), np.uint8), window=32, **QUIET)
