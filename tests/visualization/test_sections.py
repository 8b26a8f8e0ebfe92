import numpy as np
import pytest
from matplotlib.figure import Figure
from visualization.scene import IDS, VOXEL_SIZE, has_color, make_scene, rendered, texts

from emlib.visualization import (
    label_colors,
    show_augmentations,
    show_error_map,
    show_gallery,
    show_orientation_check,
    show_overlay,
    show_sections,
    show_side_by_side,
    show_targets,
)
from emlib.visualization.panels import format_length, infer_kind, outline, round_length, shrink, to_gray


class LazyVolume:
    """Counts what is read, so that a test sees a figure read sections and not volumes."""

    def __init__(self, array, voxel_size=None):
        self.array, self.voxel_size, self.read = array, voxel_size, 0
        self.shape, self.dtype, self.ndim = array.shape, array.dtype, array.ndim

    def __getitem__(self, item):
        piece = np.asarray(self.array[item])
        self.read += piece.size
        return piece


@pytest.fixture
def scene():
    return make_scene()


def test_sections_are_spread_and_named_and_only_they_are_read(scene):
    image, truth, _, _ = scene
    volume, labels = LazyVolume(image, VOXEL_SIZE), LazyVolume(truth)
    figure = show_sections(volume, labels, count=2, title="What to see")
    assert isinstance(figure, Figure)
    assert [axes.get_title() for axes in figure.axes] == ["section 2", "section 6"]
    assert volume.read == labels.read == 2 * 48 * 64
    assert "What to see" in texts(figure)
    assert "100 nm" in texts(figure)


def test_no_scale_bar_without_a_voxel_size(scene):
    assert not any("nm" in text for text in texts(show_sections(scene[0])))


def test_overlay_shows_every_object_in_its_own_color(scene):
    image, truth, _, _ = scene
    pixels = rendered(show_overlay(image, truth, section=4, alpha=1.0))
    for one in IDS:
        assert has_color(pixels, label_colors([one])[0], at_least=20)
    assert not has_color(
        rendered(show_overlay(image, truth, section=4, alpha=0.0, outline=False)), label_colors([3])[0]
    )


def test_overlay_draws_on_given_axes(scene):
    figure = show_sections(scene[0], count=1)
    assert show_overlay(scene[0], scene[1], ax=figure.axes[0], section=3) is figure


def test_side_by_side_paints_each_panel_as_what_it_is(scene):
    image, truth, _, _ = scene
    probability = (truth > 0) * 0.75
    figure = show_side_by_side(
        {"image": image, "truth": truth, "small ids": (truth > 0).astype(np.uint8), "mask": probability},
        section=4,
        labels=["small ids"],
        voxel_size=VOXEL_SIZE,
    )
    assert [axes.get_title() for axes in figure.axes[:4]] == ["image", "truth", "small ids", "mask"]
    assert len(figure.axes) == 5  # the probability has a colour bar
    assert figure.axes[3].images[0].get_clim() == (0, 1)
    pixels = rendered(figure)
    assert has_color(pixels, label_colors([1])[0], at_least=50)
    assert all(has_color(pixels, label_colors([one])[0], at_least=50) for one in IDS)


def test_signed_values_have_symmetric_colors():
    figure = show_side_by_side({"flow": np.linspace(-0.2, 0.8, 64).reshape(8, 8)})
    assert figure.axes[0].images[0].get_clim() == pytest.approx((-0.8, 0.8))


def test_panels_have_the_aspect_of_the_voxels():
    figure = show_side_by_side({"zx": np.zeros((8, 32), np.uint8)}, voxel_size=(40, 10))
    assert figure.axes[0].get_aspect() == 4


def test_targets_show_every_channel_by_name(scene):
    target = np.stack([scene[1] > 0, scene[1] > 70_000]).astype(np.float32)
    words = texts(show_targets(scene[0], target, ["mask", "contour"], section=4))
    assert {"image", "mask", "contour"} <= set(words)


def test_augmentations_share_one_grey_scale(scene):
    image = scene[0][4] / 255
    figure = show_augmentations([("before", image, scene[1][4]), ("darker", image / 2, None)])
    assert [axes.get_title() for axes in figure.axes] == ["before", "darker"]
    assert np.mean(figure.axes[1].images[0].get_array()) < 0.7 * np.mean(figure.axes[0].images[0].get_array())


def test_the_orientation_that_fits_explains_the_most(scene):
    labels = scene[1].copy()
    labels[labels == IDS[3]] = 0  # three balls: no flip maps the scene onto itself
    image = (200 - 100 * (labels > 0)).astype(np.uint8)
    figure = show_orientation_check(image, labels, section=4)
    words = [axes.get_title() for axes in figure.axes[1:]]
    assert [word.split("\n")[0] for word in words] == ["as stored", "transposed", "flipped in y", "flipped in x"]
    shares = [float(word.split()[-2]) for word in words]
    assert shares[0] == 100.0
    assert max(shares[1:]) < 70


def test_error_map_shows_each_error_and_counts_it(scene):
    image, truth, segmentation, errors = scene
    figure = show_error_map(image, segmentation, truth, errors, section=4, voxel_size=VOXEL_SIZE)
    words = [text.get_text() for text in figure.legends[0].get_texts()]
    assert words[:4] == [f"{name}: 1 (1 in this section)" for name in ("missed", "spurious", "split", "merged")]
    pixels = rendered(figure)
    from matplotlib.colors import to_rgb

    from emlib.visualization.errors import ERROR_COLORS

    for name, color in ERROR_COLORS.items():
        assert has_color(pixels, np.array(to_rgb(color)) * 255, at_least=150, tolerance=2), name
    outside = show_error_map(image, segmentation, truth, errors, section=0)
    assert outside.legends[0].get_texts()[0].get_text() == "missed: 1 (0 in this section)"


def test_error_map_keeps_neighbouring_large_ids_apart(scene):
    image, truth, segmentation, errors = scene
    errors.missed = [2**63 + 4]  # not in the volume, but the same float as an id that is
    figure = show_error_map(image, segmentation, truth, errors, section=4)
    assert figure.legends[0].get_texts()[0].get_text() == "missed: 1 (0 in this section)"


def test_gallery_shows_the_worst_first(scene):
    image, truth, segmentation, _ = scene
    objects = [
        {"id": one, "centroid": (4, 12, 12 + index), "iou": iou, "size": 100, "kind": "split"}
        for index, (one, iou) in enumerate(zip(IDS, (0.9, 0.1, None, 0.4), strict=True))
    ]
    figure = show_gallery(image, truth, segmentation, objects, count=3, crop=24, voxel_size=VOXEL_SIZE)
    assert [axes.get_title().split("\n")[0] for axes in figure.axes] == [f"id {IDS[2]}", f"id {IDS[1]}", f"id {IDS[3]}"]
    assert "IoU 0.10" in figure.axes[1].get_title()
    assert {"truth", "segmentation", "both"} <= set(texts(figure))
    assert has_color(rendered(figure), (0, 158, 115), at_least=10)


def test_inputs_are_not_changed(scene):
    image, truth, segmentation, errors = scene
    before = [array.copy() for array in (image, truth, segmentation)]
    show_error_map(image, segmentation, truth, errors)
    show_gallery(image, truth, segmentation, [{"id": 3, "centroid": (4, 12, 12)}])
    assert all((old == new).all() for old, new in zip(before, (image, truth, segmentation), strict=True))


def test_large_sections_are_reduced_without_losing_their_mean():
    big = np.random.default_rng(0).random((700, 1100)).astype(np.float32)
    small = shrink(big, average=True)
    assert small.shape == (178, 280)
    assert small.mean() == pytest.approx(big.mean(), abs=1e-3)
    labels = np.arange(700 * 1100).reshape(700, 1100)
    assert np.isin(shrink(labels, average=False), labels).all()
    assert shrink(np.zeros((3, 4000)), average=True).shape == (1, 280)


def test_outline_by_brute_force():
    labels = np.random.default_rng(0).integers(0, 3, (9, 11))
    padded = np.pad(labels, 1, mode="edge")
    for y, x in np.ndindex(labels.shape):
        here = padded[y + 1, x + 1]
        neighbours = padded[y, x + 1], padded[y + 2, x + 1], padded[y + 1, x], padded[y + 1, x + 2]
        assert outline(labels)[y, x] == (here != 0 and any(one != here for one in neighbours))


def test_lengths_are_round():
    assert [round_length(length) for length in (1, 9.9, 512, 2400)] == [1, 5, 500, 2000]
    assert format_length(5000) == "5 µm"


def test_kinds_and_greys():
    assert infer_kind(np.array([0.0, 3.0])) == "values"
    assert infer_kind(np.array([True])) == "labels"
    assert to_gray(np.full((3, 3), 7.0)).dtype == np.uint8
    with pytest.raises(TypeError, match="complex128 cannot be shown"):
        infer_kind(np.array([1j]))


IMAGE = np.zeros((4, 8, 8), np.uint8)
BAD_CALLS = {
    "no section 9": lambda: show_overlay(IMAGE, IMAGE, section=9),
    "sections 0 to 3; there is no section -5": lambda: show_sections(IMAGE, sections=[-5]),
    "image and labels must have the same shape": lambda: show_overlay(IMAGE, IMAGE[:, :4]),
    "image must be": lambda: show_sections(IMAGE[0]),
    "count must be at least 1": lambda: show_sections(IMAGE, count=0),
    "alpha must be between": lambda: show_overlay(IMAGE, IMAGE, alpha=2),
    "at least one panel": lambda: show_side_by_side({}),
    "Did you mean 'labels'": lambda: show_side_by_side({"a": IMAGE}, kinds={"a": "label"}),
    "no panel 'b'": lambda: show_side_by_side({"a": IMAGE}, labels=["b"]),
    "must have the same shape": lambda: show_side_by_side({"a": IMAGE, "b": IMAGE[:, :4]}),
    "2 channels, but 1 names": lambda: show_targets(IMAGE, np.stack([IMAGE, IMAGE]), ["mask"]),
    "needs? (an|a) ": lambda: show_gallery(IMAGE, IMAGE, IMAGE, [{"id": 1}]),
    "not a .* inside": lambda: show_gallery(IMAGE, IMAGE, IMAGE, [{"id": 1, "centroid": (9, 0, 0)}]),
    "positive numbers in nm": lambda: show_sections(IMAGE, voxel_size=(30, 0, 8)),
    "must be .z, y, x. or .y, x.": lambda: show_side_by_side({"a": np.zeros((2, 3, 4, 5))}),
}


@pytest.mark.parametrize("sentence", BAD_CALLS)
def test_bad_input_stops_with_one_sentence(sentence):
    with pytest.raises(ValueError, match=sentence):
        BAD_CALLS[sentence]()


def test_incomplete_errors_stop_with_one_sentence():
    with pytest.raises(TypeError, match="it lacks missed, spurious, split, merged"):
        show_error_map(IMAGE, IMAGE, IMAGE, object())
