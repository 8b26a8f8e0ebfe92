"""Damage and sizes of PNG files that the imaging library treats otherwise than ids need it."""

import struct
import zlib

import imageio.v3 as iio
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from emlib.formats.pictures import decode_ids, encode_ids, encode_png, read_picture
from emlib.formats.png_parts import check_png, png_parts


@given(
    arrays.arrays(np.uint64, (3, 4), elements=st.integers(0, 2**24 - 1)),
    st.sampled_from(["uint32", "uint64", "int32", "int64"]),
)
def test_ids_and_colours(ids, dtype):
    pixels = encode_ids(ids.astype(dtype))
    assert pixels.dtype == np.uint8
    np.testing.assert_array_equal(decode_ids(pixels), ids)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int8])
def test_narrow_ids_and_those_that_are_no_colours(dtype):
    top = np.iinfo(dtype).max
    assert decode_ids(encode_ids(np.array([[0, top]], dtype))).tolist() == [[0, top]]
    with pytest.raises(ValueError, match="The id 16777216 does not fit"):
        encode_ids(np.array([[2**24]]))
    with pytest.raises(ValueError, match="The id -1 does not fit"):
        encode_ids(np.array([[-1]]))


@pytest.mark.parametrize("shape, dtype", [((5, 7), np.uint8), ((5, 7), np.uint16), ((5, 7, 3), np.uint8)])
def test_pictures_are_what_another_library_reads(tmp_path, shape, dtype):
    pixels = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, shape, dtype=dtype)
    for level in (0, 9):
        (tmp_path / "a.png").write_bytes(encode_png(pixels, level=level))
        np.testing.assert_array_equal(iio.imread(tmp_path / "a.png"), pixels)
        np.testing.assert_array_equal(read_picture(tmp_path / "a.png"), pixels)


def test_every_flipped_bit_is_noticed(tmp_path):
    whole = encode_png(np.random.default_rng(0).integers(0, 255, (6, 5, 3), dtype=np.uint8), level=0)
    assert b"".join(kind for kind, _ in png_parts(whole)) == b"IHDRIDATIEND"
    file = tmp_path / "a.png"
    for place in range(16, len(whole) - 12, 5):
        data = bytearray(whole)
        data[place] ^= 1 << place % 8
        file.write_bytes(data)
        with pytest.raises((OSError, ValueError), match=r"a\.png"):
            read_picture(file)


def test_a_changed_pixel_with_its_old_checksum_is_noticed(tmp_path):
    # Uncompressed pixels with a right checksum of their own: only the part's checksum is wrong.
    lines = zlib.compress(b"\0" + bytes(9), 0)
    other = zlib.compress(b"\0" + bytes(8) + b"\1", 0)

    def part(kind, body, of=None):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + (of or body)))

    head = b"\x89PNG\r\n\x1a\n" + part(b"IHDR", struct.pack(">IIBBBBB", 3, 1, 8, 2, 0, 0, 0))
    (tmp_path / "good.png").write_bytes(head + part(b"IDAT", lines) + part(b"IEND", b""))
    (tmp_path / "bad.png").write_bytes(head + part(b"IDAT", other, lines) + part(b"IEND", b""))
    assert iio.imread(tmp_path / "bad.png").max() == 1, "the library says nothing"
    assert read_picture(tmp_path / "good.png").max() == 0
    with pytest.raises(OSError, match=r"bad.png cannot be read, it is damaged or truncated .*IDAT"):
        read_picture(tmp_path / "bad.png")
    (tmp_path / "text.txt").write_text("no picture")
    check_png(tmp_path / "text.txt")


def test_pictures_of_any_size(tmp_path, monkeypatch):
    from PIL import Image

    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 4)
    pixels = np.arange(100, dtype=np.uint8).reshape(10, 10)
    (tmp_path / "a.png").write_bytes(encode_png(pixels))
    np.testing.assert_array_equal(read_picture(tmp_path / "a.png"), pixels)
    assert Image.MAX_IMAGE_PIXELS == 4
