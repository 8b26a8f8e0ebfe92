"""Tracking against a walk by scipy's interpolation, at the borders, on crops, and as torch code."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles.volumes import cells_2d
from scipy.ndimage import map_coordinates

from emlib.diffusion import diffusion_flow
from emlib.postprocessing import follow_flows
from emlib.postprocessing.flow_fields import masked_field
from emlib.postprocessing.flow_tracking import LAP, tracked
from emlib.postprocessing.flow_tracking_torch import tracked_tensor


def walked(flow, foreground, steps):
    """float64 (d, n): Euler steps with linear interpolation between pixel centres, kept inside the image."""
    field = flow.astype(np.float64) * foreground
    places = np.stack(np.nonzero(foreground)).astype(np.float64)
    last = np.array(foreground.shape, dtype=float)[:, None] - 1
    for _ in range(steps):
        moves = [map_coordinates(component, places, order=1, mode="nearest") for component in field]
        places = np.clip(places + moves, 0, last)
    return places


def smooth_flow(seed, shape):
    random = np.random.default_rng(seed)
    places = np.indices(shape) / 6.0
    phases = random.uniform(0, 6, (len(shape), len(shape)))
    return np.stack([np.sin(places + p[(slice(None), *(None,) * len(shape))]).sum(axis=0) for p in phases]).astype("f4")


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 10_000),
    st.sampled_from([(1, 1), (1, 8), (9, 1), (13, 11), (1, 1, 1), (4, 6, 5), (1, 5, 6)]),
    st.sampled_from(["f2", "f4", "f8"]),
    st.sampled_from(["C", "F", "reversed"]),
)
def test_equals_scipys_interpolation(seed, shape, dtype, order):
    flow = (smooth_flow(seed, shape) * 0.8).astype(dtype)
    foreground = np.random.default_rng(seed).random(shape) < 0.8
    expected = walked(flow.astype("f4"), foreground, 7)
    if order == "F":
        flow, foreground = np.asfortranarray(flow), np.asfortranarray(foreground)
    elif order == "reversed":
        flow, foreground = np.flip(np.flip(flow).copy()), np.flip(np.flip(foreground).copy())
    before = flow.copy(), foreground.copy()
    found = follow_flows(flow, foreground, steps=7)
    assert found.dtype == np.float32
    assert found.shape == expected.shape
    assert np.allclose(found, expected, atol=2e-4)
    assert np.array_equal(flow, before[0])
    assert np.array_equal(foreground, before[1])


def test_steps_are_whole_pixels_where_the_flow_is_constant():
    flow = np.zeros((2, 7, 9), dtype=np.float32)
    flow[0], flow[1] = 1, -0.5
    foreground = np.ones((7, 9), dtype=bool)
    for steps in range(5):
        expected = np.stack(np.nonzero(foreground)).astype(float)
        expected[0] = np.minimum(expected[0] + steps, 6)
        expected[1] = np.maximum(expected[1] - steps / 2, 0)
        assert np.array_equal(follow_flows(flow, foreground, steps=steps), expected)


def test_weak_and_one_sided_flow_is_tracked():
    """Published code drops pixels without flow along y."""
    flow = np.zeros((2, 5, 9), dtype=np.float32)
    flow[1, 2, 1:4], flow[1, 2, 5:8] = 1, -1
    foreground = np.zeros((5, 9), dtype=bool)
    foreground[2, 1:8] = True
    assert np.array_equal(follow_flows(flow, foreground, steps=20), [[2] * 7, [4] * 7])
    assert follow_flows(flow * 0, foreground).shape == (2, 7)


def test_background_has_no_flow():
    flow = np.ones((2, 4, 8), dtype=np.float32)
    foreground = np.zeros((4, 8), dtype=bool)
    foreground[1, 2:4] = True
    found = follow_flows(flow, foreground, steps=50)
    assert (found[0] < 2.01).all()
    assert (found[1] < 4.01).all()
    assert follow_flows(flow, np.zeros((4, 8), dtype=bool)).shape == (2, 0)


@pytest.mark.parametrize("dimensions", [2, 3])
def test_a_crop_gives_the_same_bits(dimensions):
    shape = (40, 60) if dimensions == 2 else (18, 20, 22)
    flow = smooth_flow(4, shape) * 0.4
    foreground = np.ones(shape, dtype=bool)
    corner = (7, 11, 5)[-dimensions:]
    crop = tuple(slice(c, None) for c in corner)
    whole = [part.reshape(dimensions, *shape) for part in tracked(masked_field(flow, foreground, 1), foreground, 6)]
    inner = foreground[crop]
    parts = tracked(masked_field(flow[(slice(None), *crop)], inner, 1), inner, 6)
    parts = [part.reshape(dimensions, *inner.shape) for part in parts]
    safe = tuple(slice(8, None) for _ in corner)
    for axis in range(dimensions):
        big = whole[0][axis][crop][safe] - corner[axis]
        assert np.array_equal(big, parts[0][axis][safe])
        assert np.array_equal(whole[1][axis][crop][safe], parts[1][axis][safe])


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(31, 40), (1, 9), (7, 12, 10)])
def test_tensors_give_the_same_bits(shape, dtype):
    flow = torch.from_numpy(smooth_flow(2, shape)).to(dtype)
    foreground = torch.from_numpy(np.random.default_rng(1).random(shape) < 0.7)
    found = follow_flows(flow, foreground, steps=60)
    assert found.dtype == torch.float32
    assert np.array_equal(found.numpy(), follow_flows(flow.numpy(), foreground.numpy(), steps=60))


@pytest.mark.parametrize("steps", [0, 1, LAP - 1, LAP, LAP + 1, 5 * LAP, 200])
@pytest.mark.parametrize("shape", [(31, 40), (1, 9), (9, 12, 10)])
def test_who_goes_round_in_a_circle_ends_where_a_plain_walk_does(shape, steps):
    """Of these rough flows pixels soon stand still, or go round in circles of 2, 3, 4, 5, ... steps."""
    random = np.random.default_rng(steps)
    flow = random.normal(size=(len(shape), *shape)).astype("f4")
    foreground = random.random(shape) < 0.9
    whole, fraction = tracked(masked_field(flow, foreground, 1), foreground, steps)
    # The tensors' walk takes every step of every pixel.
    expected = tracked_tensor(torch.from_numpy(flow), torch.from_numpy(foreground), steps)
    assert np.array_equal(whole, expected[0].numpy())
    assert np.array_equal(fraction, expected[1].numpy())


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_gives_the_result_of_the_cpu():
    labels = cells_2d()[0]
    flow, foreground = torch.from_numpy(diffusion_flow(labels)), torch.from_numpy(labels > 0)
    there = follow_flows(flow.cuda(), foreground.cuda())
    assert there.is_cuda
    assert torch.equal(there.cpu(), follow_flows(flow, foreground))


@pytest.mark.parametrize("rule", ["cellpose3", "mediar", "cellpose4"])
def test_pixels_of_a_cell_arrive_together(rule):
    labels = cells_2d()[0]
    places = follow_flows(diffusion_flow(labels, rule), labels > 0)
    for number in range(1, 11):
        ends = places[:, labels[labels > 0] == number]
        spread = np.abs(ends - np.median(ends, axis=1, keepdims=True)).max(axis=0)
        assert (spread <= 2.5).mean() > 0.97


GOOD = np.zeros((2, 4, 5), dtype=np.float32)
BAD_FLOW = GOOD.copy()
BAD_FLOW[1, 2, 3] = np.nan
INFINITE = GOOD.copy()
INFINITE[0, 2, 3] = -np.inf


@pytest.mark.parametrize("kind", ["array", "tensor"])
@pytest.mark.parametrize(
    "flow,foreground,error,text",
    [
        (GOOD.astype(int), np.ones((4, 5), bool), TypeError, "floating point"),
        (GOOD, np.ones((4, 5)), TypeError, "bool"),
        (GOOD, np.ones((5, 4), bool), ValueError, "shape"),
        (GOOD[:1], np.ones((4, 5), bool), ValueError, "shape"),
        (GOOD[:, :0], np.ones((0, 5), bool), ValueError, "empty"),
        (BAD_FLOW, np.ones((4, 5), bool), ValueError, "NaN"),
        (INFINITE, np.ones((4, 5), bool), ValueError, "infinite"),
    ],
)
def test_bad_input_is_refused(kind, flow, foreground, error, text):
    if kind == "tensor":
        flow, foreground = torch.from_numpy(flow.copy()), torch.from_numpy(foreground.copy())
    with pytest.raises(error, match=text):
        follow_flows(flow, foreground)


@pytest.mark.parametrize("steps,error", [(-1, ValueError), (2.0, TypeError), (True, TypeError), ("3", TypeError)])
def test_bad_steps_are_refused(steps, error):
    with pytest.raises(error, match="steps"):
        follow_flows(GOOD, np.ones((4, 5), bool), steps=steps)


def test_mixed_kinds_are_refused():
    with pytest.raises(TypeError, match="bool tensor"):
        follow_flows(torch.zeros(2, 4, 5), np.ones((4, 5), bool))


def test_enormous_flow_ends_at_the_border():
    flow = np.full((2, 3, 4), 1e30, dtype=np.float32)
    foreground = np.ones((3, 4), bool)
    assert np.array_equal(follow_flows(flow, foreground, steps=2), [[2] * 12, [3] * 12])
    assert np.array_equal(follow_flows(-flow, foreground, steps=2), np.zeros((2, 12)))
    tensors = torch.from_numpy(flow), torch.from_numpy(foreground)
    assert np.array_equal(follow_flows(*tensors, steps=2).numpy(), [[2] * 12, [3] * 12])
