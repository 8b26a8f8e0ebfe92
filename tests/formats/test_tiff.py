"""TIFF: how axes and voxel sizes are found in files of other programs, lazy pages, and truncated files."""

import os

import numpy as np
import pytest
import tifffile
from formats.examples import as_colours

from emlib.formats.tiff import TiffSource
from emlib.volume import open_volume, save_volume

ARRAY = np.random.default_rng(0).integers(0, 65535, (6, 20, 24), dtype=np.uint16)


def write(path, array=ARRAY, **options):
    tifffile.imwrite(path, array, **{"photometric": "minisblack"} | options)
    return path


def pages_one_by_one(path):
    for number, page in enumerate(ARRAY):
        tifffile.imwrite(path, page, append=number > 0)
    return path


def without_description(path):
    with tifffile.TiffWriter(path) as writer:
        for page in ARRAY:
            writer.write(page, metadata=None)
    return path


@pytest.mark.parametrize(
    "make",
    [
        write,
        pages_one_by_one,
        without_description,
        lambda path: write(path, compression="zlib"),
        lambda path: write(path, bigtiff=True),
        lambda path: write(path, byteorder=">"),
        lambda path: write(path, imagej=True),
        lambda path: write(path, imagej=True, metadata={"axes": "TYX"}),
        lambda path: write(path, tile=(16, 16)),
        lambda path: write(path, ome=True),
    ],
    ids=["plain", "appended", "bare", "zlib", "big", "big-endian", "imagej", "imagej time", "tiled", "ome"],
)
def test_stacks_of_other_programs(tmp_path, make):
    volume = open_volume(make(tmp_path / "a.tif"))
    assert (volume.axes, volume.shape, volume.dtype) == ("zyx", ARRAY.shape, np.uint16)
    np.testing.assert_array_equal(volume[:], ARRAY)
    np.testing.assert_array_equal(volume[::-2, 3:9:2, -1], ARRAY[::-2, 3:9:2, -1])


def test_channels_come_first_in_memory(tmp_path):
    array = np.random.default_rng(0).integers(0, 255, (5, 2, 6, 7), dtype=np.uint8)  # ImageJ: z, then c
    for options in ({}, {"compression": "zlib"}):
        volume = open_volume(write(tmp_path / "a.tif", array, imagej=True, metadata={"axes": "ZCYX"}, **options))
        assert (volume.axes, volume.shape) == ("czyx", (2, 5, 6, 7))
        np.testing.assert_array_equal(volume[:], array.transpose(1, 0, 2, 3))
        np.testing.assert_array_equal(volume[1, 2:4, ::2], array.transpose(1, 0, 2, 3)[1, 2:4, ::2])


@pytest.mark.parametrize(
    "metadata, resolution, voxel_size",
    [
        ({"spacing": 0.03, "unit": "um"}, (125, 125), (30, 8, 8)),
        ({"spacing": 0.03, "unit": "micron"}, (125, 250), (30, 4, 8)),
        ({"spacing": 30, "unit": "nm"}, (0.125, 0.125), (30, 8, 8)),
        ({"spacing": 30}, (0.125, 0.125), None),
        ({"unit": "um"}, (125, 125), None),
        ({"spacing": 0.03, "unit": "pixel"}, (125, 125), None),
        ({"spacing": 0.03, "unit": "um"}, None, None),
    ],
)
def test_voxel_sizes_of_imagej(tmp_path, metadata, resolution, voxel_size):
    path = write(tmp_path / "a.tif", imagej=True, resolution=resolution, metadata={"axes": "ZYX", **metadata})
    found = open_volume(path).voxel_size
    if metadata.get("unit") == "um" and resolution is None:
        assert found is None or found[0] == 30
        return
    assert found == (None if voxel_size is None else pytest.approx(voxel_size))


def test_saved_stacks_are_mapped_and_compressed_ones_read_by_page(tmp_path, monkeypatch):
    decoded = []
    read = TiffSource.read_page
    monkeypatch.setattr(TiffSource, "read_page", lambda self, number: (decoded.append(number), read(self, number))[1])
    volume = open_volume(save_volume(tmp_path / "a.tif", ARRAY))
    np.testing.assert_array_equal(volume[1], ARRAY[1])
    assert decoded == []
    volume = open_volume(write(tmp_path / "b.tif", compression="zlib"))
    assert volume.chunks == (1, 20, 24)
    np.testing.assert_array_equal(volume.crop(z=(1, 5))[::2, 3], ARRAY[1:5:2, 3])
    assert decoded == [1, 3]


def test_one_bit_pages_read_as_0_and_255(tmp_path):
    masks = ARRAY > 30000
    volume = open_volume(write(tmp_path / "a.tif", masks))
    assert volume.dtype == np.uint8
    np.testing.assert_array_equal(volume[:], masks * np.uint8(255))


def test_colours(tmp_path):
    ids = np.random.default_rng(0).integers(0, 2**24, (3, 6, 7))
    path = write(tmp_path / "a.tif", as_colours(ids), photometric="rgb")
    with pytest.raises(ValueError, match=r"pass labels=True to read ids .* or convert the slices to grey"):
        open_volume(path)
    volume = open_volume(path, labels=True)
    assert (volume.axes, volume.dtype) == ("zyx", np.uint32)
    np.testing.assert_array_equal(volume[1:, ::-1], ids[1:, ::-1])
    picture = write(tmp_path / "b.tif", as_colours(ids)[0], photometric="rgb")
    assert open_volume(picture).axes == "yxc"
    np.testing.assert_array_equal(open_volume(picture, labels=True)[:], ids[0])
    planes = write(
        tmp_path / "c.tif", as_colours(ids)[0].transpose(2, 0, 1).copy(), photometric="rgb", planarconfig="separate"
    )
    assert open_volume(planes).axes == "cyx"
    with pytest.raises(ValueError, match="channels as planes"):
        open_volume(planes, labels=True)


def test_pages_of_different_shapes(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        writer.write(ARRAY[0])
        writer.write(ARRAY[0, :5])
    with pytest.raises(ValueError, match=r"2 images .* which do not make one stack"):
        open_volume(tmp_path / "a.tif")


def test_too_many_axes(tmp_path):
    with pytest.raises(ValueError, match="a volume has z, c, y and x only"):
        open_volume(write(tmp_path / "a.tif", np.zeros((2, 3, 4, 5, 6), np.uint8), metadata={"axes": "TCZYX"}))


@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}, {"imagej": True}, {"bigtiff": True}])
@pytest.mark.parametrize("keep", [0, 4, 20, 0.3, 0.6, 0.9])
def test_truncated_files(tmp_path, options, keep):
    path = write(tmp_path / "a.tif", **options)
    size = path.stat().st_size
    os.truncate(path, int(size * keep) if 0 < keep < 1 else keep)
    with pytest.raises(OSError, match=r"a.tif.* damaged or truncated"):
        open_volume(path)[:]


def test_a_damaged_page_is_named(tmp_path):
    path = write(tmp_path / "a.tif", compression="zlib")
    with tifffile.TiffFile(path) as file:
        offset, count = file.pages[3].dataoffsets[0], file.pages[3].databytecounts[0]
    with open(path, "r+b") as file:
        file.seek(offset)
        file.write(b"\x00" * count)
    volume = open_volume(path)
    np.testing.assert_array_equal(volume[4:], ARRAY[4:])
    with pytest.raises(OSError, match=r"Page 3 of .*a.tif cannot be read"):
        volume[2:]


def test_files_that_are_no_tiff(tmp_path):
    (tmp_path / "a.tif").write_bytes(b"not a picture at all, but long enough")
    with pytest.raises(OSError, match="no complete TIFF file"):
        open_volume(tmp_path / "a.tif")


def test_a_file_cut_after_opening(tmp_path):
    volume = open_volume(save_volume(tmp_path / "a.tif", ARRAY))
    os.truncate(tmp_path / "a.tif", 1000)
    with pytest.raises(OSError, match="truncated after it was opened"):
        volume[0]
