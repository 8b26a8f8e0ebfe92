"""Union-find against scipy's connected components of a graph."""

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given
from hypothesis import strategies as st

from emlib.scaling import unite


@given(st.integers(1, 40), st.data())
def test_the_same_sets_as_scipy(count, data):
    members = st.integers(0, count - 1)
    pairs = np.array(data.draw(st.lists(st.tuples(members, members), max_size=60)), np.int64).reshape(-1, 2)
    graph = scipy.sparse.coo_matrix((np.ones(len(pairs)), pairs.T), (count, count))
    number, sets = scipy.sparse.csgraph.connected_components(graph, directed=False)
    smallest = np.full(number, count)
    np.minimum.at(smallest, sets, np.arange(count))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(pairs)), max_size=3)))
    kind = data.draw(st.sampled_from([np.uint8, np.uint64, np.int32]))
    parts = [part.astype(kind) for part in np.split(pairs, cuts)]
    np.testing.assert_array_equal(unite(count, parts), smallest[sets])
    np.testing.assert_array_equal(unite(count, [part[::-1, ::-1] for part in parts[::-1]]), smallest[sets])


def test_strange_pairs_are_refused():
    with pytest.raises(ValueError, match="members 0 to 2, got 0 to 3"):
        unite(3, [np.array([[0, 3]])])
    with pytest.raises(ValueError, match=r"shape \(n, 2\)"):
        unite(3, [np.array([0, 1])])
    with pytest.raises(TypeError, match="whole numbers"):
        unite(3, [np.array([[0.0, 1.0]])])
    assert unite(0, []).size == 0
