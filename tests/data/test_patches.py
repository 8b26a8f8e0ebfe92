"""Patches: where they lie, that they depend on seed and index only, and what is refused."""

import pickle

import numpy as np
import pytest
from torch.utils.data import DataLoader

from emlib.data.chunks import ChunkedTileDataset
from emlib.data.patches import PatchDataset
from emlib.volume import Volume, open_volume, save_volume

SHAPE = (6, 20, 24)


def volumes(shape=SHAPE, first=1):
    """Labels that name their voxel, and an image that is computed from them."""
    labels = np.arange(first, first + np.prod(shape), dtype=np.uint32).reshape(shape)
    return (labels % 251).astype(np.uint8), labels


def dataset(image=None, labels=None, **options):
    arrays = volumes() if image is None else (image, labels)
    return PatchDataset(*arrays, **{"size": (3, 8, 8), "seed": 0, "length": 50} | options)


def same(one, other):
    return one.keys() == other.keys() and all(np.array_equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize("wrapped", [False, True])
def test_items_are_cut_where_they_say(wrapped):
    image, labels = volumes()
    patches = dataset(*map(Volume, (image, labels))) if wrapped else dataset()
    assert len(patches) == 50
    for index, item in enumerate(patches):
        z, y, x = item["position"]
        part = (slice(z, z + 3), slice(y, y + 8), slice(x, x + 8))
        assert item["index"] == index
        assert item["volume"] == 0
        assert item["image"].dtype == np.uint8
        assert item["labels"].dtype == np.int64
        np.testing.assert_array_equal(item["image"], image[part])
        np.testing.assert_array_equal(item["labels"], labels[part])


def test_every_place_is_used_evenly():
    patches = dataset(*volumes((3, 4, 3)), size=(2, 3, 3), length=800)
    places, counts = np.unique([item["position"] for item in patches], axis=0, return_counts=True)
    assert places.tolist() == [[z, y, 0] for z in (0, 1) for y in (0, 1)]
    assert (abs(counts - 200) < 5 * np.sqrt(200 * 0.75)).all()


def test_items_depend_on_seed_and_index_only():
    one, other = dataset(), pickle.loads(pickle.dumps(dataset()))
    late = other[49]
    assert same(one[49], late)
    assert same(one[-1], late)
    assert same(dataset(length=100)[49], late)
    assert all(same(one[i], other[i]) for i in (7, 3, 7))
    positions = {item["position"] for item in dataset()}
    assert len(positions) > 20
    assert positions != {item["position"] for item in dataset(seed=1)}


def test_worker_processes_change_nothing():
    alone = list(DataLoader(dataset(length=12), batch_size=3, num_workers=0))
    workers = list(DataLoader(dataset(length=12), batch_size=3, num_workers=2, multiprocessing_context="fork"))
    assert len(alone) == len(workers) == 4
    for one, other in zip(alone, workers, strict=True):
        assert one["image"].shape == (3, 3, 8, 8)
        assert (one["image"] == other["image"]).all()
        assert (one["labels"] == other["labels"]).all()
        assert one["index"].tolist() == other["index"].tolist()


@pytest.mark.parametrize("suffix", [".zarr", ".h5"])
def test_files_are_read_in_worker_processes(tmp_path, suffix):
    paths = [tmp_path / f"{name}{suffix}" for name in ("image", "labels")]
    for path, array in zip(paths, volumes(), strict=True):
        save_volume(path, array, voxel_size=(30, 8, 8), chunks=(2, 8, 8))
    patches = dataset(*map(open_volume, paths), length=8)
    in_memory = list(dataset(length=8))
    assert all(same(one, other) for one, other in zip(patches, in_memory, strict=True))
    loader = DataLoader(patches, batch_size=None, num_workers=2, multiprocessing_context="fork", timeout=60)
    for one, other in zip(loader, in_memory, strict=True):
        np.testing.assert_array_equal(one["image"], other["image"])
        np.testing.assert_array_equal(one["labels"], other["labels"])


def test_callers_arrays_are_safe():
    image, labels = volumes()
    kept = image.copy(), labels.copy()
    item = dataset(image, labels.astype(np.int64), size=SHAPE)[0]
    item["image"][:] = 0
    item["labels"][:] = 0
    np.testing.assert_array_equal(image, kept[0])
    np.testing.assert_array_equal(labels, kept[1])


def test_small_volumes_are_continued_by_reflection():
    image, labels = volumes((2, 5, 30))
    item = dataset(image, labels, size=(4, 12, 8))[3]
    assert item["position"][:2] == (-1, -3)
    x = item["position"][2]
    expected = np.pad(labels, ((1, 1), (3, 4), (0, 0)), mode="reflect")[:, :, x : x + 8]
    np.testing.assert_array_equal(item["labels"], expected)
    np.testing.assert_array_equal(item["image"], expected % 251)


def test_a_margin_is_reflected():
    image, labels = volumes()
    padded = np.pad(labels, ((1, 1), (4, 4), (2, 2)), mode="reflect")
    starts = []
    for item in dataset(image, labels, padding=(1, 4, 2), length=300):
        z, y, x = item["position"]
        starts.append((z, y, x))
        np.testing.assert_array_equal(item["labels"], padded[z + 1 :, y + 4 :, x + 2 :][:3, :8, :8])
    assert np.min(starts, 0).tolist() == [-1, -4, -2]
    assert np.max(starts, 0).tolist() == [4, 16, 18]


def test_volumes_are_drawn_in_proportion_to_their_places():
    small, large = volumes((3, 8, 9)), volumes((3, 8, 13), first=10**6)
    patches = PatchDataset([small[0], large[0]], [small[1], large[1]], size=(3, 8, 8), seed=0, length=400)
    chosen = np.array([item["volume"] for item in patches])
    assert abs(chosen.mean() - 6 / 8) < 0.1
    for item in patches:
        assert (item["labels"] >= 10**6).all() == bool(item["volume"])


def objects_in_one_corner():
    labels = np.zeros((4, 40, 40), np.uint16)
    labels[:, :10, :10] = 5
    return np.zeros(labels.shape, np.uint8), labels


def share(item):
    return np.count_nonzero(item["labels"]) / item["labels"].size


def test_empty_patches_are_rejected():
    arrays = objects_in_one_corner()
    free = [share(item) for item in dataset(*arrays, size=(4, 8, 8), length=100)]
    picky = [share(item) for item in dataset(*arrays, size=(4, 8, 8), length=100, min_foreground=0.05)]
    always = dataset(*arrays, size=(4, 8, 8), length=100, min_foreground=0.05, rejection_probability=1.0)
    assert np.mean(np.array(free) >= 0.05) < 0.2
    assert np.mean(np.array(picky) >= 0.05) > 0.5
    assert all(share(item) >= 0.05 for item in always)
    never = dataset(*arrays, size=(4, 8, 8), length=100, min_foreground=0.05, rejection_probability=0.0)
    assert np.mean([share(item) >= 0.05 for item in never]) < 0.2


def test_if_nothing_is_full_enough_the_fullest_is_taken():
    arrays = objects_in_one_corner()
    options = {"size": (4, 20, 20), "length": 30, "min_foreground": 0.9, "rejection_probability": 1.0}
    shares = [share(item) for item in dataset(*arrays, **options)]
    free = [share(item) for item in dataset(*arrays, size=(4, 20, 20), length=30)]
    assert np.min(shares) > 0.05
    assert np.mean(shares) > 3 * np.mean(free)


@pytest.mark.parametrize("dtype", ["bool", "uint8", "uint16", "int32", "int64", "uint64"])
def test_every_label_type(dtype):
    labels = (volumes()[1] % 100).astype(dtype)
    item = dataset(np.zeros(SHAPE, np.uint8), labels, size=SHAPE)[0]
    assert item["labels"].dtype == np.int64
    np.testing.assert_array_equal(item["labels"], labels.astype(np.int64))


def test_ids_that_int64_cannot_hold_are_renumbered():
    labels = np.zeros(SHAPE, np.uint64)
    labels[0], labels[1], labels[2] = 2**63, 2**64 - 1, 5
    found = dataset(np.zeros(SHAPE, np.uint8), labels, size=SHAPE)[0]["labels"]
    ids = [np.unique(section).tolist() for section in found[:4]]
    assert ids[3] == [0]
    assert sorted(number for section in ids[:3] for number in section) == [1, 2, 3]


def test_bad_volumes_are_refused():
    image, labels = volumes()
    floats = image.astype(np.float32)
    floats[0, 0, 0] = np.nan
    for given, error, words in [
        ((image, labels[:, :, :-1]), ValueError, r"shape \(6, 20, 24\), but its labels have \(6, 20, 23\)"),
        ((image, labels.astype(np.float32)), TypeError, "labels are float32"),
        ((floats, labels), TypeError, "image is float32, but uint8"),
        ((image[0], labels[0]), ValueError, r"volume \(z, y, x\)"),
        ((image[:0], labels[:0]), ValueError, "has no voxels"),
        (([image, image], [labels]), ValueError, "2 images and 1 label"),
        (([], []), ValueError, "0 images"),
        (("image.zarr", labels), TypeError, "str was given"),
    ]:
        with pytest.raises(error, match=words):
            dataset(*given)
    with pytest.raises(ValueError, match="negative id -3"):
        dataset(image, np.full(SHAPE, -3))[0]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"size": (3, 8)}, "patch size is"),
        ({"size": (3, 8, 0)}, "patch size is"),
        ({"size": 8}, "patch size is 8"),
        ({"padding": (0, 0, -1)}, "padding is"),
        ({"length": 0}, "length is 0"),
        ({"min_foreground": 5}, "min_foreground is 5"),
        ({"rejection_probability": -0.1}, "rejection_probability"),
    ],
)
def test_bad_options_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        dataset(**options)


@pytest.mark.parametrize("index", [50, -51])
def test_there_is_no_item_beyond_the_length(index):
    with pytest.raises(IndexError, match="has 50"):
        dataset()[index]


@pytest.mark.parametrize("probability", [1.0, 0.7])
def test_patches_with_too_few_object_voxels_are_rejected(probability):
    """The published rule: more than 100 voxels of an object, or else a share of the samples."""
    image = np.zeros((2, 200, 200), np.uint8)
    labels = np.zeros(image.shape, np.uint32)
    labels[:, :101, :50] = 5
    options = {"size": (2, 20, 20), "length": 400, "rejection_probability": probability}
    counts = np.array([np.count_nonzero(item["labels"]) for item in dataset(image, labels, min_voxels=101, **options)])
    enough = (counts > 100).mean()
    plain = np.array([np.count_nonzero(item["labels"]) for item in dataset(image, labels, **options)])
    share = (plain > 100).mean()
    expected = 1.0 if probability == 1.0 else share / (share + (1 - share) * 0.3)
    assert enough == pytest.approx(expected, abs=0.09)
    assert ((counts > 0) & (counts <= 100)).any() == (probability < 1)


def test_a_number_of_voxels_is_whole():
    with pytest.raises(ValueError, match=r"min_voxels is 0\.5, but a whole number from 0"):
        dataset(min_voxels=0.5)


@pytest.mark.parametrize("chunked", [False, True])
def test_patches_lie_where_the_labels_are_known(chunked):
    image, labels = np.zeros((2, 40, 60), np.uint8), np.ones((2, 40, 60), np.uint32)
    valid = np.zeros(image.shape, bool)
    valid[:, :, :30] = True
    options = {"size": (2, 10, 10), "length": 200, "seed": 0, "valid": valid, "min_valid": 0.8}
    if chunked:
        patches = ChunkedTileDataset(image, labels, chunks=(1, 2, 1), chunk_iterations=5, **options)
    else:
        patches = PatchDataset(image, labels, **options)
    starts = [item["position"][2] for item in patches]
    # More than 8 of 10 columns: the last place is 21, not 22.
    assert max(starts) == 21
    assert min(starts) == 0
    free = PatchDataset(image, labels, **options | {"min_valid": 0.0})
    assert max(item["position"][2] for item in free) == 29


def test_where_nothing_is_known_well_enough_the_best_place_is_taken():
    image, labels = np.zeros((1, 8, 24), np.uint8), np.zeros((1, 8, 24), np.uint32)
    valid = np.zeros(image.shape, np.uint8)
    valid[:, :, :3] = 1
    options = {"size": (1, 8, 8), "seed": 0, "length": 20}
    patches = PatchDataset(image, labels, valid=valid, min_valid=0.9, **options)
    assert {item["position"][2] for item in patches} <= {0, 1}
    unmasked = PatchDataset(image, labels, min_valid=0.9, **options)
    plain = PatchDataset(image, labels, **options)
    assert all(same(one, other) for one, other in zip(unmasked, plain, strict=True))


def test_masks_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"but its mask of valid voxels \(6, 20, 23\)"):
        dataset(valid=np.ones((6, 20, 23), bool))
    with pytest.raises(ValueError, match=r"1 images and 2 masks"):
        dataset(valid=[np.ones(SHAPE, bool)] * 2)
    with pytest.raises(ValueError, match=r"min_valid is 80, but a share"):
        dataset(min_valid=80)
