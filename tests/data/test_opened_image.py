"""Images that are opened without being read: the same pixels as those read whole, and never more than was asked for."""

import h5py
import numpy as np
import pytest
import tifffile
import torch
import zarr

from emlib.data import OpenedImage, open_image, opened_image, read_image
from emlib.volume import Volume, open_volume, save_volume

RANDOM = np.random.default_rng(0)
COLOUR = RANDOM.integers(0, 256, (90, 110, 3), np.uint8)
BOX = slice(20, 53), slice(7, 100)


@pytest.fixture(autouse=True)
def small_pictures_count_as_large(monkeypatch):
    monkeypatch.setattr(opened_image, "WORTH_IT", 1000)


LAYOUTS = {
    "contiguous": {},
    "big-endian BigTIFF": {"byteorder": ">", "bigtiff": True},
    "tiles": {"tile": (32, 48), "compression": "zlib"},
    "strips": {"rowsperstrip": 8, "compression": "zlib"},
    "differences": {"rowsperstrip": 8, "compression": "zlib", "predictor": 2},
    "plain strips": {"rowsperstrip": 8},
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("kind", ["u1", "u2", "f4", "grey u2", "opacity u1"])
def test_large_tiff_files_are_opened_and_equal_what_is_read(tmp_path, layout, kind):
    options = dict(LAYOUTS[layout])
    dtype = np.dtype(kind.split()[-1])
    if dtype.kind == "f" and "predictor" in options:
        del options["predictor"]
    pixels = (COLOUR if "grey" not in kind else COLOUR[..., 0]).astype(dtype)
    if "opacity" in kind:
        pixels, options["extrasamples"] = np.concatenate([pixels, pixels[..., :1]], axis=2), ["unassalpha"]
    options["photometric"] = "minisblack" if pixels.ndim == 2 else "rgb"
    tifffile.imwrite(tmp_path / "a.tif", pixels, **options)
    opened, whole = open_image(tmp_path / "a.tif"), read_image(tmp_path / "a.tif")
    assert isinstance(opened, OpenedImage)
    assert opened.dtype == whole.dtype
    assert opened.shape == pixels.shape[:2] + ((3,) if pixels.ndim == 3 else ())
    for box in (BOX, slice(None), slice(85, 200)):
        found = opened[box]
        assert found.dtype.isnative
        np.testing.assert_array_equal(found if found.ndim == 3 else np.repeat(found[..., None], 3, 2), whole[box])


@pytest.mark.parametrize(
    "options", [{"photometric": "miniswhite"}, {"compression": "zlib", "rowsperstrip": 90}, {"photometric": "palette"}]
)
def test_what_cannot_be_read_in_parts_is_decoded_whole(tmp_path, options):
    if options.get("photometric") == "palette":
        options = options | {"colormap": RANDOM.integers(0, 65536, (3, 256), np.uint16)}
    tifffile.imwrite(tmp_path / "a.tif", COLOUR[..., 0], **options)
    found = open_image(tmp_path / "a.tif")
    assert isinstance(found, np.ndarray)
    np.testing.assert_array_equal(found, read_image(tmp_path / "a.tif"))


def test_small_pictures_are_decoded(tmp_path, monkeypatch):
    monkeypatch.setattr(opened_image, "WORTH_IT", 1 << 20)
    tifffile.imwrite(tmp_path / "a.tif", COLOUR, photometric="rgb")
    assert isinstance(open_image(tmp_path / "a.tif"), np.ndarray)


def test_volumes_arrays_and_their_files(tmp_path):
    path = save_volume(tmp_path / "a.zarr", COLOUR, axes="yxc", voxel_size=(250, 500))
    stacked = save_volume(tmp_path / "b.zarr", COLOUR)
    np.save(tmp_path / "c.npy", COLOUR)
    planes = Volume(np.moveaxis(COLOUR, -1, 0), axes="cyx", voxel_size=(3, 4))
    with h5py.File(tmp_path / "d.h5", "w") as file:
        images = [path, str(path), open_volume(path), zarr.open_array(path, mode="r"), stacked, tmp_path / "c.npy",
                  planes, file.create_dataset("main", data=COLOUR)]  # fmt: skip
        for image in images:
            opened = open_image(image)
            assert opened.shape == COLOUR.shape
            np.testing.assert_array_equal(opened[BOX], COLOUR[BOX])
            np.testing.assert_array_equal(opened[3:9], COLOUR[3:9])
    assert open_image(path).voxel_size == (250, 500)
    assert open_image(planes).voxel_size == (3, 4)
    assert open_image(stacked).voxel_size is None
    section = open_image(Volume(COLOUR[None, ..., 0], voxel_size=(30, 8, 9)))
    assert (section.shape, section.voxel_size) == (COLOUR.shape[:2], (8, 9))
    np.testing.assert_array_equal(section[BOX], COLOUR[BOX][..., 0])
    assert open_image(COLOUR) is COLOUR
    assert open_image(section) is section


@pytest.mark.parametrize(
    "image, error, words",
    [
        (3, TypeError, "The image is a int"),
        (torch.zeros(4, 4), TypeError, "The image is a Tensor"),
        (Volume(np.zeros((4, 9, 9))), ValueError, "axes 'zyx' and shape (4, 9, 9)"),
        (Volume(np.zeros((2, 4, 9, 9))), ValueError, "axes 'czyx'"),
        (zarr.zeros((2, 3, 4, 5)), ValueError, "shape (2, 3, 4, 5)"),
        ("no such slide.zarr", FileNotFoundError, "no such slide.zarr"),
        ("no such slide.tif", FileNotFoundError, "no such slide.tif"),
    ],
)
def test_other_things_are_refused(image, error, words):
    with pytest.raises(error) as caught:
        open_image(image)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("layout", ["contiguous", "tiles"])
def test_truncated_slides_are_refused(tmp_path, layout):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, COLOUR, photometric="rgb", **LAYOUTS[layout])
    content = path.read_bytes()
    for length in (len(content) - 1, len(content) // 2):
        path.write_bytes(content[:length])
        with pytest.raises(OSError, match="damaged") as caught:
            open_image(path)
        assert "\n" not in str(caught.value)


def test_damage_inside_a_tile_is_said_when_it_is_read(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, COLOUR, photometric="rgb", tile=(32, 48), compression="zlib")
    with tifffile.TiffFile(path) as file:
        start = file.pages.first.dataoffsets[4]
    content = bytearray(path.read_bytes())
    content[start : start + 8] = b"no zlib!"
    path.write_bytes(content)
    opened = open_image(path)
    np.testing.assert_array_equal(opened[:32], COLOUR[:32])
    with pytest.raises(OSError, match="damaged"):
        opened[:]
