"""VAST exports: exact round trips, names and gaps, kinds of PNG, what is refused, and nothing left half-written."""

import os
import pickle

import imageio.v3 as iio
import numpy as np
import pytest
from faults.disk import failing_steps
from faults.sentences import listing, refused
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from emlib.data import read_renumbering, read_vast, slab_writing, vast_export, vast_to_volume, write_vast
from emlib.data.vast_names import section_name
from emlib.volume import open_volume, save_volume

IDS = np.random.default_rng(0).integers(0, 2**24, (5, 12, 17)).astype(np.uint32)
QUIET = {"show_progress": False}


def colours(ids):
    return np.stack([ids // 65536, ids // 256 % 256, ids % 256], axis=-1).astype(np.uint8)


@pytest.fixture
def export(tmp_path):
    return write_vast(IDS, tmp_path / "export", **QUIET)


@given(
    shape=st.tuples(st.integers(1, 3), st.integers(1, 5), st.integers(1, 5)),
    dtype=st.sampled_from([np.uint8, np.int16, np.uint32, np.int64, np.uint64]),
    pattern=st.sampled_from(["%04d_tr1-tc1.png", "s%d.png", "0.5nm_s%06d.PNG"]),
    first=st.sampled_from([0, 9, 99_999]),
    data=st.data(),
)
@settings(max_examples=25)
def test_labels_come_back(shape, dtype, pattern, first, data, tmp_path_factory):
    top = min(2**24 - 1, np.iinfo(dtype).max)
    labels = data.draw(arrays.arrays(dtype, shape, elements=st.integers(0, top)))
    order = data.draw(st.sampled_from(["C", "F"]))
    folder = tmp_path_factory.mktemp("v") / "export"
    write_vast(np.asarray(labels, order=order), folder, pattern=pattern, first=first, **QUIET)
    assert sorted(os.listdir(folder)) == sorted(section_name(pattern, first + z) for z in range(len(labels)))
    volume = read_vast(folder, pattern=pattern, voxel_size=(30, 8, 8))
    assert (volume.dtype, volume.axes, volume.voxel_size) == (np.uint32, "zyx", (30, 8, 8))
    assert volume.attributes == {"first_section": first}
    np.testing.assert_array_equal(volume[:], labels)


@given(
    labels=arrays.arrays(np.uint64, (2, 3, 4), elements=st.sampled_from([0, 1, 2**24, 2**53 + 1, 2**53, 2**64 - 1])),
    signed=st.booleans(),
)
@settings(max_examples=15)
def test_renumbered_ids_come_back(labels, signed, tmp_path_factory):
    labels = (labels >> np.uint64(1)).astype(np.int64) if signed else labels
    folder = write_vast(labels, tmp_path_factory.mktemp("v") / "export", renumber=True, **QUIET)
    present = sorted({0} | set(labels.ravel().tolist()))
    assert read_renumbering(folder) == dict(enumerate(present))
    assert read_vast(folder)[:].max() < len(present)
    np.testing.assert_array_equal(read_vast(folder, ids=read_renumbering(folder))[:], labels)


def test_the_files_are_what_the_seed_reads(export):
    assert sorted(os.listdir(export)) == [f"{z:04d}_tr1-tc1.png" for z in range(5)]
    for z in range(5):
        pixels = iio.imread(export / f"{z:04d}_tr1-tc1.png").astype(int)
        assert pixels.shape == (12, 17, 3)
        np.testing.assert_array_equal(pixels[..., 0] * 65536 + pixels[..., 1] * 256 + pixels[..., 2], IDS[z])


@pytest.fixture(scope="module")
def pickled(tmp_path_factory):
    """An open export as a worker process gets it."""
    return pickle.loads(pickle.dumps(read_vast(write_vast(IDS, tmp_path_factory.mktemp("v") / "e", **QUIET))))


@given(data=st.data())
@settings(max_examples=20)
def test_any_box(data, pickled):
    box = []
    for length in IDS.shape:
        start = data.draw(st.integers(0, length - 1))
        box.append(slice(start, data.draw(st.integers(start + 1, length)), data.draw(st.integers(1, 3))))
    np.testing.assert_array_equal(pickled[tuple(box)], IDS[tuple(box)])


def test_only_needed_sections_are_decoded(export, monkeypatch):
    from emlib.data import vast_source

    read, asked = vast_source.read_picture, []
    monkeypatch.setattr(vast_source, "read_picture", lambda path: (asked.append(path.name[:4]), read(path))[1])
    volume = read_vast(f"{export}/*.png").crop(z=(1, 5))
    assert asked == []
    np.testing.assert_array_equal(volume[::2, 3:5], IDS[1:5:2, 3:5])
    assert sorted(asked) == ["0001", "0003"]


def test_numbers_not_letters_give_the_order(tmp_path):
    for z, name in enumerate(["s9", "S10", "s11", "s100", "s1000"]):
        tmp_path.joinpath(f"{name}.png").write_bytes(iio.imwrite("<bytes>", colours(IDS[z]), extension=".png"))
    (tmp_path / ".s7.png").write_text("left by a file browser")
    (tmp_path / "notes.txt").write_text("no section")
    np.testing.assert_array_equal(read_vast(tmp_path, missing="skip")[:], IDS)
    with pytest.raises(FileNotFoundError, match=r"lacks the sections 12 to 99, 101 to 999 \(it has 9 to 1000\)"):
        read_vast(tmp_path)


def test_gaps(export):
    for z in (1, 3):
        (export / f"{z:04d}_tr1-tc1.png").unlink()
    with refused(FileNotFoundError, "lacks the sections 1, 3", "missing='background'", folder=export):
        read_vast(export)
    expected = IDS.copy()
    expected[[1, 3]] = 0
    np.testing.assert_array_equal(read_vast(export, missing="background")[:], expected)
    np.testing.assert_array_equal(read_vast(export, missing="skip")[:], IDS[[0, 2, 4]])


def test_kinds_of_png_that_hold_ids(tmp_path):
    ids = np.stack([IDS[0] % 256, IDS[1] % 65536, IDS[2], IDS[3], IDS[4]])
    iio.imwrite(tmp_path / "s0.png", ids[0].astype(np.uint8))
    iio.imwrite(tmp_path / "s1.png", ids[1].astype(np.uint16))
    iio.imwrite(tmp_path / "s2.png", np.dstack([colours(ids[2]), np.full((12, 17), 255, np.uint8)]))
    Image.fromarray(colours(ids[3])).save(tmp_path / "s3.png", optimize=True, transparency=(1, 2, 3))
    iio.imwrite(tmp_path / "s4.png", colours(ids[4]))
    np.testing.assert_array_equal(read_vast(tmp_path)[:], ids)
    single = read_vast(tmp_path / "s4.png")
    assert (single.shape, single.attributes) == ((1, 12, 17), {"first_section": 4})


def save(picture):
    return lambda file: Image.fromarray(colours(IDS[0])).convert(picture).save(file)


def transparent(file):
    pixels = np.dstack([colours(IDS[0]), np.full((12, 17), 255, np.uint8)])
    pixels[3, 4, 3] = 0
    iio.imwrite(file, pixels)


def deep(file):
    file.write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x11\0\0\0\x0c\x10\x02\0\0\0" + bytes(20))


def cut(share):
    return lambda file: os.truncate(file, int(share * file.stat().st_size))


def flip(file):
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 4
    file.write_bytes(data)


HARMS = {
    "palette": (save("P"), ValueError, "colour palette"),
    "grey with opacity": (save("LA"), ValueError, "cannot hold ids"),
    "mask": (save("1"), ValueError, "has 1 bit a pixel"),
    "transparent": (transparent, ValueError, "transparent pixels"),
    "16-bit colour": (deep, ValueError, "16 bits a channel in 3 channels"),
    "other size": (lambda file: iio.imwrite(file, colours(IDS[0, :5])), ValueError, "(5, 17) pixels (y, x)"),
    "empty": (cut(0), OSError, "damaged or truncated"),
    "cut": (cut(0.6), OSError, "damaged or truncated"),
    "without its end": (lambda file: os.truncate(file, file.stat().st_size - 12), OSError, "damaged or truncated"),
    "flipped bit": (flip, OSError, "damaged or truncated"),
    "no picture": (lambda file: file.write_text("text"), OSError, "damaged or truncated"),
}


@pytest.mark.parametrize("name", HARMS)
@pytest.mark.parametrize("out", ["labels.zarr", "labels.h5"])
def test_one_bad_section_stops_all(export, tmp_path, name, out):
    harm, kind, words = HARMS[name]
    harm(export / "0003_tr1-tc1.png")
    with refused(kind, words, "0003_tr1-tc1.png", folder=tmp_path):
        vast_to_volume(export, tmp_path / out, **QUIET)


def test_names_that_are_refused(tmp_path, export):
    def lay(folder, *names):
        folder.mkdir()
        for name in names:
            iio.imwrite(folder / name, colours(IDS[0]))
        return folder

    for folder, kind, words in (
        (lay(tmp_path / "a", "0_tr1-tc1.png", "0_tr1-tc2.png"), ValueError, ("2 tiles each", "{row}", "labels=True")),
        (lay(tmp_path / "b", "a1_2.png", "a2_3.png"), ValueError, ("2 numbers differ", "pattern=")),
        (lay(tmp_path / "c", "a1.png", "a2_3.png"), ValueError, ("unequal counts of numbers",)),
        (lay(tmp_path / "d", "a.png", "b.png"), ValueError, ("No numbers differ",)),
        (lay(tmp_path / "e", "s1.png", "s01.png", "s2.png"), ValueError, ("both are section 1",)),
        (lay(tmp_path / "f"), FileNotFoundError, ("holds no PNG pictures",)),
        (tmp_path / "none" / "*.png", FileNotFoundError, ("No file matches",)),
        (save_volume(tmp_path / "g.h5", IDS), ValueError, ("a VAST export is PNG pictures",)),
        (tmp_path / "list.json", ValueError, ("open_volume(path, labels=True)",)),
    ):
        with refused(kind, *words):
            read_vast(folder)
    np.testing.assert_array_equal(read_vast(tmp_path / "b", pattern="a1_%d.png")[:], IDS[:1])
    with refused(FileNotFoundError, "has a name like x%d.png"):
        read_vast(export, pattern="x%d.png")
    for pattern in ("a.png", "%d_%d.png", "%s.png", "a/%d.png", "%d.tif", ".%d.png", 3):
        with refused(ValueError, "The pattern is"):
            read_vast(export, pattern=pattern)
    with refused(ValueError, "missing is 'fill'"):
        read_vast(export, missing="fill")


def test_tables_of_ids(tmp_path):
    folder = write_vast(np.array([[[0, 1, 2, 7]]]), tmp_path / "e", **QUIET)
    volume = read_vast(folder, ids={1: 5, 2: 5, 7: 2**40})
    assert volume.dtype == np.uint64
    assert volume[:].tolist() == [[[0, 5, 5, 2**40]]]
    assert read_vast(folder, ids={0: 3, 1: 0, 2: 0, 7: 2**32 - 1})[:].tolist() == [[[3, 0, 0, 2**32 - 1]]]
    for table in ({1: 1, 2: 2}, {1: 1, 2: 2, 9: 9}):
        with refused(ValueError, "section 0", "holds the number 7"):
            read_vast(folder, ids=table)[:]
    with refused(ValueError, "whole numbers from 0"):
        read_vast(folder, ids={1: -1})


@given(window=st.data())
@settings(max_examples=10)
def test_windows_are_cut_out(window, tmp_path_factory):
    cuts = []
    for length in IDS.shape:
        start = window.draw(st.integers(0, length - 1))
        cuts += [start, window.draw(st.integers(start + 1, length))]
    folder = tmp_path_factory.mktemp("w")
    export = write_vast(IDS, folder / "e", first=200, **QUIET)
    name = window.draw(st.sampled_from(["a.zarr", "a.h5"]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(slab_writing, "SLAB_BYTES", window.draw(st.sampled_from([1, 2000, 2**28])))
        out = vast_to_volume(export, folder / name, window=cuts, voxel_size=(30, 8, 8), **QUIET)
    volume = open_volume(out)
    assert (volume.dtype, volume.voxel_size, volume.key) == (np.uint32, (30, 8, 8), "main" if name == "a.h5" else None)
    assert volume.attributes == {"first_section": 200 + cuts[0]}
    np.testing.assert_array_equal(volume[:], IDS[tuple(slice(*cuts[axis : axis + 2]) for axis in (0, 2, 4))])


def test_every_section_is_decoded_once(tmp_path, monkeypatch):
    from emlib.data import vast_source

    read, asked = vast_source.read_picture, []
    monkeypatch.setattr(vast_source, "read_picture", lambda path: (asked.append(path.name), read(path))[1])
    labels = np.random.default_rng(0).integers(0, 2**24, (9, 40, 30)).astype(np.uint32)
    export = write_vast(labels, tmp_path / "e", **QUIET)
    monkeypatch.setattr(slab_writing, "SLAB_BYTES", 4 * 40 * 30 * 4)
    monkeypatch.setattr(slab_writing, "default_chunks", lambda *_: (8, 16, 16))
    volume = open_volume(vast_to_volume(export, tmp_path / "a.zarr", **QUIET))
    assert sorted(asked) == sorted(os.listdir(export))
    assert volume.chunks == (4, 16, 16)
    np.testing.assert_array_equal(volume[:], labels)


def test_lazy_labels_are_read_some_sections_at_a_time(tmp_path, monkeypatch):
    stored = open_volume(save_volume(tmp_path / "a.zarr", IDS, chunks=(2, 8, 8)))
    monkeypatch.setattr(vast_export, "SLAB_BYTES", 2 * 12 * 17 * 4)
    asked = []
    read = type(stored._source).read
    monkeypatch.setattr(type(stored._source), "read", lambda self, box: (asked.append(box[0]), read(self, box))[1])
    folder = write_vast(stored, tmp_path / "e", **QUIET)
    assert asked == [slice(0, 2, 1), slice(2, 4, 1), slice(4, 5, 1)]
    np.testing.assert_array_equal(read_vast(folder)[:], IDS)


@pytest.mark.parametrize(
    "labels, options, kind, text",
    [
        (IDS + 2**24, {}, ValueError, "Section 0 holds the id"),
        (np.where(np.arange(5)[:, None, None] == 3, 2**24, IDS), {}, ValueError, "Section 3 holds the id 16777216"),
        (IDS.astype(np.int64) - 2**24, {}, ValueError, "holds the negative id"),
        (IDS.astype(np.int64) - 2**24, {"renumber": True}, ValueError, "holds the negative id"),
        (IDS / 2, {}, TypeError, "labels are float64"),
        (IDS > 3, {}, TypeError, "labels are bool"),
        (IDS[0], {}, ValueError, "axes 'yx'"),
        (IDS, {"pattern": "s.png"}, ValueError, "The pattern is 's.png'"),
        (IDS, {"first": -1}, ValueError, "first is -1"),
        (IDS, {"first": 1.5}, ValueError, "first is 1.5"),
    ],
)
def test_labels_that_are_refused(tmp_path, labels, options, kind, text):
    with refused(kind, text, folder=tmp_path):
        write_vast(labels, tmp_path / "e", **QUIET, **options)
    assert not (tmp_path / "e").exists()


def test_too_many_ids_to_renumber(tmp_path, monkeypatch):
    monkeypatch.setattr(vast_export, "LARGEST_COLOUR", 100)
    with refused(ValueError, "ids, but colours hold at most 100"):
        write_vast(IDS, tmp_path / "e", renumber=True, **QUIET)


def test_what_is_there_is_not_lost(export, tmp_path):
    with refused(FileExistsError, "holds 5 files already", folder=export):
        write_vast(IDS, export, **QUIET)
    write_vast(IDS[:2], export, overwrite=True, **QUIET)
    assert len(os.listdir(export)) == 2
    (export / "notes.txt").write_text("mine")
    with refused(FileExistsError, "holds notes.txt, which is no section", folder=export):
        write_vast(IDS, export, overwrite=True, **QUIET)
    with refused(FileExistsError, "is a file"):
        write_vast(IDS, export / "notes.txt", overwrite=True, **QUIET)
    out = vast_to_volume(write_vast(IDS, tmp_path / "e", **QUIET), tmp_path / "a.zarr", **QUIET)
    with refused(FileExistsError, "a.zarr exists already", folder=out):
        vast_to_volume(tmp_path / "e", out, **QUIET)
    vast_to_volume(tmp_path / "e", out, overwrite=True, window=(0, 1, 0, 2, 0, 2), **QUIET)
    assert open_volume(out).shape == (1, 2, 2)
    for window, kind, words in (
        ((0, 1), ValueError, "six whole numbers"),
        ((0, 9, 0, 1, 0, 1), IndexError, "outside axis z"),
    ):
        with refused(kind, words, folder=out):
            vast_to_volume(tmp_path / "e", out, window=window, overwrite=True, **QUIET)
    with refused(ValueError, "cannot be written as .tif"):
        vast_to_volume(tmp_path / "e", tmp_path / "a.tif", **QUIET)


@pytest.mark.parametrize(
    "harm", [lambda text: text[:-3], lambda text: text[: text.rindex("\n", 0, -1) + 1], lambda text: text + "x"]
)
def test_a_damaged_renumbering(tmp_path, harm):
    folder = write_vast(IDS, tmp_path / "e", renumber=True, **QUIET)
    file = folder / "renumbering.txt"
    file.write_text(harm(file.read_text()))
    with refused(ValueError, "renumbering.txt is damaged or truncated"):
        read_renumbering(folder)
    file.unlink()
    with refused(FileNotFoundError, "were not renumbered"):
        read_renumbering(folder)


def to_pictures(folder, _):
    write_vast(IDS[:3], folder / "export", renumber=True, overwrite=True, **QUIET)


def to_zarr(folder, export):
    vast_to_volume(export, folder / "labels.zarr", overwrite=True, **QUIET)


def to_h5(folder, export):
    vast_to_volume(export, folder / "labels.h5", overwrite=True, **QUIET)


@pytest.mark.parametrize("action", [to_pictures, to_zarr, to_h5])
def test_every_step_may_fail(tmp_path, export, action):
    for folder in failing_steps(action, lambda step: tmp_path / f"{step:04d}", export, 1):
        if left := listing(folder):
            # Only flushing the folder's entry comes after the output has its name; it is whole then.
            assert not [name for name in left if ".partial" in name or ".old-" in name], folder.name
            whole(folder, action)
        action(folder, export)
        whole(folder, action)


@pytest.mark.parametrize("action", [to_pictures, to_zarr])
def test_what_was_there_stays(tmp_path, export, action):
    folder = tmp_path / "old"
    action(folder, export)
    before = listing(folder)
    for _ in failing_steps(action, lambda _: folder, export, 2):
        assert listing(folder) == before
        whole(folder, action)


def whole(folder, action):
    if action is to_pictures:
        made = folder / "export"
        np.testing.assert_array_equal(read_vast(made, ids=read_renumbering(made))[:], IDS[:3])
    else:
        np.testing.assert_array_equal(open_volume(folder / ("labels.h5" if action is to_h5 else "labels.zarr"))[:], IDS)
