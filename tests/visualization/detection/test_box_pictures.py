"""Boxes on pictures: what the proposal network and the heads learn from, and what suppression leaves."""

from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_rgb
from visualization.scene import rendered, texts

from emlib.evaluation import match_detected_boxes
from emlib.postprocessing import suppress_boxes
from emlib.visualization import save_figure
from emlib.visualization.colors import GREEN, ORANGE, SKY, VERMILLION
from emlib.visualization.detection import show_region_proposals, show_suppression

THRESHOLDS = (0.3, 0.5, 0.9)


def make_image(shape=(90, 120)):
    return np.random.default_rng(0).integers(60, 255, (*shape, 3), dtype=np.uint8)


def random_boxes(count, seed=0, extent=(120, 90)):
    rng = np.random.default_rng(seed)
    corners = rng.uniform(-4, np.array(extent) - 8, (count, 2))
    return np.concatenate([corners, corners + rng.uniform(6, 30, (count, 2))], 1).astype(np.float32)


def make_regions():
    anchors, proposals = random_boxes(40, 1), random_boxes(24, 2)
    return SimpleNamespace(
        objects=random_boxes(5, 3),
        anchors=anchors,
        anchor_labels=(np.arange(40) < 7).astype(np.int64),
        proposals=proposals,
        proposal_labels=(np.arange(24) % 4 == 0).astype(np.int64),
        anchor_pool=(7, 6150, 230),
        proposal_pool=(118, 1202),
    )


def drawn(axes):
    """Name -> (boxes x0, y0, x1, y1, colours) of what was drawn on an axes."""
    found = {}
    for one in axes.collections:
        assert isinstance(one, PolyCollection)
        corners = np.array([path.vertices[:4] for path in one.get_paths()]).reshape(-1, 4, 2)
        assert not one.get_facecolor().size
        boxes = np.concatenate([corners.min(1), corners.max(1)], 1) + 0.5
        found[one.get_gid()] = boxes, one.get_edgecolor()
    return found


def test_sampled_anchors_and_regions_are_drawn_as_what_they_are():
    image, regions = make_image(), make_regions()
    figure = show_region_proposals(image, regions, title="step 1")
    assert [axes.get_title() for axes in figure.axes] == [
        "anchors: 7 foreground of 7,\n33 background of 6,150; 230 are neither",
        "regions: 6 foreground of 118,\n18 background of 1,202",
    ]
    for axes, boxes, labels in zip(
        figure.axes,
        (regions.anchors, regions.proposals),
        (regions.anchor_labels, regions.proposal_labels),
        strict=True,
    ):
        found = drawn(axes)
        assert list(found) == ["background", "foreground", "objects"]
        np.testing.assert_allclose(found["foreground"][0], boxes[labels == 1], atol=1e-4)
        np.testing.assert_allclose(found["background"][0], boxes[labels == 0], atol=1e-4)
        np.testing.assert_allclose(found["objects"][0], regions.objects, atol=1e-4)
        assert found["foreground"][1][0, :3] == pytest.approx(to_rgb(ORANGE))
        assert found["background"][1][0, :3] == pytest.approx(to_rgb(SKY))
        # Boxes that reach beyond the image do not widen it.
        assert axes.get_xlim() == (-0.5, 119.5)
        assert axes.get_ylim() == (89.5, -0.5)
    words = [text.get_text() for text in figure.legends[0].get_texts()]
    assert words == ["foreground", "background", "objects (white, broken lines)"]
    assert "step 1" in texts(figure)
    assert rendered(figure).std() > 5


def test_boxes_lie_on_the_edges_of_their_pixels():
    image = np.zeros((8, 8), np.uint8)
    regions = changed(objects=[])
    regions.proposals, regions.proposal_labels = np.array([[2, 1, 5, 4]]), np.array([1])
    figure = show_region_proposals(image, regions)
    pixels = rendered(figure)
    axes = figure.axes[1]
    edges = [axes.transData.transform((x, 0))[0] for x in (1.5, 4.5)]
    row = pixels[round(pixels.shape[0] - 1 - axes.transData.transform((0, 2))[1])]
    orange = np.flatnonzero((np.abs(row.astype(int) - np.round(255 * np.array(to_rgb(ORANGE)))) < 40).all(1))
    assert [orange.min(), orange.max()] == pytest.approx(edges, abs=2)


def test_a_part_is_shown_of_large_images_or_as_told():
    regions = make_regions()
    figure = show_region_proposals(make_image((700, 380)), regions)
    assert "320 x 320 pixels; numbers are of the whole image" in texts(figure)
    assert [axes.get_ylim() for axes in figure.axes] == [(509.5, 189.5)] * 2
    assert figure.axes[0].get_xlim() == (29.5, 349.5)
    figure = show_region_proposals(make_image((700, 380)), regions, box=((0, 0), (700, 380)), title="all")
    assert figure.axes[0].get_ylim() == (699.5, -0.5)
    assert "all" in texts(figure)
    boxes, scores = random_boxes(30), np.linspace(0, 1, 30)
    figure = show_suppression(make_image(), boxes, scores, {0.5: [1, 2]}, box=((10, 20), (60, 100)), title="part")
    assert figure.axes[1].get_xlim() == (19.5, 99.5)
    assert figure.axes[1].get_title() == "IoU 0.5: 2 stay"
    assert "part (50 x 80 pixels; numbers are of the whole image)" in texts(figure)


def test_candidates_are_the_stronger_the_surer_they_are():
    boxes, scores = random_boxes(30), np.random.default_rng(0).permutation(30) / 30
    figure = show_suppression(make_image(), boxes, scores, {0.5: suppress_boxes(boxes, scores, 0.5)})
    assert figure.axes[0].get_title() == "before: 30 boxes"
    found, colors = drawn(figure.axes[0])["candidates"]
    order = np.argsort(scores)
    np.testing.assert_allclose(found, boxes[order], atol=1e-4)
    np.testing.assert_allclose(colors[:, 3], 0.25 + 0.75 * scores[order])
    assert not figure.legends


def test_each_threshold_has_what_stays():
    boxes, scores = random_boxes(60), np.random.default_rng(0).permutation(60) / 60
    kept = {threshold: suppress_boxes(boxes, scores, threshold) for threshold in THRESHOLDS}
    assert len({len(one) for one in kept.values()}) == 3
    figure = show_suppression(make_image(), boxes, scores, kept, title="how many?")
    assert len(figure.axes) == 4
    for axes, (threshold, places) in zip(figure.axes[1:], kept.items(), strict=True):
        assert axes.get_title() == f"IoU {threshold:g}: {len(places)} stay"
        np.testing.assert_allclose(drawn(axes)["kept"][0], boxes[places[::-1]], atol=1e-4)
    assert "how many?" in texts(figure)


def test_matches_give_the_colors():
    truth = random_boxes(9, 5)
    boxes = np.concatenate([truth[:7], truth[:7] + 1, random_boxes(20, 6)])
    scores = np.concatenate([np.full(7, 0.9), np.full(7, 0.8), np.full(20, 0.2)])
    kept = {threshold: suppress_boxes(boxes, scores, threshold) for threshold in THRESHOLDS}
    matches = {t: match_detected_boxes(boxes[places], scores[places], truth) for t, places in kept.items()}
    figure = show_suppression(make_image(), boxes, scores, kept, matches=matches, truth=truth)
    for axes, (threshold, places) in zip(figure.axes[1:], kept.items(), strict=True):
        found, match = drawn(axes), matches[threshold]
        assert axes.get_title() == (
            f"IoU {threshold:g}: {len(places)} stay\n{match.found} found, {match.duplicates} again, "
            f"{match.spurious} spurious, {len(match.missed)} missed"
        )
        for kind, color in (("found", GREEN), ("duplicate", SKY), ("spurious", VERMILLION)):
            np.testing.assert_allclose(found[kind][0], boxes[places[match.kinds == kind]], atol=1e-4)
            if len(found[kind][0]):
                assert found[kind][1][0, :3] == pytest.approx(to_rgb(color))
        np.testing.assert_allclose(found["missed"][0], truth[match.missed], atol=1e-4)
        # What found an object lies on top of what found it again.
        assert list(found) == ["spurious", "duplicate", "found", "missed"]
    assert matches[0.9].duplicates > matches[0.3].duplicates
    words = [text.get_text() for text in figure.legends[0].get_texts()]
    assert words == ["found", "found once more", "on no object", "missed (white, broken lines)"]
    without = show_suppression(make_image(), boxes, scores, kept, matches=matches)
    assert "missed" not in drawn(without.axes[1])


def test_pictures_stay_small_and_titles_apart(tmp_path):
    y, x = np.indices((140, 150))
    image = (120 + 60 * np.sin(y / 9) * np.cos(x / 7)).astype(np.uint8)
    boxes, scores = random_boxes(80, extent=(150, 140)), np.linspace(0.1, 1, 80)
    kept = {threshold: suppress_boxes(boxes, scores, threshold) for threshold in (0.1, *THRESHOLDS)}
    truth = random_boxes(12, 5)
    matches = {t: match_detected_boxes(boxes[places], scores[places], truth) for t, places in kept.items()}
    for name, figure in (
        ("regions", show_region_proposals(image, make_regions())),
        ("nms", show_suppression(image, boxes, scores, kept, matches=matches, truth=truth)),
    ):
        assert save_figure(figure, tmp_path / f"{name}.png").stat().st_size < 60_000
        extents = [axes.title.get_window_extent() for axes in figure.axes]
        extents += [axes.get_window_extent() for axes in figure.axes] + [figure.legends[0].get_window_extent()]
        for place, one in enumerate(extents):
            assert not any(one.shrunk(0.98, 0.98).overlaps(other.shrunk(0.98, 0.98)) for other in extents[place + 1 :])


def test_nothing_to_draw_is_no_error():
    empty = SimpleNamespace(
        objects=np.zeros((0, 4)),
        anchors=np.zeros((0, 4)),
        anchor_labels=np.zeros(0, int),
        proposals=[],
        proposal_labels=[],
        anchor_pool=(0, 9, 0),
        proposal_pool=(0, 0),
    )
    empty.proposal_labels = np.zeros(0, int)
    assert rendered(show_region_proposals(make_image(), empty)).std() > 5
    figure = show_suppression(make_image(), [], [], {0.5: []})
    assert [axes.get_title() for axes in figure.axes] == ["before: 0 boxes", "IoU 0.5: 0 stay"]


def without(name):
    regions = make_regions()
    delattr(regions, name)
    return regions


def changed(**values):
    return SimpleNamespace(**{**vars(make_regions()), **values})


BOXES, SCORES = random_boxes(3), [0.1, 0.2, 0.3]
MATCH = SimpleNamespace(kinds=np.array(["found"]), missed=np.array([4]))
BAD_CALLS = [
    (lambda: show_region_proposals(make_image(), without("proposals")), TypeError, "they lack proposals"),
    (lambda: show_region_proposals(make_image(), changed(anchors=[[1, 2]])), ValueError, r"anchors has shape \(1, 2\)"),
    (lambda: show_region_proposals(make_image(), changed(anchor_labels=[1])), ValueError, "but 40 labels"),
    (lambda: show_region_proposals(make_image()[None], make_regions()), ValueError, "The image has shape"),
    (lambda: show_region_proposals(make_image(), make_regions(), box=((0, 0), (500, 5))), ValueError, "not inside"),
    (lambda: show_suppression(make_image(), BOXES, SCORES, {}), ValueError, "kept holds no threshold"),
    (lambda: show_suppression(make_image(), BOXES, [0.1, 0.2, 7], {0.5: []}), ValueError, "3 numbers from 0 to 1"),
    (lambda: show_suppression(make_image(), BOXES, SCORES[:2], {0.5: []}), ValueError, r"scores has shape \(2,\)"),
    (lambda: show_suppression(make_image(), BOXES * np.nan, SCORES, {0.5: []}), ValueError, "boxes has shape"),
    (lambda: show_suppression(make_image(), BOXES, SCORES, {0.5: [3]}), ValueError, r"kept\[0.5\] must hold places"),
    (lambda: show_suppression(make_image(), BOXES, SCORES, {0.5: [0.5]}), ValueError, r"kept\[0.5\]"),
    (lambda: show_suppression(make_image(), BOXES, SCORES, {0.5: [0]}, matches={}), ValueError, r"matches\[0.5\] must"),
    (
        lambda: show_suppression(make_image(), BOXES, SCORES, {0.5: [0, 1]}, matches={0.5: MATCH}),
        ValueError,
        "for the 2 boxes that stay",
    ),
    (
        lambda: show_suppression(make_image(), BOXES, SCORES, {0.5: [0]}, matches={0.5: MATCH}, truth=BOXES),
        ValueError,
        "misses object 4, but truth has 3",
    ),
]


@pytest.mark.parametrize("call,error,sentence", BAD_CALLS)
def test_bad_input_stops_with_one_sentence(call, error, sentence):
    with pytest.raises(error, match=sentence):
        call()
