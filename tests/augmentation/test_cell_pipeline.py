"""Samples of images: image and labels stay together, and every draw follows the generator."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from emlib.augmentation.cells import CropGeometry, build_cell_augmentation, change_grey_values, exclude_boundaries
from emlib.augmentation.cells.cropping import draw_crop, take_crop
from emlib.augmentation.cells.grey_values import GREY_VALUES
from emlib.augmentation.draws import Draws
from emlib.randomness import torch_generator
from emlib.recipe_schema import CellAugmentationRecipe


def scene(shape=(60, 80)):
    """Cells without any symmetry; the image is bright exactly where they are, and its channels differ."""
    labels = np.zeros(shape, np.uint32)
    labels[5:25, 8:20], labels[15:25, 20:45], labels[40:55, 50:58] = 7, 70000, 3
    image = np.zeros((*shape, 3), np.uint8)
    image[..., 0], image[..., 1], image[..., 2] = (labels > 0) * 255, (labels == 7) * 200, (labels == 3) * 100
    return image, labels


def settings(**probabilities):
    return CellAugmentationRecipe(**{name: {"probability": float(p)} for name, p in probabilities.items()})


@given(
    window=st.tuples(st.integers(4, 90), st.integers(4, 90)),
    flip=st.booleans(),
    rotate=st.booleans(),
    seed=st.integers(0, 10_000),
)
def test_flips_and_turns_move_image_and_labels_alike(window, flip, rotate, seed):
    image, labels = scene()
    augmentation = build_cell_augmentation(settings(flip=flip, rotate=rotate), window=window)
    pixels, ids, geometry = augmentation.sample(image, labels, torch_generator(seed))
    assert pixels.shape == (3, *window)
    assert ids.shape == window
    assert torch.equal(pixels[0] == 1, ids > 0)
    assert torch.equal(pixels[1] > 0, ids == 7)
    assert torch.equal(pixels[2] > 0, ids == 3)
    shown = labels[tuple(slice(s, s + n) for s, n in zip(geometry.start, geometry.size, strict=True))]
    assert np.count_nonzero(shown) == int((ids > 0).sum())


@pytest.mark.parametrize("factor", [0.25, 0.6, 1.5])
@pytest.mark.parametrize("flip, turns", [(None, 0), (0, 1), (1, 2), (None, 3)])
def test_zoom_keeps_labels_on_their_cells(factor, flip, turns):
    image, labels = (np.kron(array, np.ones((4, 4) + (1,) * (array.ndim - 2), array.dtype)) for array in scene())
    geometry = CropGeometry((0, 0), labels.shape, factor, flip, turns)
    sides = [round(length * factor) for length in labels.shape]
    pixels, ids = take_crop(image, labels, geometry, sides[::-1] if turns % 2 else sides)
    inside, drawn = ids > 0, pixels[0] > 0.5
    overlap = (inside & drawn).sum() / (inside | drawn).sum()
    assert overlap > 0.95
    # A shift by a pixel would show: labels lie in the middle of what is drawn.
    for axis in (0, 1):
        centres = [mask.nonzero()[:, axis].float().mean() for mask in (inside, drawn)]
        assert abs(centres[0] - centres[1]) < 0.3
    assert set(ids.unique().tolist()) == {0, 3, 7, 70000}


def test_a_small_image_lies_in_the_middle_of_zeros():
    image, labels = np.full((6, 9, 3), 255, np.uint8), np.ones((6, 9), np.uint32)
    pixels, ids = build_cell_augmentation(CellAugmentationRecipe(), window=(10, 12))(image, labels, torch_generator(0))
    expected = np.pad(np.ones((6, 9)), ((2, 2), (1, 2)))
    np.testing.assert_array_equal(ids, expected)
    np.testing.assert_array_equal(pixels[2], expected)


def test_the_box_is_uniform_and_the_zoom_in_its_range():
    drawn = [draw_crop((40, 50), (10, 20), settings(zoom=0.5), Draws(torch_generator(seed))) for seed in range(400)]
    plain = [one for one in drawn if one.factor == 1]
    assert 150 < len(plain) < 250
    assert {one.size for one in plain} == {(10, 20)}
    assert {one.start[0] for one in plain} == set(range(31))
    assert all(0.25 <= one.factor <= 1.5 for one in drawn)
    assert all(one.start[0] + one.size[0] <= 40 and one.start[1] + one.size[1] <= 50 for one in drawn)


def test_the_same_generator_gives_the_same_sample_and_the_callers_arrays_stay():
    names = CellAugmentationRecipe.model_fields
    augmentation = build_cell_augmentation(settings(**dict.fromkeys(names, 1.0)), window=(32, 32))
    image, labels = scene()
    before = image.copy(), labels.copy()
    np.random.seed(0)  # noqa: NPY002
    one = augmentation(image, labels, torch_generator(3))
    np.random.seed(1)  # noqa: NPY002
    two = augmentation(image, labels, torch_generator(3))
    other = augmentation(image, labels, torch_generator(4))
    assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))
    assert not torch.equal(one[0], other[0])
    assert torch.isfinite(one[0]).all()
    np.testing.assert_array_equal(image, before[0])
    np.testing.assert_array_equal(labels, before[1])
    assert len(augmentation.describe()) == len(names)


@pytest.mark.parametrize("name", GREY_VALUES)
def test_grey_values_change_the_image_alone_and_within_reason(name):
    image = torch.rand((3, 24, 24), generator=torch_generator(0))
    before, draws = image.clone(), Draws(torch_generator(1))
    changed = change_grey_values(image, name, CellAugmentationRecipe(), draws)
    assert torch.equal(image, before)
    assert type(changed) is torch.Tensor
    assert changed.shape == image.shape
    assert not torch.equal(changed, image)
    if name == "gamma":
        assert bool((changed <= image + 1e-5).all())
    elif name == "smooth":
        assert changed.std() < image.std()
    elif name == "sharpen":
        assert changed.std() > image.std()
    elif name == "noise":
        assert 0 < float((changed - image).std()) < 0.11
    else:
        order = image.flatten().argsort()
        assert bool((changed.flatten()[order].diff() >= -1e-5).all())


def test_smoothing_is_that_of_each_axis():
    image = torch.zeros(1, 41, 41)
    image[0, 20, 20] = 1
    only_y = CellAugmentationRecipe(smooth={"sigma_y": (2.0, 2.0), "sigma_x": (0.05, 0.05)})
    spread = change_grey_values(image, "smooth", only_y, Draws(torch_generator(0)))[0]
    assert spread[:, 20].sum() > 0.99
    assert float(spread[18, 20] / spread[20, 20]) == pytest.approx(np.exp(-0.5), abs=0.03)


def test_boundaries_are_left_out_as_on_the_whole_image():
    image, labels = scene()
    both = settings(boundary_exclusion=1.0)
    augmentation = build_cell_augmentation(both, window=(60, 80))
    _, ids = augmentation(image, labels, torch_generator(0))
    np.testing.assert_array_equal(ids, exclude_boundaries(labels))
    assert 0 < np.count_nonzero(ids) < np.count_nonzero(labels)


@pytest.mark.parametrize(
    "image, labels, words",
    [
        (np.zeros((5, 6, 3), np.float32), np.zeros((5, 6), int), "uint8"),
        (np.zeros((5, 6), np.uint8), np.zeros((5, 6), int), "uint8"),
        (np.zeros((5, 6, 3), np.uint8), np.zeros((6, 5), int), "its labels have (6, 5)"),
        (np.zeros((0, 6, 3), np.uint8), np.zeros((0, 6), int), "empty"),
    ],
)
def test_bad_input_is_refused(image, labels, words):
    with pytest.raises((TypeError, ValueError)) as caught:
        build_cell_augmentation(CellAugmentationRecipe(), window=(4, 4))(image, labels, torch_generator(0))
    assert words in str(caught.value)


def test_bad_settings_are_refused():
    with pytest.raises(TypeError, match="CellAugmentationRecipe"):
        build_cell_augmentation({}, window=(4, 4))
    with pytest.raises(ValueError, match="two whole numbers"):
        build_cell_augmentation(CellAugmentationRecipe(), window=(4, 4, 4))
