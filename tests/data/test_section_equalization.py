"""CLAHE against the definition pixel by pixel and against scikit-image, section by section and into files."""

import numpy as np
import pytest
from faults.disk import failing_steps
from faults.sentences import listing, refused
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from skimage.exposure import equalize_adapthist

from emlib.data import equalize_sections, slab_writing
from emlib.volume import Volume, open_volume, save_volume

STACK = np.random.default_rng(0).normal(110, 30, (5, 40, 52)).clip(0, 255).astype(np.uint8)


def by_definition(section, tiles, clip_limit):
    """Tile after tile and pixel after pixel; in float64, except for the mapping, where a rounded half would show."""
    sides = [-(-n // count) for n, count in zip(section.shape, tiles, strict=True)]
    padded = np.pad(section, [(0, c * s - n) for c, s, n in zip(tiles, sides, section.shape, strict=True)], "reflect")
    area = sides[0] * sides[1]
    limit = area if clip_limit == np.inf else max(1, int(clip_limit * area / 256))
    mapped = {}
    for row, column in np.ndindex(*tiles):
        tile = padded[row * sides[0] : (row + 1) * sides[0], column * sides[1] : (column + 1) * sides[1]]
        counts = np.bincount(tile.ravel(), minlength=256)
        excess = int(np.maximum(counts - limit, 0).sum())
        counts = np.minimum(counts, limit) + excess // 256
        if rest := excess % 256:
            counts[:: 256 // rest][:rest] += 1
        scale = np.float32(255) / np.float32(area)
        mapped[row, column] = np.rint(np.minimum(counts.cumsum().astype(np.float32) * scale, 255))
    result = np.empty(section.shape)
    for place in np.ndindex(section.shape):
        weights = {}
        at = [one / side - 0.5 for one, side in zip(place, sides, strict=True)]
        for corner in np.ndindex(2, 2):
            centre = [int(np.floor(one)) + step for one, step in zip(at, corner, strict=True)]
            weight = np.prod([1 - abs(one - middle) for one, middle in zip(at, centre, strict=True)])
            tile = tuple(min(max(one, 0), count - 1) for one, count in zip(centre, tiles, strict=True))
            weights[tile] = weights.get(tile, 0) + weight
        result[place] = sum(weight * mapped[tile][section[place]] for tile, weight in weights.items())
    return result


@given(
    section=arrays.arrays(np.uint8, st.tuples(st.integers(4, 17), st.integers(4, 17))),
    tiles=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    clip_limit=st.sampled_from([1, 2.0, 40, np.inf]),
)
@settings(max_examples=40)
def test_the_definition_pixel_by_pixel(section, tiles, clip_limit):
    before = section.copy()
    found = equalize_sections(section, tiles=tiles, clip_limit=clip_limit)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(section, before)
    assert np.abs(found - by_definition(section, tiles, clip_limit)).max() <= 0.5 + 1e-3


@pytest.mark.parametrize("tiles, clip_limit", [((8, 8), 2.0), ((4, 4), 3.0), ((8, 4), np.inf)])
def test_the_definition_on_larger_sections(tiles, clip_limit):
    found = equalize_sections(STACK[0], tiles=tiles, clip_limit=clip_limit)
    assert np.abs(found - by_definition(STACK[0], tiles, clip_limit)).max() <= 0.5 + 1e-3


@pytest.mark.parametrize("clip_limit, alike, apart", [(np.inf, 0.9999, 0.5), (8, 0.9995, 1), (2, 0.95, 12)])
def test_close_to_scikit_image(clip_limit, alike, apart):
    # It stretches the whole image before and after and counts 252 values, which hardly matters; and it spreads what was
    # cut off without exceeding the limit again, which matters the more the more is cut off.
    y, x = np.mgrid[:256, :256]
    noise = np.random.default_rng(1).normal(0, 8, (256, 256))
    image = 120 + 60 * np.sin(x / 40) + 25 * np.sin(y / 5) * np.sin(x / 6) + noise
    image = image.clip(0, 255).astype(np.uint8)
    image[0, 0], image[0, 1] = 0, 255
    ours = equalize_sections(image, clip_limit=clip_limit).astype(float)
    theirs = 255 * equalize_adapthist(image, kernel_size=32, clip_limit=min(1, clip_limit / 256))
    assert np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] > alike
    assert np.abs(ours - theirs).mean() < apart
    # Both take the slow change of brightness away.
    slow = [np.std(one.reshape(8, 32, 8, 32).mean(axis=(1, 3))) for one in (image, ours, theirs)]
    assert max(slow[1:]) < 0.85 * slow[0]


def test_constant_sections_stay_constant():
    for value in (0, 128, 255):
        assert len(np.unique(equalize_sections(np.full((1, 16, 16), value, np.uint8)))) == 1


def test_sections_do_not_influence_each_other():
    whole = equalize_sections(STACK, tiles=(4, 5))
    for z, section in enumerate(STACK):
        np.testing.assert_array_equal(whole[z], equalize_sections(section, tiles=(4, 5)))
        np.testing.assert_array_equal(whole[z : z + 1], equalize_sections(Volume(STACK)[z : z + 1], tiles=(4, 5)))
    order = np.asfortranarray(STACK)
    order.flags.writeable = False
    np.testing.assert_array_equal(equalize_sections(order, tiles=(4, 5)), whole)


@pytest.mark.parametrize("name", ["a.zarr", "a.h5"])
@pytest.mark.parametrize("limit", [1, 2 * 40 * 52, 2**28])
def test_files_equal_arrays(tmp_path, monkeypatch, name, limit):
    source = open_volume(save_volume(tmp_path / "em.zarr", STACK, voxel_size=(30, 8, 8), chunks=(2, 16, 16)))
    monkeypatch.setattr(slab_writing, "SLAB_BYTES", limit)
    written = equalize_sections(source, tmp_path / name, clip_limit=3)
    assert (written.path, written.dtype, written.voxel_size) == (tmp_path / name, np.uint8, (30, 8, 8))
    np.testing.assert_array_equal(written[:], equalize_sections(STACK, clip_limit=3))
    with refused(FileExistsError, f"{name} exists already"):
        equalize_sections(source, tmp_path / name)
    equalize_sections(source, tmp_path / name, overwrite=True)
    np.testing.assert_array_equal(open_volume(tmp_path / name)[:], equalize_sections(STACK))


def test_every_step_may_fail(tmp_path):
    def action(folder, _):
        equalize_sections(STACK, folder / "a.zarr", overwrite=True)

    for folder in failing_steps(action, lambda step: tmp_path / f"{step:04d}", None, 2):
        left = listing(folder)
        assert not left or (open_volume(folder / "a.zarr")[:] == equalize_sections(STACK)).all()
        assert not [name for name in left if ".partial" in name]


@pytest.mark.parametrize(
    "volume, options, kind, words",
    [
        (STACK.astype(np.uint16), {}, TypeError, "image is uint16, but uint8 was expected"),
        (STACK[None], {}, ValueError, "axes 'czyx'"),
        (STACK, {"tiles": (0, 8)}, ValueError, "tiles is (0, 8), but along y there are 40 pixels: 1 to 20"),
        (STACK, {"tiles": (8, 27)}, ValueError, "tiles is (8, 27), but along x there are 52 pixels: 1 to 26"),
        (STACK, {"tiles": 8}, ValueError, "tiles is 8, but two whole numbers"),
        (STACK, {"clip_limit": 0.5}, ValueError, "clip_limit is 0.5"),
        (STACK, {"clip_limit": np.nan}, ValueError, "clip_limit is nan"),
        (STACK[0], {"out": "a.zarr"}, ValueError, "axes are 'yx'"),
        (STACK, {"out": "a.tif"}, ValueError, "a.tif cannot be written as .tif"),
    ],
)
def test_refusals(tmp_path, monkeypatch, volume, options, kind, words):
    monkeypatch.chdir(tmp_path)
    with refused(kind, words, folder=tmp_path):
        equalize_sections(volume, **options)
