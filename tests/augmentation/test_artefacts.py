"""Each intensity artefact alone, against its definition."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy import ndimage

from emlib.augmentation.draws import Draws
from emlib.augmentation.intensity import change_grayscale, cut_blur, cut_noise
from emlib.augmentation.section_artefacts import blur_by_motion, hide_parts
from emlib.randomness import torch_generator
from emlib.recipe_schema import CutBlur, CutNoise, Grayscale, MissingParts, MotionBlur

SHAPE = (10, 40, 50)


def noise(shape=SHAPE, seed=0):
    return torch.rand(shape, generator=torch_generator(seed, "noise"))


def changed(function, settings, seed, image=None):
    image = noise() if image is None else image
    result = image.clone()
    function(result, settings, Draws(torch_generator(seed)))
    return image, result


def box_of(difference):
    """The smallest box around the voxels that differ."""
    return tuple(slice(int(i.min()), int(i.max()) + 1) for i in torch.nonzero(difference, as_tuple=True))


class Fixed:
    """Draws that are known beforehand."""

    def __init__(self, *numbers):
        self.numbers = list(numbers)

    def uniform(self):
        return self.numbers.pop(0)

    def chance(self, probability):
        return self.uniform() < probability


def formula(image, u1, u2, u3, contrast, brightness):
    image = image.double().numpy()
    image = np.clip(image * (1 + (u1 - 0.5) * contrast) + (u2 - 0.5) * brightness, 0, 1)
    return image ** (2 ** (2 * u3 - 1))


def test_grayscale_formula_for_the_sample():
    image = noise()
    result = image.clone()
    change_grayscale(result, Grayscale(contrast=0.3, brightness=0.4, per_section=0.5), Fixed(0.6, 0.9, 0.2, 0.75))
    np.testing.assert_allclose(result, formula(image, 0.9, 0.2, 0.75, 0.3, 0.4), atol=1e-5)


def test_grayscale_formula_for_each_section():
    image = noise((2, 20, 20))
    result = image.clone()
    draws = Fixed(0.4, 0, 0, 0, 0.9, 0.2, 0.75, 0.1, 0.8, 0.3)
    change_grayscale(result, Grayscale(contrast=0.3, brightness=0.4, per_section=0.5), draws)
    np.testing.assert_allclose(result[0], formula(image[0], 0.9, 0.2, 0.75, 0.3, 0.4), atol=1e-5)
    np.testing.assert_allclose(result[1], formula(image[1], 0.1, 0.8, 0.3, 0.3, 0.4), atol=1e-5)
    assert not draws.numbers


def test_both_kinds_of_grayscale_occur():
    grey = torch.full((6, 4, 4), 0.5)
    kinds = [len(changed(change_grayscale, Grayscale(), seed, grey)[1].unique()) > 1 for seed in range(40)]
    assert 8 < sum(kinds) < 32


@pytest.mark.parametrize("seed", range(10))
def test_noise_fills_a_cuboid(seed):
    image, result = changed(cut_noise, CutNoise(extent=0.4, amplitude=0.2), seed, torch.full(SHAPE, 0.5))
    box = box_of(result != image)
    assert result[box].shape == (4, 16, 20)
    difference = (result - image)[box]
    assert difference.abs().max() <= 0.2 + 1e-6
    assert float(difference.std()) == pytest.approx(0.4 / 12**0.5, rel=0.1)
    assert abs(float(difference.mean())) < 0.02


def test_noise_is_clipped():
    _, result = changed(cut_noise, CutNoise(extent=1.0, amplitude=1.0), 0)
    assert 0 == result.min() < result.max() == 1


@pytest.mark.parametrize("seed", range(10))
def test_blur_coarsens_a_cuboid(seed):
    image, result = changed(cut_blur, CutBlur(extent=0.4, factors=(4, 4)), seed)
    box = box_of(result != image)
    # Each block keeps its own central pixel, so the cuboid may reach a little beyond the voxels that differ.
    assert all(n - 2 <= m <= n for n, m in zip((4, 16, 20), result[box].shape, strict=True))
    assert torch.isin(result[box], image).all()
    values = [len(section.unique()) for section in result[box]]
    assert values == [20] * len(values), "4 x 5 blocks of 4 x 4 pixels in every section"
    outside = torch.ones(SHAPE, dtype=torch.bool)
    outside[box] = False
    assert torch.equal(result[outside], image[outside])


def test_every_blur_factor_occurs():
    found = set()
    for seed in range(60):
        _, result = changed(cut_blur, CutBlur(extent=1.0, factors=(2, 4)), seed, noise((1, 24, 24)))
        found.add(round(24 / len(result[0, 0].unique())))
    assert found == {2, 3, 4}


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("size", [1, 4, 11])
def test_motion_blur_is_a_running_mean(seed, size):
    image, result = changed(blur_by_motion, MotionBlur(sections=2, size=size), seed)
    if size == 1:
        torch.testing.assert_close(result, image)
        return
    sections = [z for z in range(10) if not torch.equal(image[z], result[z])]
    assert len(sections) == 2
    # scipy puts the longer half of an even window before the pixel.
    origin = 0 if size % 2 else -1
    along = [
        ndimage.uniform_filter1d(image[sections].double().numpy(), size, axis=axis, mode="nearest", origin=origin)
        for axis in (1, 2)
    ]
    assert any(np.allclose(result[sections], expected, atol=1e-5) for expected in along)


def test_motion_blur_of_few_sections_and_both_directions():
    _, result = changed(blur_by_motion, MotionBlur(sections=5, size=3), 0, noise((2, 8, 8)))
    assert not torch.equal(result[0], noise((2, 8, 8))[0])
    stripes = torch.arange(20).remainder(2).float().expand(1, 20, 20)
    smooth = [changed(blur_by_motion, MotionBlur(size=2), seed, stripes)[1].std() < 0.2 for seed in range(20)]
    assert 3 < sum(smooth) < 17


@pytest.mark.parametrize("seed", range(10))
def test_missing_parts_are_stripes_of_the_mean(seed):
    image, result = changed(hide_parts, MissingParts(section_probability=0.6), seed)
    hidden = [z for z in range(10) if not torch.equal(image[z], result[z])]
    assert all(b - a > 1 for a, b in pairwise(hidden)), "no two neighbours"
    for z in hidden:
        mask = result[z] != image[z]
        np.testing.assert_allclose(result[z][mask], image[z].mean(), rtol=1e-5)
        assert 0.05 < mask.float().mean() < 0.8
        whole_rows, whole_columns = mask.any(1).all(), mask.any(0).all()
        assert whole_rows or whole_columns, "it runs from edge to edge"
        assert ndimage.label(mask.numpy(), np.ones((3, 3)))[1] == 1


def test_missing_parts_take_their_own_probability():
    def share(probability):
        pairs = [changed(hide_parts, MissingParts(section_probability=probability), seed) for seed in range(60)]
        return np.mean([(a != b).flatten(1).any(1).double().mean() for a, b in pairs])

    assert share(0.0) == 0
    assert share(1.0) == 0.5
    assert share(0.1) == pytest.approx(0.1 / 1.1, abs=0.03)


def test_stripes_are_as_wide_as_published():
    image = noise((1, 320, 320))
    heights = []
    for seed in range(12):
        mask = (changed(hide_parts, MissingParts(section_probability=1.0), seed, image)[1] != image)[0]
        across = mask if mask.any(0).all() else mask.T
        heights.append(int(across[:, 160].sum()))
    # A level line dilated 64 times covers 129 rows, less where it meets the border, more where it is oblique.
    assert 100 < np.median(heights) <= 160
