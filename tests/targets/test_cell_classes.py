"""Three classes of pixels: scikit-image as oracle, what perfect classes keep of the fixture, types, orders, devices."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles.volumes import cells_2d
from skimage.morphology import dilation, disk, remove_small_objects
from skimage.segmentation import find_boundaries

from emlib.evaluation import match_instances
from emlib.postprocessing import cells_from_classes
from emlib.recipe_schema import ImageTargetOutput, ImageTargetRecipe
from emlib.targets import CLASSES, build_image_targets, cell_classes, channel_names, output_channel_count


def published(labels):
    """The three steps, each by scikit-image."""
    boundary = dilation(find_boundaries(labels, mode="inner"), disk(1))
    interior = remove_small_objects(~boundary & (labels > 0), max_size=15)
    return np.stack([~(boundary | interior), interior, boundary]).astype(np.float32)


def random_cells(seed, shape, count):
    """Touching and overlapping boxes, a few of them thin."""
    rng, labels = np.random.default_rng(seed), np.zeros(shape, np.int64)
    for number in range(1, count + 1):
        y, x = rng.integers(0, shape[0]), rng.integers(0, shape[1])
        labels[y : y + rng.integers(1, 14), x : x + rng.integers(1, 14)] = number
    return labels


@given(
    st.integers(0, 10_000),
    st.sampled_from([(1, 1), (1, 30), (30, 1), (2, 2), (17, 23), (40, 31)]),
    st.sampled_from(["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", ">u4", ">i8"]),
    st.sampled_from(["C", "F", "reversed", "frozen"]),
)
@settings(max_examples=60, deadline=None)
def test_equals_scikit_image(seed, shape, dtype, order):
    expected = random_cells(seed, shape, 1 + seed % 12)
    labels = expected.astype(dtype)
    labels = {"F": np.asfortranarray(labels), "reversed": np.flip(np.flip(labels).copy())}.get(order, labels)
    labels.flags.writeable = order != "frozen"
    before = labels.copy()
    classes = cell_classes(labels)
    assert classes.dtype == np.float32
    np.testing.assert_array_equal(classes, published(expected))
    np.testing.assert_array_equal(labels, before)
    assert (classes.sum(axis=0) == 1).all()


def test_ids_and_containers_do_not_matter():
    labels = cells_2d()[0]
    expected = published(labels)
    wide = np.array([0, 2**64 - 1, 2**63, 2**63 - 1, 2**32, 2**32 + 1, 70_000, 2**24 + 1, 9, 5, 300, 1], np.uint64)
    np.testing.assert_array_equal(cell_classes(wide[labels]), expected)
    tensor = cell_classes(torch.from_numpy(labels.astype(np.int64)))
    assert isinstance(tensor, torch.Tensor)
    np.testing.assert_array_equal(tensor, expected)
    assert cell_classes(np.zeros((3, 4), np.uint8))[0].all()


def test_perfect_classes_keep_nine_of_the_eleven_cells():
    """The ceiling of the method: cells of 29 and 4 pixels have no interior, the others lose two pixels all round."""
    labels = cells_2d()[0]
    classes = cell_classes(labels)
    found = cells_from_classes(classes)
    assert found.max() == 9
    lost = set(range(1, 12)) - {int(i) for i in np.unique(labels[found > 0])}
    assert lost == {10, 11}
    assert (int((found > 0).sum()), int((labels > 0).sum())) == (2338, 3497)
    # So eroded that two of the nine overlap their cell by less than a half.
    assert match_instances(found, labels).tp == 7
    whole = cells_from_classes(classes, grow=2)
    assert [match_instances(whole, labels, threshold=t).tp for t in (0.5, 0.7, 0.9)] == [9, 9, 8]
    # What grows back is the cell itself, but for corners and spikes that are thinner than the boundary.
    assert (labels[whole > 0] > 0).mean() == 1
    assert (whole > 0).sum() == 3406


def test_touching_cells_stay_apart():
    labels = np.zeros((30, 41), np.int32)
    labels[:, :20], labels[:, 20:] = 3, 8
    interior = cell_classes(labels)[1]
    assert not interior[:, 18:22].any()
    assert interior[:, :18].all()
    assert interior[:, 22:].all()


def test_small_pieces_of_interior_are_background():
    labels = np.zeros((20, 40), np.uint8)
    labels[2:10, 2:10] = 1  # interior 4 x 4
    labels[2:10, 20:27] = 2  # interior 4 x 3
    background, interior, boundary = cell_classes(labels)
    assert interior.sum() == 16
    assert background[4:8, 22:25].all()
    assert not boundary[4:8, 22:25].any()


def test_the_target_of_a_recipe():
    target = ImageTargetRecipe(outputs=(ImageTargetOutput(name="classes", kind="classes", losses=()),))
    labels = cells_2d()[0]
    np.testing.assert_array_equal(build_image_targets(labels, target), cell_classes(labels))
    assert isinstance(build_image_targets(torch.from_numpy(labels), target), torch.Tensor)
    assert tuple(channel_names(target.outputs)) == CLASSES == ("background", "interior", "boundary")
    assert output_channel_count(target.outputs[0]) == 3
    assert (target.has_classes, target.rule) == (True, None)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_gives_the_result_of_the_cpu():
    labels = torch.from_numpy(cells_2d()[0])
    there = cell_classes(labels.cuda())
    assert there.is_cuda
    assert torch.equal(there.cpu(), cell_classes(labels))


@pytest.mark.parametrize(
    "labels, error, text",
    [
        (np.zeros((4, 4)), TypeError, "whole numbers"),
        ([[1, 2]], TypeError, "list"),
        (np.zeros(4, int), ValueError, r"shape \(4,\), but two axes"),
        (np.zeros((2, 3, 4), int), ValueError, "two axes"),
        (np.zeros((0, 4), int), ValueError, "empty"),
        (np.full((4, 4), -1), ValueError, "negative"),
    ],
)
def test_bad_input_is_refused(labels, error, text):
    with pytest.raises(error, match=text):
        cell_classes(labels)
