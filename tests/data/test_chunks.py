"""Chunks: the published plan, the order of turns, and items that depend on seed and index only."""

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from emlib.data.chunks import ChunkedTileDataset, chunk_plan
from emlib.volume import Volume

SHAPE = (8, 40, 48)


def volumes():
    labels = np.arange(1, 1 + np.prod(SHAPE), dtype=np.uint32).reshape(SHAPE)
    return (labels % 251).astype(np.uint8), labels


def dataset(**options):
    values = {"chunks": (2, 1, 2), "chunk_iterations": 3, "batch_size": 2, "size": (3, 8, 8), "seed": 0, "length": 72}
    return ChunkedTileDataset(*volumes(), **values | options)


def test_published_plan():
    plan = chunk_plan((400, 4096, 4096), (8, 2, 2))
    depth = [(0, 88), (44, 133), (88, 177), (133, 222), (177, 266), (222, 311), (266, 355), (311, 400)]
    side = [(0, 2730), (1365, 4096)]
    assert plan == [((z0, y0, x0), (z1, y1, x1)) for z0, z1 in depth for y0, y1 in side for x0, x1 in side]


@given(st.tuples(*[st.integers(1, 60)] * 3), st.tuples(*[st.integers(1, 5)] * 3), st.booleans())
def test_plans_cover_everything(shape, chunks, overlap):
    if any(count + overlap > length for count, length in zip(chunks, shape, strict=True)):
        shape = tuple(length + 6 for length in shape)
    plan = chunk_plan(shape, chunks, overlap)
    assert len(plan) == np.prod(chunks)
    seen = np.zeros(shape, int)
    for start, stop in plan:
        seen[tuple(map(slice, start, stop))] += 1
    assert seen.min() == 1
    assert seen.max() == 1 if not overlap else seen.max() <= 8


def test_numbers_run_through_x_first():
    plan = chunk_plan((4, 6, 10), (2, 3, 5), overlap=False)
    for number, (start, _) in enumerate(plan):
        assert start == (number // 15 * 2, number // 5 % 3 * 2, number % 5 * 2)


def test_bad_plans_are_refused():
    with pytest.raises(ValueError, match="9 chunks along y are too many for 8 voxels"):
        chunk_plan((8, 8, 8), (1, 9, 1), overlap=False)
    with pytest.raises(ValueError, match="number of chunks"):
        chunk_plan((8, 8, 8), (1, 0, 1))
    with pytest.raises(ValueError, match="shape is"):
        chunk_plan((8, 8), (1, 1, 1))


def test_every_chunk_has_its_turn_in_every_round():
    tiles = dataset()
    turns = [tiles[index]["chunk"] for index in range(len(tiles))]
    assert all(len(set(turns[first : first + 6])) == 1 for first in range(0, 72, 6)), "3 iterations of 2 items each"
    rounds = [turns[first : first + 24 : 6] for first in range(0, 72, 24)]
    assert all(sorted(chunks) == [0, 1, 2, 3] for chunks in rounds)
    assert len({tuple(chunks) for chunks in rounds}) > 1, "another order in another round"


def test_items_lie_in_their_chunk_and_show_it():
    image, _ = volumes()
    tiles = dataset()
    for item in tiles:
        start, stop = tiles.plan[item["chunk"]]
        position = item["position"]
        part = tuple(slice(first, first + size) for first, size in zip(position, (3, 8, 8), strict=True))
        assert all(a <= p.start and p.stop <= b for a, b, p in zip(start, stop, part, strict=True))
        np.testing.assert_array_equal(item["image"], image[part])
        # Every voxel is an object of its own, so that the new ids count the chunk's voxels.
        size = np.prod(np.subtract(stop, start))
        assert len(np.unique(item["labels"])) == 3 * 8 * 8
        assert 1 <= item["labels"].min() <= item["labels"].max() <= size
        assert item["labels"].dtype == np.int64


def test_labels_are_renumbered_in_each_chunk_and_keep_their_objects():
    labels = np.zeros(SHAPE, np.uint64)
    labels[:, :, 10:20], labels[:, 5:9, 30:] = 2**63 + 7, 2**64 - 1
    image = (labels > 0).astype(np.uint8) + (labels == 2**64 - 1)
    tiles = ChunkedTileDataset(
        image, labels, chunks=(1, 1, 1), chunk_iterations=5, size=SHAPE, seed=0, length=1, overlap=False
    )
    item = tiles[0]
    assert np.unique(item["labels"]).tolist() == [0, 1, 2]
    pairs = set(zip(item["image"].ravel().tolist(), item["labels"].ravel().tolist(), strict=True))
    assert len(pairs) == 3
    assert (0, 0) in pairs


def test_a_margin_takes_neighbours_and_reflects_at_the_border():
    image, _ = volumes()
    padded = np.pad(image, ((1, 1), (4, 4), (6, 6)), mode="reflect")
    tiles = dataset(padding=(1, 4, 6), length=400, chunk_iterations=5)
    low = 0
    for item in tiles:
        z, y, x = item["position"]
        low = min(low, x)
        start, stop = tiles.plan[item["chunk"]]
        assert start[2] - 6 <= x
        assert x + 8 <= stop[2] + 6
        np.testing.assert_array_equal(item["image"], padded[z + 1 :, y + 4 :, x + 6 :][:3, :8, :8])
    assert low == -6


def test_a_chunk_smaller_than_the_patch_is_reflected():
    tiles = dataset(size=(12, 8, 8))
    item = tiles[0]
    (first, *_), (last, *_) = tiles.plan[item["chunk"]]
    assert item["position"][0] == first - 3, "in the middle of 5 or 6 sections"
    _, y, x = item["position"]
    expected = np.pad(volumes()[0][first:last], ((3, 7), (0, 0), (0, 0)), mode="reflect")[:12, y : y + 8, x : x + 8]
    np.testing.assert_array_equal(item["image"], expected)


def same(one, other):
    return one.keys() == other.keys() and all(np.array_equal(one[key], other[key]) for key in one)


def test_items_depend_on_seed_and_index_only():
    forward, backward = dataset(), dataset()
    items = {index: backward[index] for index in reversed(range(72))}
    assert all(same(forward[index], items[index]) for index in range(72))
    resumed = pickle.loads(pickle.dumps(forward))
    assert resumed._loaded is None, "a chunk does not travel to the workers"
    assert same(resumed[50], forward[50])
    assert any(not same(dataset(seed=1)[index], items[index]) for index in range(6))


def test_worker_processes_change_nothing():
    alone = list(DataLoader(dataset(length=20), batch_size=2, num_workers=0))
    workers = list(DataLoader(dataset(length=20), batch_size=2, num_workers=2, multiprocessing_context="fork"))
    assert len(alone) == len(workers) == 10
    for one, other in zip(alone, workers, strict=True):
        assert (one["image"] == other["image"]).all()
        assert (one["labels"] == other["labels"]).all()
        assert one["chunk"].tolist() == other["chunk"].tolist()


class Counting(Volume):
    """A volume that counts how often it is read."""

    reads = 0

    def read_box(self, *arguments, **options):
        self.reads += 1
        return super().read_box(*arguments, **options)


def test_a_chunk_is_read_once():
    image, labels = (Counting(array) for array in volumes())
    tiles = ChunkedTileDataset(image, labels, chunks=(2, 1, 2), chunk_iterations=6, size=(3, 8, 8), seed=0, length=72)
    turns = [item["chunk"] for item in tiles]
    # The last chunk of a round may also be the first of the next.
    assert image.reads == labels.reads == 1 + np.count_nonzero(np.diff(turns))
    assert 9 <= image.reads <= 12


def test_bad_arguments_are_refused():
    image, labels = volumes()
    for options, words in [
        ({"chunk_iterations": 0}, "chunk_iterations is 0"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"chunks": (2, 2)}, "number of chunks"),
        ({"padding": (0, 0)}, "padding"),
        ({"length": -1}, "length is -1"),
        ({"size": (0, 1, 1)}, "patch size"),
    ]:
        with pytest.raises(ValueError, match=words):
            dataset(**options)
    values = {"chunks": (1, 1, 1), "chunk_iterations": 1, "size": (2, 4, 4), "seed": 0, "length": 1}
    with pytest.raises(ValueError, match="2 were given"):
        ChunkedTileDataset([image, image], [labels, labels], **values)
    with pytest.raises(TypeError, match="labels are float64"):
        ChunkedTileDataset(image, labels.astype(float), **values)
    with pytest.raises(ValueError, match="negative id -1"):
        ChunkedTileDataset(image, np.full(SHAPE, -1), **values)[0]
    with pytest.raises(IndexError, match="has 72"):
        dataset()[72]
