"""Heat on its way: against plain arithmetic, and against the flow that its end has to give."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracles.diffusion import centre_of
from oracles.volumes import cells_2d
from scipy.ndimage import convolve

from emlib.diffusion import DIFFUSION_RULES, diffusion_flow, diffusion_steps


def spread(labels, centres, steps):
    """Heat by whole-image convolutions, one cell after the other."""
    kernel = np.ones((3, 3)) / 9
    if labels.ndim == 3:
        kernel = np.zeros((3, 3, 3))
        kernel[1, 1, :] = kernel[1, :, 1] = kernel[:, 1, 1] = 1 / 7
    total = np.zeros(labels.shape)
    for label, centre in centres.items():
        inside, own = labels == label, np.zeros(labels.shape)
        for _ in range(steps):
            own[centre] += 1
            own = np.where(inside, convolve(own, kernel, mode="constant"), 0)
        total += own
    return total


def two_cells(shape):
    labels = np.zeros(shape, np.uint16)
    labels[..., 2:9, 1:6] = 7
    labels[..., 1:8, 6:13] = 3
    return labels


@pytest.mark.parametrize("rule", DIFFUSION_RULES)
@pytest.mark.parametrize("shape", [(11, 14), (4, 11, 14)])
def test_heat_is_that_of_plain_arithmetic(rule, shape):
    labels = two_cells(shape)
    found = diffusion_steps(labels, (0, 1, 2, 13), rule=rule)
    centres = {}
    for label in (3, 7):
        positions = np.argwhere(labels == label)
        corner = positions.min(axis=0)
        centres[label] = tuple(corner + centre_of(positions - corner, rule))
    assert {tuple(row) for row in found.centres.tolist()} == {tuple(map(int, one)) for one in centres.values()}
    for steps, heat in zip(found.steps, found.heat, strict=True):
        assert np.allclose(heat, spread(labels, centres, steps), rtol=1e-12, atol=1e-15)
    assert found.heat.shape == (4, *shape)
    assert not found.heat[0].any()
    assert (found.heat[3] > 0)[labels > 0].all()
    assert not found.heat[:, labels == 0].any()


def test_the_heat_at_the_end_gives_the_flow():
    labels = np.zeros((16, 20), int)
    labels[2:13, 3:17] = 1
    needed = int(diffusion_steps(labels).needed[0])
    found = diffusion_steps(labels, (needed,))
    heat = np.pad(found.heat[0], 1)
    gradient = np.stack([heat[2:, 1:-1] - heat[:-2, 1:-1], heat[1:-1, 2:] - heat[1:-1, :-2]])
    gradient[:, labels == 0] = 0
    gradient[np.abs(gradient) < 1e-12] = 0
    length = np.hypot(*gradient)
    expected = gradient / np.where(length > 0, length, 1)
    assert np.allclose(found.flow, expected, atol=1e-6)
    assert (found.flow == diffusion_flow(labels)).all()


def test_heat_grows_and_stops_growing():
    labels = cells_2d()[0]
    found = diffusion_steps(labels, (5, 50, 500, 1000))
    sums = found.heat.sum(axis=(1, 2))
    assert sums[0] < sums[1] < sums[2]
    # All that comes in leaks out in the end.
    assert sums[3] == pytest.approx(sums[2], rel=0.05)
    assert len(found.centres) == len(found.needed) == labels.max()
    assert (labels[tuple(found.centres.T)] > 0).all()


@given(
    dtype=st.sampled_from(["u1", "i2", ">u4", "u8", "i8"]),
    order=st.sampled_from("CF"),
    flip=st.booleans(),
    rule=st.sampled_from(list(DIFFUSION_RULES)),
)
def test_types_and_memory_orders_make_no_difference(dtype, order, flip, rule):
    labels = two_cells((11, 14))
    given_labels = np.array(labels, dtype, order=order)
    if flip:
        given_labels = np.ascontiguousarray(given_labels[::-1])[::-1]
    before = given_labels.copy()
    expected, found = diffusion_steps(labels, (3,), rule=rule), diffusion_steps(given_labels, (3,), rule=rule)
    assert (expected.heat == found.heat).all()
    assert (expected.flow == found.flow).all()
    assert (given_labels == before).all()


def test_huge_ids_and_pieces():
    labels = two_cells((11, 14)).astype(np.uint64)
    labels[labels == 7] = 2**64 - 1
    labels[labels == 3] = 2**64 - 1
    joined = diffusion_steps(labels, (4,))
    assert len(joined.centres) == 1
    apart = np.where(np.arange(14) == 6, 0, labels).astype(np.uint64)
    assert len(diffusion_steps(apart, (4,)).centres) == 2
    assert len(diffusion_steps(apart, (4,), separate_pieces=False).centres) == 1


def test_no_cell_has_no_heat():
    found = diffusion_steps(np.zeros((5, 6), int), (1, 9))
    assert found.heat.shape == (2, 5, 6)
    assert not found.heat.any()
    assert not found.flow.any()
    assert found.centres.shape == (0, 2)


CELL = np.ones((3, 3), int)


@pytest.mark.parametrize(
    "labels,keywords,error,sentence",
    [
        (CELL * 1.0, {}, TypeError, "labels are float64"),
        (CELL[0], {}, ValueError, r"labels have shape \(3,\)"),
        (CELL[:0], {}, ValueError, r"labels have shape \(0, 3\)"),
        (-CELL, {}, ValueError, "negative id -1"),
        (CELL, {"steps": ()}, ValueError, "steps is empty"),
        (CELL, {"steps": (1, -2)}, ValueError, "steps holds -2"),
        (CELL, {"steps": (1.5,)}, TypeError, "steps holds 1.5"),
        (CELL, {"steps": (True,)}, TypeError, "steps holds True"),
        (CELL, {"rule": "cellpose5"}, ValueError, "did you mean"),
    ],
)
def test_bad_input_stops_with_one_sentence(labels, keywords, error, sentence):
    with pytest.raises(error, match=sentence):
        diffusion_steps(labels, **keywords)
