"""Augmentations that know where the cells are: the right rule, and the published one with its figures."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from oracles.volumes import cells_2d
from skimage.segmentation import find_boundaries

from emlib.augmentation.cells import change_cell_intensity, exclude_boundaries
from emlib.randomness import torch_generator

AREAS = [331, 278, 503, 324, 567, 559, 351, 438, 113, 29, 4]
PUBLISHED_AREAS = [275, 226, 421, 232, 489, 483, 283, 389, 81, 29, 4]


def areas(labels):
    return np.bincount(np.asarray(labels).ravel().astype(int), minlength=12)[1:].tolist()


def factors(labels, generator, **options):
    """The factor of every id, found from an image of ones; each id must have one factor only."""
    new = change_cell_intensity(np.ones((3, *labels.shape)), labels, generator, **options)
    values = {int(i): np.unique(new[:, labels == i]) for i in np.unique(labels)}
    assert all(one.size == 1 for one in values.values())
    return {i: float(one[0]) for i, one in values.items()}


def test_published_boundary_exclusion():
    labels = cells_2d()[0]
    assert areas(labels) == AREAS
    assert areas(exclude_boundaries(labels, published=True)) == PUBLISHED_AREAS


def test_boundary_exclusion_keeps_cells_below_196_pixels():
    labels = cells_2d()[0]
    expected = [small if area >= 196 else area for area, small in zip(AREAS, PUBLISHED_AREAS, strict=True)]
    assert areas(exclude_boundaries(labels)) == expected
    assert areas(exclude_boundaries(labels, small_area=0))[-1] == 0
    assert areas(exclude_boundaries(labels, small_area=10**6)) == AREAS


@given(st.integers(0, 10**6), st.integers(1, 12), st.integers(1, 12))
def test_boundaries_are_those_of_scikit_image(seed, height, width):
    labels = np.random.default_rng(seed).integers(0, 3, (height, width)).repeat(3, 0).repeat(2, 1)
    kept = labels.copy()
    expected = np.where(find_boundaries(labels, connectivity=1, mode="thick"), 0, labels)
    assert np.array_equal(exclude_boundaries(labels, small_area=0), expected)
    assert np.array_equal(labels, kept)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.uint32, np.int64, np.uint64])
def test_types_of_labels_stay(dtype):
    labels = cells_2d()[0].astype(dtype)
    if np.dtype(dtype).itemsize >= 4:
        labels[labels > 0] += np.dtype(dtype).type(2**30)
    result = exclude_boundaries(labels)
    assert result.dtype == labels.dtype
    assert np.array_equal(result > 0, exclude_boundaries(cells_2d()[0]) > 0)
    assert set(np.unique(result)) <= set(np.unique(labels))


def test_every_chosen_cell_has_its_own_factor_and_the_background_none():
    labels = cells_2d()[0]
    values = factors(labels, torch_generator(0), share=1.0)
    assert values.pop(0) == 1
    assert all(1 <= value < 1.7 for value in values.values())
    assert len(set(values.values())) == len(values) == 11
    darkened = factors(labels, torch_generator(0), share=1.0, darken=True)
    assert min(darkened.values()) < 1 < max(darkened.values())
    assert all(1 / 1.7 < value < 1.7 for value in darkened.values())


def test_the_share_is_right_on_average_and_every_cell_is_chosen():
    labels = np.array([[0, 5, 5, 9, 70, 70]])
    chosen = [
        [i for i, value in factors(labels, torch_generator(0, "sample", n), share=0.4).items() if value != 1]
        for n in range(400)
    ]
    assert {len(one) for one in chosen} == {1, 2}
    assert np.mean([len(one) for one in chosen]) == pytest.approx(1.2, abs=0.08)
    for cell in (5, 9, 70):
        assert np.mean([cell in one for one in chosen]) == pytest.approx(0.4, abs=0.08)


def test_the_published_rule_never_chooses_the_last_cell_and_uses_one_factor():
    labels = np.arange(11)[None]
    found = [factors(labels, torch_generator(3, n), published=True) for n in range(200)]
    changed = [{i: value for i, value in one.items() if value != 1} for one in found]
    assert all(len(one) == 4 and len(set(one.values())) == 1 for one in changed)
    assert {i for one in changed for i in one} == set(range(10))
    assert all(1 <= value < 1.7 for one in changed for value in one.values())


@given(st.integers(0, 10**6), st.booleans())
def test_the_same_generator_the_same_change(seed, published):
    labels = np.random.default_rng(seed).integers(0, 6, (7, 8))
    image = np.random.default_rng(seed).random((3, 7, 8), dtype=np.float32)
    kept = image.copy()
    first = change_cell_intensity(image, labels, torch_generator(seed), published=published)
    again = change_cell_intensity(
        torch.from_numpy(image), torch.from_numpy(labels).to(torch.int32), torch_generator(seed), published=published
    )
    assert first.dtype == np.float32
    assert np.array_equal(first, again.numpy())
    assert np.array_equal(image, kept)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_gives_the_same():
    labels = torch.from_numpy(cells_2d()[0])
    image = torch.rand(3, *labels.shape)
    on_cpu = change_cell_intensity(image, labels, torch_generator(1))
    on_cuda = change_cell_intensity(image.cuda(), labels.cuda(), torch_generator(1))
    assert torch.equal(on_cpu, on_cuda.cpu())
    assert torch.equal(exclude_boundaries(labels), exclude_boundaries(labels.cuda()).cpu())


def test_samples_without_cells_or_of_one_pixel():
    image, empty = np.ones((3, 4, 4), np.float32), np.zeros((4, 4), np.uint16)
    for published in (False, True):
        assert np.array_equal(change_cell_intensity(image, empty, torch_generator(0), published=published), image)
        assert not exclude_boundaries(empty, published=published).any()
    assert exclude_boundaries(np.ones((1, 1), np.uint8)).item() == 1
    assert change_cell_intensity(np.ones((1, 1, 1)), np.ones((1, 1), int), torch_generator(0), share=1.0).item() > 1


@pytest.mark.parametrize(
    "image, labels, options, error, match",
    [
        (np.ones((3, 4, 4), np.uint8), np.ones((4, 4), int), {}, TypeError, "floats"),
        (np.ones((3, 4, 4)), np.ones((4, 4)), {}, TypeError, "whole numbers"),
        (np.ones((3, 4, 5)), np.ones((5, 4), int), {}, ValueError, "same size"),
        (np.ones((3, 4, 4)), -np.ones((4, 4), int), {}, ValueError, "-1"),
        (np.ones((3, 4, 4)), np.ones((1, 4, 4), int), {}, ValueError, r"\(y, x\)"),
        (np.ones((3, 4, 4)), np.ones((4, 4), int), {"share": 1.5}, ValueError, "share"),
        (np.ones((3, 4, 4)), np.ones((4, 4), int), {"strength": -1}, ValueError, "strength"),
        (np.ones((3, 4, 4)), np.ones((4, 4), int), {"darken": True, "published": True}, ValueError, "darken"),
        (np.ones((3, 4, 4)), np.full((4, 4), 2**40), {"published": True}, ValueError, "without gaps"),
        (np.ones((3, 4, 4)), np.full((4, 4), 2**64 - 1, np.uint64), {}, ValueError, "below 2"),
        (np.ones((3, 4, 4)), [[1]], {}, TypeError, "two numpy arrays"),
    ],
)
def test_bad_samples(image, labels, options, error, match):
    with pytest.raises(error, match=match):
        change_cell_intensity(image, labels, torch_generator(0), **options)


@pytest.mark.parametrize(
    "labels, options, error, match",
    [
        (np.ones((4, 4)), {}, TypeError, "whole numbers"),
        (np.ones((1, 4, 4), int), {}, ValueError, r"\(y, x\)"),
        (np.ones((0, 4), int), {}, ValueError, r"\(y, x\)"),
        (-np.ones((4, 4), int), {}, ValueError, "-1"),
        (np.ones((4, 4), int), {"small_area": -1}, ValueError, "small_area"),
        ([[1]], {}, TypeError, "list"),
    ],
)
def test_bad_labels(labels, options, error, match):
    with pytest.raises(error, match=match):
        exclude_boundaries(labels, **options)
