"""Figures of flows: their colours and arrows, the diffusion behind them, and the walk along them."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.collections import PathCollection
from matplotlib.quiver import Quiver
from visualization.cell_scene import IDS, lines_of, make_cells
from visualization.scene import rendered, texts

from emlib.diffusion import diffusion_flow, diffusion_steps
from emlib.postprocessing import follow_flows, masks_from_flows
from emlib.visualization import label_colors, save_figure
from emlib.visualization.cells import flow_colors, show_diffusion, show_flow, show_tracking
from emlib.visualization.cells.diffusion import typical_cell
from emlib.visualization.cells.flow_figures import strongest_box

IMAGE, LABELS = make_cells()
FLOW = diffusion_flow(LABELS)


@given(st.integers(0, 359), st.floats(0.05, 1.0), st.sampled_from([1.0, 5.0]))
def test_hue_is_the_angle_and_brightness_the_length(degrees, length, scale):
    angle = np.radians(degrees)
    flow = scale * length * np.array([np.sin(angle), np.cos(angle)]).reshape(2, 1, 1)
    red, green, blue = flow_colors(flow, scale=scale)[0, 0].astype(float) / 255
    largest, smallest = max(red, green, blue), min(red, green, blue)
    assert largest == pytest.approx(length, abs=0.003)
    assert smallest == pytest.approx(0, abs=0.003)
    # The definition of hue, one sixth of the circle at a time.
    spread = largest - smallest
    if largest == red:
        sixths = (green - blue) / spread % 6
    elif largest == green:
        sixths = (blue - red) / spread + 2
    else:
        sixths = (red - green) / spread + 4
    off = abs(sixths * 60 - degrees)
    assert min(off, 360 - off) < 0.3 / length


def test_flow_is_drawn_with_its_wheel_and_arrows():
    figure = show_flow(FLOW, IMAGE, LABELS > 0, truth=-FLOW, labels=LABELS, title="what it predicts")
    titles = [axes.get_title() for axes in figure.axes]
    assert titles[:5] == [
        "image",
        "cell probability\n(black 0, white 1)",
        "flow",
        "flow of the labels",
        "arrows in the frame",
    ]
    shown = [axes.images[0].get_array() for axes in figure.axes[:4]]
    assert (shown[0] == IMAGE[..., None]).all()
    assert (shown[1] == 255 * (LABELS > 0)[..., None]).all()
    assert (shown[2] == flow_colors(FLOW)).all()
    assert (shown[3] == flow_colors(-FLOW)).all()
    assert {"right", "left", "up", "down", "what it predicts"} <= set(texts(figure))
    wheel = figure.axes[5].images[0].get_array()
    middle = len(wheel) // 2
    assert wheel[middle, -1].tolist() == [255, 0, 0]
    assert wheel[0, 0].tolist() == [255, 255, 255]
    ((*_, outlines),) = lines_of(figure.axes[0])
    assert len(outlines) == 4


def test_arrows_point_where_the_flow_goes():
    flow = np.zeros((2, 30, 40), np.float32)
    flow[0, :, :20], flow[1, :, 20:] = -0.8, 0.5
    figure = show_flow(flow, box=((2, 4), (28, 36)))
    crop = figure.axes[1]
    assert crop.get_xlim() == (3.5, 35.5)
    assert crop.get_ylim() == (27.5, 1.5)
    (arrows,) = [found for found in crop.collections if isinstance(found, Quiver)]
    assert len(arrows.U) > 50
    y, x = arrows.Y.astype(int), arrows.X.astype(int)
    assert (y == arrows.Y).all()
    typical = np.percentile(np.hypot(*flow[:, 2:28, 4:36]), 99)
    assert np.allclose(arrows.U, flow[1, y, x] / typical)
    assert np.allclose(arrows.V, flow[0, y, x] / typical)
    # In pixels of the image, whose y axis points down.
    assert arrows.angles == "xy"
    assert crop.yaxis_inverted()


def test_the_crop_is_where_the_flow_is():
    assert show_flow(FLOW, arrows=False).axes[0].get_title() == "flow"
    assert len(show_flow(FLOW, arrows=False).axes) == 2
    random = np.random.default_rng(0)
    flow = random.normal(size=(2, 37, 130)) * (random.random((37, 130)) < 0.1)
    (top, left), (bottom, right) = strongest_box(flow)
    assert (bottom - top, right - left) == (32, 32)
    sums = [np.hypot(*flow[:, y : y + 32, x : x + 32]).sum() for y in range(37 - 32 + 1) for x in range(130 - 32 + 1)]
    assert np.hypot(*flow[:, top:bottom, left:right]).sum() == pytest.approx(max(sums))
    nothing = show_flow(np.zeros((2, 5, 7)))
    assert [found for found in nothing.axes[1].collections if isinstance(found, Quiver)] == []
    assert rendered(nothing).std() > 5


def test_predictions_of_networks_are_five_times_as_long():
    assert (flow_colors(5 * FLOW, scale=5) == flow_colors(FLOW)).all()
    assert (flow_colors(np.asfortranarray(FLOW)) == flow_colors(FLOW)).all()
    assert (flow_colors(FLOW.astype(">f8")) == flow_colors(FLOW)).all()
    assert flow_colors(9 * FLOW).max() == 255


def test_diffusion_shows_the_heat_of_the_box():
    found = diffusion_steps(LABELS, (1, 9))
    box = ((2, 4), (30, 54))
    figure = show_diffusion(LABELS, found, box=box, title="heat")
    one, nine, flow, *_ = figure.axes
    assert [axes.get_title() for axes in figure.axes[:3]] == ["1 step", "9 steps", "flow"]
    for axes, heat in zip((one, nine), found.heat, strict=True):
        picture = axes.images[0].get_array().astype(int).sum(axis=-1)
        part = heat[2:30, 4:54]
        black = picture == picture.min()
        assert (black == (part <= 1e-4)).mean() > 0.97
        # The hotter the brighter, on the scale that both panels share.
        hot = ~black
        assert np.corrcoef(picture[hot], np.log(part[hot]))[0, 1] > 0.95 if hot.sum() > 30 else hot.sum() == 18
        assert axes.images[0].get_extent() == [3.5, 53.5, 29.5, 1.5]
        crosses = axes.lines[0].get_xydata()
        inside = [(x, y) for y, x in found.centres.tolist() if 2 <= y < 30 and 4 <= x < 54]
        assert crosses.tolist() == [list(map(float, one)) for one in inside]
        assert len(inside) == 2
    assert any(isinstance(one, Quiver) for one in flow.collections)
    assert {"heat", "up"} <= set(texts(figure))


@pytest.mark.parametrize("rule", ["cellpose3", "mediar", "cellpose4"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_one_cell_is_shown_by_its_id(rule, order):
    labels = np.array(LABELS, order=order)
    figure = show_diffusion(labels, diffusion_steps(labels, rule=rule), cell=IDS[3])
    y, x = np.nonzero(IDS[3] == LABELS)
    left, right = figure.axes[0].get_xlim()
    bottom, top = figure.axes[0].get_ylim()
    assert left < x.min() < x.max() < right
    assert top < y.min() < y.max() < bottom
    assert [axes.get_title() for axes in figure.axes[:5]] == ["1 step", "5 steps", "20 steps", "80 steps", "flow"]


def test_the_cell_in_the_middle_touches_another():
    # The first two touch; the smaller of them is the lower median.
    sizes = {one: int((one == LABELS).sum()) for one in IDS}
    assert typical_cell(LABELS) == min(IDS[:2], key=lambda one: sizes[one])
    alone = np.where(np.isin(LABELS, IDS[2:]), LABELS, 0)
    assert typical_cell(alone) == min(IDS[2:], key=lambda one: sizes[one])
    assert typical_cell(np.array([[0, 5]])) == 5
    tiny = np.array([[0, 5]])
    assert show_diffusion(tiny, diffusion_steps(tiny, (1,))).axes[0].get_title() == "1 step"


def places_of(flow, inside, steps):
    return {number: follow_flows(flow, inside, steps=number) for number in steps}


def offsets_of(axes):
    found = [one for one in axes.collections if isinstance(one, PathCollection)]
    return (found[0].get_offsets().data, found[0].get_facecolors()) if found else (np.zeros((0, 2)), None)


def test_pixels_are_where_follow_flows_puts_them_in_the_color_of_their_cell():
    rng = np.random.default_rng(0)
    flow = (FLOW + rng.normal(0, 0.3, FLOW.shape)).astype(np.float32)
    inside = LABELS > 0
    inside[50:58, 2:4] = True
    result = masks_from_flows(flow, inside)
    assert ((result == 0) & inside).any()
    places = places_of(flow, inside, (0, 4, 60))
    figure = show_tracking(result, places, foreground=inside, truth=LABELS, title="walk")
    assert [axes.get_title() for axes in figure.axes] == ["0 steps", "4 steps", "60 steps"]
    ends = result[inside]
    expected = label_colors(ends) / 255
    expected[ends == 0] = np.array([150, 150, 150]) / 255
    for axes, walk in zip(figure.axes, places.values(), strict=True):
        offsets, colors = offsets_of(axes)
        assert np.allclose(offsets, walk[::-1].T)
        assert np.allclose(colors[:, :3], expected)
        assert len(lines_of(axes)[0][2]) == 4
    (start, _), (end, _) = offsets_of(figure.axes[0]), offsets_of(figure.axes[2])
    assert (start == np.argwhere(inside)[:, ::-1]).all()
    assert len(np.unique(np.rint(end), axis=0)) < len(start) / 10
    words = " ".join(texts(figure))
    assert "end in no cell" in words
    assert "outlines of the truth" in words
    assert "walk" in words


@pytest.mark.parametrize("order", ["C", "F"])
def test_a_box_shows_a_part(order, tmp_path):
    labels, box = np.array(LABELS, order=order), ((20, 40), (60, 80))
    figure = show_tracking(labels, places_of(FLOW, labels > 0, (0, 1, 2, 3, 4, 5, 200)), box=box)
    assert figure.axes[1].get_title() == "1 step"
    assert len({round(axes.get_position().y0, 3) for axes in figure.axes}) == 2
    for axes in figure.axes:
        assert (axes.get_xlim(), axes.get_ylim()) == ((39.5, 79.5), (59.5, 19.5))
    offsets, _ = offsets_of(figure.axes[0])
    y, x = np.nonzero(LABELS > 0)
    assert len(offsets) == ((y > 19) & (y < 60) & (x > 39) & (x < 80)).sum()
    assert "end in no cell" not in " ".join(texts(figure))
    assert save_figure(figure, tmp_path / "walk.png").stat().st_size < 60_000


def test_no_cell_at_all():
    nothing = np.zeros((9, 12), np.uint8)
    figure = show_tracking(nothing, {0: np.zeros((2, 0), np.float32)})
    assert offsets_of(figure.axes[0])[0].shape == (0, 2)
    assert rendered(figure).std() > 5
    assert rendered(show_flow(diffusion_flow(nothing), nothing, nothing, labels=nothing)).std() > 5
    with pytest.raises(ValueError, match="There is no cell in the labels"):
        show_diffusion(nothing, diffusion_steps(nothing))
    figure = show_diffusion(nothing, diffusion_steps(nothing), box=((0, 0), (9, 12)))
    assert not figure.axes[0].lines[0].get_xydata().size


STEPS = diffusion_steps(LABELS, (1,))
WALK = {0: follow_flows(FLOW, LABELS > 0, steps=0)}
BAD_CALLS = [
    (lambda: flow_colors(LABELS), TypeError, "The flow is uint64"),
    (lambda: flow_colors(FLOW[:1]), ValueError, r"shape \(1, 60, 80\), but \(2, y, x\)"),
    (lambda: flow_colors(np.zeros((3, 2, 4, 4))), ValueError, "volumes are not drawn"),
    (lambda: flow_colors(FLOW * np.nan), ValueError, "The flow holds NaN"),
    (lambda: flow_colors(FLOW, scale=0), ValueError, "scale is 0"),
    (lambda: show_flow(FLOW, IMAGE[:9]), ValueError, "image and each component of the flow"),
    (lambda: show_flow(FLOW, IMAGE, LABELS), TypeError, "The probability is uint64"),
    (lambda: show_flow(FLOW, IMAGE, FLOW[0] * 3), ValueError, "must lie between 0 and 1; it reaches from -3"),
    (lambda: show_flow(FLOW, IMAGE, FLOW[0] * np.nan), ValueError, "must lie between 0 and 1; it reaches from nan"),
    (lambda: show_flow(FLOW, IMAGE, IMAGE[:9]), ValueError, r"The probability has shape \(9, 80\)"),
    (lambda: show_flow(FLOW, truth=FLOW[:, :9]), ValueError, "flow and truth must have the same shape"),
    (lambda: show_flow(FLOW, labels=LABELS[:9]), ValueError, "labels has shape"),
    (lambda: show_flow(FLOW, box=((0, 0), (61, 9))), ValueError, "is empty or not inside the image"),
    (lambda: show_flow(FLOW, box=((0, 0, 0), (1, 1, 1))), ValueError, "were expected"),
    (lambda: show_diffusion(LABELS, SimpleNamespace(steps=(1,))), TypeError, "it lacks heat, flow, centres"),
    (lambda: show_diffusion(LABELS[:9], STEPS), ValueError, r"heat \(1, 9, 80\)"),
    (lambda: show_diffusion(LABELS, STEPS, cell=4), ValueError, "There is no cell 4"),
    (lambda: show_diffusion(LABELS, STEPS, cell=3, box=((0, 0), (9, 9))), ValueError, "give one of them"),
    (lambda: show_tracking(LABELS, {}), ValueError, "places is empty"),
    (lambda: show_tracking(LABELS, {0: WALK[0][:, 1:]}), ValueError, "The places after 0 steps have shape"),
    (lambda: show_tracking(LABELS, {0: WALK[0] * np.nan}), ValueError, "no finite numbers"),
    (lambda: show_tracking(LABELS, WALK, foreground=LABELS), ValueError, "foreground is uint64"),
    (lambda: show_tracking(LABELS, WALK, truth=LABELS[:9]), ValueError, "truth has shape"),
    (lambda: show_tracking(LABELS * 1.0, WALK), TypeError, "labels are float64"),
]


@pytest.mark.parametrize("call,error,sentence", BAD_CALLS)
def test_bad_input_stops_with_one_sentence(call, error, sentence):
    with pytest.raises(error, match=sentence):
        call()
