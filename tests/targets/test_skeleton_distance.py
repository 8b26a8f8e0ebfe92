"""Skeletons and the distance to them against their definitions, scikit-image and scipy; the published tasks."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from oracles.volumes import small_volume
from scipy.ndimage import distance_transform_edt, gaussian_filter
from skimage.measure import label
from skimage.morphology import remove_small_holes, skeletonize

from emlib.recipe_schema import TargetOutput, TargetRecipe
from emlib.targets import (
    build_target,
    build_targets,
    channel_count,
    channel_names,
    channel_pairs,
    skeleton_distance,
    task_option,
    task_target,
)
from emlib.targets.thinning import AROUND, thin_shape


def blobs(seed, shape=(30, 34)):
    random = np.random.default_rng(seed)
    noise = gaussian_filter(random.normal(size=shape), random.uniform(0.3, 4))
    return noise > np.quantile(noise, random.uniform(0.2, 0.9))


def thin_by_definition(shape):
    """Zhang and Suen's two passes, pixel by pixel; each spares one kind of corner."""
    image = np.pad(shape, 1)
    while True:
        before = image.copy()
        for number in (1, 2):
            going = []
            for y, x in np.argwhere(image):
                near = [bool(image[y + dy, x + dx]) for dy, dx in AROUND]
                starts = sum(not one and other for one, other in zip(near, near[1:] + near[:1], strict=True))
                above, right, below, left = near[::2]
                set_ones = {place for place in range(8) if near[place]}
                if number == 1:
                    free = not (above and right and below) and not (right and below and left)
                    spared = {2, 3, 4}
                else:
                    free = not (above and right and left) and not (above and below and left)
                    spared = {6, 7, 0}
                if 2 <= len(set_ones) <= 6 and starts == 1 and free and set_ones != spared:
                    going.append((y, x))
            for pixel in going:
                image[pixel] = False
        if np.array_equal(image, before):
            return image[1:-1, 1:-1]


def by_definition(labels, thin=thin_shape):
    heat = np.full(labels.shape, -1.0)
    for section, target in zip(labels, heat, strict=True):
        components = label(section, connectivity=2)
        for number in range(1, components.max() + 1):
            shape = remove_small_holes(components == number, max_size=15, connectivity=1)
            distance = distance_transform_edt(~thin(shape))
            value = 1 - (distance / max(distance[shape].max(), 2)) ** 0.8
            target[components == number] = value[components == number]
            filled = shape & (components == 0)
            target[filled] = np.maximum(target[filled], value[filled])
    return heat


@given(st.integers(0, 10_000))
def test_thinning_follows_its_definition_and_keeps_how_things_connect(seed):
    shape = blobs(seed, (17, 19))
    before = shape.copy()
    thin = thin_shape(shape)
    assert np.array_equal(thin, thin_by_definition(shape))
    assert np.array_equal(shape, before)
    assert not (thin & ~shape).any()
    assert label(thin, connectivity=2).max() == label(shape, connectivity=2).max()
    holes = [label(~np.pad(one, 1), connectivity=1).max() for one in (thin, shape)]
    assert holes[0] == holes[1]


@pytest.mark.parametrize("size", [(1, 1), (2, 2), (2, 5), (3, 3), (4, 4), (5, 5), (1, 6), (6, 8)])
def test_no_rectangle_vanishes(size):
    shape = np.pad(np.ones(size, dtype=bool), 2)
    assert thin_shape(shape).any()
    assert thin_shape(np.ones(size, dtype=bool)).any()


def test_skeletons_lie_where_scikit_images_do():
    for seed in range(30):
        shape = blobs(seed, (60, 60))
        ours, theirs = thin_shape(shape), skeletonize(shape)
        assert distance_transform_edt(~theirs)[ours].mean() < 0.8
        assert distance_transform_edt(~ours)[theirs].mean() < 0.8


@given(st.integers(0, 10_000))
def test_values_follow_the_definition(seed):
    random = np.random.default_rng(seed)
    shapes = np.stack([blobs(seed + index) for index in range(2)])
    labels = np.where(shapes, random.integers(1, 4, (2, 6, 7)).repeat(5, 1).repeat(5, 2)[:, :30, :34], 0)
    found = skeleton_distance(labels)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, by_definition(labels), atol=2e-6)


def test_values_are_near_those_of_scikit_images_skeleton():
    labels = label(gaussian_filter(np.random.default_rng(0).normal(size=(250, 250)), 6) > 0.03)[None]
    ours, theirs = skeleton_distance(labels), by_definition(labels, skeletonize)
    assert np.array_equal(ours < 0, theirs < 0)
    assert np.abs(ours - theirs)[labels > 0].mean() < 0.08
    assert np.corrcoef(ours[labels > 0], theirs[labels > 0])[0, 1] > 0.9


def test_holes_and_what_lies_in_them():
    labels = np.zeros((1, 20, 40), dtype=np.uint8)
    labels[0, 2:18, 2:18] = labels[0, 2:18, 22:38] = 5
    labels[0, 5:8, 5:10] = 0  # 15 pixels: filled
    labels[0, 6, 7] = 9  # another object inside keeps its own value
    labels[0, 5:9, 25:29] = 0  # 16 pixels: a hole
    heat = skeleton_distance(labels)[0]
    assert heat[6, 7] == 1
    assert (heat[5:8, 5:10] >= 0).all()
    assert (heat[5:9, 25:29] == -1).all()
    # Next to the filled hole the object is as if there were none.
    plain = labels.copy()
    plain[0, 5:8, 5:10] = 5
    outside = np.ones(heat.shape, dtype=bool)
    outside[6, 7] = False
    assert np.array_equal(heat[outside], skeleton_distance(plain)[0][outside])


def test_each_section_and_component_is_by_itself():
    labels = np.zeros((2, 12, 30), dtype=np.int64)
    labels[0, 1:6, 1:8] = labels[0, 3:11, 15:28] = 4  # two components of one id
    labels[1, 1:11, 1:28] = 4
    heat = skeleton_distance(labels)
    for box in (np.s_[0:1, :, :12], np.s_[0:1, :, 12:], np.s_[1:2]):
        assert np.array_equal(skeleton_distance(labels[box]), heat[box])
        assert heat[box].max() == 1
        assert heat[box][labels[box] > 0].min() == 0


def test_thin_objects_are_not_stretched_to_zero():
    labels = np.zeros((1, 7, 9), dtype=np.uint8)
    labels[0, 2:5, 1:8] = 1
    # dmax is below 2, so that the border stays above 0.
    assert skeleton_distance(labels)[labels > 0].min() > 0.2


@pytest.mark.parametrize(
    "dtype", ["bool", "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64", ">u4"]
)
def test_every_integer_type_memory_order_and_large_ids(dtype):
    labels = small_volume()[0]
    labels = labels > 0 if dtype == "bool" else labels
    expected = skeleton_distance(labels)
    given_labels = np.asfortranarray(labels.astype(dtype))
    before = given_labels.copy()
    assert np.array_equal(skeleton_distance(given_labels), expected)
    assert np.array_equal(given_labels, before)
    if dtype in ("uint32", "uint64"):
        top = np.array(np.iinfo(dtype).max - 20, dtype)
        large = np.where(labels > 0, labels.astype(dtype) + top, np.array(0, dtype))
        assert np.array_equal(skeleton_distance(large), expected)
        assert np.array_equal(skeleton_distance(torch.from_numpy(large)).numpy(), expected)


def test_as_an_option_and_in_a_recipe():
    labels = small_volume()[0]
    expected = skeleton_distance(labels)[None]
    assert np.array_equal(build_target(labels, "22"), expected)
    tensor = build_target(torch.from_numpy(labels.astype(np.int64)), "22")
    assert isinstance(tensor, torch.Tensor)
    assert np.array_equal(tensor.numpy(), expected)
    assert channel_count("22") == 1
    outputs = (TargetOutput(name="heatmap", option="22", losses=()), TargetOutput(name="mask", option="0", losses=()))
    values, valid = build_targets(labels, TargetRecipe(outputs=outputs))
    assert valid is None
    assert np.array_equal(values, np.concatenate([expected, labels[None] > 0]))
    assert channel_names(outputs) == ["heatmap", "mask"]
    assert channel_pairs(outputs) == [None, None]


@pytest.mark.parametrize("task, option", [(0, "2"), (1, "0"), (2, "0"), (11, "1"), (22, "22")])
def test_published_tasks(task, option):
    labels = small_volume()[0]
    assert task_option(task) == option
    assert np.array_equal(task_target(labels, task), build_target(labels, option))


def test_bad_input_stops_with_one_sentence():
    for labels, error, words in (
        (np.zeros((2, 3)), TypeError, "float64"),
        (np.zeros((2, 3), int), ValueError, "three axes"),
        (np.zeros((0, 2, 3), int), ValueError, "empty"),
        (np.full((1, 2, 3), -1), ValueError, "negative id -1"),
    ):
        with pytest.raises(error, match=words):
            skeleton_distance(labels)
    for task in (3, "0", True, None):
        with pytest.raises(ValueError, match="the tasks are 0, 1, 2, 11, 22"):
            task_option(task)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_same_on_cuda():
    labels = torch.from_numpy(small_volume()[0].astype(np.int64))
    there = skeleton_distance(labels.cuda())
    assert there.is_cuda
    assert torch.equal(there.cpu(), skeleton_distance(labels))
