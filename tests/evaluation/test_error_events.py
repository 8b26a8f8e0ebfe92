"""Positions of splits and merges: against plain loops, for any blocks, across gaps, and parts that meet nowhere."""

from collections import defaultdict

import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st

from emlib.evaluation import find_events
from emlib.evaluation.contacts import middle_voxels, sum_boundaries, sum_parts


def boundaries_by_loops(owners, parts, gap):
    """Key -> the voxels of its faces: every line along every axis is walked from each voxel."""
    places = defaultdict(list)
    for at in np.ndindex(owners.shape):
        for axis in range(3):
            step = np.eye(3, dtype=int)[axis]
            for distance in range(1, gap + 2):
                other = tuple((np.array(at) + distance * step).tolist())
                if other[axis] >= owners.shape[axis] or owners[other] != owners[at]:
                    break
                if parts[other] == 0:
                    continue
                if owners[at] and parts[at] and parts[other] != parts[at]:
                    key = (int(owners[at]), *sorted((int(parts[at]), int(parts[other]))))
                    places[key].append(tuple((np.array(at) + distance // 2 * step).tolist()))
                break
    return places


def middle(places):
    count, total = len(places), np.sum(places, axis=0)
    return min(places, key=lambda place: (float(((np.array(place) * count - total) ** 2).sum()), place))


def random_pair(seed, shape, ids=4):
    random = np.random.default_rng(seed)
    owners = np.repeat(random.integers(0, 3, shape), 2, axis=2).astype(np.uint64) << np.uint64(61)
    parts = np.repeat(random.integers(0, ids, shape), 2, axis=2).astype(np.uint64) + np.uint64(2**63)
    parts[parts == 2**63] = 0
    return owners, parts


@given(st.integers(0, 10**6), st.tuples(*[st.integers(1, 6)] * 3), st.integers(0, 3))
def test_boundaries_equal_loops(seed, shape, gap):
    owners, parts = random_pair(seed, shape)
    expected = boundaries_by_loops(owners, parts, gap)
    keys, sums = sum_boundaries(owners, parts, gap=gap)
    assert [tuple(key) for key in keys.tolist()] == sorted(expected)
    for key, row in zip(keys.tolist(), sums.tolist(), strict=True):
        places = expected[tuple(key)]
        assert row == [len(places), *np.sum(places, axis=0).tolist()]
    voxels = middle_voxels(owners, parts, keys, sums, gap=gap)
    assert [tuple(voxel) for voxel in voxels.tolist()] == [middle(expected[tuple(key)]) for key in keys.tolist()]


@given(st.integers(0, 10**6))
def test_parts_equal_loops(seed):
    owners, parts = random_pair(seed, (3, 5, 4))
    both = [(one, other) for one in np.unique(owners) for other in np.unique(parts) if one and other]
    both = [(one, other) for one, other in both if ((owners == one) & (parts == other)).any()]
    keys = np.array([(one, other, other) for one, other in both], np.uint64).reshape(-1, 3)
    sums = sum_parts(owners, parts, keys)
    voxels = middle_voxels(owners, parts, keys, sums, gap=0) if both else keys
    for (one, other), row, voxel in zip(both, sums.tolist(), voxels.tolist(), strict=True):
        places = [tuple(place) for place in np.argwhere((owners == one) & (parts == other)).tolist()]
        assert row == [len(places), *np.sum(places, axis=0).tolist()]
        assert tuple(voxel) == middle(places)


def test_more_boundaries_than_the_first_table_holds():
    parts = np.arange(1, 12**3 + 1).reshape(12, 12, 12)
    keys, sums = sum_boundaries(np.ones_like(parts), parts, gap=0)
    assert len(keys) == 3 * 11 * 12 * 12
    assert (sums[:, 0] == 1).all()
    assert np.array_equal(middle_voxels(np.ones_like(parts), parts, keys, sums, gap=0), sums[:, 1:])


@pytest.mark.parametrize("chunks", [(2, 3, 5), (1, 9, 4), (5, 2, 16)])
def test_events_do_not_depend_on_blocks(tmp_path, monkeypatch, chunks):
    truth, segmentation = random_pair(5, (7, 9, 8), ids=9)
    truth[:, 4], segmentation[3] = 0, 0
    truth[5:] += np.uint64(7)
    expected = find_events(segmentation, truth, min_overlap=3, gap=3)
    assert min(len(kind) for kind in expected) > 5
    assert any(event.contact == 0 for kind in expected for event in kind)
    stored = zarr.create_array(str(tmp_path / "truth.zarr"), data=truth, chunks=chunks)
    assert find_events(segmentation, stored, min_overlap=3, gap=3) == expected
    monkeypatch.setattr("emlib.evaluation.label_blocks.BLOCK_VOXELS", 40)
    assert find_events(segmentation, truth, min_overlap=3, gap=3) == expected
    assert find_events(segmentation, stored, min_overlap=3, gap=3) == expected


@given(st.integers(0, 10**6), st.integers(1, 12), st.integers(0, 2))
def test_events_leave_no_part_out(seed, min_overlap, gap):
    truth, segmentation = random_pair(seed, (4, 5, 5))
    splits, merges = find_events(segmentation, truth, min_overlap=min_overlap, gap=gap)
    for kind, events, owners, parts in (("split", splits, truth, segmentation), ("merge", merges, segmentation, truth)):
        listed = defaultdict(set)
        for event in events:
            owner, pair = (event.neurons, event.segments) if kind == "split" else (event.segments, event.neurons)
            sizes = [int(((owners == owner[0]) & (parts == one)).sum()) for one in pair]
            assert event.size == min(sizes) >= min_overlap
            assert event.kind == kind
            listed[owner[0]].update(pair)
            if event.contact == 0:
                assert owners[event.position] == owner[0]
                assert parts[event.position] in pair
        for owner in np.unique(owners[owners != 0]).tolist():
            ids, counts = np.unique(parts[(owners == owner) & (parts != 0)], return_counts=True)
            large = set(ids[counts >= min_overlap].tolist())
            assert listed[owner] == (large if len(large) > 1 else set())
        assert [event.size for event in events] == sorted((event.size for event in events), reverse=True)


def test_a_merge_across_a_membrane_and_one_far_away():
    truth = np.zeros((3, 12, 20), np.uint16)
    truth[:, :5], truth[:, 7:], truth[:, :, 15:] = 1, 2, 3
    truth[:, :, 13:15] = 0
    segmentation = np.full(truth.shape, 9)
    segmentation[:, :, 13:15] = 0
    _, merges = find_events(segmentation, truth, min_overlap=10, gap=3)
    assert [(event.neurons, event.contact) for event in merges] == [((1, 2), 39), ((1, 3), 0)]
    assert merges[0].position == (1, 5, 6)
    assert merges[1].position == (1, 5, 17)
    _, merges = find_events(segmentation, truth, min_overlap=10, gap=1)
    assert [event.contact for event in merges] == [0, 0]
