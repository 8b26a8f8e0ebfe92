"""Cells from classes: scikit-image and brute force as oracles, growing, types, and what is refused."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import binary_fill_holes, distance_transform_cdt, gaussian_filter
from skimage.measure import label
from skimage.morphology import remove_small_holes, remove_small_objects

from emlib.postprocessing import cells_from_classes


def smooth_noise(seed, shape, sigma):
    noise = gaussian_filter(np.random.default_rng(seed).random(shape), sigma)
    return (noise - noise.min()) / max(noise.max() - noise.min(), 1e-9)


def with_interior(interior):
    return np.stack([1 - interior, interior, 0 * interior])


def published(interior, threshold, holes, smallest):
    """What the challenge's program does, by scikit-image."""
    mask = interior > threshold
    if holes > 1:
        filled = remove_small_holes(mask, max_size=holes - 1)
        # Not as published: an image without any other background is not one cell.
        mask = binary_fill_holes(mask) if filled.all() else filled
    if smallest > 1:
        mask = remove_small_objects(mask, max_size=smallest - 1)
    return label(mask)


def grown_pixel_by_pixel(labels, steps):
    for _ in range(steps):
        before = np.pad(labels, 1)
        grown = labels.copy()
        for y, x in np.argwhere(labels == 0):
            around = [before[y, x + 1], before[y + 2, x + 1], before[y + 1, x], before[y + 1, x + 2]]
            grown[y, x] = min((number for number in around if number), default=0)
        labels = grown
    return labels


@given(
    st.integers(0, 10_000),
    st.sampled_from([(1, 40), (40, 1), (7, 9), (33, 50), (64, 40)]),
    st.sampled_from([0.5, 1, 2]),
    st.sampled_from([0.3, 0.5, 0.6]),
    st.sampled_from([0, 1, 5, 64]),
    st.sampled_from([0, 1, 9, 16]),
)
@settings(max_examples=80, deadline=None)
def test_equals_scikit_image_number_by_number(seed, shape, sigma, threshold, holes, smallest):
    interior = smooth_noise(seed, shape, sigma)
    found = cells_from_classes(with_interior(interior), threshold=threshold, fill_holes_below=holes, min_size=smallest)
    assert found.dtype == np.uint32
    np.testing.assert_array_equal(found, published(interior, threshold, holes, smallest))


@given(st.integers(0, 10_000), st.sampled_from([(1, 30), (9, 8), (30, 24)]), st.integers(0, 5))
@settings(max_examples=40, deadline=None)
def test_cells_grow_step_by_step_and_not_into_each_other(seed, shape, steps):
    probabilities = with_interior(smooth_noise(seed, shape, 1))
    options = {"threshold": 0.65, "fill_holes_below": 0, "min_size": 1}
    seeds = cells_from_classes(probabilities, **options)
    found = cells_from_classes(probabilities, grow=steps, **options)
    np.testing.assert_array_equal(found, grown_pixel_by_pixel(seeds, steps))
    np.testing.assert_array_equal(found[seeds > 0], seeds[seeds > 0])
    if seeds.any():
        np.testing.assert_array_equal(found > 0, distance_transform_cdt(seeds == 0, metric="taxicab") <= steps)


def test_types_orders_and_maps_on_disk_give_the_same_cells(tmp_path):
    levels = (smooth_noise(3, (50, 60), 2) * 255).astype(np.uint8)
    probabilities = np.stack([255 - levels, levels, 0 * levels])
    expected = cells_from_classes(probabilities)
    assert expected.max() > 2
    for dtype in ("f2", "f4", "f8", ">f4"):
        same = (probabilities / 255).astype(dtype)
        np.testing.assert_array_equal(cells_from_classes(same), expected)
    np.testing.assert_array_equal(cells_from_classes(np.asfortranarray(probabilities)), expected)
    turned = np.flip(np.flip(probabilities, (1, 2)).copy(), (1, 2))
    turned.flags.writeable = False
    np.testing.assert_array_equal(cells_from_classes(turned), expected)
    np.save(tmp_path / "classes.npy", probabilities)
    np.testing.assert_array_equal(cells_from_classes(np.load(tmp_path / "classes.npy", mmap_mode="r")), expected)
    np.testing.assert_array_equal(cells_from_classes(probabilities.tolist() / np.float32(255)), expected)


def test_callers_arrays_are_not_changed():
    probabilities = with_interior(smooth_noise(1, (40, 40), 2))
    before = probabilities.copy()
    cells_from_classes(probabilities, grow=3)
    np.testing.assert_array_equal(probabilities, before)


def test_corners_join_pieces_but_not_small_ones():
    """Sizes are those of 4-connected pieces, cells are 8-connected, as published."""
    interior = np.zeros((20, 20))
    interior[2:6, 2:6] = interior[6:10, 6:10] = 1
    interior[10:12, 10:12] = 1
    found = cells_from_classes(with_interior(interior))
    assert (found.max(), int((found > 0).sum())) == (1, 32)
    assert cells_from_classes(with_interior(interior), min_size=17).max() == 0


@pytest.mark.parametrize("shape", [(1, 1), (5, 5), (30, 40)])
def test_nothing_and_everything(shape):
    assert not cells_from_classes(with_interior(np.zeros(shape))).any()
    assert not cells_from_classes(with_interior(np.full(shape, 0.5))).any()
    assert (cells_from_classes(with_interior(np.ones(shape)), min_size=1) == 1).all()


@pytest.mark.parametrize(
    "probabilities, options, error, text",
    [
        (np.zeros((2, 5, 5)), {}, ValueError, r"shape \(2, 5, 5\), but \(3, y, x\)"),
        (np.zeros((5, 5)), {}, ValueError, r"\(3, y, x\)"),
        (np.zeros((3, 0, 5)), {}, ValueError, "none empty"),
        (np.full((3, 5, 5), np.nan), {}, ValueError, "between 0 and 1"),
        (np.full((3, 5, 5), 200.0), {}, ValueError, "pass uint8 for 0-255"),
        (np.zeros((3, 5, 5), int), {}, TypeError, "must be uint8"),
        (np.zeros((3, 5, 5)), {"threshold": 1.5}, ValueError, "threshold must lie between 0 and 1"),
        (np.zeros((3, 5, 5)), {"threshold": "half"}, TypeError, "threshold must be a number"),
        (np.zeros((3, 5, 5)), {"min_size": -1}, ValueError, "min_size must be"),
        (np.zeros((3, 5, 5)), {"fill_holes_below": 1.5}, TypeError, "fill_holes_below must be a whole number"),
        (np.zeros((3, 5, 5)), {"grow": True}, TypeError, "grow must be a whole number"),
    ],
)
def test_bad_input_is_one_sentence(probabilities, options, error, text):
    with pytest.raises(error, match=text) as caught:
        cells_from_classes(probabilities, **options)
    assert "\n" not in str(caught.value)
