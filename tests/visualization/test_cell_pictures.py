"""Contact sheets and failures: the pictures, the lines on them, and how they are laid out."""

from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from visualization.cell_scene import IDS, lines_of, make_cells
from visualization.scene import has_color, rendered, texts

from emlib.evaluation import cell_errors
from emlib.visualization import label_colors, save_figure
from emlib.visualization.cells import cell_outlines, show_cell_failures, show_cell_images
from emlib.visualization.cells.failures import worst_errors
from emlib.visualization.cells.picture_rows import picture_rows
from emlib.visualization.cells.pictures import PREDICTION_COLOR, TRUTH_COLOR, cell_picture


def rgb(color):
    return tuple(np.round(to_rgb(color), 3))


def test_each_image_keeps_its_shape_and_its_cells_their_colors():
    image, labels = make_cells()
    wide = np.stack([image[:30], image[:30] // 2, 255 - image[:30]], axis=-1)
    figure = show_cell_images([image, wide], [labels, labels[:30]], ["phase", "stained"], title="two")
    first, second = figure.axes
    assert first.get_title() == "phase\n60 x 80\n4 cells"
    assert second.get_title() == "stained\n30 x 80\n3 cells"
    assert (first.images[0].get_array() == image[..., None]).all()
    assert (second.images[0].get_array() == wide).all()
    assert first.images[0].get_extent() == [-0.5, 79.5, 59.5, -0.5]
    heights = [axes.get_position().height for axes in (first, second)]
    assert heights[0] == pytest.approx(heights[1])
    ((colors, _, segments),) = lines_of(first)
    assert sorted(set(colors)) == sorted(tuple(np.round(label_colors([one])[0] / 255, 3)) for one in IDS)
    # A line runs along the corners of its cell; pixel centres are whole numbers.
    for one, segment in zip(cell_outlines(labels), segments, strict=True):
        ring = one.pieces[0][0]
        assert (segment == np.concatenate([ring, ring[:1]])[:, ::-1] - 0.5).all()
    assert {"two", "phase\n60 x 80\n4 cells"} <= set(texts(figure))


def test_truth_and_prediction_have_two_colors_and_a_legend():
    image, labels = make_cells()
    found = np.where(labels == IDS[1], 0, labels)
    figure = show_cell_images([image, image], [labels, None], predictions=[found, None])
    first, second = figure.axes
    assert first.get_title() == "60 x 80\n4 cells, 3 found"
    assert second.get_title() == "60 x 80"
    (truth_colors, truth_width, truths), (found_colors, found_width, segments) = lines_of(first)
    assert set(truth_colors) == {rgb(TRUTH_COLOR)}
    assert set(found_colors) == {rgb(PREDICTION_COLOR)}
    assert (len(truths), len(segments)) == (4, 3)
    # The line below is wider, so that it is seen where both are the same.
    assert truth_width > found_width
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["truth", "prediction"]
    pixels = rendered(figure)
    assert has_color(pixels, np.array(to_rgb(TRUTH_COLOR)) * 255, at_least=50, tolerance=25)
    assert has_color(pixels, np.array(to_rgb(PREDICTION_COLOR)) * 255, at_least=50, tolerance=25)
    # Darker under the lines, but still the image; and without lines as it is.
    shown = first.images[0].get_array().astype(int)
    assert np.corrcoef(shown[..., 0].ravel(), image.ravel())[0, 1] > 0.99
    assert shown.mean() < 0.8 * image.mean()
    assert (second.images[0].get_array() == image[..., None]).all()


def test_a_crop_shows_the_middle_of_large_images_only():
    image, labels = make_cells()
    figure = show_cell_images([image, image[:20, :30]], [labels, labels[:20, :30]], crop=40)
    large, small = figure.axes
    assert large.get_title() == "40 x 40 of 60 x 80\n4 cells"
    assert small.get_title().startswith("20 x 30\n")
    assert (large.images[0].get_array()[..., 0] == image[10:50, 20:60]).all()
    assert large.get_xlim() == (19.5, 59.5)
    assert large.get_ylim() == (49.5, 9.5)


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int16, np.uint16, np.float32, np.float64])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("channels", [None, 1, 3])
def test_any_image_becomes_a_picture(dtype, order, channels):
    image = make_cells()[0]
    given = image > 100 if dtype is bool else image.astype(dtype)
    given = given if channels is None else np.repeat(given[..., None], channels, axis=-1)
    given = np.array(given, order=order)
    before = given.copy()
    picture = cell_picture(given)
    assert picture.shape == (60, 80, 3)
    assert picture.dtype == np.uint8
    assert (given == before).all()
    assert (picture == cell_picture(np.ascontiguousarray(given))).all()
    if dtype is np.uint8:
        assert (picture == image[..., None]).all()
    elif dtype is not bool:
        assert picture.min() == 0
        assert picture.max() == 255
        assert np.corrcoef(picture[..., 1].ravel(), image.ravel())[0, 1] > 0.99
    else:
        assert (picture[..., 0] == 255 * (image > 100)).all()


def test_odd_images_can_be_shown(tmp_path):
    one = np.ones((1, 1), np.uint64)
    empty, flat = np.zeros((50, 300), np.uint8), np.full((300, 20), 7.5)
    figure = show_cell_images([one, empty, flat], [one * np.uint64(2**64 - 1), empty, None], columns=2)
    assert [axes.get_title() for axes in figure.axes] == ["1 x 1\n1 cell", "50 x 300\n0 cells", "300 x 20"]
    assert rendered(figure).std() > 5
    assert save_figure(figure, tmp_path / "odd.png").stat().st_size < 60_000
    large = np.zeros((1500, 1400), np.uint32)
    large[100:1200, 300:900] = 5
    figure = show_cell_images([large], [large])
    ((_, _, (segment,)),) = lines_of(figure.axes[0])
    low, high = segment.min(axis=0), segment.max(axis=0)
    # Traced on a smaller image: as exact as a panel can show.
    assert np.allclose([low, high], [[299.5, 99.5], [899.5, 1199.5]], atol=3)


def test_twelve_noisy_color_images_make_a_small_file(tmp_path):
    random = np.random.default_rng(0)
    image, labels = make_cells((260, 240))
    stain = image[..., None] * np.array([0.6, 0.3, 0.7]) + 60
    images = [np.clip(stain + random.normal(0, 6, stain.shape), 0, 255).astype(np.uint8) for _ in range(12)]
    path = save_figure(show_cell_images(images, [labels] * 12, columns=6), tmp_path / "sheet.png")
    assert path.stat().st_size < 60_000


@pytest.mark.parametrize("shapes", [[(9, 9)], [(100, 20)] * 7, [(20, 300), (300, 20), (64, 64)], [(256, 256)] * 13])
def test_rows_fill_the_width_and_stay_in_the_figure(shapes):
    figure, axes, beside = picture_rows(shapes, columns=4, beside=1.0, title="a title", below=0.3)
    wide, tall = figure.get_size_inches()
    assert wide <= 9.5 + 1e-9
    for place, (ax, shape) in enumerate(zip(axes, shapes, strict=True)):
        box = ax.get_position()
        assert box.height * tall / (box.width * wide) == pytest.approx(shape[0] / shape[1])
        assert box.x0 >= 0
        assert box.y0 * tall > 0.3
        assert box.x1 <= beside[0] + 1e-9
        if place % 4:
            assert box.x0 > axes[place - 1].get_position().x1
    assert len({round(ax.get_position().height, 9) for ax in axes}) == 1 or (20, 300) in shapes


def failing():
    image, labels = make_cells()
    found = labels.copy()
    found[labels == IDS[1]] = IDS[0]
    found[labels == IDS[2]] = 0
    found[2:8, 60:70] = 99
    return image, labels, found


def test_failures_take_turns_and_say_what_happened():
    image, labels, found = failing()
    errors = cell_errors(found, labels)
    clean = cell_errors(labels, labels)
    figure = show_cell_failures(
        [image, image], [labels, labels], [labels, found], [clean, errors], names=["one", "two"], title="All"
    )
    titles = [axes.get_title() for axes in figure.axes]
    assert titles == [
        "missed\nno segment for this cell\ntwo",
        "spurious\nno cell for this segment\ntwo",
        "merged\n2 cells in 1 segment\ntwo",
    ]
    assert "All: 1 missed, 1 spurious, 1 merged" in texts(figure)
    merged = figure.axes[2]
    (_, left), (_, right) = errors[-1].box
    low, high = merged.get_xlim()
    assert low <= left - 0.5 < right <= high + 1
    # All cells in the crop thin, and then those of the error bold: both cells, and their one segment.
    *_, (bold_colors, bold, cells), (_, _, segments) = lines_of(merged)
    assert set(bold_colors) == {rgb(TRUTH_COLOR)}
    assert (len(cells), len(segments)) == (2, 1)
    assert bold > lines_of(merged)[0][1]
    ((*_, missed), (*_, nothing)) = lines_of(figure.axes[0])[-2:]
    assert (len(missed), len(nothing)) == (1, 0)
    assert np.ptp(missed[0], axis=0).tolist() == [15, 21]


def test_the_worst_of_each_kind_come_first():
    def error(kind, iou, side):
        return SimpleNamespace(kind=kind, box=((0, 0), (side, side)), truth_ids=(), segmentation_ids=(), iou=iou)

    images = [[error("split", 0.4, 5), error("split", 0.2, 5)], [error("missed", 0, 3), error("missed", 0, 9)]]
    chosen = [(place, one.kind, one.iou, one.box[1][0]) for place, one in worst_errors(images, 3)]
    assert chosen == [(0, "split", 0.2, 5), (1, "missed", 0, 9), (0, "split", 0.4, 5)]
    assert len(worst_errors(images, 99)) == 4


IMAGE, LABELS = make_cells()
ERRORS = cell_errors(np.zeros_like(LABELS), LABELS)
BAD_CALLS = [
    (lambda: show_cell_images([]), ValueError, "at least one image; this list is empty"),
    (lambda: show_cell_images([IMAGE], [LABELS, LABELS]), ValueError, "There are 1 images, but 2 labels"),
    (lambda: show_cell_images([IMAGE], names=[]), ValueError, "There are 1 images, but 0 names"),
    (lambda: show_cell_images([IMAGE], [LABELS[:9]]), ValueError, r"The label image of image 0 has shape \(9, 80\)"),
    (lambda: show_cell_images([IMAGE], [LABELS * 1.0]), TypeError, "The label image of image 0: labels are float64"),
    (lambda: show_cell_images([IMAGE], predictions=[IMAGE[0]]), ValueError, "The prediction of image 0"),
    (lambda: show_cell_images([IMAGE[..., None].repeat(2, -1)]), ValueError, r"Image 0 has shape \(60, 80, 2\)"),
    (lambda: show_cell_images([IMAGE, IMAGE * np.nan]), ValueError, "Image 1 has values that are NaN"),
    (lambda: show_cell_images([IMAGE.astype(str)]), TypeError, "Image 0 is <U3"),
    (lambda: show_cell_images([IMAGE[:0]]), ValueError, r"Image 0 has shape \(0, 80\)"),
    (lambda: show_cell_images([IMAGE], columns=0), ValueError, "columns is 0"),
    (lambda: show_cell_images([IMAGE], crop=0), ValueError, "crop is 0"),
    (lambda: show_cell_failures([IMAGE], [LABELS], [LABELS], [[]]), ValueError, "There is no error to show"),
    (lambda: show_cell_failures([], [], [], []), ValueError, "There is no error to show"),
    (lambda: show_cell_failures([IMAGE], [LABELS], [], [ERRORS]), ValueError, "1 images, but 0 segmentations"),
    (lambda: show_cell_failures([IMAGE], [LABELS], [LABELS], [[object()]]), TypeError, "image 0 lacks kind, box"),
    (lambda: show_cell_failures([IMAGE], [LABELS], [LABELS], [ERRORS], count=0), ValueError, "count is 0"),
    (
        lambda: show_cell_failures([IMAGE[:20]], [LABELS[:20]], [LABELS[:20]], [ERRORS]),
        ValueError,
        r"is empty or not inside the image \(20, 80",
    ),
]


@pytest.mark.parametrize("call,error,sentence", BAD_CALLS)
def test_bad_input_stops_with_one_sentence(call, error, sentence):
    with pytest.raises(error, match=sentence):
        call()
