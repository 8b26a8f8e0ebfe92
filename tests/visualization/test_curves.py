import math

import numpy as np
import pytest
from visualization.scene import VOXEL_SIZE, make_scene, texts

from emlib.visualization import (
    show_band,
    show_blending,
    show_class_balance,
    show_loss_curve,
    show_metric_curve,
    show_object_sizes,
    show_precision_recall,
    show_scores_by_size,
    show_threshold_sweep,
    show_window_plan,
)
from emlib.visualization.loss_curve import read_loss_table, smooth_curve
from emlib.visualization.objects import measure_objects

HEADER = "iteration,loss,learning_rate,validation_loss,loss/mask/WeightedBCE,loss/contour/WeightedDice\n"


def test_loss_curve_from_a_csv(tmp_path):
    path = tmp_path / "loss.csv"
    path.write_text(
        HEADER + "".join(f"{i},{2 / i},1e-3,{'' if i % 5 else 1 / i},{1 / i},{1 / i}\n" for i in range(1, 21))
    )
    figure = show_loss_curve(path, title="course")
    assert [axes.get_title() for axes in figure.axes] == ["loss", "parts of the loss, smoothed", "learning rate"]
    names = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert names == ["training, each entry", "training, smoothed", "validation"]
    validation = figure.axes[0].lines[2]
    assert validation.get_xdata().tolist() == [5, 10, 15, 20]
    assert {"mask/WeightedBCE", "contour/WeightedDice"} <= set(texts(figure))


def test_loss_curve_without_optional_columns():
    figure = show_loss_curve([{"iteration": 1, "loss": 2}, {"iteration": 2, "loss": 1}], smooth=0)
    assert len(figure.axes) == 1
    assert len(figure.axes[0].lines) == 1


def test_smoothing_by_brute_force():
    values, weight = np.array([3.0, np.nan, 1.0, 4.0, 1.0]), 0.7
    known = np.isfinite(values)
    for index, smoothed in enumerate(smooth_curve(values, weight)):
        weights = weight ** np.abs(np.arange(5) - index)
        assert smoothed == pytest.approx((weights * values)[known].sum() / weights[known].sum())


def test_smoothing_does_not_lag():
    line = np.arange(101.0)
    assert smooth_curve(line, 0.9)[50] == pytest.approx(50)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("iteration,loss\n", "no entries in the column 'iteration'"),
        ("step,loss\n1,2\n", "no entries in the column 'iteration'; its columns are: step, loss"),
        ("iteration,loss\n1,two\n", "column 'loss' that is not a number"),
    ],
)
def test_bad_loss_tables_stop_with_one_sentence(tmp_path, text, sentence):
    path = tmp_path / "loss.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=sentence):
        show_loss_curve(path)


def test_a_missing_loss_table_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no loss table .*nothing\.csv"):
        read_loss_table(tmp_path / "nothing.csv")


def test_curves_have_their_points_and_names():
    figure = show_metric_curve([0, 1, 2], {"AP-50": [0, 1, 2], "AP-75": [0, math.nan, 1]}, xlabel="epoch", log_x=False)
    assert figure.axes[0].get_xlabel() == "epoch"
    assert [line.get_ydata()[2] for line in figure.axes[0].lines] == [2, 1]
    styles = {(line.get_color(), line.get_linestyle(), line.get_marker()) for line in figure.axes[0].lines}
    assert len({style[1] for style in styles}) == 2  # not by colour alone


def test_threshold_sweep_sorts_and_marks_the_chosen():
    figure = show_threshold_sweep([{"t": 0.9, "AP": 1}, {"t": 0.1, "AP": 2}], x="t", y="AP", chosen=0.9)
    assert figure.axes[0].lines[0].get_xdata().tolist() == [0.1, 0.9]
    assert "chosen: 0.9" in texts(figure)


def test_scores_by_size_write_each_value_and_say_none():
    figure = show_scores_by_size({"a": {"small": 0.25, "large": math.nan}, "b": {"small": 0.5, "large": 1.0}})
    assert [text.get_text() for text in figure.axes[0].texts] == ["0.25", "none", "0.50", "1.00"]
    assert {"a", "b", "small", "large"} <= set(texts(figure))


def test_windows_are_drawn_where_they_are():
    figure = show_window_plan((8, 48, 64), (8, 32, 32), [(0, 0, 0), (0, 16, 32)], axis="zx", voxel_size=VOXEL_SIZE)
    boxes = [patch.get_bbox().bounds for patch in figure.axes[0].patches]
    assert boxes[:2] == [(0, 0, 32, 8), (32, 0, 32, 8)]
    assert boxes[-1] == (0, 0, 64, 8)
    assert figure.axes[0].get_aspect() == 30 / 8
    assert "2 windows of 8 x 32 x 32 voxels, 2 places in zx; orange: one window" in texts(figure)


def test_blending_shows_the_central_planes():
    weights = np.zeros((4, 6, 8))
    weights[2, 3, 4] = 2.0
    figure = show_blending(weights)
    assert [axes.images[0].get_array().shape for axes in figure.axes[:3]] == [(6, 8), (4, 8), (4, 6)]
    assert all(axes.images[0].get_array().max() == 1 for axes in figure.axes[:3])


def test_objects_are_measured():
    _, truth, _, _ = make_scene()
    counts, sides = measure_objects(truth)
    ids = np.unique(truth)[1:]
    for one, count, side in zip(ids, counts, sides, strict=True):
        where = np.nonzero(truth == one)
        assert count == len(where[0])
        assert side.tolist() == [axis.max() - axis.min() + 1 for axis in where]
    figure = show_object_sizes(truth, window=(4, 16, 32), voxel_size=VOXEL_SIZE, limits=(100, 1000))
    assert [word for word in texts(figure) if "larger" in word] == ["4 larger", "4 larger", "0 larger"]
    assert {"4 objects", "size limits: 100, 1,000"} <= set(texts(figure))
    assert len(show_object_sizes([10, 20, 4000]).axes) == 1


def test_rare_classes_are_not_written_as_zero():
    words = texts(show_class_balance({"background": 0.99997, "spine": 0.00003, "nothing": 0.0}))
    assert {"100.0 %", "0.003 %", "0.0 %"} <= set(words)


@pytest.mark.parametrize(
    ("value", "word"), [(0.6, "inside"), (0.8, "inside"), (0.5999, "outside"), (1.2, "outside"), (math.nan, "outside")]
)
def test_a_band_says_its_verdict_in_words(value, word):
    figure = show_band(value, 0.6, 0.8, name="AP-75")
    assert f": {word} its band 0.6 to 0.8" in figure.axes[0].get_title()
    figure.canvas.draw()


def test_a_band_is_not_contradicted_by_rounding():
    assert "0.59999" in show_band(0.59999, 0.6, 0.8, name="AP").axes[0].get_title()


BAD_CALLS = {
    "no curve": lambda: show_metric_curve([1], {}),
    "2 points, but x has 1": lambda: show_metric_curve([1], {"a": [1, 2]}),
    "Row 1 has no column 'AP'": lambda: show_threshold_sweep([{"t": 1, "AP": 1}, {"t": 2}], x="t", y=["AP"]),
    "at least one row": lambda: show_threshold_sweep([], x="t", y=["AP"]),
    "must lie between 0 and 1": lambda: show_precision_recall({"a": ([0, 1], [1, 1.2])}),
    "as long as each other": lambda: show_precision_recall({"a": ([0, 1], [1])}),
    "not .'small'. like the first": lambda: show_scores_by_size({"a": {"small": 1}, "b": {"large": 1}}),
    "two of z, y and x": lambda: show_window_plan((1, 2, 3), (1, 1, 1), [(0, 0, 0)], axis="yy"),
    "must be .z, y, x.": lambda: show_window_plan((2, 3), (1, 1, 1), [(0, 0, 0)]),
    "weights must be": lambda: show_blending(np.ones((3, 3))),
    "There is no object": lambda: show_object_sizes(np.zeros((2, 2, 2), int)),
    "smallest here is 0": lambda: show_object_sizes([0, 3]),
    "window has 2 sides": lambda: show_object_sizes([3], extents=[(1, 1, 3)], window=(4, 4)),
    "'mask' must be between 0 and 1": lambda: show_class_balance({"mask": 12}),
    "at least 0 and below 1": lambda: show_loss_curve({"iteration": [1], "loss": [1]}, smooth=1),
    "different lengths": lambda: show_loss_curve({"iteration": [1, 2], "loss": [1]}),
}


@pytest.mark.parametrize("sentence", BAD_CALLS)
def test_bad_input_stops_with_one_sentence(sentence):
    with pytest.raises(ValueError, match=sentence):
        BAD_CALLS[sentence]()
