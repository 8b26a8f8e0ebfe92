"""Figures about sizes and scores: anchors against objects, precision and recall, limits, experiments."""

from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from visualization.scene import rendered, texts

from emlib.evaluation import ceiling_of_limit, coco_curves
from emlib.visualization import save_figure
from emlib.visualization.colors import GREEN, ORANGE, SKY, VERMILLION
from emlib.visualization.detection import (
    show_anchor_sizes,
    show_coco_curves,
    show_detection_limit,
    show_experiments,
)


def quality(seed=0, count=100, anchors=(8, 16, 32, 64, 128)):
    rng = np.random.default_rng(seed)
    return SimpleNamespace(sizes=np.exp(rng.normal(3, 0.4, count)), best_iou=rng.random(count), anchor_sizes=anchors)


def legend(owner):
    found = owner.get_legend() if hasattr(owner, "get_legend") else owner.legends[0]
    return [text.get_text() for text in found.get_texts()]


def test_every_object_is_in_the_histogram_and_in_the_bar():
    one = quality()
    figure = show_anchor_sizes(one, title="anchors of 8 to 128")
    histogram, anchors, bar = figure.axes
    assert sum(patch.get_height() for patch in histogram.patches) == 100
    assert histogram.get_xscale() == "log"
    for patch in histogram.patches:
        inside = (one.sizes >= patch.get_x()) & (one.sizes < patch.get_x() + patch.get_width())
        assert patch.get_height() == inside.sum()
    assert histogram.get_title() == f"100 objects, median {np.median(one.sizes):.0f} pixels"
    assert [line.get_xdata()[0] for line in histogram.lines] == [8, 16, 32, 64, 128]
    assert anchors.lines[0].get_xdata().tolist() == [8, 16, 32, 64, 128]
    assert [text.get_text() for text in anchors.texts] == ["8", "16", "32", "64", "128"]
    assert histogram.get_xlim() == anchors.get_xlim()
    steps = (2, 0.7, 0.5, 0.3, 0)
    shares = [100 * ((one.best_iou >= low) & (one.best_iou < high)).mean() for high, low in pairwise(steps)]
    assert [patch.get_width() for patch in bar.patches] == pytest.approx(shares)
    assert [patch.get_x() for patch in bar.patches] == pytest.approx(np.cumsum([0, *shares[:3]]))
    colors = [patch.get_facecolor()[:3] for patch in bar.patches]
    assert colors == [pytest.approx(to_rgb(color)) for color in (GREEN, SKY, ORANGE, VERMILLION)]
    assert [text.get_text() for text in bar.texts] == [f"{share:.0f} %" for share in shares]
    assert legend(bar) == ["IoU 0.7 or more", "IoU 0.5 to 0.7", "IoU 0.3 to 0.5", "IoU below 0.3"]
    assert "anchors of 8 to 128" in texts(figure)


def test_the_limits_of_the_rule_belong_to_the_better_side():
    one = SimpleNamespace(sizes=[9, 9, 9, 9], best_iou=[0.7, 0.5, 0.3, 0.0], anchor_sizes=[9])
    bar = show_anchor_sizes(one).axes[2]
    assert [patch.get_width() for patch in bar.patches] == [25, 25, 25, 25]


def test_settings_are_compared_line_by_line(tmp_path):
    same = quality()
    settings = {
        "8-128": same,
        "32-512": SimpleNamespace(sizes=same.sizes, best_iou=same.best_iou / 2, anchor_sizes=(32, 64, 128, 256, 512)),
    }
    figure = show_anchor_sizes(settings)
    histogram, anchors, bar = figure.axes
    # Both see the same sizes: one histogram.
    assert sum(patch.get_height() for patch in histogram.patches) == 100
    assert histogram.get_legend() is None
    assert [line.get_xdata()[0] for line in histogram.lines] == [8, 16, 32, 64, 128, 256, 512]
    assert [label.get_text() for label in anchors.get_yticklabels()] == ["8-128", "32-512"]
    assert [label.get_text() for label in bar.get_yticklabels()] == ["8-128", "32-512"]
    rows = [[p.get_width() for p in bar.patches if round(p.get_y() + p.get_height() / 2) == row] for row in (0, 1)]
    assert [sum(row) for row in rows] == pytest.approx([100, 100])
    # Half of an IoU is below 0.5: two of the four kinds are left.
    assert rows[1] == pytest.approx([100 * (same.best_iou >= 0.6).mean(), 100 * (same.best_iou < 0.6).mean()])
    settings["larger"] = SimpleNamespace(sizes=2 * same.sizes, best_iou=same.best_iou, anchor_sizes=(8, 9, 10, 64))
    figure = show_anchor_sizes(settings)
    assert legend(figure.axes[0]) == ["8-128, 32-512", "larger"]
    # Numbers that would lie on each other are left out, their marks are not.
    assert [text.get_text() for text in figure.axes[1].texts][-3:] == ["8", "10", "64"]
    assert figure.axes[1].lines[2].get_xdata().tolist() == [8, 9, 10, 64]
    assert save_figure(figure, tmp_path / "anchors.png").stat().st_size < 60_000
    assert rendered(figure).std() > 5


def boxes_of(counts, seed=0):
    """COCO truth, and results that are the worse the lower their score."""
    rng = np.random.default_rng(seed)
    entries = [
        {"image_id": image, "category_id": 1 + place % 2, "bbox": [30 * place, 0, 20, 20]}
        for image, count in enumerate(counts, 1)
        for place in range(count)
    ]
    truth = {
        "images": [{"id": image} for image in range(1, len(counts) + 1)],
        "categories": [{"id": 1}, {"id": 2}, {"id": 3}],
        "annotations": entries,
    }
    results = []
    for entry in entries:
        score = float(rng.random())
        x, y, _, _ = entry["bbox"]
        results.append({**entry, "bbox": [x + rng.uniform(0, 9) * (1 - score), y, 20, 20], "score": score})
    return truth, results


def test_precision_over_recall_is_that_of_coco(tmp_path):
    curves = coco_curves(*boxes_of([20, 30]), kind="bbox", max_dets=(5, 100))
    figure = show_coco_curves(curves, ious=(0.5, 0.75, 0.9), title="boxes")
    left, right = figure.axes
    assert left.get_title() == "best 100 an image: several overlaps"
    for line, iou in zip(left.lines, (0.5, 0.75, 0.9), strict=False):
        level = round((iou - 0.5) / 0.05)
        # The third category has no object.
        np.testing.assert_allclose(line.get_ydata(), curves.precision[level, :, :2, 0, 1].mean(1))
        np.testing.assert_allclose(line.get_xdata(), np.linspace(0, 1, 101))
        # The area under the steps is the AP in the legend.
        assert f"{np.mean(line.get_ydata()):.3f}" == line.get_label().rsplit(" ", 1)[1]
    expected = [f"IoU {iou:g}: AP {curves.average_precision(iou=iou):.3f}" for iou in (0.5, 0.75, 0.9)]
    assert legend(left) == [*expected, f"mean of ten: AP {curves.average_precision():.3f}"]
    assert right.get_title() == "IoU 0.5: limits"
    assert legend(right) == [
        f"best {limit} an image: AP50 {curves.average_precision(iou=0.5, max_dets=limit):.3f}, "
        f"AP {curves.average_precision(max_dets=limit):.3f}"
        for limit in (5, 100)
    ]
    for line, place in zip(right.lines, (0, 1), strict=True):
        np.testing.assert_allclose(line.get_ydata(), curves.precision[0, :, :2, 0, place].mean(1))
    assert "boxes" in texts(figure)
    assert save_figure(figure, tmp_path / "curves.png").stat().st_size < 60_000


def test_several_results_stand_side_by_side():
    truth, results = boxes_of([20, 30])
    named = {
        "limit 5": coco_curves(truth, results, kind="bbox", max_dets=5),
        "all": coco_curves(truth, results, kind="bbox", max_dets=None),
        "worse": coco_curves(truth, results[:30], kind="bbox", max_dets=(5, 50)),
    }
    figure = show_coco_curves(named, limit_iou=0.75)
    left, right = figure.axes
    assert left.get_title() == "worse, best 50 an image: several overlaps"
    names = [words.split(":")[0] for words in legend(right)]
    assert names == ["limit 5", "all", "worse, best 5 an image", "worse, best 50 an image"]
    assert all("AP75" in words for words in legend(right))
    np.testing.assert_allclose(right.lines[1].get_ydata(), named["all"].precision[5, :, :2, 0, 0].mean(1))
    alone = show_coco_curves(named["all"])
    assert len(alone.axes) == 1
    assert alone.axes[0].get_title() == "all detections: several overlaps"
    small = show_coco_curves(named["all"], area="small", ious=(0.5,))
    np.testing.assert_allclose(small.axes[0].lines[0].get_ydata(), named["all"].precision[0, :, :2, 1, 0].mean(1))


def test_nothing_of_the_curves_is_cut_off():
    curves = coco_curves(*boxes_of([20, 30]), kind="bbox", max_dets=(5, 10, 20, 100))
    for figure in (show_coco_curves(curves), show_coco_curves(curves, ious=(0.5,), title="one")):
        rendered(figure)
        whole = figure.bbox
        for axes in figure.axes:
            for part in (axes.title, axes.get_legend(), axes.xaxis.label):
                extent = part.get_window_extent()
                assert whole.x0 <= extent.x0 < extent.x1 <= whole.x1
                assert whole.y0 <= extent.y0 < extent.y1 <= whole.y1
            assert not axes.get_legend().get_window_extent().overlaps(axes.xaxis.label.get_window_extent())


def test_the_ceiling_is_drawn_over_the_scores(tmp_path):
    counts = [393] * 4 + [394] * 2
    limits = [100, 300, 600, None]
    ceilings = [ceiling_of_limit(counts, limit) for limit in limits]
    scores = [0.2, 0.5, 0.55, 0.55]
    figure = show_detection_limit(limits, scores, ceilings, objects_per_image=counts, name="mask AP", title="nuclei")
    ax = figure.axes[0]
    drawn = {line.get_label(): line for line in ax.lines}
    assert drawn["ceiling: a perfect answer"].get_ydata().tolist() == ceilings
    assert drawn["measured"].get_ydata().tolist() == scores
    assert drawn["measured"].get_xdata().tolist() == [100, 300, 600, 1200]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["100", "300", "600", "all"]
    assert [text.get_text() for text in ax.texts] == [f"{value:.3f}" for value in (*ceilings, *scores)]
    assert ax.texts[0].get_text() == "0.257"
    assert drawn["mean image: 393 objects"].get_xdata()[0] == pytest.approx(np.mean(counts))
    assert drawn["fullest image: 394 objects"].get_xdata()[0] == 394
    assert ax.get_ylabel() == "mask AP"
    assert ax.get_xscale() == "log"
    assert legend(figure)[0] == "out of reach"
    area = ax.collections[0].get_paths()[0].vertices
    assert [area[np.isclose(area[:, 0], 100), 1].min(), area[:, 1].max()] == pytest.approx([ceilings[0], 1.12])
    assert save_figure(figure, tmp_path / "limit.png").stat().st_size < 60_000


def test_several_scores_share_the_ceiling():
    figure = show_detection_limit([10, 100], {"boxes": [0.1, 0.6], "masks": [0.1, 0.5]}, [0.2, 1.0])
    ax = figure.axes[0]
    assert [line.get_label() for line in ax.lines] == ["ceiling: a perfect answer", "boxes", "masks"]
    assert len(ax.texts) == 2
    assert rendered(show_detection_limit([None], [0.5], [1.0], objects_per_image=[0])).std() > 5
    # Marks far from the limits would make them hard to read.
    far = show_detection_limit([1, 2], [0.0, 0.1], [0.1, 0.2], objects_per_image=[5000])
    assert [line.get_label() for line in far.axes[0].lines] == ["ceiling: a perfect answer", "measured"]


def experiment(run, iterations, published, measured=None, **settings):
    usual = {"backbone": "r101", "roi_batch": 128, "anchors": "32-512", "short_side": 1200}
    return {"run": run, **usual, **settings, "iterations": iterations, "published": published, "measured": measured}


def make_rows():
    return [
        experiment("run_01", 300_000, 0.2233, short_side=800),
        experiment("run_05", 50_000, 0.2261, 0.41),
        experiment("run_08", 5_000, 0.2436, 0.52),
        experiment("run_03", 300_000, 0.2080),
        experiment("run_10", 5_000, 0.2331, 0.55, anchors=(8, 16, 128), short_side=None),
        experiment("run_12", 5_000, None, 0.30, backbone="x101"),
    ]


def test_runs_stand_in_groups_with_both_scores(tmp_path):
    figure = show_experiments(make_rows(), title="experiments")
    left, right = figure.axes
    labels = [label.get_text() for label in left.get_yticklabels()]
    assert labels == [
        "backbone r101, ROI batch 128, anchors 32-512, short side 1200",
        "08: 5,000 iterations",
        "05: 50,000 iterations",
        "03: 300,000 iterations",
        "short side 800",
        "01: 300,000 iterations",
        "anchors 8-128, short side not set",
        "10: 5,000 iterations",
        "backbone x101",
        "12: 5,000 iterations",
    ]
    bold = [label.get_text() for label in left.get_yticklabels() if label.get_fontweight() == "bold"]
    assert bold == [words for words in labels if ":" not in words]
    place = {words[:2]: row for row, words in enumerate(labels) if ":" in words}
    for ax, side in ((left, "published"), (right, "measured")):
        dots, ring = (line for line in ax.lines if line.get_linestyle() == "None")
        expected = {place[row["run"][4:]]: row[side] for row in make_rows() if row[side] is not None}
        assert dict(zip(dots.get_ydata(), dots.get_xdata(), strict=True)) == expected
        assert ring.get_xdata()[0] == max(expected.values())
        assert {text.get_text() for text in ax.texts} == {f"{value:.3f}" for value in expected.values()}
        low, high = ax.get_xlim()
        assert low < min(expected.values()) < max(expected.values()) < high
    assert (left.get_title(), right.get_title()) == ("published: 5 of 6 runs", "measured: 4 of 6 runs")
    assert (left.get_xlabel(), right.get_xlabel()) == ("published score", "measured AP")
    assert left.get_ylim() == right.get_ylim()
    assert "experiments" in texts(figure)
    assert save_figure(figure, tmp_path / "experiments.png").stat().st_size < 60_000


def test_labels_of_runs_do_not_touch():
    rows = [experiment(f"run_{n:02d}", 1000 * n, 0.2 + n / 100, short_side=600 + 50 * (n // 3)) for n in range(1, 16)]
    figure = show_experiments(rows)
    rendered(figure)
    assert len(figure.axes) == 1
    extents = [label.get_window_extent() for label in figure.axes[0].get_yticklabels()]
    assert all(low.y0 >= high.y1 - 1 or low.y1 <= high.y0 + 1 for low, high in pairwise(extents))
    assert min(extent.x0 for extent in extents) >= 0


def test_other_settings_may_vary_within_a_group():
    rows = [{"run": "a", "lr": 0.1, "fold": "x", "published": None, "measured": 0.5}]
    rows.append({"run": "b", "lr": 0.01, "fold": "x", "published": None, "measured": 0.5})
    figure = show_experiments(rows, within="lr", measured="F1")
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["fold x", "b: 0.01 lr", "a: 0.1 lr"]
    assert figure.axes[0].get_xlabel() == "F1"
    assert rendered(figure).std() > 5


CURVES = coco_curves(*boxes_of([3]), kind="bbox", max_dets=(1, 2))
NOTHING = coco_curves({"images": [{"id": 1}], "categories": [{"id": 1}], "annotations": []}, [], kind="bbox")
ROWS = make_rows()
BAD_CALLS = [
    (lambda: show_anchor_sizes({}), ValueError, "at least one result"),
    (lambda: show_anchor_sizes(SimpleNamespace(sizes=[1])), TypeError, "this one lacks best_iou, anchor_sizes"),
    (lambda: show_anchor_sizes({"a": quality(count=0)}), ValueError, "a has 0 sizes"),
    (lambda: show_anchor_sizes(quality(anchors=())), ValueError, "0 anchors"),
    (
        lambda: show_anchor_sizes(SimpleNamespace(sizes=[0], best_iou=[0], anchor_sizes=[1])),
        ValueError,
        "not above 0 pixels",
    ),
    (
        lambda: show_anchor_sizes(SimpleNamespace(sizes=[1], best_iou=[1.5], anchor_sizes=[1])),
        ValueError,
        "overlaps outside 0 to 1",
    ),
    (lambda: show_coco_curves({}), ValueError, "at least one result"),
    (lambda: show_coco_curves({"a": 3}), TypeError, "a lacks precision"),
    (lambda: show_coco_curves(CURVES, ious=()), ValueError, "ious is empty"),
    (lambda: show_coco_curves(CURVES, ious=(0.52,)), ValueError, "iou must be one of"),
    (lambda: show_coco_curves(CURVES, area="huge"), ValueError, "area must be one of"),
    (lambda: show_coco_curves(CURVES, area="large"), ValueError, "no truth object of area 'large'"),
    (lambda: show_coco_curves(NOTHING), ValueError, "no truth object"),
    (lambda: show_coco_curves({str(n): CURVES for n in range(4)}), ValueError, "8 limits and results"),
    (lambda: show_detection_limit([], [], []), ValueError, r"max_dets is \[\]"),
    (lambda: show_detection_limit([10, 5], [0, 0], [1, 1]), ValueError, "increasing numbers"),
    (lambda: show_detection_limit([None, 5], [0, 0], [1, 1]), ValueError, "increasing numbers"),
    (lambda: show_detection_limit([0, 5], [0, 0], [1, 1]), ValueError, "increasing numbers"),
    (lambda: show_detection_limit([5], {}, [1]), ValueError, "at least one list of scores"),
    (lambda: show_detection_limit([5], [0.5, 0.5], [1]), ValueError, r"scores has shape \(2,\), but 1"),
    (lambda: show_detection_limit([5], [-1], [1]), ValueError, "numbers from 0 to 1"),
    (lambda: show_detection_limit([5], [0.5], [np.nan]), ValueError, "ceilings has shape"),
    (lambda: show_detection_limit([5], [0.5], [1], objects_per_image=[-3]), ValueError, "negative or not finite"),
    (lambda: show_experiments([]), ValueError, "at least one row"),
    (lambda: show_experiments([{"run": "a"}]), ValueError, "Row 0 lacks iterations, published, measured"),
    (lambda: show_experiments([ROWS[0], {**ROWS[1], "lr": 1}]), ValueError, "Row 1 has the keys"),
    (lambda: show_experiments([{**ROWS[0], "published": None}]), ValueError, "No row has a published"),
]


@pytest.mark.parametrize("call,error,sentence", BAD_CALLS)
def test_bad_input_stops_with_one_sentence(call, error, sentence):
    with pytest.raises(error, match=sentence):
        call()
