"""The EM phantom: exact truth, the same bytes for the same seed, and hard enough to be worth learning."""

import itertools
import os
import subprocess
import sys

import cc3d
import numpy as np
import pytest
from scipy import ndimage

from emlib.data.em_phantom import EMPhantom, make_em_phantom

SMALL = (10, 96, 96)


@pytest.fixture(scope="module")
def phantom():
    return make_em_phantom(seed=0)


@pytest.fixture(scope="module", params=[((20, 128, 128), (40, 16, 16)), ((48, 96, 96), (10, 10, 10)), None])
def any_phantom(request, phantom):
    if request.param is None:
        return phantom
    shape, voxel_size = request.param
    return make_em_phantom(shape, voxel_size=voxel_size, seed=2)


def sizes(labels):
    return np.bincount(labels.ravel())[1:]


def touching_pairs(labels, reach):
    """Pairs of different ids that come within `reach` voxels of each other along an axis."""
    pairs = set()
    for axis, step in itertools.product(range(3), range(1, reach + 1)):
        a = np.moveaxis(labels, axis, 0)[:-step].ravel()
        b = np.moveaxis(labels, axis, 0)[step:].ravel()
        different = (a > 0) & (b > 0) & (a != b)
        pairs |= {tuple(sorted(pair)) for pair in zip(a[different].tolist(), b[different].tolist(), strict=True)}
    return pairs


def test_types_and_shapes(any_phantom):
    assert isinstance(any_phantom, EMPhantom)
    assert any_phantom.image.dtype == np.uint8
    assert any_phantom.neurites.dtype == any_phantom.mitochondria.dtype == np.uint32
    assert any_phantom.image.shape == any_phantom.neurites.shape == any_phantom.mitochondria.shape
    assert all(isinstance(size, float) for size in any_phantom.voxel_size)
    with pytest.raises(AttributeError):
        any_phantom.image = None


def test_ids_have_no_gaps_and_every_object_is_one_piece(any_phantom):
    for labels in (any_phantom.neurites, any_phantom.mitochondria):
        assert (sizes(labels) > 0).all()
        assert cc3d.connected_components(labels, connectivity=26).max() == labels.max()


def test_every_mitochondrion_lies_in_one_neurite(any_phantom):
    inside = any_phantom.mitochondria > 0
    assert (any_phantom.neurites[inside] > 0).all()
    pairs = np.unique(np.stack([any_phantom.mitochondria[inside], any_phantom.neurites[inside]]), axis=1)
    assert pairs.shape[1] == any_phantom.mitochondria.max()


def test_numbers_and_sizes_of_the_standard_volume(phantom):
    voxels = sizes(phantom.mitochondria)
    assert 15 <= voxels.size <= 40
    assert 450 <= voxels.min() < 2000
    assert 10_000 < voxels.max() < 40_000
    assert 0.06 <= (phantom.mitochondria > 0).mean() <= 0.10
    assert 40 <= phantom.neurites.max() <= 140
    assert 0.05 < (phantom.neurites == 0).mean() < 0.25
    assert sizes(phantom.neurites).max() < 0.25 * phantom.image.size


@pytest.mark.parametrize("seed", range(1, 5))
def test_other_seeds_are_as_good(seed):
    other = make_em_phantom(seed=seed)
    assert 15 <= other.mitochondria.max() <= 40
    assert 0.06 <= (other.mitochondria > 0).mean() <= 0.10
    assert 40 <= other.neurites.max() <= 140
    assert touching_pairs(other.mitochondria, 3)


def test_coarse_volume_holds_many_mitochondria():
    coarse = make_em_phantom((48, 192, 192), voxel_size=(40, 16, 16), seed=3)
    assert coarse.mitochondria.max() >= 25
    assert 0.06 <= (coarse.mitochondria > 0).mean() <= 0.10


def test_instances_are_more_than_components_of_the_mask(phantom):
    pairs = touching_pairs(phantom.mitochondria, 1)
    assert len(pairs) >= 3
    assert cc3d.connected_components(phantom.mitochondria > 0, connectivity=26).max() <= phantom.mitochondria.max() - 3
    host = np.zeros(phantom.mitochondria.max() + 1, int)
    inside = phantom.mitochondria > 0
    host[phantom.mitochondria[inside]] = phantom.neurites[inside]
    assert any(host[a] == host[b] for a, b in pairs)


@pytest.mark.parametrize("misalignment", [0.0, 5.0, 12.0])
def test_labels_follow_the_image_to_the_voxel(misalignment):
    """The outer membrane is dark exactly on the rim of the label: a shift by one voxel makes the rim lighter."""
    made = make_em_phantom((16, 128, 128), seed=5, misalignment=misalignment, noise=0, section_effects=False)
    inside = made.mitochondria > 0
    cross = ndimage.generate_binary_structure(3, 1) & np.array([False, True, False])[:, None, None]
    rim = inside & ~ndimage.binary_erosion(inside, cross, border_value=1)
    beside = ndimage.binary_dilation(inside, cross, iterations=3) & ~ndimage.binary_dilation(inside, cross)
    # Sections just below a cap show its membrane face on, so "deep" keeps one section away from the ends.
    core = ndimage.binary_erosion(inside, np.ones((3, 1, 1), bool), border_value=1)
    deep = ndimage.binary_erosion(core, cross, iterations=4, border_value=1)
    cytosol = beside & (ndimage.binary_erosion(made.neurites > 0, cross, iterations=2))
    image = made.image.astype(float)
    assert image[rim].mean() + 15 < image[deep].mean() < image[cytosol].mean() - 15
    darkness = {
        (dy, dx): image[1:-1, 3:-3, 3:-3][np.roll(rim, (dy, dx), (1, 2))[1:-1, 3:-3, 3:-3]].mean()
        for dy in (-2, -1, 0, 1, 2)
        for dx in (-2, -1, 0, 1, 2)
    }
    assert min(darkness, key=darkness.get) == (0, 0)
    # Section by section too, where there is enough rim: one section that slipped would not show in the mean.
    for z in np.flatnonzero(rim.sum((1, 2)) > 150):
        assert image[z][rim[z]].mean() + 25 < image[z][deep[z] | cytosol[z]].mean()


def test_membranes_between_neurites_are_dark_and_unlabelled(phantom):
    image, neurites = phantom.image, phantom.neurites
    pairs = [(neurites[:, :-1], neurites[:, 1:]), (neurites[:, :, :-1], neurites[:, :, 1:])]
    assert sum(int(((a > 0) & (b > 0) & (a != b)).sum()) for a, b in pairs) < 1e-3 * image.size
    cytoplasm = (neurites > 0) & (phantom.mitochondria == 0)
    assert image[neurites == 0].mean() + 50 < image[cytoplasm].mean()


def test_misalignment_shifts_sections_of_the_same_scene():
    shape, voxel_size = (10, 128, 128), (30, 8, 8)
    straight = make_em_phantom(shape, voxel_size=voxel_size, seed=7, misalignment=0.0)
    shifted = make_em_phantom(shape, voxel_size=voxel_size, seed=7, misalignment=20.0)
    membrane = [made.neurites == 0 for made in (straight, shifted)]
    for z in range(shape[0]):
        agreement = {}
        for dy, dx in itertools.product(range(-12, 13), repeat=2):
            moved = membrane[0][z, 14 + dy : 114 + dy, 14 + dx : 114 + dx]
            agreement[dy, dx] = np.mean(moved == membrane[1][z, 14:114, 14:114])
        assert max(agreement.values()) > 0.93
    assert np.mean(membrane[0] == membrane[1]) < 0.9


def test_no_grey_value_separates_mitochondria(any_phantom):
    inside = np.bincount(any_phantom.image[any_phantom.mitochondria > 0], minlength=256)
    overall = np.bincount(any_phantom.image.ravel(), minlength=256)
    low = [0, *np.cumsum(inside)], [0, *np.cumsum(overall)]
    dice = [
        2 * (low[0][b] - low[0][a]) / (low[1][b] - low[1][a] + inside.sum())
        for a in range(0, 256, 4)
        for b in range(a + 4, 257, 4)
    ]
    assert 0.15 < max(dice) < 0.6


def test_sections_differ_in_brightness_only_with_section_effects():
    with_effects = make_em_phantom(SMALL, seed=3).image.mean((1, 2))
    without = make_em_phantom(SMALL, seed=3, section_effects=False).image.mean((1, 2))
    assert np.abs(np.diff(with_effects)).mean() > 2 * np.abs(np.diff(without)).mean()
    assert 90 < with_effects.mean() < 170


def test_noise_has_the_strength_that_was_asked_for():
    clean = make_em_phantom(SMALL, seed=3, noise=0, section_effects=False).image.astype(float)
    noisy = make_em_phantom(SMALL, seed=3, noise=10, section_effects=False).image.astype(float)
    middle = (clean > 110) & (clean < 146)
    assert 9 < (noisy - clean)[middle].std() < 11


def test_features_keep_their_physical_size():
    """Twice the pixel size: mitochondria of about half the width, in voxels."""
    widths = []
    for shape, pixel in (((16, 256, 256), 8.0), ((16, 128, 128), 16.0)):
        made = make_em_phantom(shape, voxel_size=(30, pixel, pixel), seed=4)
        distance = ndimage.distance_transform_edt(made.mitochondria > 0, sampling=(1e6, pixel, pixel))
        largest = ndimage.maximum(distance, made.mitochondria, np.arange(1, made.mitochondria.max() + 1))
        widths.append(2 * np.median(largest))
    assert all(180 < width < 420 for width in widths)
    assert abs(widths[0] - widths[1]) < 70


def test_same_seed_same_bytes_other_seed_other_bytes():
    first, again, other = (make_em_phantom(SMALL, seed=seed) for seed in (11, 11, 12))
    for name in ("image", "neurites", "mitochondria"):
        assert getattr(first, name).tobytes() == getattr(again, name).tobytes()
        assert getattr(first, name).tobytes() != getattr(other, name).tobytes()


def test_the_same_bytes_in_another_process_with_other_threads():
    code = (
        "import hashlib; from emlib.data.em_phantom import make_em_phantom as make; p = make((10, 96, 96), seed=11); "
        "print(hashlib.sha256(p.image.tobytes() + p.neurites.tobytes() + p.mitochondria.tobytes()).hexdigest())"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"OMP_NUM_THREADS": n, "OPENBLAS_NUM_THREADS": n, "PYTHONHASHSEED": n},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for n in ("1", "2")
    }
    assert len(digests) == 1


def test_the_fraction_can_be_chosen():
    few, many = (make_em_phantom((20, 160, 160), seed=2, mitochondria_fraction=f) for f in (0.03, 0.10))
    assert 0.02 < (few.mitochondria > 0).mean() < 0.05
    assert 0.08 < (many.mitochondria > 0).mean() < 0.125


@pytest.mark.parametrize(
    "shape, error, match",
    [
        ((32, 256), ValueError, "three positive whole numbers"),
        (256, ValueError, "three positive whole numbers"),
        ((0, 256, 256), ValueError, "three positive whole numbers"),
        ((-32, 256, 256), ValueError, "three positive whole numbers"),
        ((32.0, 256, 256), TypeError, "three whole numbers"),
        ("big", TypeError, "three whole numbers"),
        (True, TypeError, "three whole numbers"),
        ((3, 256, 256), ValueError, "too small"),
        ((32, 40, 256), ValueError, "too small"),
    ],
)
def test_bad_shape(shape, error, match):
    with pytest.raises(error, match=match) as caught:
        make_em_phantom(shape)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "voxel_size, error, match",
    [
        ((30, 8), ValueError, "three positive numbers"),
        ((30, 8, 0), ValueError, "three positive numbers"),
        ((30, -8, 8), ValueError, "three positive numbers"),
        ((30, 8, float("nan")), ValueError, "three positive numbers"),
        (8, ValueError, "three positive numbers"),
        (("a", 8, 8), TypeError, "three numbers"),
        (None, TypeError, "three numbers"),
        ((30, 64, 64), ValueError, "from 2 to 32 nm"),
    ],
)
def test_bad_voxel_size(voxel_size, error, match):
    with pytest.raises(error, match=match):
        make_em_phantom(SMALL, voxel_size=voxel_size)


@pytest.mark.parametrize(
    "option", [{"noise": -1}, {"misalignment": -1}, {"mitochondria_fraction": 0}, {"mitochondria_fraction": 0.5}]
)
def test_bad_options(option):
    (name,) = option
    with pytest.raises(ValueError, match=name):
        make_em_phantom(SMALL, **option)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize(
    "shape, voxel_size", [((8, 64, 64), (30.0, 8.0, 8.0)), ((4, 32, 32), (60.0, 16.0, 16.0)), ((24, 48, 48), (10,) * 3)]
)
def test_smallest_volumes_are_valid(shape, voxel_size, seed):
    made = make_em_phantom(shape, voxel_size=voxel_size, seed=seed)
    assert made.image.std() > 10
    assert made.neurites.max() >= 1
    for labels in (made.neurites, made.mitochondria):
        assert cc3d.connected_components(labels, connectivity=26).max() == labels.max()
