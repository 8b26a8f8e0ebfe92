"""Figures of many images: the map of modalities, ablations, F1 over thresholds."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.collections import PathCollection
from matplotlib.colors import to_rgb
from matplotlib.offsetbox import AnnotationBbox
from visualization.cell_scene import make_cells
from visualization.scene import rendered, texts

from emlib.evaluation import cell_f1_curve
from emlib.visualization import save_figure
from emlib.visualization.cells import show_ablation, show_f1_curves, show_modality_map
from emlib.visualization.cells.modality_map import cluster_colors, typical_images
from emlib.visualization.colors import LINE_COLORS
from emlib.visualization.principal_components import principal_components


def clusters(count=30, seed=0):
    """Features around three far points, the cluster of each, and its modality: the third cluster has two."""
    random = np.random.default_rng(seed)
    groups = np.arange(count) % 3
    features = np.eye(3, 8)[groups] * 20 + random.normal(size=(count, 8))
    modalities = [
        ("phase", "stained", "tissue" if place % 2 else "bacteria")[group] for place, group in enumerate(groups)
    ]
    return features, groups.tolist(), modalities


@given(st.integers(0, 10**6), st.integers(1, 12), st.integers(1, 9))
def test_the_plane_is_that_of_the_covariance(seed, images, features):
    values = np.random.default_rng(seed).normal(size=(images, features)) * np.arange(features, 0, -1)
    plane, shares = principal_components(values, 2)
    centred = values - values.mean(axis=0)
    variances = np.linalg.eigvalsh(centred.T @ centred)[::-1]
    wanted = np.zeros(2)
    wanted[: min(images, features, 2)] = variances[:2][: min(images, features)]
    assert plane.shape == (images, 2)
    assert np.allclose((plane**2).sum(axis=0), wanted, rtol=1e-6, atol=1e-9)
    assert np.allclose(shares * variances.sum(), wanted, rtol=1e-6, atol=1e-9)
    assert plane[:, 0] @ plane[:, 1] == pytest.approx(0, abs=1e-6)
    # A projection brings no two images further apart.
    apart, projected = (np.linalg.norm(one[:, None] - one[None], axis=-1) for one in (values, plane))
    assert (projected <= apart + 1e-9).all()


def test_types_orders_and_shifts_make_no_difference():
    features = np.round(clusters()[0] * 10)
    plane, shares = principal_components(features, 2)
    for other in (np.asfortranarray(features), features.astype(np.float32), features.astype(np.int64), features + 7):
        again, again_shares = principal_components(other, 2)
        assert np.allclose(again, plane)
        assert np.allclose(again_shares, shares)
    assert not principal_components(np.ones((5, 4)), 2)[0].any()


def test_points_have_the_color_of_their_cluster_and_the_marker_of_their_modality():
    features, groups, modalities = clusters()
    figure = show_modality_map(features, groups, modalities=modalities, title="30 images")
    ax = figure.axes[0]
    plane, shares = principal_components(features, 2)
    assert ax.get_xlabel() == f"first component ({100 * shares[0]:.0f} % of the variance)"
    drawn = [one for one in ax.collections if isinstance(one, PathCollection)]
    kinds = sorted(set(modalities))
    assert len(drawn) == len(kinds) == 4
    for kind, points in zip(kinds, drawn, strict=True):
        own = [place for place, name in enumerate(modalities) if name == kind]
        assert np.allclose(points.get_offsets(), plane[own])
        assert np.allclose(points.get_facecolors()[:, :3], [to_rgb(LINE_COLORS[groups[place]]) for place in own])
    assert len({points.get_paths()[0].vertices.tobytes() for points in drawn}) == 4
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["colour: cluster", "0: 10 images", "1: 10 images", "2: 10 images", "shape: modality", *kinds]
    assert "30 images" in texts(figure)


def test_thumbnails_are_those_of_the_middle_of_clusters_tied_to_their_points(tmp_path):
    features, groups, modalities = clusters()
    images = [np.full((40, 60 + place), place, np.uint8) for place in range(len(features))]
    figure = show_modality_map(features, groups, thumbnails=images, modalities=modalities)
    rendered(figure)
    plane, _ = principal_components(features, 2)
    boxes = [one for one in figure.axes[0].artists if isinstance(one, AnnotationBbox)]
    shown = {int(box.offsetbox.get_data()[0, 0, 0]) for box in boxes}
    assert shown == set(typical_images(plane, [str(group) for group in groups], modalities))
    # Of the three clusters, and of the modality that the nearest to the middle of the third is not.
    assert len(shown) == 4
    assert {modalities[place] for place in shown} == set(modalities)
    for box in boxes:
        place = int(box.offsetbox.get_data()[0, 0, 0])
        assert np.allclose(box.xy, plane[place])
        assert box.patch.get_edgecolor()[:3] == pytest.approx(to_rgb(LINE_COLORS[groups[place]]))
        assert all(0 < at < 1 for at in box.xybox)
    spots = np.array([box.xybox for box in boxes])
    distances = np.hypot(*(spots[:, None] - spots[None]).transpose(2, 0, 1))
    assert distances[~np.eye(4, dtype=bool)].min() > 0.2
    assert save_figure(figure, tmp_path / "map.png").stat().st_size < 60_000
    few = show_modality_map(features, groups, thumbnails=images, count=2)
    assert len([one for one in few.axes[0].artists if isinstance(one, AnnotationBbox)]) == 2


def test_odd_maps():
    one = show_modality_map([[1, 2, 3]], ["only"], thumbnails=[np.zeros((9, 9))], modalities=["phase"])
    assert one.axes[0].get_xlabel() == "first component (0 % of the variance)"
    assert rendered(one).std() > 5
    many = show_modality_map(np.random.default_rng(0).normal(size=(90, 5)), list(range(45)) * 2)
    assert [text.get_text() for text in many.legends[0].get_texts()] == ["colour: cluster", "45 clusters"]
    assert len({tuple(color) for color in cluster_colors(45)}) > 40
    kinds = [f"kind {place}" for place in range(10)]
    assert rendered(show_modality_map(np.eye(10), [0] * 10, modalities=kinds)).std() > 5


def test_bars_are_the_means_and_dots_the_images():
    results = {"plain": [0.5, 0.9, 0.4], "flips": [0.6, 0.8, 0.7], "both": [0.5, 0.9, 0.4]}
    figure = show_ablation(results, title="worth it?")
    ax = figure.axes[0]
    assert [bar.get_width() for bar in ax.patches] == pytest.approx([0.6, 0.7, 0.6])
    dots = [line.get_xdata().tolist() for line in ax.lines if line.get_marker() == "."]
    assert dots == list(results.values())
    # An image has the same height in every bar.
    heights = [line.get_ydata() - row for row, line in enumerate(one for one in ax.lines if one.get_marker() == ".")]
    assert np.allclose(heights[0], heights[1])
    words = [text.get_text() for text in ax.texts]
    assert words == ["0.600", "0.700 (+0.100, better on 2 of 3)", "0.600 (+0.000, better on 0 of 3)"]
    assert "worth it?" in texts(figure)
    assert "F1: mean over 3 images (orange), each image (dots)" in texts(figure)
    median = show_ablation(results, statistic="median", baseline="flips", name="PQ")
    assert [text.get_text() for text in median.axes[0].texts] == [
        "0.500 (-0.200, better on 1 of 3)",
        "0.700",
        "0.500 (-0.200, better on 1 of 3)",
    ]
    assert rendered(show_ablation({"one": np.array([0.0])})).std() > 5


def test_f1_over_thresholds_of_scores_and_numbers():
    _, labels = make_cells()
    curves = [cell_f1_curve(np.roll(labels, shift, axis=1), labels) for shift in (0, 2, 4)]
    numbers = np.array([[score.f1 for score in curve] for curve in curves])
    figure = show_f1_curves({"shifted": curves, "first": curves[0], "published": [0.9, 0.8, 0.7, 0.5, 0.2]})
    lines = figure.axes[0].lines
    assert np.allclose(lines[0].get_ydata(), numbers.mean(axis=0))
    assert np.allclose(lines[1].get_ydata(), numbers[0])
    assert lines[2].get_ydata().tolist() == [0.9, 0.8, 0.7, 0.5, 0.2]
    assert lines[0].get_xdata().tolist() == [0.5, 0.6, 0.7, 0.8, 0.9]
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["shifted (3 images)", "first", "published"]
    assert numbers[2, -1] < numbers[0, -1] == 1
    middle = show_f1_curves({"all": numbers.tolist()}, statistic="median", title="one")
    assert np.allclose(middle.axes[0].lines[0].get_ydata(), np.median(numbers, axis=0))
    assert middle.axes[0].get_ylabel() == "median F1"
    assert middle.axes[0].get_title() == "one"
    assert np.allclose(show_f1_curves({"a": numbers}).axes[0].lines[0].get_ydata(), numbers.mean(axis=0))


FEATURES, GROUPS, _ = clusters()
SCORES = cell_f1_curve(np.ones((9, 9), int), np.ones((9, 9), int), thresholds=(0.5, 0.75))
BAD_CALLS = [
    (lambda: show_modality_map(FEATURES[0], GROUPS), ValueError, r"shape \(8,\), but \(items, features\)"),
    (lambda: show_modality_map(FEATURES[:0], []), ValueError, r"shape \(0, 8\)"),
    (lambda: show_modality_map(FEATURES * np.nan, GROUPS), ValueError, "NaN or infinite"),
    (lambda: show_modality_map(FEATURES.astype(str), GROUPS), TypeError, "but numbers were expected"),
    (lambda: show_modality_map(FEATURES, GROUPS[1:]), ValueError, "of 30 images, but 29 groups"),
    (lambda: show_modality_map(FEATURES, GROUPS, thumbnails=[]), ValueError, "of 30 images, but 0 thumbnails"),
    (lambda: show_modality_map(FEATURES, GROUPS, modalities=["a"]), ValueError, "of 30 images, but 1 modalities"),
    (lambda: show_modality_map(FEATURES, GROUPS, count=-1), ValueError, "count is -1"),
    (lambda: show_ablation({}), ValueError, "at least one setting"),
    (lambda: show_ablation({"a": []}), ValueError, "'a' must have one score for each image"),
    (lambda: show_ablation({"a": [0.5], "b": [0.5, 0.6]}), ValueError, "'b' has scores of 2 images, but 'a' of 1"),
    (lambda: show_ablation({"a": [1.5]}), ValueError, "between 0 and 1"),
    (lambda: show_ablation({"a": [np.nan]}), ValueError, "between 0 and 1"),
    (lambda: show_ablation({"a": [0.5]}, baseline="b"), ValueError, "no setting 'b'"),
    (lambda: show_ablation({"a": [0.5]}, statistic="mode"), ValueError, "statistic is 'mode'"),
    (lambda: show_f1_curves({}), ValueError, "at least one curve"),
    (lambda: show_f1_curves({"a": [0.5]}), ValueError, r"'a' has the shape \(1,\), but 5 figures"),
    (lambda: show_f1_curves({"a": []}), ValueError, "'a' has the shape"),
    (lambda: show_f1_curves({"a": SCORES, "b": [0.1] * 5}), ValueError, r"'b' has the shape \(5,\), but 2"),
    (lambda: show_f1_curves({"a": SCORES}, thresholds=(0.5,)), ValueError, "are at"),
    (lambda: show_f1_curves({"a": SCORES}, statistic="mode"), ValueError, "statistic is 'mode'"),
]


@pytest.mark.parametrize("call,error,sentence", BAD_CALLS)
def test_bad_input_stops_with_one_sentence(call, error, sentence):
    with pytest.raises(error, match=sentence):
        call()
