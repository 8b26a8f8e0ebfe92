"""Classes of images: averages of probabilities, augmentation without arrows, cells in one call, and what is refused."""

import numpy as np
import pytest
import torch
from torch import nn

from emlib.evaluation import cell_f1
from emlib.inference import (
    flow_symmetries,
    predict_classes,
    predict_image,
    predict_image_from_recipe,
    predict_split,
)
from emlib.postprocessing import cells_from_classes
from emlib.recipe import load_recipe
from emlib.targets import cell_classes

QUIET = {"normalize": None, "progress": False}


class PerfectClasses(nn.Module):
    """Reads ids from the image's red and green, and answers with their true classes: right in any orientation."""

    in_channels, min_divisor = 3, (1, 1)

    def forward(self, batch):
        pixels = (batch * 255).round().long()
        return torch.stack([cell_classes(one) for one in pixels[:, 0] * 256 + pixels[:, 1]])


class Place(nn.Module):
    """Classes that depend on direction and on the place in the window."""

    in_channels, min_divisor = 3, (1, 1)

    def __init__(self, bias=0.0):
        super().__init__()
        self.bias = bias

    def forward(self, batch):
        y = torch.linspace(-2, 2, batch.shape[2])[:, None].expand(batch.shape[2:])
        return torch.softmax(3 * batch + torch.stack([y, self.bias - y, 0 * y]), dim=1)


def scene(shape=(90, 120), seed=0):
    """Discs that touch here and there, as ids and as the picture that `PerfectClasses` reads."""
    rng, labels = np.random.default_rng(seed), np.zeros(shape, np.int64)
    y, x = np.mgrid[: shape[0], : shape[1]]
    places = rng.permutation([(a, b) for a in range(12, shape[0] - 10, 16) for b in range(12, shape[1] - 10, 17)])
    for number, (cy, cx) in enumerate(places, 1):
        labels[(y - cy) ** 2 + ((x - cx) / 1.2) ** 2 <= 64] = number + 250
    return np.stack([labels // 256, labels % 256, 0 * labels], axis=-1).astype(np.uint8), labels


def random_image(shape=(83, 61)):
    return np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)


@pytest.mark.parametrize(("blending", "overlap"), [("constant", 0.25), ("gaussian", 0.6)])
def test_blending_equals_monai(blending, overlap):
    from monai.inferers import sliding_window_inference

    image = random_image()
    ours = predict_classes(Place(), image, window=32, overlap=overlap, blending=blending, **QUIET)
    batch = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
    theirs = sliding_window_inference(batch, (32, 32), 4, Place(), overlap=overlap, mode=blending)[0]
    np.testing.assert_allclose(ours, theirs, atol=2e-6)
    np.testing.assert_allclose(ours.sum(axis=0), 1, atol=1e-5)
    assert (ours.dtype, ours.min() >= 0, ours.max() <= 1) == (np.float32, True, True)


@pytest.mark.parametrize("augment", ["published", "all"])
def test_augmentation_is_the_mean_of_probabilities_and_turns_no_channel(augment):
    image = random_image((16, 16))
    batch = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
    answers = [symmetry.invert(Place()(symmetry.apply(batch))) for symmetry in flow_symmetries(augment)]
    found = predict_classes(Place(), image, window=16, augment=augment, **QUIET)
    np.testing.assert_allclose(found, torch.stack(answers).mean(dim=0)[0], atol=1e-6)


@pytest.mark.parametrize("augment", ["published", "all"])
def test_augmentation_of_a_network_without_preferred_direction_changes_nothing(augment):
    image, _ = scene((64, 64))
    plain = predict_classes(PerfectClasses(), image, window=64, **QUIET)
    np.testing.assert_allclose(
        predict_classes(PerfectClasses(), image, window=64, augment=augment, **QUIET), plain, atol=1e-6
    )


def test_an_ensemble_is_the_mean_of_probabilities():
    image = random_image()
    one, other = (predict_classes(Place(bias), image, window=32, **QUIET) for bias in (0.0, 3.0))
    both = predict_classes([Place(), Place(3.0)], image, window=32, **QUIET)
    np.testing.assert_allclose(both, (one + other) / 2, atol=1e-6)


@pytest.mark.parametrize("batch_size", [1, 3, None])
def test_the_batch_size_changes_nothing(batch_size):
    image = random_image()
    expected = predict_classes(Place(), image, window=32, batch_size=2, **QUIET)
    found = predict_classes(Place(), image, window=32, batch_size=batch_size, **QUIET)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_perfect_classes_give_the_cells_back_in_memory_and_through_a_file():
    image, truth = scene()
    options = {"window": 64, "overlap": 0.5, "method": "cells_from_classes"} | QUIET
    labels = predict_image(PerfectClasses(), image, **options, grow=2)
    assert (labels.dtype, labels.shape) == (np.uint32, truth.shape)
    assert cell_f1(labels, truth, threshold=0.9, remove_border=0).f1 == 1
    found = predict_image(PerfectClasses(), image, details=True, **options)
    np.testing.assert_array_equal(found.labels, cells_from_classes(found.probabilities))
    assert found.probabilities.shape == (3, *truth.shape)
    np.testing.assert_array_equal(predict_image(PerfectClasses(), image, memory=1000, grow=2, **options), labels)
    for one in predict_image(PerfectClasses(), [image, image], grow=2, **options):
        np.testing.assert_array_equal(one, labels)


def test_the_recipe_chooses_classes():
    image, truth = scene()
    recipe = load_recipe("5_cells_flows", variant="baseline_unet", overrides={"inference.window": [64, 64]})
    made = predict_image_from_recipe(PerfectClasses(), image, recipe, normalize=None, progress=False)
    expected = predict_classes(PerfectClasses(), image, window=64, **QUIET)
    np.testing.assert_array_equal(made, cells_from_classes(expected, grow=2))
    small = predict_image_from_recipe(PerfectClasses(), image, recipe, normalize=None, progress=False, grow=0)
    assert 0 < (small > 0).sum() < (made > 0).sum() <= (truth > 0).sum()


@pytest.mark.parametrize("shape", [(1, 1), (1, 70), (33, 2), (40, 40, 1), (40, 40, 2)])
def test_odd_shapes(shape):
    image = np.ones(shape, np.uint8)
    labels = predict_image(Place(), image, window=32, method="cells_from_classes", progress=False)
    assert labels.shape == shape[:2]


@pytest.mark.parametrize("value", [0, 255])
def test_constant_images_have_no_cells(value):
    image = np.full((40, 50), value, np.uint8)
    assert not predict_image(PerfectClasses(), image, window=32, method="cells_from_classes", progress=False).any()


@pytest.mark.parametrize(
    "model, words",
    [
        (nn.Identity(), "add up to 1.5 ... 1.5"),
        (nn.Conv2d(3, 2, 1), "probabilities of background, interior and boundary"),
    ],
)
def test_networks_of_something_else_are_refused(model, words):
    with pytest.raises(ValueError) as caught:
        predict_classes(model, np.full((9, 9), 0.5), window=8, batch_size=1, **QUIET)
    assert words in str(caught.value)


def test_values_that_are_no_numbers_are_refused():
    class Broken(Place):
        def forward(self, batch):
            return super().forward(batch) * float("nan")

    with pytest.raises(ValueError, match="not finite"):
        predict_classes(Broken(), random_image(), window=32, **QUIET)


@pytest.mark.parametrize(
    "options, words",
    [
        ({"method": "masks_from_classes"}, "method is 'masks_from_classes', but 'masks_from_flows' or"),
        ({"method": "cells_from_classes", "treshold": 0.4}, "did you mean 'threshold'?"),
        ({"method": "cells_from_classes", "flow_threshold": 0.4}, "has no parameter 'flow_threshold'"),
        ({"method": "masks_from_flows", "grow": 2}, "has no parameter 'grow'"),
    ],
)
def test_wrong_methods_and_parameters_are_refused(options, words):
    with pytest.raises((ValueError, TypeError)) as caught:
        predict_image(Place(), random_image(), window=32, **QUIET, **options)
    assert words in str(caught.value)


def test_a_split_is_predicted_as_its_recipe_says(tmp_path):
    class Row:
        file, name, height, width = "cell_1.png", "cell_1", 90, 120

    class Images(list):
        rows = (Row(),)

    image, truth = scene()
    recipe = load_recipe("5_cells_flows", variant="baseline_unet", overrides={"inference.window": [64, 64]})
    found = predict_split(PerfectClasses(), Images([(image, truth)]), recipe, tmp_path / "split", progress=False)
    np.testing.assert_array_equal(found[0], predict_classes(PerfectClasses(), image, window=64, **QUIET))
