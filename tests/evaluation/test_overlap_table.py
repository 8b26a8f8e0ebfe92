"""The overlap table: exact, additive, for every type, memory order and lazy volume; and bad labels."""

from collections import Counter

import h5py
import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st

from emlib.evaluation import (
    adapted_rand_error,
    average_precision,
    find_errors,
    match_instances,
    neuron_errors,
    object_geometry,
    overlap_table,
    rand_split_merge,
    variation_of_information,
)
from emlib.evaluation.label_blocks import iterate_boxes

TYPES = [np.uint8, np.uint16, np.uint32, np.uint64, np.int8, np.int16, np.int32, np.int64]


def random_labels(random, dtype, shape):
    ids = np.append(random.integers(1, np.iinfo(dtype).max, 5, dtype=dtype, endpoint=True), 0).astype(dtype)
    return np.repeat(random.choice(ids, (*shape[:-1], -(-shape[-1] // 2))), 2, axis=-1)[..., : shape[-1]]


def as_counter(table):
    return {(int(table.truth_ids[t]), int(table.segmentation_ids[s])): int(n) for t, s, n in table.pairs()}


@given(
    st.integers(0, 10**6),
    st.sampled_from(TYPES),
    st.sampled_from(TYPES),
    st.lists(st.integers(1, 7), min_size=1, max_size=3),
)
def test_counts_every_pair(seed, truth_type, segmentation_type, shape):
    random = np.random.default_rng(seed)
    truth = random_labels(random, truth_type, tuple(shape))
    segmentation = random_labels(random, segmentation_type, tuple(shape))
    before = truth.copy(), segmentation.copy()
    expected = Counter(zip(truth.ravel().tolist(), segmentation.ravel().tolist(), strict=True))
    for other in (truth, np.asfortranarray(truth), np.repeat(truth, 2, axis=-1)[..., ::2]):
        table = overlap_table(segmentation, other)
        assert as_counter(table) == expected
    assert table.truth_sizes.tolist() == [(truth == label).sum() for label in np.unique(truth)]
    assert table.segmentation_sizes.tolist() == [(segmentation == label).sum() for label in np.unique(segmentation)]
    assert table.voxels == truth.size
    assert table.swapped() == overlap_table(truth, segmentation)
    assert np.array_equal(truth, before[0])
    assert np.array_equal(segmentation, before[1])


@given(st.integers(0, 10**6), st.integers(1, 9))
def test_blocks_add_up_exactly(seed, cut):
    random = np.random.default_rng(seed)
    truth, segmentation = (random.integers(0, 5, (10, 4, 4)) * 2**61 for _ in range(2))
    truth, segmentation = truth.astype(np.uint64), segmentation.astype(np.uint64)
    parts = overlap_table(segmentation[:cut], truth[:cut]) + overlap_table(segmentation[cut:], truth[cut:])
    assert parts == overlap_table(segmentation, truth)


def test_more_pairs_than_the_first_table_holds():
    truth = np.arange(40000, dtype=np.uint64).reshape(200, 200) * np.uint64(2**45) + np.uint64(2**53 + 1)
    table = overlap_table(truth[::-1], truth)
    assert table.pair_counts.size == 40000
    assert np.array_equal(table.truth_ids, truth.ravel())
    assert np.array_equal(table.segmentation_ids[table.pair_segmentation], truth[::-1].ravel())


def test_without_leaves_out_ids():
    truth, segmentation = np.array([[1, 1, 2, 0]]), np.array([[5, 6, 6, 5]])
    table = overlap_table(segmentation, truth).without(truth=(0, 99), segmentation=(5,))
    assert as_counter(table) == {(1, 6): 1, (2, 6): 1}
    assert table.segmentation_sizes.tolist() == [2]


@given(st.integers(0, 10**6), st.sampled_from([np.int32, np.uint64]))
def test_relabelled_columns_equal_the_relabelled_volume(seed, dtype):
    random = np.random.default_rng(seed)
    segmentation, truth = random.integers(0, 9, (4, 6)), random.integers(0, 4, (4, 6))
    ids = random.permutation(12).astype(dtype)
    new = random.integers(0, 5, 12).astype(dtype) * (np.iinfo(dtype).max // 4)
    lookup = np.empty(12, dtype)
    lookup[ids] = new
    table = overlap_table(segmentation, truth)
    assert table.relabel(ids, new) == overlap_table(lookup[segmentation], truth)
    # Background keeps its id where the lookup table leaves it out.
    lookup[0] = 0
    assert table.relabel(ids[ids != 0], new[ids != 0]) == overlap_table(lookup[segmentation], truth)


def test_bad_lookup_tables_stop_with_one_sentence():
    table = overlap_table(GOOD, GOOD)
    with pytest.raises(ValueError, match="1 have no new id, first 2"):
        table.relabel([1], [1])
    with pytest.raises(ValueError, match="2 have no new id, first 1"):
        table.relabel([], [])
    with pytest.raises(ValueError, match="as long as each other, got 2 and 1"):
        table.relabel([1, 2], [1])
    with pytest.raises(ValueError, match="2 occurs more than once"):
        table.relabel([1, 2, 2], [1, 1, 2])
    with pytest.raises(ValueError, match="new_ids must not be negative"):
        table.relabel([1, 2], [1, -1])
    with pytest.raises(ValueError, match="ids must have one axis"):
        table.relabel([[1, 2]], [1, 2])
    with pytest.raises(TypeError, match="ids must be integers, got float64"):
        table.relabel([1.0, 2.0], [1, 1])


@given(st.lists(st.integers(1, 40), min_size=1, max_size=3), st.booleans())
def test_boxes_cover_everything_once(shape, chunked):
    seen = np.zeros(shape, dtype=int)
    chunks = tuple(max(1, length // 3) for length in shape) if chunked else None
    for box in iterate_boxes(tuple(shape), chunks):
        seen[box] += 1
    assert (seen == 1).all()


def test_large_arrays_are_read_in_several_boxes():
    shapes = [tuple(part.stop - part.start for part in box) for box in iterate_boxes((3, 2000, 2000))]
    assert max(np.prod(shape) for shape in shapes) <= 2**20
    assert sum(np.prod(shape) for shape in shapes) == 3 * 2000 * 2000
    assert max(np.prod(box) for box in shapes) > 2**19


def test_lazy_volumes_are_read_in_blocks(tmp_path, monkeypatch):
    random = np.random.default_rng(3)
    truth, segmentation = (np.repeat(random.integers(0, 9, (20, 30, 10)), 4, axis=2) for _ in range(2))
    stored = zarr.create_array(str(tmp_path / "truth.zarr"), data=truth, chunks=(8, 16, 16))
    with h5py.File(tmp_path / "segmentation.h5", "w") as file:
        file["labels"] = segmentation
        expected = overlap_table(segmentation, truth)
        assert overlap_table(file["labels"], stored) == expected
        assert overlap_table(segmentation, stored) == expected
        monkeypatch.setattr("emlib.evaluation.label_blocks.BLOCK_VOXELS", 500)
        assert overlap_table(file["labels"], stored) == expected
        assert overlap_table(file["labels"], truth) == expected
        lazy = average_precision(file["labels"], stored, drop_truth_below=0)
        assert lazy.ap == average_precision(segmentation, truth, drop_truth_below=0).ap
        geometry = object_geometry(stored)
    for row, label in enumerate(geometry.ids):
        where = np.argwhere(truth == label)
        assert geometry.sizes[row] == len(where)
        assert np.array_equal(geometry.boxes[row], [where.min(axis=0), where.max(axis=0) + 1])
        assert geometry.centroids[row] == pytest.approx(where.mean(axis=0))


SCORES = [
    overlap_table,
    average_precision,
    match_instances,
    adapted_rand_error,
    rand_split_merge,
    variation_of_information,
    find_errors,
    neuron_errors,
]
GOOD = np.array([[0, 1], [1, 2]])


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize(
    "segmentation, truth, error, words",
    [
        (GOOD.astype(float), GOOD, TypeError, "segmentation must be integers"),
        (GOOD, GOOD > 0, TypeError, "truth must be integers"),
        (GOOD, GOOD[:1], ValueError, "same shape"),
        (GOOD - 1, GOOD, ValueError, "segmentation must not have negative ids"),
        (GOOD, GOOD - 1, ValueError, "truth must not have negative ids"),
        (GOOD[:0], GOOD[:0], ValueError, "empty"),
    ],
)
def test_bad_labels_stop_with_one_sentence(score, segmentation, truth, error, words):
    with pytest.raises(error, match=words) as caught:
        score(segmentation, truth)
    assert str(caught.value).count("\n") == 0


TABLE_SCORES = [
    average_precision,
    match_instances,
    adapted_rand_error,
    rand_split_merge,
    variation_of_information,
]


@pytest.mark.parametrize("score", TABLE_SCORES)
def test_a_table_stands_for_both_volumes(score):
    table = overlap_table(GOOD, GOOD)
    assert repr(score(table)) == repr(score(GOOD, GOOD))
    with pytest.raises(TypeError, match="not both"):
        score(table, GOOD)
    with pytest.raises(TypeError, match="truth is missing"):
        score(GOOD)
