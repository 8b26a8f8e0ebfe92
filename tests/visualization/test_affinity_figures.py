import numpy as np
import pytest
from visualization.scene import VOXEL_SIZE, has_color, make_scene, rendered, texts

from emlib.visualization import show_affinities
from emlib.visualization.affinities import rgb_section
from emlib.volume import Volume

IMAGE = np.zeros((4, 12, 16), np.uint8)


def test_a_section_becomes_red_green_and_blue():
    affinities = np.random.default_rng(0).integers(0, 2, (6, 5, 7, 9)).astype(np.float16)
    assert (rgb_section(affinities, 3) == 255 * np.moveaxis(affinities[:3, 3], 0, -1)).all()
    assert (rgb_section(affinities.astype(bool), 3, 3) == 255 * np.moveaxis(affinities[3:, 3], 0, -1)).all()
    smooth = np.random.default_rng(1).integers(0, 256, (3, 2, 7, 9), np.uint8)
    assert (rgb_section(smooth, 1) == np.moveaxis(smooth[:, 1], 0, -1)).all()
    assert (rgb_section(smooth, 1) == rgb_section(smooth / 255, 1)).all()


@pytest.mark.parametrize("channel, color", [(0, (0, 255, 255)), (1, (255, 0, 255)), (2, (255, 255, 0))])
def test_a_cut_has_the_color_that_the_legend_gives_it(channel, color):
    affinities = np.ones((3, *IMAGE.shape), np.float32)
    affinities[channel, 2, 4:8, 4:12] = 0
    figure = show_affinities(IMAGE, affinities)
    shown = figure.axes[1].images[0].get_array()
    assert (shown[4:8, 4:12] == color).all()
    assert (shown[:4] == 255).all()
    axis, name = "zyx"[channel], {0: "cyan", 1: "magenta", 2: "yellow"}[channel]
    assert f"{name}: cut along {axis}" in texts(figure)
    assert has_color(rendered(figure), color, at_least=500, tolerance=1)


def test_truth_stands_beside_three_channels():
    image, truth, _, _ = make_scene()
    affinities = np.zeros((3, *image.shape), np.float32)
    labels = np.stack([truth > 0] * 3)
    figure = show_affinities(image, affinities, truth=labels, section=4, voxel_size=VOXEL_SIZE, title="both")
    assert [axes.get_title().split("\n")[0] for axes in figure.axes] == ["section 4", "affinities", "truth"]
    tops = {round(axes.get_position().y1, 2) for axes in figure.axes}
    figure.canvas.draw()
    assert len(tops) == 1
    assert (figure.axes[2].images[0].get_array() == 255 * (truth[4] > 0)[..., None]).all()
    assert "100 nm" in texts(figure)


def test_long_ranges_make_a_row_of_triples_with_their_offsets():
    offsets = [tuple(-distance * (axis == one) for one in range(3)) for distance in (1, 3) for axis in range(3)]
    affinities = np.zeros((6, *IMAGE.shape), np.float32)
    affinities[3:] = 1
    figure = show_affinities(IMAGE, affinities, truth=1 - affinities, offsets=offsets)
    titles = [axes.get_title() for axes in figure.axes]
    near, far = "(-1,0,0) (0,-1,0) (0,0,-1)", "(-3,0,0) (0,-3,0) (0,0,-3)"
    assert titles == [
        "section 2",
        f"affinities\n{near}",
        f"affinities\n{far}",
        f"truth\n{near}",
        f"truth\n{far}",
    ]
    assert [int(axes.images[0].get_array().mean()) for axes in figure.axes[1:]] == [0, 255, 255, 0]
    figure.canvas.draw()
    places = [axes.get_position() for axes in figure.axes]
    assert places[3].x0 == pytest.approx(places[1].x0)
    assert places[3].y1 < places[1].y0
    unnamed = show_affinities(IMAGE, affinities)
    assert [axes.get_title() for axes in unnamed.axes][2] == "affinities\nchannels 3 to 5"


def test_only_the_section_is_read():
    class Lazy:
        shape, dtype, read = (3, *IMAGE.shape), np.dtype(np.float32), 0

        def __getitem__(self, box):
            piece = np.ones(self.shape, np.float32)[box]
            self.read += piece.size
            return piece

    affinities = Lazy()
    show_affinities(Volume(IMAGE, VOXEL_SIZE), affinities, section=-1)
    assert affinities.read == 3 * IMAGE[0].size


GOOD = np.ones((3, *IMAGE.shape), np.float32)
BAD_CALLS = {
    r"affinities must be \(c, z, y, x\) with 3, 6, 9": lambda: show_affinities(IMAGE, GOOD[:2]),
    r"truth must be \(c, z, y, x\)": lambda: show_affinities(IMAGE, GOOD, truth=IMAGE),
    r"image and affinities must have the same \(z, y, x\)": lambda: show_affinities(IMAGE[:2], GOOD),
    "affinities and truth must have the same shape": lambda: show_affinities(
        IMAGE, GOOD, truth=np.concatenate([GOOD, GOOD])
    ),
    r"image must be \(z, y, x\)": lambda: show_affinities(IMAGE[0], GOOD),
    "here they reach from 200 to 200": lambda: show_affinities(IMAGE, 200 * GOOD),
    "here they reach from nan to nan": lambda: show_affinities(IMAGE, np.nan * GOOD),
    "but the type is int64": lambda: show_affinities(IMAGE, GOOD.astype(np.int64)),
    "there is no section 4": lambda: show_affinities(IMAGE, GOOD, section=4),
    "offsets must be one": lambda: show_affinities(IMAGE, GOOD, offsets=[(-1, 0, 0)]),
}


@pytest.mark.parametrize("sentence", BAD_CALLS)
def test_bad_input_stops_with_one_sentence(sentence):
    with pytest.raises(ValueError, match=sentence):
        BAD_CALLS[sentence]()
