"""The targets of a recipe: their channels, their directions, and the labels they are made from."""

import numpy as np
import pytest
import torch
from oracles.volumes import small_volume

from emlib.recipe_schema import LossTerm, TargetOutput, TargetRecipe
from emlib.targets import (
    VoxelPair,
    affinities,
    affinity_offsets,
    affinity_pairs,
    build_target,
    build_targets,
    channel_count,
    channel_names,
    channel_pairs,
    erode_labels,
    output_channel_count,
    target_channel_count,
)

OPTIONS = ["0", "0-1-2", "1", "2", "2-1-1-1-v1", "2-2-3-5-v1", "2-1-2-2-v2", "4-2-1", "9-13"]


def output(name, option=None, offsets=None, **rest):
    return TargetOutput(name=name, option=option, offsets=offsets, losses=(LossTerm(name="WeightedBCE"),), **rest)


def section(*outputs, label_erosion=0):
    return TargetRecipe(label_erosion=label_erosion, outputs=outputs)


@pytest.mark.parametrize("option", OPTIONS)
def test_pairs_say_which_two_voxels_a_target_compares(option):
    """The target is 1 exactly where the two voxels of the pair are equal, wherever both lie inside."""
    labels = small_volume()[0]
    target, pairs = build_target(labels, option), affinity_pairs(option)
    assert len(pairs) == len(target) == channel_count(option)
    for channel, pair in zip(target, pairs, strict=True):
        assert (pair is None) == (option[0] != "2")
        if pair is None:
            continue
        voxels = np.stack(np.meshgrid(*[np.arange(n) for n in labels.shape], indexing="ij"), -1)
        ends = [voxels + np.array(end) for end in (pair.first, pair.second)]
        inside = np.all([(end >= 0) & (end < labels.shape) for end in ends], axis=(0, 4))
        one, other = (labels[tuple(end[inside].T)] for end in ends)
        np.testing.assert_array_equal(channel[inside], (one == other) & (one > 0))
        assert inside.any()


def test_offsets_are_the_affinities_own():
    labels = small_volume()[0]
    offsets = affinity_offsets("2-2-3-5-v1")
    assert offsets == ((-2, 0, 0), (0, -3, 0), (0, 0, -5))
    values, valid = affinities(labels, offsets)
    np.testing.assert_array_equal(values[valid], build_target(labels, "2-2-3-5-v1")[valid])
    assert affinity_offsets("1") == (None, None, None)
    with pytest.raises(ValueError, match=r"'2-1-2-2-v2' compares v - d with v \+ d and has no offset"):
        affinity_offsets("2-1-2-2-v2")


@pytest.mark.parametrize(("first", "second"), [((0, 0, 0), (0, 0, 0)), ((0, 1, 0), (0, 2, 0)), ((1, 0, 0), (1, 0, 0))])
def test_pairs_are_stored_at_an_end_or_in_the_middle(first, second):
    with pytest.raises(ValueError, match="neither"):
        VoxelPair(first, second)


def test_channels_of_several_outputs():
    outputs = [output("mask", "0"), output("near", "2"), output("far", offsets=((0, -9, 0), (0, 0, -9)))]
    assert channel_names(outputs) == ["mask", "near_0", "near_1", "near_2", "far_0", "far_1"]
    assert [output_channel_count(one) for one in outputs] == [1, 3, 2]
    pairs = channel_pairs(outputs)
    assert pairs[0] is None
    assert [pair.offset for pair in pairs[1:]] == [(-1, 0, 0), (0, -1, 0), (0, 0, -1), (0, -9, 0), (0, 0, -9)]
    assert [pair.group for pair in pairs[1:]] == ["near", "near", "near", "far", "far"]


@pytest.mark.parametrize("as_tensor", [False, True])
def test_multi_erosion_and_validity(as_tensor):
    """The published multi-erosion target: affinities of labels eroded by 1, 2 and 4, one after the other."""
    labels = small_volume()[0].astype(np.int64)
    before = labels.copy()
    far = ((0, 0, -7), (3, -2, 0))
    outputs = [output(f"eroded_{k}", "2", label_erosion=k) for k in (1, 2, 4)] + [output("mask", "0")]
    given = torch.from_numpy(labels) if as_tensor else labels
    values, valid = build_targets(given, section(*outputs, label_erosion=3))
    assert valid is None
    assert isinstance(values, torch.Tensor if as_tensor else np.ndarray)
    expected = [build_target(erode_labels(labels, k), "2") for k in (1, 2, 4)] + [erode_labels(labels, 3)[None] > 0]
    np.testing.assert_array_equal(np.asarray(values), np.concatenate(expected))
    assert values.shape == (10, *labels.shape)

    values, valid = build_targets(given, section(output("mask", "0"), output("far", offsets=far)))
    expected_values, expected_valid = affinities(labels, far)
    np.testing.assert_array_equal(np.asarray(values[1:]), expected_values)
    np.testing.assert_array_equal(np.asarray(valid[1:]), expected_valid)
    assert bool(valid[0].all())
    assert valid.dtype in (torch.bool, np.dtype(bool))
    np.testing.assert_array_equal(labels, before)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint64", ">u4"])
def test_every_integer_type_gives_the_same(dtype):
    labels = small_volume()[0]
    target = section(output("near", "2", label_erosion=1), output("far", offsets=((0, 0, -3),)))
    for one, other in zip(build_targets(labels.astype(dtype), target), build_targets(labels, target), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("as_tensor", [False, True])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32", "uint64", "int64"])
@pytest.mark.parametrize("background", [True, False])
def test_embeddings_see_instances_numbered_from_one(dtype, as_tensor, background):
    """Ids that float32 cannot tell apart, and ids beyond the signed half of their type."""
    top = np.iinfo(dtype).max
    ids = [top, top - 1, 3, 3, 0 if background else 7, top // 2 + 1]
    labels = np.array(ids, dtype).reshape(1, 2, 3)
    given = torch.from_numpy(labels) if as_tensor else labels
    one = TargetOutput(name="embedding", embedding=5, mask="mask", losses=())
    values, valid = build_targets(given, section(output("mask", "0"), one))
    assert valid is None
    assert isinstance(values, torch.Tensor if as_tensor else np.ndarray)
    values = np.asarray(values)
    assert values.shape == (2, 1, 2, 3)
    assert values.dtype == np.float32
    np.testing.assert_array_equal(values[0], labels > 0)
    found = values[1].ravel()
    assert set(found) == set(range(not background, len(set(ids)) + (not background)))
    for a in range(6):
        assert (found[a] == 0) == (ids[a] == 0)
        for b in range(6):
            assert (found[a] == found[b]) == (ids[a] == ids[b])


def test_embeddings_see_eroded_labels():
    labels = small_volume()[0]
    one = TargetOutput(name="embedding", embedding=5, losses=(), label_erosion=2)
    values, _ = build_targets(labels, section(one))
    np.testing.assert_array_equal(values[0] > 0, erode_labels(labels, 2) > 0)


def test_channels_of_embeddings():
    plain = TargetOutput(name="vector", embedding=2, losses=())
    masked = TargetOutput(name="embedding", embedding=1, mask="mask", losses=())
    assert channel_names([plain, masked]) == ["vector_0", "vector_1", "mask", "embedding_0"]
    assert [output_channel_count(one) for one in (plain, masked)] == [2, 2]
    assert [target_channel_count(one) for one in (plain, masked, output("near", "2"))] == [1, 1, 3]
    assert channel_pairs([plain, masked]) == [None] * 4
