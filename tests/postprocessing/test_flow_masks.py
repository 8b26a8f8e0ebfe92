"""Cells from flows: round trips, each step by itself, against Cellpose, bad input, tensors."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles.volumes import cells_2d
from scipy.ndimage import maximum_filter

from emlib.diffusion import diffusion_flow
from emlib.evaluation import match_instances
from emlib.postprocessing import flow_errors, follow_flows, masks_from_flows, relabel_sequential
from emlib.postprocessing.flow_sinks import label_by_sinks

RULES = ("cellpose3", "mediar", "cellpose4")


def discs(shape, places, radius):
    labels = np.zeros(shape, dtype=np.uint32)
    grid = np.indices(shape)
    for number, place in enumerate(places, start=1):
        squares = sum((axis - centre) ** 2 for axis, centre in zip(grid, place, strict=True))
        labels[(squares <= radius**2) & (labels == 0)] = number
    return labels


def same_partition(first, second):
    pairs = np.unique(np.stack([first.ravel(), second.ravel()]), axis=1)
    return len(np.unique(pairs[0])) == len(np.unique(pairs[1])) == pairs.shape[1]


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("as_published", [False, True])
def test_round_trip_of_the_fixture(rule, as_published):
    labels = cells_2d()[0]
    flow = diffusion_flow(labels, rule, as_published=as_published)
    found = masks_from_flows(flow, labels > 0, rule=rule, min_size=1, peak=2)
    assert found.dtype == np.uint32
    assert np.array_equal(np.unique(found), np.arange(found.max() + 1))
    score = match_instances(found, labels, threshold=0.9)
    assert (score.tp, score.fp, score.fn) == (11, 0, 0)
    # The default drops the cell of 4 pixels.
    assert masks_from_flows(flow, labels > 0).max() == 10


def test_round_trip_in_3d():
    labels = discs((24, 40, 44), [(8, 10, 10), (8, 12, 24), (15, 28, 14), (12, 28, 33)], 7.5)
    found = masks_from_flows(diffusion_flow(labels), labels > 0)
    assert found.shape == labels.shape
    assert same_partition(found, labels)
    noisy = diffusion_flow(labels) + np.random.default_rng(0).normal(0, 0.2, (3, *labels.shape)).astype("f4")
    assert match_instances(masks_from_flows(noisy, labels > 0), labels, threshold=0.8).f1 == 1


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(["f2", "f4", "f8", ">f4"]), st.sampled_from(["C", "F", "reversed"]))
def test_types_and_memory_orders_do_not_matter(seed, dtype, order):
    random = np.random.default_rng(seed)
    labels = discs((30, 34), random.uniform(4, 28, (6, 2)), 5)
    flow = np.round(diffusion_flow(labels) * 1024) / 1024
    probability = np.where(labels > 0, 0.75, 0.25)
    expected = masks_from_flows(flow, labels > 0)
    flow, probability = flow.astype(dtype), probability.astype(dtype)
    if order == "F":
        flow, probability = np.asfortranarray(flow), np.asfortranarray(probability)
    elif order == "reversed":
        flow, probability = np.flip(np.flip(flow).copy()), np.flip(np.flip(probability).copy())
    before = flow.copy(), probability.copy()
    assert np.array_equal(masks_from_flows(flow, probability), expected)
    assert np.array_equal(masks_from_flows(flow, (probability * 255).astype(np.uint8)), expected)
    assert np.array_equal(flow, before[0])
    assert np.array_equal(probability, before[1])


def test_thresholds_are_exclusive_probabilities():
    labels = discs((30, 60), [(15, 14), (15, 44)], 10)
    flow = diffusion_flow(labels)
    probability = np.select([labels == 1, labels == 2], [0.5, 0.5625])
    assert masks_from_flows(flow, probability).max() == 1
    assert masks_from_flows(flow, probability, probability_threshold=0.49).max() == 2
    assert masks_from_flows(flow, probability, probability_threshold=0.5625).max() == 0
    levels = np.select([labels == 1, labels == 2], [127, 128]).astype(np.uint8)
    assert masks_from_flows(flow, levels).max() == 1
    logits = np.select([labels == 1, labels == 2], [0.0, 0.3], -90.0)
    assert masks_from_flows(flow, logits, logits=True).max() == 1
    assert masks_from_flows(flow, logits, logits=True, probability_threshold=0.4).max() == 2
    assert masks_from_flows(flow, logits, logits=True, probability_threshold=1).max() == 0


def test_cells_that_do_not_fit_the_flow_are_dropped():
    labels = discs((40, 90), [(20, 20), (20, 65)], 14)
    flow = diffusion_flow(labels)
    bad = flow.copy()
    bad[:, labels == 2] *= 0.2
    errors = flow_errors(labels, bad)
    assert np.allclose(errors, [0, 0, 0.64], atol=0.02)
    assert same_partition(masks_from_flows(bad, labels > 0, flow_threshold=0.7), labels)
    assert same_partition(masks_from_flows(bad, labels > 0), labels * (labels == 1))
    for none in (None, 0, 0.0):
        assert same_partition(masks_from_flows(bad, labels > 0, flow_threshold=none), labels)


def test_flow_error_is_the_mean_square():
    labels = cells_2d()[0]
    random = np.random.default_rng(3)
    flow = random.normal(size=(2, *labels.shape))
    for rule in RULES:
        squares = ((diffusion_flow(labels, rule).astype(float) - flow) ** 2).sum(axis=0)
        expected = [0] + [squares[labels == number].mean() for number in range(1, 12)]
        assert np.allclose(flow_errors(labels, flow, rule=rule), expected)
        assert np.allclose(flow_errors(np.asfortranarray(labels), 5 * flow, rule=rule, flow_scale=5), expected)
    gap = np.where(labels == 3, 20, labels)
    assert np.isnan(flow_errors(gap, flow)[[3, 12, 19]]).all()
    assert np.allclose(flow_errors(gap, flow)[20], flow_errors(labels, flow)[3])


def test_holes_are_filled_and_small_cells_dropped():
    labels = discs((40, 90), [(20, 20), (20, 65)], 14)
    with_holes = labels.copy()
    with_holes[14:16, 10:12] = with_holes[22, 70] = 0
    flow = diffusion_flow(with_holes)
    assert same_partition(masks_from_flows(flow, with_holes > 0), labels)
    assert same_partition(masks_from_flows(flow, with_holes > 0, fill_holes=False), with_holes)
    area = int((labels == 1).sum())
    labels[30:34, 85:89] = 3
    flow, probability = diffusion_flow(labels), labels > 0
    assert masks_from_flows(flow, probability, min_size=16).max() == 3
    assert masks_from_flows(flow, probability, min_size=17).max() == 2
    assert masks_from_flows(flow, probability, min_size=area).max() == 2
    assert not masks_from_flows(flow, probability, min_size=area + 1).any()


def test_numbers_follow_the_raster_order_of_the_centres():
    labels = discs((40, 120), [(28, 20), (10, 60), (20, 100)], 9)
    found = masks_from_flows(diffusion_flow(labels), labels > 0)
    assert [found[10, 60], found[20, 100], found[28, 20]] == [1, 2, 3]


def basins(counts, peak):
    """Cellpose's grouping with dense arrays: one mask per peak, grown five times, larger peaks on top."""
    peaks = np.argwhere((counts == maximum_filter(counts, 5, mode="constant")) & (counts > peak))
    out = np.zeros(counts.shape, int)
    for number in np.argsort([counts[tuple(p)] for p in peaks], kind="stable"):
        grown = np.zeros(counts.shape, bool)
        grown[tuple(peaks[number])] = True
        for _ in range(5):
            grown = maximum_filter(grown, 3, mode="constant") & (counts > 2)
        out[grown] = out[tuple(peaks[number])] = number + 1
    return out, peaks


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 10_000), st.sampled_from([(1, 1), (1, 30), (25, 30), (7, 9, 12), (1, 12, 12)]), st.integers(0, 12)
)
def test_grouping_equals_the_dense_form(seed, shape, peak):
    random = np.random.default_rng(seed)
    counts = random.poisson(1.2, shape) + 14 * (random.random(shape) < 0.08) * random.integers(0, 3, shape)
    ends = np.repeat(np.arange(counts.size), counts.ravel())
    random.shuffle(ends)
    ids, peaks = label_by_sinks(ends, shape, peak=peak)
    expected, places = basins(counts, peak)
    assert np.array_equal(ids, expected.ravel()[ends])
    assert np.array_equal(peaks, np.ravel_multi_index(places.T, shape))


def test_agrees_with_the_installed_cellpose():
    dynamics = pytest.importorskip("cellpose.dynamics", reason="cellpose is not installed; it is only compared with")
    labels = cells_2d()[0]
    flow = diffusion_flow(labels)
    logits = np.where(labels > 0, 5.0, -5.0).astype(np.float32)
    theirs = dynamics.resize_and_compute_masks(5 * flow, logits, niter=200, device=torch.device("cpu"))
    theirs = theirs[0] if isinstance(theirs, tuple) else theirs
    ours = masks_from_flows(5 * flow, logits, logits=True, flow_scale=5)
    score = match_instances(ours, theirs.astype(np.uint32), threshold=0.75)
    assert (score.tp, score.fp, score.fn) == (10, 0, 0)
    # Theirs samples up to half a pixel beside the place; it still is the less exact of the two.
    truth = np.where(labels == 11, 0, labels)
    assert (
        match_instances(ours, truth, threshold=0.95).tp >= match_instances(theirs.astype(int), truth, threshold=0.95).tp
    )


def test_tensors_give_the_labels_of_arrays():
    labels = cells_2d()[0]
    flow, probability = diffusion_flow(labels), (labels > 0).astype(np.float32)
    expected = masks_from_flows(flow, probability)
    found = masks_from_flows(torch.from_numpy(flow), torch.from_numpy(probability))
    assert found.dtype == torch.int64
    assert np.array_equal(found.numpy(), expected)
    scaled = torch.from_numpy(5 * flow).requires_grad_()
    half = torch.from_numpy(probability).bfloat16()
    assert np.array_equal(masks_from_flows(scaled, half, flow_scale=5).numpy(), expected)
    assert not masks_from_flows(torch.from_numpy(flow), torch.zeros(labels.shape)).any()


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_gives_the_labels_of_the_cpu():
    labels = cells_2d()[0]
    flow, probability = torch.from_numpy(diffusion_flow(labels)), torch.from_numpy((labels > 0).astype(np.float32))
    found = masks_from_flows(flow.cuda(), probability.cuda())
    assert found.is_cuda
    assert torch.equal(found.cpu(), masks_from_flows(flow, probability))


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (6, 5), (1, 1, 1), (2, 3, 4)])
@pytest.mark.parametrize("value", [0, 1])
def test_nothing_and_tiny_images_are_right(shape, value):
    flow = np.zeros((len(shape), *shape), dtype=np.float32)
    probability = np.full(shape, value, dtype=np.float32)
    found = masks_from_flows(flow, probability)
    assert found.shape == shape
    assert found.dtype == np.uint32
    assert not found.any()
    whole = masks_from_flows(flow, probability, min_size=1, peak=0, flow_threshold=None)
    assert (whole > 0).all() == bool(value)


def test_a_constant_foreground_without_flow_is_no_cell():
    assert not masks_from_flows(np.zeros((2, 40, 40), np.float32), np.ones((40, 40), np.uint8) * 255).any()


def test_a_cell_that_fills_the_image_stays():
    labels = np.ones((60, 60), dtype=np.uint8)
    assert (masks_from_flows(diffusion_flow(labels), labels > 0) == 1).all()


FLOW = diffusion_flow(np.ones((8, 9), dtype=int))
HALF = np.full((8, 9), 0.7)


@pytest.mark.parametrize(
    "flow,probability,keywords,error,text",
    [
        (FLOW.astype(int), HALF, {}, TypeError, "floating point"),
        (FLOW * np.nan, HALF, {}, ValueError, "NaN"),
        (FLOW + np.float32(np.inf), HALF, {}, ValueError, "NaN or infinite"),
        (FLOW[0], HALF, {}, ValueError, "shape"),
        (FLOW, HALF[:4], {}, ValueError, "shape"),
        (FLOW, HALF[None], {}, ValueError, "shape"),
        (FLOW, HALF * np.nan, {}, ValueError, "between 0 and 1"),
        (FLOW, HALF * 255, {}, ValueError, "pass uint8"),
        (FLOW, HALF.astype(int), {}, TypeError, "uint8"),
        (FLOW, HALF * np.nan, {"logits": True}, ValueError, "NaN"),
        (FLOW, HALF > 0, {"logits": True}, TypeError, "floating point"),
        (FLOW * 5, HALF, {}, ValueError, "flow_scale=5"),
        (FLOW, HALF, {"flow_scale": 0}, ValueError, "positive"),
        (FLOW, HALF, {"flow_scale": "5"}, TypeError, "flow_scale"),
        (FLOW, HALF, {"probability_threshold": 128}, ValueError, "probability_threshold"),
        (FLOW, HALF, {"probability_threshold": None}, TypeError, "probability_threshold"),
        (FLOW, HALF, {"flow_threshold": -1}, ValueError, "flow_threshold"),
        (FLOW, HALF, {"flow_threshold": np.nan}, ValueError, "flow_threshold"),
        (FLOW, HALF, {"flow_threshold": True}, TypeError, "flow_threshold"),
        (FLOW, HALF, {"min_size": 1.5}, TypeError, "min_size"),
        (FLOW, HALF, {"min_size": -1}, ValueError, "min_size"),
        (FLOW, HALF, {"peak": -1}, ValueError, "peak"),
        (FLOW, HALF, {"steps": 1.0}, TypeError, "steps"),
        (FLOW, HALF, {"rule": "cellpos3"}, ValueError, "did you mean"),
    ],
)
def test_bad_input_is_refused(flow, probability, keywords, error, text):
    with pytest.raises(error, match=text):
        masks_from_flows(flow, probability, **keywords)


def test_flow_errors_refuse_what_does_not_fit():
    with pytest.raises(ValueError, match="shape"):
        flow_errors(np.ones((4, 4), int), np.zeros((2, 4, 5)))
    with pytest.raises(TypeError, match="integers"):
        flow_errors(np.ones((4, 4)), np.zeros((2, 4, 4)))


def test_all_foreground_pixels_take_part():
    """Cells whose flow has no y component, in part or at all, which published tracking leaves out."""
    labels = np.zeros((30, 80), dtype=np.uint8)
    labels[14:17, 5:75] = 1
    flow = diffusion_flow(labels)
    places = follow_flows(flow, labels > 0)
    assert places.shape == (2, (labels > 0).sum())
    assert same_partition(masks_from_flows(flow, labels > 0), relabel_sequential(labels))
