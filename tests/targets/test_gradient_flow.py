"""Gradient flows: published figures, a brute-force oracle, Cellpose itself, symmetries, ids, pieces, devices."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles.diffusion import RULES, dense_flow
from oracles.volumes import cells_2d, small_volume
from scipy.ndimage import label as components

from emlib.diffusion import DIFFUSION_RULES, cell_pieces
from emlib.targets import build_target, channel_count, gradient_flow
from emlib.targets.gradient_flow_torch import flow_of_labels

PUBLISHED = {
    "mediar": [(0.9536, 0.3011), (-0.8857, -0.4642)],
    "cellpose3": [(0.9564, 0.2919), (-0.8877, -0.4604)],
    "cellpose4": [(0.9541, 0.2996), (-0.8858, -0.4640)],
}
INTEGERS = ("u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", ">u4", ">i8")


def angles(first, second, inside):
    cosine = (first * second).sum(axis=0)[inside]
    return np.degrees(np.arccos(np.clip(cosine, -1, 1)))


def random_cells(seed, shape, count):
    """Touching blobs: every voxel takes the nearest of some points, far ones none; each cell is one piece."""
    random = np.random.default_rng(seed)
    points = np.stack([random.uniform(0, length, count) for length in shape], axis=1)
    places = np.moveaxis(np.indices(shape), 0, -1)[..., None, :]
    distances = np.sqrt(((places - points) ** 2).sum(axis=-1))
    labels = distances.argmin(axis=-1) + 1
    labels[distances.min(axis=-1) > random.uniform(3, 6)] = 0
    out, found = np.zeros(shape, np.int64), 0
    structure = np.ones((3,) * len(shape)) if len(shape) == 2 else None
    for number in range(1, count + 1):
        pieces, pieces_count = components(labels == number, structure=structure)
        out[pieces > 0] = pieces[pieces > 0] + found
        found += pieces_count
    return out


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("as_published", [False, True])
def test_published_figures(rule, as_published):
    flow = gradient_flow(cells_2d()[0], rule=rule, as_published=as_published)
    assert flow.dtype == np.float32
    assert flow.shape == (2, 96, 120)
    for place, expected in zip([(12, 20), (30, 75)], PUBLISHED[rule], strict=True):
        assert np.allclose(flow[(slice(None), *place)], expected, atol=5e-5)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("leak", [False, True])
@pytest.mark.parametrize("shape,count", [((24, 31), 7), ((7, 12, 13), 5)])
def test_equals_brute_force(rule, leak, shape, count):
    labels = random_cells(count, shape, count)
    expected = dense_flow(labels, rule, leak=leak and rule != "cellpose3")
    flow = gradient_flow(labels, rule=rule, as_published=leak)
    # The published code has no guard against rounding: where an axis is balanced, noise may point anywhere.
    settled = (np.abs(expected) > 1e-6).any(axis=0) if leak else np.ones(shape, bool)
    assert settled[labels > 0].mean() > 0.9
    assert np.allclose(flow[:, settled], expected[:, settled], atol=1e-5)
    length = np.sqrt((flow.astype(np.float64) ** 2).sum(axis=0))
    assert np.allclose(length[length > 0], 1, atol=1e-6)
    assert not flow[:, labels == 0].any()


@settings(max_examples=30, deadline=None)
@given(
    st.integers(0, 10_000),
    st.sampled_from([(1, 1), (1, 9), (9, 1), (8, 11), (1, 1, 1), (3, 6, 5), (1, 7, 6)]),
    st.sampled_from(INTEGERS),
    st.sampled_from(["C", "F", "reversed", "frozen"]),
    st.sampled_from(RULES),
)
def test_every_shape_type_and_memory_order(seed, shape, dtype, order, rule):
    labels = random_cells(seed, shape, 3).astype(dtype)
    original = labels.copy()
    expected = dense_flow(labels.astype(int), rule)
    if order == "F":
        labels = np.asfortranarray(labels)
    elif order == "reversed":
        labels = np.flip(np.flip(labels).copy())
    elif order == "frozen":
        labels.flags.writeable = False
    flow = gradient_flow(labels, rule=rule)
    assert flow.shape == (len(shape), *shape)
    assert np.allclose(flow, expected, atol=1e-5)
    assert np.array_equal(labels, original)


@pytest.mark.parametrize("published", [False, True])
def test_equals_the_installed_cellpose(published):
    dynamics = pytest.importorskip("cellpose.dynamics", reason="cellpose is not installed; it is only compared with")
    labels = cells_2d()[0]
    if hasattr(dynamics, "masks_to_flows_cpu"):
        rule, theirs = "cellpose3", np.asarray(dynamics.masks_to_flows_cpu(labels)[0])
    else:
        rule, theirs = "cellpose4", np.asarray(dynamics.masks_to_flows_gpu(labels, device=torch.device("cpu"))[0])
    ours = gradient_flow(labels, rule=rule, as_published=published)
    inside = labels > 0
    assert np.median(angles(ours, theirs, inside)) < 1e-3
    if published or rule == "cellpose3":
        assert (np.abs(ours - theirs).max(axis=0)[inside] < 1e-5).mean() > 0.98


def test_the_rules_agree_to_a_fraction_of_a_degree():
    labels = cells_2d()[0]
    flows = {rule: gradient_flow(labels, rule=rule) for rule in RULES}
    inside = labels > 0
    assert np.median(angles(flows["mediar"], flows["cellpose4"], inside)) < 0.1
    assert np.median(angles(flows["mediar"], flows["cellpose3"], inside)) < 0.3


@pytest.mark.parametrize("rule", RULES)
def test_touching_cells_do_not_leak(rule):
    labels = random_cells(3, (40, 40), 9)
    together = gradient_flow(labels, rule=rule)
    if rule == "cellpose3":
        for number in np.unique(labels)[1:]:
            alone = gradient_flow((labels == number).astype(np.uint8), rule=rule)
            assert np.array_equal(together[:, labels == number], alone[:, labels == number])
        assert np.array_equal(gradient_flow(labels, rule=rule, as_published=True), together)
    else:
        # All cells share the number of steps, so one of the same size stands in for the others.
        apart = np.zeros((42, 84), dtype=int)
        number = int(np.bincount(labels.ravel())[1:].argmax()) + 1
        apart[1:41, 1:41] = labels == number
        others = (labels != number) & (labels > 0)
        apart[1:41, 43:83][others] = labels[others] + 50
        alone = gradient_flow(apart, rule=rule)[:, 1:41, 1:41]
        assert np.array_equal(together[:, labels == number], alone[:, labels == number])
        assert not np.array_equal(gradient_flow(labels, rule=rule, as_published=True), together)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("flip", [False, True])
def test_flows_turn_with_the_image_exactly(rule, turns, flip):
    """For cells whose centre needs no choice between equally near pixels: odd diameters, centre inside."""
    y, x = np.mgrid[:41, :53]
    labels = np.zeros((41, 53), dtype=np.int32)
    labels[(y - 12) ** 2 / 81 + (x - 14) ** 2 / 49 <= 1] = 3
    labels[(np.abs(y - 28) + np.abs(x - 20) <= 10) & (labels == 0)] = 8
    labels[(np.abs(y - 20) <= 7) & (np.abs(x - 40) <= 9)] = 5
    labels[20 - 7 : 20 + 8, 49] = 0
    labels[20 - 7 : 20 + 8, 31] = 0

    def turned(flow):
        for _ in range(turns):
            # One turn takes (y, x) to (-x, y).
            flow = np.rot90(flow, axes=(1, 2))
            flow = np.stack([-flow[1], flow[0]])
        return flow[:, :, ::-1] * np.array([1, -1], np.float32)[:, None, None] if flip else flow

    image = np.rot90(labels, turns)
    image = image[:, ::-1] if flip else image
    expected = turned(gradient_flow(labels, rule=rule))
    assert np.array_equal(gradient_flow(image, rule=rule) + 0, expected + 0)


@pytest.mark.parametrize("rule", RULES)
def test_symmetric_cells_have_no_flow_in_the_centre_only(rule):
    y, x = np.mgrid[:23, :23]
    labels = ((y - 11) ** 2 + (x - 11) ** 2 <= 81).astype(np.uint8)
    flow = gradient_flow(labels, rule=rule)
    assert np.argwhere((flow == 0).all(axis=0) & (labels > 0)).tolist() == [[11, 11]]
    assert not flow[0, 11].any()
    assert not flow[1, :, 11].any()
    assert (np.sign(flow[0, :, 9]) == np.sign(11 - np.arange(23)) * (labels[:, 9] > 0)).all()


@pytest.mark.parametrize("rule", RULES)
def test_the_middle_section_of_a_cylinder_flows_as_its_section(rule):
    y, x = np.mgrid[:27, :27]
    disc = ((y - 13) ** 2 + (x - 12) ** 2 <= 100).astype(np.uint16)
    cylinder = np.repeat(disc[None], 21, axis=0)
    flow, section = gradient_flow(cylinder, rule=rule), gradient_flow(disc, rule=rule)
    assert not flow[0, 10].any()
    assert np.percentile(angles(flow[1:, 10], section, (disc > 0) & section.any(axis=0)), 95) < 3
    assert (flow[0, :10][:, disc > 0] > 0).all()
    assert np.array_equal(flow[0, :10], -flow[0, :10:-1])


def test_ids_do_not_matter():
    labels = cells_2d()[0]
    expected = gradient_flow(labels)
    ids = np.array([0, 2**64 - 1, 2**63, 2**63 - 1, 2**32, 2**32 + 1, 70_000, 2**24 + 1, 9, 5, 300, 1], dtype=np.uint64)
    assert np.array_equal(gradient_flow(ids[labels]), expected)
    assert np.array_equal(
        gradient_flow((ids[labels] % 2**32).astype(np.uint32) * 0 + labels.astype(np.uint32) * 7), expected
    )
    assert np.array_equal(gradient_flow(torch.from_numpy(ids[labels])).numpy(), expected)
    assert np.array_equal(gradient_flow(labels > 0), gradient_flow((labels > 0).astype(int)))


def test_every_piece_of_a_cell_has_its_own_centre():
    labels = np.zeros((12, 30), dtype=np.int32)
    labels[2:9, 2:9] = labels[2:9, 20:27] = 6
    flow = gradient_flow(labels)
    assert np.array_equal(flow[:, :, 2:9], flow[:, :, 20:27])
    assert flow[:, 2:9, 2:9].any()
    for keywords in ({"separate_pieces": False}, {"as_published": True}):
        one_centre = gradient_flow(labels, **keywords)
        assert one_centre[:, 2:9, 2:9].any() != one_centre[:, 2:9, 20:27].any()
    diagonal = np.eye(7, dtype=np.uint8)
    assert len(cell_pieces(diagonal, DIFFUSION_RULES["cellpose3"]).boxes) == 1
    pieces = cell_pieces(labels, DIFFUSION_RULES["cellpose3"])
    assert pieces.centres[:, 1:].tolist() == [[5, 5], [5, 23]]


def test_thin_long_cells_have_flow_to_their_ends():
    labels = np.zeros((3, 301), dtype=np.uint8)
    labels[1, 1:300] = 1
    for rule in RULES:
        flow = gradient_flow(labels, rule=rule)
        assert np.array_equal(flow[1, 1, 1:300], np.sign(150 - np.arange(1, 300)))
    # The published logarithm rounds small heat to nothing.
    assert not gradient_flow(labels, rule="mediar", as_published=True)[1, 1, 1:100].any()


@pytest.mark.parametrize("shape", [(1, 1), (5, 6), (1, 1, 1), (2, 3, 4)])
def test_nothing_or_single_pixels_are_zero(shape):
    labels = np.zeros(shape, dtype=np.uint16)
    for rule in RULES:
        assert not gradient_flow(labels, rule=rule).any()
        labels.flat[0] = 9
        for published in (False, True):
            assert not gradient_flow(labels, rule=rule, as_published=published).any()


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("keywords", [{}, {"as_published": True}, {"separate_pieces": False}])
@pytest.mark.parametrize("labels", [cells_2d()[0], small_volume()[0][:, ::2, ::2].astype(np.int64)], ids=["2-D", "3-D"])
def test_the_torch_code_gives_the_compiled_result(rule, keywords, labels):
    tensor = torch.from_numpy(labels.copy())
    compiled_flow = gradient_flow(tensor, rule=rule, **keywords)
    assert isinstance(compiled_flow, torch.Tensor)
    flow = flow_of_labels(tensor, rule, **keywords)
    assert flow.dtype == torch.float32
    # The heat is equal bit for bit; a logarithm may differ in its last one.
    assert torch.allclose(flow, compiled_flow, rtol=0, atol=1e-6)
    if rule != "mediar":
        assert torch.equal(flow, compiled_flow)
    assert not flow_of_labels(torch.zeros_like(tensor), rule, **keywords).any()


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("rule", RULES)
def test_cuda_gives_the_result_of_the_cpu(rule):
    for labels in (cells_2d()[0], small_volume()[0].astype(np.int64)):
        tensor = torch.from_numpy(labels)
        there = gradient_flow(tensor.cuda(), rule=rule)
        assert there.is_cuda
        assert torch.allclose(there.cpu(), gradient_flow(tensor, rule=rule), rtol=0, atol=1e-6)


def test_options_7_and_7_0():
    labels = small_volume()[0]
    target = build_target(labels, "7")
    assert target.shape == (2, *labels.shape)
    for z in (0, 5):
        assert np.array_equal(target[:, z], gradient_flow(labels[z]))
    with_mask = build_target(torch.from_numpy(labels), "7-0")
    assert np.array_equal(with_mask[:2].numpy(), target)
    assert np.array_equal(with_mask[2].numpy(), labels > 0)
    assert [channel_count(option) for option in ("7", "7-0")] == [2, 3]


@pytest.mark.parametrize(
    "labels,keywords,error,text",
    [
        (np.zeros((4, 4)), {}, TypeError, "whole numbers"),
        ([[1, 2]], {}, TypeError, "list"),
        (np.zeros(4, int), {}, ValueError, "axes"),
        (np.zeros((2, 3, 4, 5), int), {}, ValueError, "axes"),
        (np.zeros((0, 4), int), {}, ValueError, "empty"),
        (np.full((4, 4), -1), {}, ValueError, "negative"),
        (np.ones((4, 4), int), {"rule": "cellpose"}, ValueError, "did you mean"),
        (np.ones((4, 4), int), {"rule": None}, ValueError, "rule must be"),
    ],
)
def test_bad_input_is_refused(labels, keywords, error, text):
    with pytest.raises(error, match=text):
        gradient_flow(labels, **keywords)
