"""K-means of embeddings against every possible division, and the table of groups."""

import errno
import itertools
import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from emlib.data import amplify, cluster_purity, discover_modalities, load_groups, save_groups
from emlib.data.modality_discovery import _means

SMALL_NUMBERS = st.integers(-20, 20).map(float)


def blobs(sizes=(9, 5, 2), features=6, spread=0.1, seed=0):
    """Well-separated groups in mixed order, and the true group of each row."""
    rng = np.random.default_rng(seed)
    truth = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    centers = 10 * np.eye(len(sizes), features)
    return centers[truth] + rng.normal(0, spread, (len(truth), features)), truth


def inertia_of(data, groups):
    return sum(np.square(data[groups == one] - data[groups == one].mean(axis=0)).sum() for one in np.unique(groups))


def best_inertia(data, clusters):
    """Over all divisions into that many groups that are not empty."""
    divisions = itertools.product(range(clusters), repeat=len(data))
    return min(inertia_of(data, np.array(one)) for one in divisions if len(set(one)) == clusters)


@given(arrays(np.float64, (7, 2), elements=SMALL_NUMBERS), st.integers(1, 3))
def test_it_finds_the_best_of_all_divisions(data, clusters):
    if len(np.unique(data, axis=0)) < clusters:
        return
    found = discover_modalities(data, clusters=clusters, standardize=False, restarts=30)
    assert found.inertia == pytest.approx(best_inertia(data, clusters), abs=1e-9)


@given(
    arrays(np.float32, st.tuples(st.integers(6, 40), st.integers(1, 5)), elements=st.integers(-9, 9).map(np.float32)),
    st.integers(1, 6),
    st.booleans(),
    st.integers(0, 3),
)
def test_every_image_is_with_its_nearest_centre(data, clusters, standardize, seed):
    if len(np.unique(data, axis=0)) < clusters:
        return
    before = data.copy()
    found = discover_modalities(data, clusters=clusters, standardize=standardize, seed=seed)
    again = discover_modalities(data, clusters=clusters, standardize=standardize, seed=seed)
    np.testing.assert_array_equal(found.groups, again.groups)
    np.testing.assert_array_equal(data, before)
    assert sorted(set(found.groups.tolist())) == list(range(clusters))
    assert found.sizes == sorted(found.sizes, reverse=True) == np.bincount(found.groups).tolist()
    first = [int(np.argmax(found.groups == one)) for one in range(clusters)]
    pairs = list(zip(found.sizes, first, strict=True))
    assert pairs == sorted(pairs, key=lambda pair: (-pair[0], pair[1]))
    for one in range(clusters):
        np.testing.assert_allclose(found.centers[one], data[found.groups == one].mean(axis=0), atol=1e-5)
    spread = data.std(axis=0, dtype=np.float64) if standardize else np.ones(data.shape[1])
    scaled = data / np.where(spread > 0, spread, 1)
    centers = found.centers / np.where(spread > 0, spread, 1)
    distances = np.square(scaled[:, None] - centers[None]).sum(axis=2)
    own = distances[np.arange(len(data)), found.groups]
    assert (own <= distances.min(axis=1) + 1e-6).all()
    assert found.inertia == pytest.approx(own.sum(), abs=1e-5)


@pytest.mark.parametrize("standardize", [True, False])
def test_separate_groups_are_found_whatever_the_seed_and_the_restarts(standardize):
    data, truth = blobs()
    found = [discover_modalities(data, clusters=3, seed=seed, standardize=standardize) for seed in range(5)]
    found.append(discover_modalities(data, clusters=3, restarts=30, standardize=standardize))
    for one in found:
        np.testing.assert_array_equal(one.groups, truth)  # the truth is numbered by size, too
        assert one.sizes == [9, 5, 2]
    assert len(amplify(found[0].groups, 9)) == 27


def test_standardized_features_count_alike():
    data, truth = blobs()
    loud = np.column_stack([data, 1000 * np.random.default_rng(1).normal(size=len(data))])
    assert cluster_purity(discover_modalities(loud, clusters=3).groups, truth) == 1
    assert cluster_purity(discover_modalities(loud, clusters=3, standardize=False).groups, truth) < 1
    shifted = np.column_stack([data * 64 + 2.0**20, np.full(len(data), 0.1)])
    np.testing.assert_array_equal(discover_modalities(shifted, clusters=3).groups, truth)


def test_clusters_that_run_empty_are_filled():
    data = np.array([[0.0], [1.0], [5.0], [20.0], [21.0]])
    labels, centers = _means(data, np.array([3, 3, 3, 0, 0]), 5)
    assert sorted(labels.tolist()) == [0, 1, 2, 3, 4]
    for one in range(5):
        assert centers[one] == data[labels == one].mean(axis=0)
    # As many clusters as there are different rows: equal rows stay together.
    rows = np.repeat(np.random.default_rng(0).normal(size=(6, 3)), [5, 4, 3, 2, 1, 1], axis=0)
    found = discover_modalities(rows, clusters=6, restarts=1)
    assert (found.sizes, found.inertia) == ([5, 4, 3, 2, 1, 1], pytest.approx(0, abs=1e-20))


@pytest.mark.parametrize(
    "embeddings, options, kind, words",
    [
        (np.zeros((3, 2)), {"clusters": 4}, ValueError, "There are 3 images, but 4 clusters"),
        (np.zeros((3, 2)), {"clusters": 2}, ValueError, "There are 1 different embeddings, but 2 clusters"),
        (np.array([[0, 1], [np.nan, 2]]), {"clusters": 1}, ValueError, "embedding of image 1 is not finite"),
        (np.array([[np.inf, 1], [3, 2]]), {"clusters": 1}, ValueError, "embedding of image 0 is not finite"),
        (np.zeros(3), {}, ValueError, "have shape (3,)"),
        (np.zeros((0, 2)), {}, ValueError, "have shape (0, 2)"),
        (np.array([["a"]]), {}, TypeError, "but numbers were expected"),
        (np.eye(3), {"clusters": 0}, ValueError, "clusters is 0"),
        (np.eye(3), {"clusters": 1.5}, ValueError, "clusters is 1.5"),
        (np.eye(3), {"clusters": 2, "restarts": 0}, ValueError, "restarts is 0"),
    ],
)
def test_what_cannot_be_divided_is_refused_in_one_sentence(embeddings, options, kind, words):
    with pytest.raises(kind) as caught:
        discover_modalities(embeddings, **options)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_purity():
    assert cluster_purity([0, 0, 1, 1], ["a", "a", "b", "b"]) == 1
    assert cluster_purity([0, 0, 0, 0], ["a", "a", "b", "b"]) == 0.5
    assert cluster_purity(["x", "y", "x"], [1, 1, 2]) == pytest.approx(2 / 3)
    for pair in (([], []), ([0], ["a", "b"])):
        with pytest.raises(ValueError, match="one each was expected"):
            cluster_purity(*pair)


def test_the_table_is_read_back(tmp_path):
    names = ["set/one", 'set/with, "quotes"', "set/größe"]
    path = save_groups(tmp_path / "new" / "groups.csv", names, np.array([2, 0, 10]))
    assert load_groups(path) == dict(zip(names, [2, 0, 10], strict=True))
    assert all(type(group) is int for group in load_groups(path).values())
    save_groups(path, names, ["phase", "0", "1"])
    assert load_groups(path) == dict(zip(names, ["phase", "0", "1"], strict=True))


def test_a_table_by_hand_is_read(tmp_path):
    path = tmp_path / "groups.csv"
    path.write_bytes(b"\xef\xbb\xbfcells,group,name\r\n3,phase,a/1\r\n5,,\r\n".replace(b"5,,\r\n", b"\r\n"))
    assert load_groups(path) == {"a/1": "phase"}


@pytest.mark.parametrize(
    "content, words",
    [
        (b"", "has none, but name and group"),
        (b"name,cluster\na,1\n", "has the columns name, cluster"),
        (b"name,group\n", "names no image"),
        (b"name,group\na,1\na,2\n", "names the image a twice"),
        (b"name,group\na,\n", "has the name 'a' with the group ''"),
        (b"name,group\na,1\nb\n", "has 1 values in row 3, but 2"),
        (b"name,group\na,1,2\n", "has 3 values in row 2, but 2"),
        (b"\xff\xfename", "is no table of groups"),
        (b'name,group\n"a,1\n', "is no table of groups"),
    ],
)
def test_a_damaged_table_is_refused_in_one_sentence(tmp_path, content, words):
    (tmp_path / "groups.csv").write_bytes(content)
    with pytest.raises(ValueError) as caught:
        load_groups(tmp_path / "groups.csv")
    assert words in str(caught.value)
    assert "groups.csv" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_no_table_is_not_written(tmp_path, monkeypatch):
    path = tmp_path / "groups.csv"
    with pytest.raises(FileNotFoundError, match="There is no table of groups"):
        load_groups(path)
    for names, groups, words in [
        (["a"], [1, 2], "1 names and 2 groups"),
        ([], [], "0 names"),
        (["a", "a"], [1, 2], "names the image a twice"),
        (["a", ""], [1, 2], "both must be given"),
    ]:
        with pytest.raises(ValueError, match=words):
            save_groups(path, names, groups)
    assert not path.exists()
    save_groups(path, ["a"], [1])

    def full(_descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="the disk is full"):
        save_groups(path, ["a"], [2])
    assert load_groups(path) == {"a": 1}
    assert os.listdir(tmp_path) == ["groups.csv"]
