"""Tracing and stitching against the components of the whole volume and against the published rule, word by word."""

import cc3d
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emlib.postprocessing import (
    BlockTracer,
    face_links,
    face_overlap,
    number_blocks,
    replace_ids,
    stitch_blocks,
    trace_blocks,
)
from emlib.volume import create_volume, open_volume, save_volume

DTYPES = [np.uint8, np.uint16, np.int32, np.uint32, np.int64, np.uint64]


def random_labels(random, shape, objects=5):
    """Blobs of few values, so that neighbouring voxels mostly agree."""
    coarse = random.integers(0, objects, [-(-length // 2) for length in shape])
    labels = np.kron(coarse, np.ones((2, 2, 2), dtype=np.int64))[tuple(map(slice, shape))]
    return np.where(random.random(shape) < 0.15, 0, labels)


def components(labels):
    return cc3d.connected_components(np.asfortranarray(labels.astype(np.uint32)), connectivity=6)


def with_random_ids(labels, random, largest=2**63):
    """The same objects under ids drawn from a wide range."""
    count = int(labels.max())
    ids = np.unique(random.integers(2**33, largest, 3 * count + 3, dtype=np.uint64))[: count + 1]
    ids = np.concatenate([np.zeros(1, np.uint64), random.permutation(ids)])
    return ids[labels]


def same_partition(first, second):
    pairs = np.unique(np.stack([first.ravel().astype(np.uint64), second.ravel().astype(np.uint64)]), axis=1)
    return all(np.unique(ids).size == ids.size for ids in pairs) and np.array_equal(first == 0, second == 0)


def cut(length, random, overlap=0):
    """Random [start, stop) that cover a length; neighbours have `overlap` voxels in common."""
    spans, start = [], 0
    while True:
        stop = min(start + overlap + int(random.integers(1, 5)), length)
        spans.append((start, stop))
        if stop == length:
            return spans
        start = stop - overlap


def published_rule(previous, following):
    """trace.py in the words of its description."""
    a, b = previous[-1], following[0]
    area_a, area_b = (dict(zip(*np.unique(plane, return_counts=True), strict=True)) for plane in (a, b))
    new = {}
    for old in sorted(set(a.ravel().tolist()) - {0}):
        best, most = None, 0
        for candidate in sorted(set(b[a == old].tolist()) - {0}):
            shared = int(((a == old) & (b == candidate)).sum())
            if shared > most:
                best, most = candidate, shared
        if best is not None and most / (area_a[old] + area_b[best]) >= 0.2:
            new[best] = old
    fresh = int(previous.max())
    for candidate in sorted(set(following.ravel().tolist()) - {0}):
        if candidate not in new:
            fresh += 1
            new[candidate] = fresh
    result = np.zeros(following.shape, dtype=np.uint64)
    for candidate, number in new.items():
        result[following == candidate] = number
    return result


@given(st.integers(0, 10_000), st.sampled_from(DTYPES))
def test_published_rule_equals_its_description(seed, dtype):
    random = np.random.default_rng(seed)
    shape = (2, *random.integers(1, 13, 2))
    previous, following = (random_labels(random, shape, 9).astype(dtype) for _ in range(2))
    for a, b in ((previous, following), (previous, np.where(random.random(shape) < 0.7, previous, following))):
        before = a.copy(), b.copy()
        assert np.array_equal(trace_blocks(a, b, rule="published"), published_rule(a, b))
        assert np.array_equal(a, before[0])
        assert np.array_equal(b, before[1])


def test_published_rule_with_ids_above_32_bits():
    random = np.random.default_rng(1)
    previous, following = (with_random_ids(random_labels(random, (2, 12, 12), 9), random) for _ in range(2))
    traced = trace_blocks(previous, following, rule="published")
    assert traced.dtype == np.uint64
    assert np.array_equal(traced, published_rule(previous, following))


def test_what_the_published_rule_leaves_apart_the_other_joins():
    # Two branches (4, 9) become one (1); one object (6) splits in two (2, 3); 5 is new.
    previous = np.array([[[4, 4, 4, 0, 9, 9, 9, 0, 6, 6, 6, 6, 6, 6, 0, 0]]])
    following = np.array([[[1, 1, 1, 1, 1, 1, 1, 0, 2, 2, 2, 0, 3, 3, 0, 5]]])
    published = trace_blocks(previous, following, rule="published")
    assert published.tolist() == [[[9, 9, 9, 9, 9, 9, 9, 0, 6, 6, 6, 0, 10, 10, 0, 11]]]
    united = trace_blocks(previous, following)
    assert united.tolist() == [[[4, 4, 4, 4, 4, 4, 4, 0, 6, 6, 6, 0, 6, 6, 0, 10]]]
    tracer = BlockTracer()
    tracer.add(0, previous)
    tracer.add(1, following)
    assert tracer.relabel(0, previous).tolist() == [[[1, 1, 1, 0, 1, 1, 1, 0, 2, 2, 2, 2, 2, 2, 0, 0]]]
    assert tracer.relabel(1, following).tolist() == [[[1, 1, 1, 1, 1, 1, 1, 0, 2, 2, 2, 0, 2, 2, 0, 3]]]
    assert tracer.objects == 3


def test_the_threshold_is_reached_by_equality():
    # 2 shared voxels of 4 + 6: exactly 0.2.
    previous = np.array([[[7, 7, 7, 7, 0, 0, 0, 0]]])
    following = np.array([[[0, 0, 3, 3, 3, 3, 3, 3]]])
    for rule in ("union", "published"):
        assert trace_blocks(previous, following, rule=rule)[0, 0, 2] == 7
        assert trace_blocks(previous, following, rule=rule, min_overlap=0.2001)[0, 0, 2] == 8


def test_a_thin_branch_joins_by_the_smaller_size():
    previous = np.zeros((1, 10, 10), dtype=np.uint8)
    previous[:, :, :2], previous[:, 4:6, 8:] = 3, 5
    following = np.ones((1, 10, 10), dtype=np.uint8)
    assert face_links(previous, following, min_overlap=0.1).tolist() == [[3, 1]]
    assert face_links(previous, following, min_overlap=0.9, measure="smaller").tolist() == [[3, 1], [5, 1]]
    assert trace_blocks(previous, following, min_overlap=0.9, measure="smaller").max() == 3


@given(st.integers(0, 10_000), st.integers(0, 2))
def test_union_within_the_next_block_is_that_of_the_whole(seed, overlap):
    random = np.random.default_rng(seed)
    # Without common sections all that touches is one object; with them several objects may touch.
    whole = random_labels(random, (random.integers(2 + overlap, 9), *random.integers(1, 9, 2)), 5 if overlap else 2)
    middle = int(random.integers(1, len(whole) - overlap))
    previous, following = (
        with_random_ids(components(part), random) for part in (whole[: middle + overlap], whole[middle:])
    )
    traced = trace_blocks(previous, following, min_overlap=0, overlap=overlap)
    assert same_partition(traced, components(whole)[middle:])
    # An object that reaches the compared sections has the smallest id that it has there.
    thick = max(overlap, 1)
    truth = components(whole)
    faces = truth[middle + overlap - thick : middle + overlap], previous[-thick:]
    for number in np.unique(traced[traced > 0]):
        (inside,) = np.unique(truth[middle:][traced == number])
        known = faces[1][faces[0] == inside]
        assert number > previous.max() if known.size == 0 else number == known.min()


@given(st.integers(0, 10_000), st.sampled_from([(0, 0, 0), (1, 1, 1), (2, 0, 1)]))
def test_blocks_in_any_order_equal_the_components_of_the_whole(seed, overlap):
    random = np.random.default_rng(seed)
    shape = tuple(int(random.integers(3, 11)) for _ in range(3))
    whole = random_labels(random, shape, 5 if min(overlap) else 2)
    spans = [cut(length, random, depth) for length, depth in zip(shape, overlap, strict=True)]
    blocks, boxes = {}, {}
    for place in np.ndindex(*map(len, spans)):
        boxes[place] = tuple(slice(*spans[axis][position]) for axis, position in enumerate(place))
        blocks[place] = with_random_ids(components(whole[boxes[place]]), random, 2**64 - 1)
    tracer, numbering = BlockTracer(min_overlap=0, overlap=overlap), []
    for places in (list(blocks), random.permutation(list(blocks)).tolist()):
        tracer = BlockTracer(min_overlap=0, overlap=overlap)
        for place in map(tuple, places):
            tracer.add(place, blocks[place])
        joined = np.zeros(shape, dtype=np.uint64)
        for place, block in blocks.items():
            joined[boxes[place]] = tracer.relabel(place, block)
        numbering.append(joined)
    assert np.array_equal(*numbering)
    assert same_partition(numbering[0], components(whole))
    assert np.array_equal(np.unique(joined[joined > 0]), np.arange(1, tracer.objects + 1))
    stitched = stitch_blocks(blocks, overlap=overlap, min_overlap=0)
    assert stitched.dtype == np.uint32
    assert np.array_equal(stitched, joined)


def test_stitching_from_file_to_file(tmp_path):
    random = np.random.default_rng(2)
    whole = random_labels(random, (6, 20, 20), 2)
    blocks = {}
    for place in np.ndindex(2, 2, 2):
        box = tuple(slice(n * step, (n + 1) * step) for n, step in zip(place, (3, 10, 10), strict=True))
        save_volume(tmp_path / f"{place}.zarr", components(whole[box]).astype(np.uint16))
        blocks[place] = open_volume(tmp_path / f"{place}.zarr")
    out = create_volume(tmp_path / "out.zarr", whole.shape, np.uint64, chunks=(3, 10, 10))
    assert stitch_blocks(blocks, min_overlap=0, out=out) is out
    assert same_partition(out[:], components(whole))
    memory = np.zeros(whole.shape, dtype=np.uint32)
    assert np.array_equal(stitch_blocks(blocks, min_overlap=0, out=memory), out[:])
    with pytest.raises(TypeError, match="at least 32 bits"):
        stitch_blocks(blocks, out=np.zeros(whole.shape, dtype=np.uint16))
    with pytest.raises(ValueError, match="out must have the shape"):
        stitch_blocks(blocks, out=np.zeros((1, 2, 3), dtype=np.uint32))


def test_arrays_that_cannot_be_written_to():
    random = np.random.default_rng(3)
    blocks = {index: random_labels(random, (3, 8, 8)).astype(np.uint64) for index in range(2)}
    expected = trace_blocks(blocks[0], blocks[1]), stitch_blocks(blocks)
    for block in blocks.values():
        block.flags.writeable = False
    assert np.array_equal(trace_blocks(blocks[0], blocks[1]), expected[0])
    assert np.array_equal(stitch_blocks(blocks), expected[1])


def test_only_waiting_faces_are_kept():
    tracer, block = BlockTracer(), np.ones((4, 3, 3), dtype=np.uint8)
    for index in range(40):
        tracer.add(index, block)
    # Of a stack: the outer faces in y and x of every block, the first section and the last.
    assert len(tracer._faces) == 4 * 40 + 2
    assert tracer.objects == 1


def test_new_ids_over_many_blocks_do_not_come_again():
    first = np.array([[[1, 1, 0, 50, 50]]])
    second = np.array([[[1, 1, 0, 0, 0]]])
    third = np.array([[[1, 1, 0, 2, 2]]])
    traced = [first, trace_blocks(first, second)]
    assert trace_blocks(traced[1], third).max() == 2, "50 is forgotten: this could as well have been 50"
    assert trace_blocks(traced[1], third, first_new_id=51).max() == 51


@pytest.mark.parametrize("dtype", DTYPES)
def test_result_types(dtype):
    previous, following = np.array([[[1, 1, 0]]], dtype), np.array([[[3, 3, 2]]], dtype)
    traced = trace_blocks(previous, following)
    assert traced.tolist() == [[[1, 1, 2]]]
    assert traced.dtype == (np.uint64 if np.dtype(dtype).itemsize == 8 else np.uint32)
    if np.dtype(dtype).itemsize == 4:
        previous[previous == 1] = np.iinfo(dtype).max
        assert int(trace_blocks(previous, following).max()) == int(np.iinfo(dtype).max) + 1


@given(st.integers(0, 10_000))
def test_overlap_of_faces_equals_a_count(seed):
    random = np.random.default_rng(seed)
    one, two = (random_labels(random, (1, *random.integers(1, 12, 1), 7), 4)[0] for _ in range(2))
    two = random.permutation(two.ravel())[: one.size]
    two = np.resize(two, one.shape)
    overlap = face_overlap(one, two)
    expected = {}
    for a, b in zip(one.ravel().tolist(), two.ravel().tolist(), strict=True):
        if a and b:
            expected[a, b] = expected.get((a, b), 0) + 1
    assert dict(zip(map(tuple, overlap.pairs.tolist()), overlap.shared.tolist(), strict=True)) == expected
    assert overlap.sizes.tolist() == [[int((one == a).sum()), int((two == b).sum())] for a, b in overlap.pairs.tolist()]
    assert overlap.pairs.tolist() == sorted(expected.keys() and map(list, expected))


def test_numbers_and_ids_must_fit():
    ids = {0: np.array([1], np.uint64), 1: np.array([1], np.uint64)}
    with pytest.raises(ValueError, match="id that block 1 does not have"):
        number_blocks(ids, [(0, 1, np.array([[1, 2]], np.uint64))])
    with pytest.raises(KeyError):
        number_blocks(ids, [(0, 2, np.array([[1, 2]], np.uint64))])
    with pytest.raises(ValueError, match="hold the id 9"):
        replace_ids(np.array([[9]]), ids[0], ids[1])


BLOCK = np.zeros((2, 3, 4), dtype=np.uint8)


@pytest.mark.parametrize(
    "arguments, options, error, words",
    [
        ((BLOCK, BLOCK[:, :2]), {}, ValueError, "same shape"),
        ((BLOCK, BLOCK * 1.0), {}, TypeError, "integers"),
        ((BLOCK[0], BLOCK), {}, ValueError, "previous must have the axes"),
        ((BLOCK, BLOCK.astype(int) - 1), {}, ValueError, "negative"),
        ((BLOCK, BLOCK), {"rule": "unions"}, ValueError, "rule must be one of"),
        ((BLOCK, BLOCK), {"measure": "larger"}, ValueError, "measure must be one of"),
        ((BLOCK, BLOCK), {"measure": "smaller", "rule": "published"}, ValueError, "published"),
        ((BLOCK, BLOCK), {"min_overlap": 0.6}, ValueError, "between 0 and 0.5"),
        ((BLOCK, BLOCK), {"min_overlap": "0.2"}, TypeError, "min_overlap"),
        ((BLOCK, BLOCK), {"overlap": 3}, ValueError, "overlap by"),
        ((BLOCK, BLOCK), {"overlap": -1}, ValueError, "at least 0"),
        ((BLOCK, BLOCK), {"overlap": 0.5}, ValueError, "whole number"),
        ((BLOCK + 9, BLOCK), {"first_new_id": 9}, ValueError, "above the largest previous id, 9"),
        ((np.full((1, 1, 1), 2**64 - 1, np.uint64), np.ones((1, 1, 1), int)), {}, ValueError, "64 bits"),
    ],
)
def test_bad_blocks_stop_with_one_sentence(arguments, options, error, words):
    with pytest.raises(error, match=words) as caught:
        trace_blocks(*arguments, **options)
    assert "\n" not in str(caught.value)


def test_bad_blocks_of_a_tracer():
    tracer = BlockTracer(overlap=1)
    tracer.add(0, BLOCK)
    with pytest.raises(ValueError, match="added before"):
        tracer.add((0, 0, 0), BLOCK)
    with pytest.raises(ValueError, match="same shape"):
        tracer.add(1, BLOCK[:, :2])
    tracer.add(1, BLOCK)  # the refused one left nothing behind
    with pytest.raises(KeyError, match="Block 2"):
        tracer.relabel(2, BLOCK)
    with pytest.raises(ValueError, match="not among the block's ids"):
        tracer.relabel(1, BLOCK + 1)
    with pytest.raises(ValueError, match="place of a block"):
        tracer.add(1.5, BLOCK)


@pytest.mark.parametrize(
    "blocks, words",
    [
        ({}, "no blocks"),
        ({1: BLOCK}, "lacks block"),
        ({0: BLOCK, (0, 0, 0): BLOCK}, "same place"),
        ({-1: BLOCK, 0: BLOCK}, "start at 0"),
        ({0: BLOCK, 1: BLOCK[:, 1:]}, "length of the others"),
        ({0: BLOCK[0]}, "three axes"),
    ],
)
def test_bad_grids_stop_with_one_sentence(blocks, words):
    with pytest.raises(ValueError, match=words):
        stitch_blocks(blocks)
