"""Pictures of objects: the colours of every pixel, what is grey, what is on top, files, figures."""

from types import SimpleNamespace

import numpy as np
import pytest
from faults.disk import failing_steps
from PIL import Image
from visualization.cell_scene import IDS, make_cells
from visualization.scene import has_color, rendered

from emlib.visualization import instance_overlay, label_colors, save_overlay, show_instances


def mask_at(corner, mask):
    return SimpleNamespace(corner=corner, mask=np.asarray(mask, bool))


def colored_image(shape=(60, 80)):
    return np.random.default_rng(0).integers(0, 255, (*shape, 3), dtype=np.uint8)


def test_pixels_are_mixed_and_outlined():
    image, (_, labels) = colored_image(), make_cells()
    plain = instance_overlay(image, labels, scale=1, alpha=0.3, outline=False)
    for one in IDS:
        inside = labels == np.uint64(one)
        expected = np.rint(0.7 * image[inside] + 0.3 * label_colors([one])[0])
        np.testing.assert_allclose(plain[inside], expected, atol=1)
    np.testing.assert_array_equal(plain[labels == 0], image[labels == 0])
    lined = instance_overlay(image, labels, scale=1, alpha=0.3)
    around = np.pad(labels, 1)
    edge = np.zeros(labels.shape, bool)
    for dy, dx in ((0, 1), (2, 1), (1, 0), (1, 2)):
        edge |= around[dy : dy + 60, dx : dx + 80] != labels
    edge &= labels > 0
    np.testing.assert_array_equal(lined[edge], label_colors(labels)[edge])
    np.testing.assert_array_equal(lined[~edge], plain[~edge])


def test_gray_background_leaves_only_objects_colored():
    image, (_, labels) = colored_image(), make_cells()
    found = instance_overlay(image, labels, scale=1, background="gray", alpha=0.0, outline=False)
    np.testing.assert_array_equal(found[labels > 0], image[labels > 0])
    outside = found[labels == 0]
    assert (outside == outside[:, :1]).all()
    expected = np.asarray(Image.fromarray(image).convert("L"))[labels == 0]
    np.testing.assert_allclose(outside[:, 0], expected, atol=1)


def test_the_first_of_several_is_on_top():
    masks = [mask_at((2, 2), np.ones((6, 6))), mask_at((4, 4), np.ones((8, 8)))]
    image = np.zeros((20, 20), np.uint8)
    first, second = label_colors([1, 2])
    for given in (masks, tuple(masks), SimpleNamespace(masks=masks)):
        picture = instance_overlay(image, given, scale=1, alpha=1.0)
        assert (picture[2:8, 2:8] == first).all()
        assert (picture[8:12, 4:12] == second).all()
    assert not picture[12:].any()


@pytest.mark.parametrize("scale, shape", [(0.5, (30, 40)), (1, (60, 80)), (0.013, (1, 1)), (2.0, (120, 160))])
def test_sizes_follow_the_scale(scale, shape):
    image, labels = make_cells()
    before = image.copy(), labels.copy()
    picture = instance_overlay(image, labels, scale=scale)
    assert picture.shape == (*shape, 3)
    assert picture.dtype == np.uint8
    if scale < 1:
        whole = instance_overlay(image, labels, scale=1, outline=False)
        plain = instance_overlay(image, labels, scale=scale, outline=False)
        assert abs(float(plain.mean()) - float(whole.mean())) < 1.5
    elif scale == 2:
        np.testing.assert_array_equal(picture[::2, ::2], instance_overlay(image, labels, scale=1))
    assert (image == before[0]).all()
    assert (labels == before[1]).all()


def test_outlines_stay_visible_when_the_picture_is_halved():
    labels = np.zeros((40, 40), np.uint8)
    labels[8:32, 8:32] = 3
    picture = instance_overlay(np.zeros((40, 40), np.uint8), labels, scale=0.5, alpha=0.0)
    line = np.zeros((20, 20), bool)
    line[4:16, 4:16] = True
    line[5:15, 5:15] = False
    assert (picture[line] == label_colors([3])[0]).all()
    assert not picture[~line].any()


def test_nothing_and_single_pixels_can_be_drawn():
    image = np.full((9, 7), 50, np.uint8)
    for nothing in ([], np.zeros((9, 7), int)):
        assert (instance_overlay(image, nothing, scale=1) == 50).all()
    picture = instance_overlay(image, [mask_at((8, 6), [[1]]), mask_at((0, 0), np.zeros((0, 0)))], scale=1)
    assert (picture[8, 6] == label_colors([1])[0]).all()
    full = instance_overlay(image, np.full((9, 7), 2**64 - 1, np.uint64), scale=1)
    assert (full[0, 0] == label_colors([2**64 - 1])[0]).all()


@pytest.mark.parametrize(
    "masks, options, error, words",
    [
        ([], {"background": "blue"}, ValueError, "background is 'blue'"),
        ([], {"scale": 0}, ValueError, "scale is 0"),
        ([], {"scale": float("nan")}, ValueError, "scale is nan"),
        ([], {"alpha": 2}, ValueError, "alpha is 2"),
        ([3], {}, TypeError, "Mask 0 is a int"),
        (3, {}, TypeError, "masks is a int"),
        ([mask_at((8, 0), np.ones((2, 2)))], {}, ValueError, "Mask 0 reaches beyond"),
        ([mask_at((-1, 0), np.ones((2, 2)))], {}, ValueError, "Mask 0 reaches beyond"),
        ([SimpleNamespace(corner=(0, 0), mask=np.ones((2, 2)))], {}, ValueError, "Mask 0 is float64"),
        (np.zeros((5, 5), int), {}, ValueError, r"labels have shape \(5, 5\)"),
        (np.zeros((9, 9), float), {}, TypeError, "labels are float64"),
    ],
)
def test_what_does_not_fit_is_refused(masks, options, error, words):
    with pytest.raises(error, match=words):
        instance_overlay(np.zeros((9, 9), np.uint8), masks, **options)


def test_images_that_are_none_are_refused():
    with pytest.raises(ValueError, match="NaN"):
        instance_overlay(np.full((9, 9), np.nan), [])
    with pytest.raises(ValueError, match="has shape"):
        instance_overlay(np.zeros((9, 9, 4)), [])


def test_overlays_are_saved_whole_or_not_at_all(tmp_path):
    image, labels = make_cells()
    path = save_overlay(tmp_path / "new" / "one.png", image, labels, background="gray")
    np.testing.assert_array_equal(np.asarray(Image.open(path)), instance_overlay(image, labels, background="gray"))
    before = path.read_bytes()
    with pytest.raises(ValueError, match=r"should end in \.png"):
        save_overlay(tmp_path / "one.jpg", image, labels)
    with pytest.raises(ValueError, match="alpha is 3"):
        save_overlay(path, image, labels, alpha=3)
    assert path.read_bytes() == before
    for folder in failing_steps(
        lambda folder, _: save_overlay(folder / "one.png", image, labels), lambda step: tmp_path / f"{step}", None, 1
    ):
        left = [found.name for found in folder.iterdir()] if folder.is_dir() else []
        assert left in ([], ["one.png"])


def test_a_figure_shows_what_was_found_beside_the_truth():
    image, labels = make_cells()
    masks = [mask_at((10, 10), np.ones((9, 9))), mask_at((30, 40), np.ones((9, 9))), mask_at((2, 2), np.ones((5, 5)))]
    found = SimpleNamespace(masks=masks, scores=np.array([0.9, 0.8, 0.3]))
    figure = show_instances(image, found, truth=labels, background="gray", title="nuclei")
    truth, drawn = figure.axes
    assert truth.get_title() == "truth: 4 objects"
    assert drawn.get_title() == "score above 0.5: 2 objects"
    assert figure.get_suptitle() == "nuclei"
    pixels = rendered(figure)
    for color in (*label_colors(np.array(IDS, np.uint64)), *label_colors([1, 2])):
        assert has_color(pixels, color, tolerance=2)
    (only,) = show_instances(image, found, score_threshold=0.85).axes
    assert only.get_title() == "score above 0.85: 1 object"
    (only,) = show_instances(image, labels).axes
    assert only.get_title() == "found: 4 objects"
    with pytest.raises(ValueError, match="3 masks, but 2 scores"):
        show_instances(image, SimpleNamespace(masks=masks, scores=[0.9, 0.8]))
