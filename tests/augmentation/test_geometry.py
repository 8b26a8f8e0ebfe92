"""Each geometric change alone, with voxels that carry their own position."""

import math

import numpy as np
import pytest
import torch
from scipy import ndimage

from emlib.augmentation import single_augmentation
from emlib.augmentation.draws import Draws
from emlib.augmentation.geometry import Geometry, Misplacement, Orientation, draw_geometry, sample_size
from emlib.augmentation.resampling import resample, source_positions
from emlib.randomness import torch_generator
from emlib.recipe_schema import AugmentationRecipe

WINDOW = (5, 32, 32)


def positions(size):
    """Labels z * 10^6 + y * 10^3 + x, and an image without meaning."""
    z, y, x = (torch.arange(length) for length in size)
    labels = z[:, None, None] * 10**6 + y[:, None] * 10**3 + x
    return torch.rand(size, generator=torch_generator(0)), labels


def where_from(labels):
    return labels // 10**6, labels // 10**3 % 10**3, labels % 10**3


def augmented(name, seed, window=WINDOW, **options):
    augmentation = single_augmentation(name, AugmentationRecipe(**{name: options}), window=window)
    image, labels = positions(augmentation.sample_size)
    return augmentation, image, *augmentation(image, labels, torch_generator(seed))


def plain(window=WINDOW, sample=WINDOW, **changes):
    values = {
        "sections": tuple(range(window[0])),
        "misplacements": (Misplacement(),) * window[0],
        "angle": 0.0,
        "scale": (1.0, 1.0),
        "centre_shift": (0.0, 0.0),
        "displacement": None,
        "orientation": Orientation(),
    }
    return Geometry(**values | changes)


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_rotation_by_a_right_angle_is_a_quarter_turn(turns):
    image, labels = positions(WINDOW)
    _, turned = resample(image, labels, plain(angle=turns * math.pi / 2), WINDOW)
    _, expected = resample(image, labels, plain(orientation=Orientation(turns=turns)), WINDOW)
    opposite = torch.rot90(labels, -turns, (1, 2))
    assert torch.equal(expected, torch.rot90(labels, turns, (1, 2)))
    assert torch.equal(turned, expected) or torch.equal(turned, opposite)


def test_every_change_together_against_scipy():
    sample, window = (7, 70, 75), (4, 32, 32)
    displacement = torch.rand((2, 32, 32), generator=torch_generator(1)) * 4 - 2
    geometry = plain(
        window,
        sections=(0, 2, 3, 6),
        misplacements=(Misplacement(), Misplacement(3, -5), Misplacement(), Misplacement(angle=0.1)),
        angle=0.7,
        scale=(0.9, 1.2),
        centre_shift=(3.3, -12.2),
        displacement=displacement,
        orientation=Orientation(turns=1, transpose=True, flip_z=True, flip_y=True),
    )
    image, labels = positions(sample)
    new_image, new_labels = resample(image, labels, geometry, window)
    for place, (section, misplacement) in enumerate(zip(geometry.sections, geometry.misplacements, strict=True)):
        where = np.stack([part.numpy() for part in source_positions(geometry, misplacement, window, sample)])
        expected = ndimage.map_coordinates(image[section].numpy().astype(np.float64), where, order=1, mode="mirror")
        np.testing.assert_allclose(new_image[3 - place], expected, atol=1e-4)
        y, x = np.round(where).astype(int)
        np.testing.assert_array_equal(new_labels[3 - place], labels[section].numpy()[y, x])


def test_positions_of_a_pixel_by_hand():
    geometry = plain(angle=0.5, scale=(2.0, 0.5), centre_shift=(1.0, -2.0))
    y, x = source_positions(geometry, Misplacement(4, 6), (5, 32, 32), (5, 201, 101))
    # Pixel (10, 20) is (-5.5, 4.5) from the window's centre; the window starts at voxel (84, 34) of the sample.
    turned = (math.cos(0.5) * -5.5 - math.sin(0.5) * 4.5, math.sin(0.5) * -5.5 + math.cos(0.5) * 4.5)
    assert float(y[10, 20]) == pytest.approx(turned[0] / 2 + 84 + 15.5 + 1 + 4)
    assert float(x[10, 20]) == pytest.approx(turned[1] / 0.5 + 34 + 15.5 - 2 + 6)


def test_positions_outside_are_reflected():
    y, x = source_positions(plain(centre_shift=(-10.0, 20.0)), Misplacement(), WINDOW, WINDOW)
    expected = np.pad(np.arange(32), (10, 20), mode="reflect")
    np.testing.assert_allclose(y[:, 0], expected[:32], atol=1e-9)
    np.testing.assert_allclose(x[0], expected[30:], atol=1e-9)


@pytest.mark.parametrize(
    ("settings", "beyond"),
    [
        ({"rotate": {"probability": 1.0}}, 0),
        ({"rescale": {"probability": 1.0}}, 0),
        ({"elastic": {"probability": 1.0}}, 0),
        ({"misalign": {"probability": 1.0, "rotation": 0.0}}, 0),
        # The published limit of the angle lets the corners of a turned section leave the sample by a few voxels.
        ({"misalign": {"probability": 1.0, "rotation": 1.0}}, 5),
        ({name: {"probability": 1.0} for name in ("rotate", "rescale", "elastic", "misalign")}, 2),
    ],
)
def test_samples_are_large_enough(settings, beyond):
    settings = AugmentationRecipe(**settings)
    size = sample_size(settings, WINDOW)
    # The same draw on a sample with a wide margin, in which nothing is reflected.
    larger = (size[0], size[1] + 200, size[2] + 200)
    least, most = 0.0, 0.0
    for seed in range(60):
        geometry = draw_geometry(settings, WINDOW, size, Draws(torch_generator(seed)))
        for misplacement in set(geometry.misplacements):
            for position in source_positions(geometry, misplacement, WINDOW, larger):
                least = max(least, 100 - float(position.min()))
                most = max(most, float(position.max()) - 100 - (size[1] - 1))
    assert least <= beyond + 1e-6
    assert most <= beyond + 1e-6


@pytest.mark.parametrize("seed", range(10))
def test_rotation_turns_about_the_centre_without_scaling(seed):
    _, _, _, labels = augmented("rotate", seed)
    z, y, x = where_from(labels)
    assert (z == torch.arange(5)[:, None, None]).all()
    along_x = torch.stack([y[0, 16, 31] - y[0, 16, 0], x[0, 16, 31] - x[0, 16, 0]]).float()
    along_y = torch.stack([y[0, 31, 16] - y[0, 0, 16], x[0, 31, 16] - x[0, 0, 16]]).float()
    assert float(along_x.norm()) == pytest.approx(31, abs=1.5)
    assert float(along_x @ along_y) == pytest.approx(0, abs=31 * 1.5)
    middle = torch.stack([y[0, 15:17, 15:17], x[0, 15:17, 15:17]]).float().mean((1, 2))
    size = (augmented("rotate", seed)[0].sample_size[1] - WINDOW[1]) // 2 + 15.5
    np.testing.assert_allclose(middle, size, atol=0.51)


def test_right_angles_of_an_oblong_window_are_half_turns():
    starts = set()
    for seed in range(20):
        _, _, _, labels = augmented("rotate", seed, window=(2, 8, 12), right_angles=True)
        starts.add(tuple(int(part[0, 0, 0]) for part in where_from(labels)))
    assert starts == {(0, 0, 0), (0, 7, 11)}
    square = {int(augmented("rotate", seed, window=(1, 6, 6), right_angles=True)[3][0, 0, 0]) for seed in range(30)}
    assert square == {0, 5, 5000, 5005}


@pytest.mark.parametrize("seed", range(10))
def test_rescaling_stays_within_its_range(seed):
    _, _, _, labels = augmented("rescale", seed, low=0.8, high=1.25)
    _, y, x = where_from(labels)
    for steps in (y[0, -1, 0] - y[0, 0, 0], x[0, 0, -1] - x[0, 0, 0]):
        assert 31 / 1.25 - 1 <= float(steps) <= 31 / 0.8 + 1


def test_elastic_deformation_is_one_field_of_the_published_strength():
    window = (3, 96, 96)
    settings = AugmentationRecipe(elastic={"probability": 1.0})
    augmentation = single_augmentation("elastic", settings, window=window)
    fields = []
    for seed in range(10):
        draws = Draws(torch_generator(seed))
        fields.append(draw_geometry(augmentation.settings, window, augmentation.sample_size, draws).displacement)
    spread = float(torch.stack(fields).std())
    # Uniform noise in +-16 has deviation 16 / sqrt(3); a Gaussian of sigma 4 divides it by 2 sqrt(pi) 4.
    assert spread == pytest.approx(16 / math.sqrt(3) / (2 * math.sqrt(math.pi) * 4), rel=0.05)
    first = fields[0][0].double().numpy()
    assert np.abs(np.diff(first, axis=0)).max() < 0.6, "neighbouring voxels move together"
    _, _, _, labels = augmented("elastic", 0, window=window)
    _, y, x = where_from(labels)
    assert (y == y[:1]).all()
    assert (x == x[:1]).all()


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("sections", [1, 2, 3])
def test_missing_sections_are_inner_ones(seed, sections):
    augmentation, image, new_image, labels = augmented("missing_section", seed, sections=sections)
    z = where_from(labels)[0][:, 0, 0]
    assert augmentation.sample_size[0] == 5 + sections
    assert z[0] == 0
    assert z[-1] == 4 + sections
    assert (z.diff() > 0).all()
    assert torch.equal(new_image, image[z])


def test_every_inner_section_can_be_missing():
    kept = torch.cat([where_from(augmented("missing_section", seed)[3])[0][:, 0, 0].unique() for seed in range(40)])
    counts = torch.bincount(kept, minlength=7)
    assert (counts[1:-1] < 40).all()
    assert (counts > 0).all()


def test_shifted_sections_slip_or_stay_shifted():
    kinds, apart = set(), []
    for seed in range(60):
        _, _, _, labels = augmented("misalign", seed, displacement=16, rotation=0.0)
        z, y, x = where_from(labels)
        assert (z == torch.arange(5)[:, None, None]).all()
        start = torch.stack([y[:, 0, 0], x[:, 0, 0]], 1)
        assert torch.equal(y, start[:, :1, None] + torch.arange(32)[:, None] + 0 * x), "a shift by whole voxels"
        assert (start >= 0).all()
        assert (start < 16).all()
        other = (start != start[0]).any(1)
        if other.any():
            moved = start[other]
            assert (moved == moved[0]).all()
            apart.append(int((moved[0] - start[0]).abs().max()))
            first = int(other.int().argmax())
            kinds.add("slip" if other.sum() == 1 and first < 4 else "stay" if other[first:].all() else "neither")
    assert kinds == {"slip", "stay"}
    assert max(apart) > 8


def test_turned_sections_leave_the_others_exact():
    angles = []
    for seed in range(30):
        augmentation, image, new_image, _ = augmented("misalign", seed, displacement=16, rotation=1.0)
        margin = 8
        same = (new_image == image[:, margin : margin + 32, margin : margin + 32]).flatten(1).all(1)
        assert same[0]
        geometry = draw_geometry(augmentation.settings, WINDOW, augmentation.sample_size, Draws(torch_generator(seed)))
        angles += [m.angle for m in geometry.misplacements if m.angle]
        assert [m.angle == 0 for m in geometry.misplacements] == same.tolist()
    limit = 2 * math.asin(8 / (0.71 * 32))
    assert 0.7 * limit < max(map(abs, angles)) <= limit


def test_flips_obey_their_switches():
    starts = set()
    for seed in range(60):
        _, _, _, labels = augmented("flip", seed, window=(3, 4, 4), z=False, transpose=False)
        starts.add(tuple(int(part[0, 0, 0]) for part in where_from(labels)))
        assert (where_from(labels)[1][0, :, 0].diff().abs() == 1).all(), "y stays y"
    assert starts == {(0, y, x) for y in (0, 3) for x in (0, 3)}


def test_an_oblong_window_is_not_transposed():
    for seed in range(20):
        _, _, _, labels = augmented("flip", seed, window=(3, 4, 6))
        assert (where_from(labels)[1][0, :, 0].diff().abs() == 1).all()
