"""Pictures of every kind in, one form out; whatever is damaged or ambiguous is refused in one sentence."""

import struct
import zlib

import imageio.v3 as imageio
import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from emlib.data.image_files import image_size, read_image, read_label_image
from emlib.data.png_samples import read_deep_colour

# Not equal to any turn or flip of itself, nor do its channels agree: a reader that turns anything is found out.
GREY = np.arange(5 * 7, dtype=np.uint8).reshape(5, 7) * 3
COLOUR = np.stack([GREY, GREY + 50, 200 - GREY], axis=2).astype(np.uint8)
DEEP = GREY.astype(np.uint16) * 600 + 7


def tripled(array):
    return np.repeat(array[..., None], 3, axis=2)


def png16(array, filters=0):
    """PNG of 16 bits a channel with the given filter type in every line, written from the specification."""
    height, width, channels = array.shape
    step, lines, before = 2 * channels, b"", np.zeros(2 * channels * width, np.int64)
    for row in array.astype(">u2"):
        now = np.frombuffer(row.tobytes(), np.uint8).astype(np.int64)
        left = np.concatenate([np.zeros(step, np.int64), now[:-step]])
        corner = np.concatenate([np.zeros(step, np.int64), before[:-step]])
        estimate = left + before - corner
        choices = np.stack([left, before, corner])
        paeth = choices[np.abs(choices - estimate).argmin(0), np.arange(now.size)]
        guess = [0 * now, left, before, (left + before) // 2, paeth][filters]
        lines += bytes([filters]) + ((now - guess) % 256).astype(np.uint8).tobytes()
        before = now

    def part(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = struct.pack(">IIBBBBB", width, height, 16, {2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    packed = zlib.compress(lines)
    data = part(b"IDAT", packed[: len(packed) // 2]) + part(b"IDAT", packed[len(packed) // 2 :])
    return b"\x89PNG\r\n\x1a\n" + part(b"IHDR", head) + data + part(b"IEND", b"")


def palette_picture(path):
    picture = Image.fromarray(GREY % 4).convert("P")
    picture.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0, 10, 20, 30])
    picture.save(path)
    return np.array([[0, 0, 0], [255, 0, 0], [0, 255, 0], [10, 20, 30]], np.uint8)[GREY % 4]


def save_as(kind, path):
    """Write one kind of file and return what `read_image` must give."""
    name = kind.split()[0]
    if kind == "png palette":
        return palette_picture(path)
    if kind == "png 16-bit rgb":
        colour = COLOUR.astype(np.uint16) * 257 + 3
        path.write_bytes(png16(colour))
        return colour
    if kind == "png grey and opacity":
        Image.fromarray(np.stack([GREY, 255 - GREY], 2), mode="LA").save(path)
        return tripled(GREY)
    if kind == "png rgba":
        imageio.imwrite(path, np.concatenate([COLOUR, GREY[..., None]], 2))
        return COLOUR
    if kind == "png 1-bit":
        Image.fromarray(GREY > 50).save(path)
        return tripled((GREY > 50).astype(np.uint8) * 255)
    if kind == "bmp grey":
        Image.fromarray(GREY).save(path)
        return tripled(GREY)
    if kind == "tif lzw":
        Image.fromarray(COLOUR).save(path, compression="tiff_lzw")
        return COLOUR
    if kind == "tif lzw 16-bit":
        Image.fromarray(DEEP).save(path, compression="tiff_lzw")
        return tripled(DEEP)
    if kind == "tif white is zero":
        tifffile.imwrite(path, GREY, photometric="miniswhite")
        return tripled(255 - GREY)
    if kind == "tif palette":
        table = np.random.default_rng(0).integers(0, 256, (3, 256)).astype(np.uint16)
        tifffile.imwrite(path, GREY, photometric="palette", colormap=table * 257)
        return table.T[GREY].astype(np.uint8)
    if kind == "tif planar":
        tifffile.imwrite(path, COLOUR.transpose(2, 0, 1), photometric="rgb", planarconfig="separate")
        return COLOUR
    if kind == "tif channels first":
        tifffile.imwrite(path, COLOUR.transpose(2, 0, 1), imagej=True, metadata={"axes": "CYX"})
        return COLOUR
    if kind == "tif two stains":
        tifffile.imwrite(path, COLOUR[..., :2].transpose(2, 0, 1), imagej=True, metadata={"axes": "CYX"})
        return np.concatenate([COLOUR[..., :2], np.zeros_like(COLOUR[..., :1])], 2)
    if kind == "tif two stains last":
        tifffile.imwrite(path, COLOUR[..., :2])
        return np.concatenate([COLOUR[..., :2], np.zeros_like(COLOUR[..., :1])], 2)
    if kind == "tif grey and opacity":
        tifffile.imwrite(path, COLOUR[..., :2], photometric="minisblack", planarconfig="contig", extrasamples=[2])
        return tripled(COLOUR[..., 0])
    if kind == "tif rgba":
        four = np.concatenate([COLOUR, GREY[..., None]], 2)
        tifffile.imwrite(path, four, photometric="rgb", extrasamples=["unassalpha"])
        return COLOUR
    if kind == "tif one page of a stack":
        tifffile.imwrite(path, GREY[None])
        return tripled(GREY)
    array = {"float": GREY / np.float32(7), "float64": GREY / 7, "16-bit": DEEP, "rgb": COLOUR, "grey": GREY}
    array |= {
        "big-endian": DEEP,
        "half": (GREY / 2).astype(np.float16),
        "deflate": DEEP,
        "16-bit rgb": COLOUR.astype(np.uint16) * 257,
    }
    array = array[kind[len(name) + 1 :]]
    options = {"byteorder": ">"} if kind.endswith("endian") else {}
    options |= {"compression": "zlib", "predictor": True} if kind.endswith("deflate") else {}
    options |= {"photometric": "rgb"} if array.ndim == 3 else {}
    tifffile.imwrite(path, array, **options) if name == "tif" else imageio.imwrite(path, array)
    array = array.astype(np.float32) if array.dtype == np.float16 else array
    return array if array.ndim == 3 else tripled(array)


KINDS = [
    *("png grey", "png rgb", "png 16-bit", "png palette", "png 16-bit rgb", "png grey and opacity", "png rgba"),
    *("png 1-bit", "bmp grey", "bmp rgb", "tif grey", "tif rgb", "tif 16-bit", "tif float", "tif float64", "tif half"),
    *("tif big-endian", "tif deflate", "tif 16-bit rgb", "tif lzw", "tif lzw 16-bit", "tif white is zero"),
    *("tif palette", "tif planar", "tif channels first", "tif two stains", "tif two stains last", "tif rgba"),
    *("tif grey and opacity", "tif one page of a stack"),
]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_file(tmp_path, kind):
    path = tmp_path / f"a.b.{kind.split()[0].upper()}"
    plain = path.with_suffix(path.suffix.lower())
    expected = save_as(kind, plain)
    plain.rename(path)
    found = read_image(path)
    assert found.dtype == expected.dtype
    assert found.dtype.isnative
    assert np.array_equal(found, expected)
    assert image_size(path) == (5, 7)


@pytest.mark.parametrize("suffix", ["jpg", "jpeg"])
def test_jpeg_keeps_its_orientation(tmp_path, suffix):
    picture = np.zeros((40, 64, 3), np.uint8)
    picture[:16, :24] = 255, 0, 0
    Image.fromarray(picture).save(tmp_path / f"a.{suffix}", quality=95, exif=_turned())
    found = read_image(tmp_path / f"a.{suffix}").astype(int)
    assert found.shape == picture.shape
    assert np.abs(found - picture).mean() < 12


def _turned():
    """A camera's note that the picture is to be turned by a quarter."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


def test_the_content_decides_not_the_name(tmp_path):
    tifffile.imwrite(tmp_path / "a.png", DEEP)
    assert np.array_equal(read_image(tmp_path / "a.png"), tripled(DEEP))


@pytest.mark.parametrize("filters", range(5))
@given(seed=st.integers(0, 10**6), channels=st.integers(2, 4), width=st.integers(1, 6), height=st.integers(1, 6))
def test_deep_png_with_every_filter(tmp_path_factory, filters, seed, channels, width, height):
    path = tmp_path_factory.mktemp("png") / "a.png"
    array = np.random.default_rng(seed).integers(0, 2**16, (height, width, channels)).astype(np.uint16)
    path.write_bytes(png16(array, filters))
    assert np.array_equal(read_deep_colour(path), array)
    # The imaging library keeps the high byte of each: it decodes the same picture.
    if channels > 2:
        assert np.array_equal(np.asarray(Image.open(path)), array >> 8)


def test_stacks_need_a_page(tmp_path):
    stack = np.stack([GREY, GREY + 1, GREY + 2])
    tifffile.imwrite(tmp_path / "z.tif", stack, imagej=True, metadata={"axes": "ZYX"})
    with tifffile.TiffWriter(tmp_path / "appended.tif") as file:
        for page in stack:
            file.write(page, contiguous=False)
    for name in ("z.tif", "appended.tif"):
        with pytest.raises(ValueError, match="stack of 3 pages"):
            read_image(tmp_path / name)
        assert np.array_equal(read_image(tmp_path / name, page=1), tripled(stack[1]))
        with pytest.raises(ValueError, match="page 3 was asked"):
            read_image(tmp_path / name, page=3)
    with pytest.raises(ValueError, match="stack"):
        read_label_image(tmp_path / "z.tif")
    with pytest.raises(TypeError, match="page"):
        read_image(tmp_path / "z.tif", page="first")
    Image.fromarray(GREY).save(tmp_path / "one.png")
    with pytest.raises(ValueError, match="single picture"):
        read_image(tmp_path / "one.png", page=2)


def test_channels_can_be_chosen(tmp_path):
    five = np.stack([GREY + n for n in range(5)])
    tifffile.imwrite(tmp_path / "five.tif", five, imagej=True, metadata={"axes": "CYX"})
    with pytest.raises(ValueError, match="5 channels"):
        read_image(tmp_path / "five.tif")
    found = read_image(tmp_path / "five.tif", channels=(4, 1))
    assert np.array_equal(found, np.stack([five[4], five[1], 0 * GREY], 2))
    for channels, error in (((5,), ValueError), ((), ValueError), ((0, 1, 2, 3), ValueError), (("a",), TypeError)):
        with pytest.raises(error, match="channels"):
            read_image(tmp_path / "five.tif", channels=channels)


DAMAGED = ["png rgb", "png 16-bit rgb", "bmp rgb", "jpg", "tif 16-bit", "tif deflate", "tif lzw", "tif rgb"]


@pytest.mark.parametrize("kind", DAMAGED)
@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.9])
def test_truncated_files(tmp_path, kind, share):
    path = tmp_path / f"a.{kind.split()[0]}"
    random = np.random.default_rng(0).integers(0, 256, (64, 48, 3)).astype(np.uint8)
    if kind == "png 16-bit rgb":
        path.write_bytes(png16(random.astype(np.uint16) * 257))
    elif kind == "tif 16-bit":
        tifffile.imwrite(path, random[..., 0].astype(np.uint16), metadata=None)
    elif kind == "tif deflate":
        tifffile.imwrite(path, random, photometric="rgb", compression="zlib")
    elif kind == "tif lzw":
        Image.fromarray(random).save(path, compression="tiff_lzw")
    elif kind == "tif rgb":
        tifffile.imwrite(path, random, photometric="rgb", rowsperstrip=8)
    else:
        Image.fromarray(random).save(path)
    whole = path.read_bytes()
    assert read_image(path).shape == (64, 48, 3)
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(OSError, match="damaged") as caught:
        read_image(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "content", [b"", b"\0", b"hello, this is a text file\n" * 3, b"\x89PNG\r\n\x1a\n", b"II*\0abcd"]
)
@pytest.mark.parametrize("read", [read_image, read_label_image, image_size])
def test_files_that_are_no_pictures(tmp_path, content, read):
    path = tmp_path / "a.png"
    path.write_bytes(content)
    with pytest.raises(OSError, match=r"a\.png") as caught:
        read(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("read", [read_image, read_label_image, image_size])
def test_missing_files_and_folders(tmp_path, read):
    with pytest.raises(FileNotFoundError, match="no file"):
        read(tmp_path / "a.tif")
    with pytest.raises(FileNotFoundError, match="no file"):
        read_label_image(tmp_path / "a.npy")
    with pytest.raises(IsADirectoryError, match="folder"):
        read_image(tmp_path)


def test_other_pixels(tmp_path):
    tifffile.imwrite(tmp_path / "complex.tif", np.ones((4, 5), np.complex64))
    with pytest.raises(TypeError, match="complex64"):
        read_image(tmp_path / "complex.tif")
    values = np.array([[np.nan, np.inf], [-1, 1e30]], np.float32)
    tifffile.imwrite(tmp_path / "float.tif", values)
    assert np.array_equal(read_image(tmp_path / "float.tif")[..., 1], values, equal_nan=True)
    tifffile.imwrite(tmp_path / "pixel.tif", np.array([[7]], np.uint8))
    assert read_image(tmp_path / "pixel.tif").tolist() == [[[7, 7, 7]]]


UNSIGNED = (np.uint8, np.uint16, np.uint32, np.uint64)
IDS = np.zeros((5, 7), np.int64)
IDS[1:3, 2:6], IDS[4, 0] = 3, 70001


@pytest.mark.parametrize(
    "suffix, dtype",
    [
        *((suffix, dtype) for suffix in ("tif", "npy") for dtype in (*UNSIGNED, np.int16, np.int32)),
        *(("png", dtype) for dtype in UNSIGNED[:2]),
    ],
)
def test_labels_of_every_type(tmp_path, suffix, dtype):
    width = np.dtype(dtype).itemsize
    ids = np.where(IDS > 3, {1: 200, 2: 30000, 4: 70001, 8: 2**40}[width], IDS).astype(dtype)
    path = tmp_path / f"a.{suffix}"
    if suffix == "npy":
        np.save(path, np.asfortranarray(ids))
    elif suffix == "tif":
        tifffile.imwrite(path, ids, compression="zlib")
    else:
        imageio.imwrite(path, ids)
    found = read_label_image(path)
    assert found.dtype == np.dtype(f"u{width}")
    assert found.flags.c_contiguous
    assert np.array_equal(found, ids)
    assert image_size(path) == (5, 7)


def test_palette_entries_are_ids_and_white_is_zero_is_not_turned(tmp_path):
    palette_picture(tmp_path / "a.png")
    assert np.array_equal(read_label_image(tmp_path / "a.png"), GREY % 4)
    tifffile.imwrite(tmp_path / "a.tif", GREY, photometric="miniswhite")
    assert np.array_equal(read_label_image(tmp_path / "a.tif"), GREY)


def test_single_pages_and_channels_of_labels(tmp_path):
    np.save(tmp_path / "a.npy", IDS[None, ..., None])
    assert np.array_equal(read_label_image(tmp_path / "a.npy"), IDS)


@pytest.mark.parametrize(
    "array, error, match",
    [
        (COLOUR, ValueError, "colour"),
        (IDS.astype(float), TypeError, "float64"),
        (IDS > 0, TypeError, "1-bit"),
        (-IDS, ValueError, "negative"),
        (np.zeros((3, 5, 7), int), ValueError, "shape"),
        (np.zeros(5, int), ValueError, "shape"),
        (np.zeros((0, 5), int), ValueError, "shape"),
        (np.array([[{}]]), OSError, "damaged|numbers"),
    ],
)
def test_labels_that_are_refused(tmp_path, array, error, match):
    np.save(tmp_path / "a.npy", array, allow_pickle=True)
    with pytest.raises(error, match=match):
        read_label_image(tmp_path / "a.npy")


def test_jpeg_and_colour_labels_are_refused(tmp_path):
    Image.fromarray(GREY).save(tmp_path / "a.jpg")
    with pytest.raises(ValueError, match="JPEG"):
        read_label_image(tmp_path / "a.jpg")
    Image.fromarray(COLOUR).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match="decode_ids"):
        read_label_image(tmp_path / "a.png")
    np.save(tmp_path / "cut.npy", IDS)
    (tmp_path / "cut.npy").write_bytes((tmp_path / "cut.npy").read_bytes()[:-9])
    with pytest.raises(OSError, match="truncated"):
        read_label_image(tmp_path / "cut.npy")


def test_pictures_beyond_the_limit_of_the_imaging_library(tmp_path, monkeypatch):
    Image.fromarray(GREY).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    assert read_image(tmp_path / "a.png").shape == (5, 7, 3)
    assert Image.MAX_IMAGE_PIXELS == 10
