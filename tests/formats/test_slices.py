"""Folders and globs of slices: order, lazy decoding, masks of 1 and 8 bits, ids in colours, disagreeing slices."""

import os

import imageio.v3 as iio
import numpy as np
import pytest
from formats.examples import as_colours, write_slices

from emlib.formats import slices
from emlib.formats.slices import SliceSource
from emlib.volume import open_volume

ARRAY = np.random.default_rng(0).integers(0, 255, (12, 9, 10), dtype=np.uint8)


@pytest.fixture
def folder(tmp_path):
    return write_slices(tmp_path / "slices", ARRAY)


def test_natural_order_and_other_files(folder):
    (folder / "readme.txt").write_text("not a slice")
    (folder / ".s0.png").write_bytes(b"left by a file browser")
    for place in (folder, str(folder), f"{folder}/s*.png", f"{folder}/s?.p[n]g"):
        volume = open_volume(place)
        count = 10 if "?" in str(place) else 12
        np.testing.assert_array_equal(volume[:], ARRAY[:count])
    assert volume.chunks == (1, 9, 10)


def test_only_the_needed_slices_are_decoded(folder, monkeypatch):
    decoded = []
    read = slices.read_picture
    monkeypatch.setattr(slices, "read_picture", lambda path: (decoded.append(path.name), read(path))[1])
    volume = open_volume(folder).crop(z=(2, 11))
    assert decoded == []
    np.testing.assert_array_equal(volume[1::4, ::2, -1], ARRAY[3:11:4, ::2, -1])
    assert sorted(decoded) == ["s3.png", "s7.png"]


def test_masks_of_1_and_8_bits_are_one_volume(tmp_path):
    masks = ARRAY > 127
    folder = write_slices(tmp_path / "masks", masks[:6])
    assert iio.imread(folder / "s0.png").dtype == bool or iio.immeta(folder / "s0.png")["mode"] == "1"
    for number in range(6, 12):
        iio.imwrite(folder / f"s{number}.png", masks[number] * np.uint8(255))
    volume = open_volume(folder)
    assert volume.dtype == np.uint8
    np.testing.assert_array_equal(volume[:], masks * np.uint8(255))
    np.testing.assert_array_equal(volume[:] > 127, masks)
    bilevel = open_volume(write_slices(tmp_path / "tif", masks, ".tif"))
    np.testing.assert_array_equal(bilevel[:], masks * np.uint8(255))


def test_ids_in_colours(tmp_path):
    ids = np.random.default_rng(0).integers(0, 2**24, (3, 6, 7))
    folder = write_slices(tmp_path / "ids", as_colours(ids))
    with pytest.raises(ValueError, match=r"s0.png is a colour picture .* pass labels=True .* or convert the slices"):
        open_volume(folder)
    volume = open_volume(folder, labels=True)
    assert (volume.dtype, volume.axes) == (np.uint32, "zyx")
    np.testing.assert_array_equal(volume[:], ids)
    np.testing.assert_array_equal(open_volume(write_slices(tmp_path / "g", ARRAY), labels=True)[:], ARRAY)


def test_transparent_colours_are_no_ids(tmp_path):
    pixels = np.full((2, 6, 7, 4), 255, np.uint8)
    assert (open_volume(write_slices(tmp_path / "a", pixels), labels=True)[:] == 2**24 - 1).all()
    pixels[1, 2, 3, 3] = 0
    volume = open_volume(write_slices(tmp_path / "a", pixels), labels=True)
    with pytest.raises(ValueError, match=r"s1.png has transparent pixels"):
        volume[:]
    with pytest.raises(ValueError, match="they need 3 channels of uint8, it has 2"):
        open_volume(write_slices(tmp_path / "b", pixels[..., :2]), labels=True)


def test_single_pictures(folder, tmp_path):
    volume = open_volume(folder / "s3.png")
    assert (volume.axes, volume.shape) == ("yx", (9, 10))
    np.testing.assert_array_equal(volume[2:, 3], ARRAY[3, 2:, 3])
    colours = np.stack([ARRAY[0]] * 3, axis=-1)
    iio.imwrite(tmp_path / "c.png", colours)
    assert open_volume(tmp_path / "c.png").axes == "yxc"
    np.testing.assert_array_equal(open_volume(tmp_path / "c.png")[..., 1], ARRAY[0])


@pytest.mark.parametrize("change, text", [
    (np.zeros((9, 11), np.uint8), r"s5.png is \(9, 11\) uint8, but s0.png is \(9, 10\) uint8; all slices must agree"),
    (np.zeros((9, 10), np.uint16), r"s5.png is \(9, 10\) uint16, but"),
    (np.zeros((9, 10, 3), np.uint8), r"s5.png is \(9, 10, 3\) uint8, but"),
])  # fmt: skip
def test_slices_that_disagree(folder, change, text):
    iio.imwrite(folder / "s5.png", change)
    with pytest.raises(ValueError, match=text):
        open_volume(folder)


def test_empty_and_mixed_folders(tmp_path, folder):
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="holds no slices"):
        open_volume(tmp_path / "empty")
    with pytest.raises(FileNotFoundError, match="No file matches"):
        open_volume(tmp_path / "*.png")
    (folder / "notes.txt").write_text("")
    with pytest.raises(ValueError, match=r"matches notes.txt, which is not a slice"):
        open_volume(folder / "*")
    write_slices(folder / "more", ARRAY[:1], ".tif")
    (folder / "more/s0.tif").rename(folder / "s0.tif")
    with pytest.raises(ValueError, match="holds PNG and TIFF slices; name one kind"):
        open_volume(folder)
    assert open_volume(folder / "*.png").shape == ARRAY.shape


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("keep", [0, 12, 0.5, 0.8])
def test_truncated_slices(tmp_path, suffix, keep):
    folder = write_slices(
        tmp_path / "a", np.random.default_rng(0).integers(0, 255, (3, 40, 50), dtype=np.uint8), suffix
    )
    file = folder / f"s1{suffix}"
    os.truncate(file, int(file.stat().st_size * keep) if 0 < keep < 1 else keep)
    with pytest.raises(OSError, match=rf"s1{suffix}.* damaged or truncated"):
        open_volume(folder)[:]


def test_a_flipped_bit_in_a_png(folder):
    data = bytearray((folder / "s4.png").read_bytes())
    data[len(data) // 2] ^= 4
    (folder / "s4.png").write_bytes(data)
    volume = open_volume(folder)
    np.testing.assert_array_equal(volume[5:], ARRAY[5:])
    with pytest.raises(OSError, match=r"s4.png cannot be read"):
        volume[3:6]


def test_slices_that_change_after_opening(folder):
    volume = open_volume(folder)
    (folder / "s4.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"s4.png is gone"):
        volume[:]
    iio.imwrite(folder / "s4.png", np.zeros((3, 3), np.uint8))
    with pytest.raises(ValueError, match=r"s4.png is \(3, 3\), but its header and the other slices say \(9, 10\)"):
        volume[:]


def test_palettes_and_deep_colours_are_refused(tmp_path):
    from PIL import Image

    Image.fromarray(ARRAY[0]).convert("P").save(tmp_path / "p.png")
    with pytest.raises(ValueError, match="colour palette"):
        open_volume(tmp_path / "p.png")
    head = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x10\x02\x00\x00\x00"
    (tmp_path / "d.png").write_bytes(head)
    with pytest.raises(ValueError, match="16 bits a channel in 3 channels"):
        open_volume(tmp_path / "d.png")
    (tmp_path / "e.png").write_bytes(head[:25] + b"\x09" + head[26:])
    with pytest.raises(OSError, match="no colour type 9"):
        open_volume(tmp_path / "e.png")


def test_deep_grey_pictures_keep_their_values(tmp_path):
    deep = np.random.default_rng(0).integers(0, 65535, (3, 6, 7), dtype=np.uint16)
    volume = open_volume(write_slices(tmp_path / "deep", deep))
    assert volume.dtype == np.uint16
    np.testing.assert_array_equal(volume[:], deep)


def test_a_stack_among_slices(tmp_path):
    folder = write_slices(tmp_path / "a", ARRAY, ".tif")
    import tifffile

    tifffile.imwrite(folder / "s3.tif", ARRAY)
    with pytest.raises(ValueError, match=r"s3.tif has 12 pages; a slice is one page"):
        SliceSource(folder)
