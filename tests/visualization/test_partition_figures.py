from types import SimpleNamespace

import numpy as np
import pytest
from visualization.scene import rendered, texts

from emlib.evaluation import neuron_errors, partition_curve
from emlib.visualization import show_neuron_errors, show_partition_curve


def curve(scale=1.0):
    return SimpleNamespace(
        thresholds=[0.1, 0.3, 0.6, 0.9],
        adapted_rand_error=[0.5 * scale, 0.2 * scale, 0.1 * scale, 0.4 * scale],
        voi_split=[3.0, 2.0, 1.0, 0.5],
        voi_merge=[0.0, 0.1, 0.2, 2.0],
    )


def test_the_curve_of_split_and_merge_names_its_thresholds():
    figure = show_partition_curve(curve(), title="test half")
    plane, errors = figure.axes
    assert plane.lines[0].get_xydata().tolist() == [[3.0, 0.0], [2.0, 0.1], [1.0, 0.2], [0.5, 2.0]]
    assert errors.lines[0].get_ydata().tolist() == [0.5, 0.2, 0.1, 0.4]
    assert {"0.1", "0.3", "0.6", "0.9", "lowest: 0.100 at 0.6", "test half"} <= set(texts(figure))
    (ring,) = [line for line in plane.lines if line.get_markersize() > 10]
    assert ring.get_xydata().tolist() == [[1.0, 0.2]]
    bold = [words.get_text() for words in plane.texts if words.get_fontweight() == "bold"]
    assert bold == ["0.6"]
    low, high = plane.get_ylim()
    assert low < 0
    assert high > 2


def test_methods_and_references_share_the_axes():
    figure = show_partition_curve(
        {"mean": curve(), "quantile": curve(2.0)}, references={"fragments alone": (4.0, 0.0, 0.9)}
    )
    plane, errors = figure.axes
    names = [text.get_text() for text in errors.get_legend().get_texts()]
    assert names == ["mean: best at 0.6, 0.100", "quantile: best at 0.6, 0.200", "fragments alone: 0.900"]
    assert [text.get_text() for text in plane.get_legend().get_texts()] == ["mean", "quantile", "fragments alone"]
    drawn = [line for line in plane.lines if line.get_label() in ("mean", "quantile")]
    assert len({(line.get_color(), line.get_marker(), line.get_linestyle()) for line in drawn}) == 2
    assert plane.get_xlim()[1] > 4


def test_many_thresholds_are_not_all_written():
    many = SimpleNamespace(
        thresholds=np.linspace(0, 1, 101),
        adapted_rand_error=np.abs(np.linspace(0, 1, 101) - 0.37),
        voi_split=np.linspace(3, 0, 101),
        voi_merge=np.linspace(0, 3, 101),
    )
    written = [words.get_text() for words in show_partition_curve(many).axes[0].texts]
    assert 8 <= len(written) <= 12
    assert {"0", "0.37", "1"} <= set(written)


def test_what_evaluation_returns_can_be_drawn():
    random = np.random.default_rng(0)
    truth = np.repeat(random.integers(0, 5, (4, 8, 8)), 2, axis=2)
    volumes = [random.integers(1, 9, truth.shape), truth + 1]
    scores = partition_curve(volumes, truth, [0.2, 0.8])
    figure = show_partition_curve(scores)
    assert figure.axes[0].lines[0].get_ydata().tolist() == scores.voi_merge.tolist()
    errors = neuron_errors(volumes[0], truth, min_overlap=5)
    bars = show_neuron_errors(errors, most=3, title="noise").axes[0]
    assert [label.get_text() for label in bars.get_yticklabels()] == [
        f"neuron {row.neuron}" for row in errors.neurons[:3]
    ]
    widths = [bar.get_width() for bar in bars.patches]
    worst = errors.neurons[:3]
    assert widths == pytest.approx([row.voi_split for row in worst] + [row.voi_merge for row in worst])
    assert "the 3 worst of 4 neurons" in bars.get_title()
    assert f"{errors.voi_split:.3f}" in bars.get_title()


def test_bars_say_what_happened_to_each_neuron():
    rows = [
        SimpleNamespace(neuron=2**63 + 5, segments=3, partners=(4, 5, 6, 7), voi_split=0.3, voi_merge=0.5),
        SimpleNamespace(neuron=2, segments=1, partners=(), voi_split=0.1, voi_merge=0.0),
        SimpleNamespace(neuron=3, segments=0, partners=(), voi_split=0.0, voi_merge=0.0),
    ]
    figure = show_neuron_errors(SimpleNamespace(neurons=rows))
    words = [text.get_text() for text in figure.axes[0].texts]
    assert words == ["3 segments, merged with 4, 5, 6 ...", "1 segment", "no segment"]
    assert rendered(figure).std() > 10
    assert f"neuron {2**63 + 5}" in texts(figure)
    assert figure.axes[0].yaxis_inverted()
    # A perfect segmentation has bars of no length.
    perfect = show_neuron_errors(SimpleNamespace(neurons=rows[2:]))
    assert perfect.axes[0].get_xlim()[1] > 0


def test_bad_input_stops_with_one_sentence():
    with pytest.raises(ValueError, match="at least one curve"):
        show_partition_curve({})
    short, broken = curve(), curve()
    short.voi_split = short.voi_split[:3]
    with pytest.raises(ValueError, match="as many scores as thresholds; the lengths are 4, 4, 3, 4"):
        show_partition_curve(short)
    del broken.voi_merge
    with pytest.raises(TypeError, match="mean lacks voi_merge"):
        show_partition_curve({"mean": broken})
    with pytest.raises(TypeError, match="must have the attribute neurons"):
        show_neuron_errors([])
    with pytest.raises(ValueError, match="no neuron to draw"):
        show_neuron_errors(SimpleNamespace(neurons=[]))
    with pytest.raises(ValueError, match="most must be at least 1"):
        show_neuron_errors(SimpleNamespace(neurons=[1]), most=0)
