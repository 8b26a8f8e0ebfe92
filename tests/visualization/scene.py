"""A small scene for the figures' tests: four balls in a grey volume, and a segmentation with one error of each kind."""

from types import SimpleNamespace

import numpy as np

VOXEL_SIZE = (30.0, 8.0, 8.0)
IDS = (3, 70_000, 2**40 + 1, 2**63 + 5)


def make_scene():
    """image uint8, truth uint64, segmentation uint64, errors; all (8, 48, 64)."""
    shape = (8, 48, 64)
    z, y, x = np.indices(shape)
    truth = np.zeros(shape, np.uint64)
    for one, (cy, cx) in zip(IDS, ((12, 12), (12, 48), (34, 14), (34, 46)), strict=True):
        truth[((z - 4) * 3) ** 2 + (y - cy) ** 2 + (x - cx) ** 2 < 81] = one
    noise = np.random.default_rng(0).integers(0, 30, shape)
    image = (160 - 80 * (truth > 0) + noise).astype(np.uint8)
    segmentation = truth.copy()
    segmentation[truth == IDS[0]] = 0
    segmentation[(truth == IDS[1]) & (x > 48)] = 999
    segmentation[np.isin(truth, IDS[2:])] = IDS[2]
    segmentation[2:6, 22:26, 28:34] = 555
    errors = SimpleNamespace(missed=[IDS[0]], split=[IDS[1]], spurious=[555], merged=[IDS[2]])
    return image, truth, segmentation, errors


def rendered(figure):
    """The figure's pixels, uint8 (rows, columns, 3)."""
    figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba())[..., :3]


def has_color(pixels, color, *, at_least=5, tolerance=0):
    """Whether `at_least` pixels have that colour."""
    return int((np.abs(pixels.astype(int) - np.asarray(color, int)).max(axis=-1) <= tolerance).sum()) >= at_least


def texts(figure):
    """All words in a figure."""
    from matplotlib.text import Text

    return [found.get_text() for found in figure.findobj(Text) if found.get_text()]
