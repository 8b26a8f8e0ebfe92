"""Order statistics of values read piece by piece, against sorting."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emlib.data.order_statistics import ranked_values


@given(
    values=st.lists(st.floats(allow_nan=False, allow_infinity=True), min_size=1, max_size=60),
    cuts=st.lists(st.integers(0, 60), max_size=4),
    data=st.data(),
)
def test_equals_sorting_however_the_values_are_cut(values, cuts, data):
    ranks = data.draw(st.lists(st.integers(0, len(values) - 1), min_size=1, max_size=5))
    pieces = np.split(np.array(values), sorted(cuts))
    found = ranked_values(lambda: pieces, ranks)
    # -0.0 and 0.0 are equal, so which of them stands first is open.
    assert found == np.sort(values)[ranks].tolist()


def test_pieces_of_any_shape_and_repeated_values():
    values = np.random.default_rng(0).integers(-3, 4, (40, 50)).astype(np.float64)
    found = ranked_values(lambda: (part.T for part in np.array_split(values, 7)), range(0, 2000, 111))
    assert found == np.sort(values.ravel())[::111].tolist()


@pytest.mark.parametrize("rank", [-1, 2])
def test_a_place_that_is_not_there(rank):
    with pytest.raises(IndexError, match=f"no place {rank}"):
        ranked_values(lambda: [np.array([1.0]), np.array([2.0])], [rank])
